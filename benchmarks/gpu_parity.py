"""Whether a GPU makes the bytes of the CPU; parts of ``gpu.py``."""

from __future__ import annotations

import importlib.util
import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.kernels import fused, reduce_block
from dask_pyramid.methods import METHODS
from dask_pyramid.nodata import Nodata

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from dask_pyramid.methods import Reduction

DTYPES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64"
).split()
LONGEST = {1: 5000, 2: 400, 3: 90, 4: 30}
# Of so many cases one has voxels that do not count, and one steps between voxels.
EVERY = 8
# Cases that a process is given at a time.
BATCH = 10
# What needs a GPU; the other files need packages that are not for this.
TESTS = "docs gpu kernels lazy_cupy masks sampling units_on_cupy".split()


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
    return reduction.needed(spans), spans


def reduction_of(number: int, rng: np.random.Generator, ndim: int) -> Reduction:
    """Return one of every method and dtype in turn, with drawn factors."""
    method = METHODS[list(METHODS)[number % len(METHODS)]]
    axes = [str(i) for i in range(ndim)]
    steps: list[Any] = [int(f) for f in rng.integers(1, 5, ndim)]
    if number % EVERY == 1 and method.between:
        steps = [Fraction(int(rng.integers(4, 20)), 4) for _ in steps]
        steps = [int(s) if s.denominator == 1 else s for s in steps]
        return method.reduction(steps, axes=axes)
    if number % EVERY == 2:
        ignore = Nodata.parse(1, False, np.dtype(dtype_of(number)))
        return method.reduction(steps, axes=axes, ignore=ignore)
    has_sigma = method.sigma is not None and rng.random() < 0.2
    sigma = float(rng.random() * 6) if has_sigma else None
    return method.reduction(steps, axes=axes, sigma=sigma)


def dtype_of(number: int) -> str:
    """Return the data type of a case."""
    return DTYPES[number // len(METHODS) % len(DTYPES)]


def compared(number: int) -> tuple[bool, str]:
    """Draw a case; return whether it took a fused kernel, and what differs, if it does.

    Errors differ, too: they are told with the case.
    """
    import cupy

    rng = np.random.default_rng(number)
    dtype = dtype_of(number)
    ndim = int(rng.integers(1, 5))
    reduction = reduction_of(number, rng, ndim)
    shape = [int(n) for n in rng.integers(1, LONGEST[ndim], ndim)]
    ranges = []
    for n, step in zip(shape, reduction.steps, strict=True):
        count = ceil_div(n, step)
        first = int(rng.integers(0, count)) if rng.random() < 0.5 else 0
        ranges.append((first, int(rng.integers(first + 1, count + 1))))
    region, spans = part_of(shape, reduction, ranges)
    block = drawn(rng, shape, dtype)[region]
    text = f"{number} {list(METHODS)[number % len(METHODS)]} {dtype} {shape} {ranges} "
    text += f"{[str(step) for step in reduction.steps]}"
    text += " with nodata" * (reduction.ignore is not None)
    is_fused = fused.has_kernel(block.dtype, reduction)
    expected = reduce_block(block, reduction, spans)
    try:
        result = reduce_block(cupy.asarray(block), reduction, spans).get()
    except Exception as error:  # one case says nothing of the others
        return is_fused, f"{text}: {error!r}"
    if result.tobytes() == expected.tobytes():
        return is_fused, ""
    off = np.abs(result.astype(float) - expected.astype(float)).max()
    return is_fused, f"{text}: off by {off}"


def compared_all(numbers: Sequence[int]) -> list[tuple[bool, str]]:
    """Compare some cases."""
    return [compared(number) for number in numbers]


def parity(options: argparse.Namespace) -> dict[str, Any]:
    """Draw cases, and compare the bytes of both; kernels are compiled side by side."""
    batches = [
        range(first, min(first + BATCH, options.cases))
        for first in range(0, options.cases, BATCH)
    ]
    if options.processes == 1:
        found = [case for batch in batches for case in compared_all(batch)]
    else:
        found = []
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
            sent = {pool.submit(compared_all, batch): batch for batch in batches}
            for future in as_completed(sent):
                try:
                    found += future.result()
                except Exception as error:  # of the process: it took others with it
                    cases = sent[future]
                    found += [(False, f"{cases}: {error!r}")] * len(cases)
    wrong = [text for _, text in found if text]
    n_fused = sum(is_fused for is_fused, _ in found)
    print(f"{len(found)} cases, {n_fused} fused, {len(wrong)} differ")
    print(*wrong[:40], sep="\n", end="\n" if wrong else "")
    figures: dict[str, Any] = {"cases": len(found), "fused": n_fused}
    return figures | ({"wrong": wrong} if wrong else {})


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
    reductions = {m: METHODS[m].reduction((2, 2, 2), axes="zyx") for m in METHODS}
    wide = METHODS["gaussian"].reduction((2, 2, 2), axes="zyx", sigma=5)
    for method, reduction in {**reductions, "wide gaussian": wide}.items():
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
        del made
    n_boxes = 20 * (len(METHODS) + 1)
    print(f"{volume.size:,} voxels, {n_boxes} boxes, {len(wrong)} differ")
    figures: dict[str, Any] = {"voxels": volume.size, "boxes": n_boxes}
    return figures | ({"wrong": wrong} if wrong else {})


def tests(options: argparse.Namespace) -> dict[str, Any]:
    """Run the tests that are marked `gpu`; none that passes is wrong."""
    folder = Path(__file__).parents[1] / "tests"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-W", "default"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(folder.parent)]
    if options.processes > 1 and importlib.util.find_spec("xdist"):
        command += ["-n", str(options.processes)]
    left = max(1, options.deadline - time.monotonic())
    try:
        done = subprocess.run(
            [*command, *(str(folder / f"test_{name}.py") for name in TESTS)],
            capture_output=True,
            text=True,
            check=False,
            timeout=left,
        )
    except subprocess.TimeoutExpired as error:
        told = error.stdout or b""
        return {"failed": f"no end after {left:.0f} s", "told": str(told)[-2000:]}
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
    if done.returncode not in (0, 1):  # neither all passed nor some failed
        print(done.stdout[-2000:], done.stderr[-2000:])
        raise ImportError(f"pytest does not run here: {last}")
    print(last)
    if done.returncode == 0 and "passed" in last:
        return {"pytest": last}
    return {"pytest": last, "wrong": done.stdout.splitlines()[-60:]}
