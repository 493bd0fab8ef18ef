"""Kernels on data in device memory, and between pinned buffers; parts of ``gpu.py``."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import CupyBackend
from dask_pyramid.geometry import Span, reduced_shape
from dask_pyramid.kernels import reduce_block
from dask_pyramid.methods import METHODS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

TWICE = (2, 2, 2)


def seconds(call: Callable[[], object], repeat: int) -> float:
    """Return the best time of some calls on the device, after two that do not count."""
    import cupy

    call()
    call()
    times = []
    for _ in range(repeat):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) / 1000)
    return min(times)


def wall(call: Callable[[], object], repeat: int) -> float:
    """Return the best time of some calls on the clock, after one that counts not."""
    call()
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def spans_of(shape: Sequence[int]) -> list[Span]:
    """Return the spans of a whole volume at half its extent."""
    return [
        Span(first=0, stop=count, size=n)
        for count, n in zip(reduced_shape(shape, TWICE), shape, strict=True)
    ]


def others(block: Any, sigma: float) -> dict[str, Callable[[], object]]:
    """Return what else makes half of a volume on a GPU."""
    from cupyx.scipy import ndimage

    half = (slice(None, None, 2),) * 3
    calls: dict[str, Callable[[], object]] = {
        "cupyx gaussian_filter, every 2nd": lambda: ndimage.gaussian_filter(
            block, sigma
        )[half].copy()
    }
    try:
        from cucim.skimage.transform import downscale_local_mean
    except ImportError:
        return calls
    calls["cuCIM downscale_local_mean"] = lambda: downscale_local_mean(block, TWICE)
    return calls


def kernels(options: argparse.Namespace) -> dict[str, Any]:
    """Time reductions by 2 in 3-D, beside a copy on the device."""
    import cupy

    shape, figures = tuple(options.shape), {}
    for dtype in ("uint8", "uint16", "float32"):
        block = cupy.asarray(np.random.default_rng(0).integers(0, 250, shape, "uint8"))
        block = block.astype(dtype)
        other = cupy.empty_like(block)
        took = seconds(lambda a=other, b=block: cupy.copyto(a, b), options.repeat)
        copy = 2 * block.nbytes / took / 1e9
        del other
        print(f"{dtype} {shape}: copy {copy:.0f} GB/s")
        moved = block.nbytes * 9 / 8 / 1e9
        rows: dict[str, Any] = {"copy": copy}
        calls: dict[str, Callable[[], object]] = {}
        for method in METHODS:
            reduction = METHODS[method].reduction(TWICE, axes="zyx")
            calls[method] = lambda b=block, r=reduction: reduce_block(
                b, r, spans_of(shape)
            )
        calls |= others(block, sigma=0.5)
        for name, call in calls.items():
            try:
                rate = moved / seconds(call, options.repeat)
            except MemoryError:  # of the device: others need more than ours
                print(f"{name:>34}  out of memory")
                continue
            rows[name] = rate
            print(f"{name:>34}  {rate:7.0f} GB/s  {rate / copy:5.0%} of a copy")
        figures[dtype] = rows
    return figures


def transfers(options: argparse.Namespace) -> dict[str, Any]:
    """Time pinned slabs through the device and back, beside the upload alone."""
    import cupy

    depth = min(64, options.shape[0])
    slab = (depth, *options.shape[1:])
    n_slabs = max(2, options.shape[0] // depth)
    spans = spans_of(slab)
    half = tuple(span.count for span in spans)
    dtype = np.dtype("uint16")
    n_bytes = (math.prod(slab) + math.prod(half)) * dtype.itemsize
    free = cupy.cuda.runtime.memGetInfo()[0]
    backend = CupyBackend(
        limit=min(free // 2, 16 * n_bytes), places=2, host_bytes=n_bytes, devices=[0]
    )
    buffers = [backend.host_memory([slab, half], dtype) for _ in range(2)]
    for voxels, _ in buffers:
        voxels[...] = 7

    def passed(number: int, reduction: Any) -> None:
        voxels, samples = buffers[number]
        with backend.turn():
            mirror = backend.mirror(voxels)
            backend.upload(voxels, mirror, axis=0)
            if reduction is not None:
                made = reduce_block(mirror, reduction, spans)
                backend.download(made, samples, axis=0)

    figures: dict[str, Any] = {}
    jobs = {"upload alone": None}
    jobs |= {m: METHODS[m].reduction(TWICE, axes="zyx") for m in ("mean", "gaussian")}
    for name, reduction in jobs.items():

        def run(reduction: Any = reduction) -> None:
            # A buffer belongs to one thread at a time.
            with ThreadPoolExecutor(2) as pool:
                list(
                    pool.map(
                        lambda n: [passed(n, reduction) for _ in range(n_slabs // 2)],
                        range(2),
                    )
                )

        gigabytes = n_slabs // 2 * 2 * math.prod(slab) * dtype.itemsize / 1e9
        rate = gigabytes / wall(run, options.repeat)
        figures[name] = rate
        share = rate / figures["upload alone"]
        print(f"{name:>14}  {rate:6.1f} GB/s of input  {share:5.0%} of the limit")
    return figures
