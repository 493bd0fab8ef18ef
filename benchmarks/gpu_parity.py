"""Whether a GPU makes the bytes of the CPU; parts of ``gpu.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.geometry import Span, ceil_div, needed
from dask_pyramid.kernels import fused, reduce_block
from dask_pyramid.methods import METHODS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from dask_pyramid.methods import Reduction

DTYPES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64"
).split()
LONGEST = {1: 5000, 2: 400, 3: 90, 4: 30}


def drawn(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> np.ndarray:
    """Return values over the whole range, a few distinct ones, or the extremes."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind == "f":
        return rng.normal(100, 50, shape).astype(kind)
    info = np.iinfo(kind)
    if rng.random() < 0.3:
        ends = np.array([info.min, info.min + 1, info.max - 1, info.max], kind)
        return rng.choice(ends, shape)
    high = 3 if rng.random() < 0.3 else info.max
    return rng.integers(0 if high == 3 else info.min, high, shape, kind, endpoint=True)


def part_of(
    shape: Sequence[int], reduction: Reduction, ranges: Sequence[tuple[int, int]]
) -> tuple[tuple[slice, ...], list[Span]]:
    """Return what is needed of an array for the ranges of samples, and the spans."""
    spans = [
        Span(first=a, stop=b, size=n) for (a, b), n in zip(ranges, shape, strict=True)
    ]
    region = tuple(
        needed(s.first, s.stop, step=step, reach=reach, size=s.size)
        for s, step, reach in zip(
            spans, reduction.steps, reduction.reaches, strict=True
        )
    )
    return region, spans


def parity(options: argparse.Namespace) -> dict[str, Any]:
    """Draw cases, and compare the bytes of both."""
    import cupy

    wrong, n_fused = [], 0
    for number in range(options.cases):
        rng = np.random.default_rng(number)
        method = list(METHODS)[number % len(METHODS)]
        dtype = DTYPES[number // len(METHODS) % len(DTYPES)]
        ndim = int(rng.integers(1, 5))
        shape = [int(n) for n in rng.integers(1, LONGEST[ndim], ndim)]
        factors = [int(f) for f in rng.integers(1, 5, ndim)]
        sigma = rng.random() * 6 if "gauss" in method and rng.random() < 0.2 else None
        axes = [str(i) for i in range(ndim)]
        reduction = METHODS[method].reduction(factors, axes=axes, sigma=sigma)
        ranges = []
        for n, f in zip(shape, factors, strict=True):
            count = ceil_div(n, f)
            first = int(rng.integers(0, count)) if rng.random() < 0.5 else 0
            ranges.append((first, int(rng.integers(first + 1, count + 1))))
        region, spans = part_of(shape, reduction, ranges)
        block = drawn(rng, shape, dtype)[region]
        expected = reduce_block(block, reduction, spans)
        result = reduce_block(cupy.asarray(block), reduction, spans).get()
        n_fused += fused.has_kernel(block.dtype, reduction)
        if result.tobytes() != expected.tobytes():
            off = np.abs(result.astype(float) - expected.astype(float)).max()
            wrong.append(f"{number} {method} {dtype} {shape} {factors}: off by {off}")
    print(f"{options.cases} cases, {n_fused} fused, {len(wrong)} differ")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return {"cases": options.cases, "fused": n_fused, "wrong": wrong}


def large(options: argparse.Namespace) -> dict[str, Any]:
    """Compare boxes of an array above 2**31 voxels, its last corner among them."""
    import cupy

    shape = tuple(options.large)
    volume = cupy.empty(shape, "uint8")
    places = cupy.arange(shape[1] * shape[2], dtype=cupy.uint32).reshape(shape[1:])
    for z in range(shape[0]):
        mixed = ((places + z * 7919) * cupy.uint32(2654435761)) >> 24
        volume[z] = mixed.astype(cupy.uint8)
    wrong, rng = [], np.random.default_rng(0)
    for method in METHODS:
        reduction = METHODS[method].reduction((2, 2, 2), axes="zyx")
        counts = [ceil_div(n, 2) for n in shape]
        _, spans = part_of(shape, reduction, [(0, n) for n in counts])
        made = reduce_block(volume, reduction, spans)
        for trial in range(20):
            extents = [min(24, n) for n in counts]
            firsts = [
                n - e if trial == 0 else int(rng.integers(0, n - e + 1))
                for n, e in zip(counts, extents, strict=True)
            ]
            ranges = [(a, a + e) for a, e in zip(firsts, extents, strict=True)]
            region, box = part_of(shape, reduction, ranges)
            expected = reduce_block(volume[region].get(), reduction, box)
            got = made[tuple(slice(*r) for r in ranges)].get()
            if got.tobytes() != expected.tobytes():
                wrong.append(f"{method} {ranges}")
    print(f"{volume.size:,} voxels, {len(METHODS)} methods, {len(wrong)} boxes differ")
    return {"voxels": volume.size, "boxes": 20 * len(METHODS), "wrong": wrong}


def tests(options: argparse.Namespace) -> dict[str, Any]:
    """Run the tests that are marked `gpu`."""
    folder = Path(__file__).parents[1] / "tests"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(folder)]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
    )
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
    if done.returncode not in (0, 1):  # neither all passed nor some failed
        raise ImportError(f"pytest does not run here: {last}")
    print(last)
    wrong = [] if done.returncode == 0 else done.stdout.splitlines()[-40:]
    return {"pytest": last, "wrong": wrong}
