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
# What takes longer, in seconds, is not repeated.
SLOW = 0.3


def seconds(call: Callable[[], object], repeat: int) -> float:
    """Return the best time of some calls on the device, after two that do not count."""
    import cupy

    def timed() -> float:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        call()
        end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(begin, end)) / 1000

    call()
    first = timed()
    if first > SLOW:
        return first
    return min(timed() for _ in range(repeat))


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
    calls: dict[str, Callable[[], object]] = {}
    half = (slice(None, None, 2),) * 3
    try:
        from cupyx.scipy import ndimage
    except ImportError as error:
        print(f"no cupyx.scipy.ndimage here: {error}")
    else:
        calls["cupyx gaussian_filter, every 2nd"] = lambda: ndimage.gaussian_filter(
            block, sigma
        )[half].copy()
    try:
        from cucim.skimage.transform import downscale_local_mean
    except ImportError as error:
        print(f"no cuCIM here: {error}")
    else:
        calls["cuCIM downscale_local_mean"] = lambda: downscale_local_mean(block, TWICE)
    return calls


def kernels(options: argparse.Namespace) -> dict[str, Any]:
    """Time reductions by 2 in 3-D, beside a copy on the device."""
    import cupy

    shape, figures = tuple(options.shape), {}
    values = np.random.default_rng(0).integers(0, 250, shape, "uint8")
    for dtype in options.dtypes:
        block = cupy.asarray(values).astype(dtype)
        other = cupy.empty_like(block)
        took = seconds(lambda a=other, b=block: cupy.copyto(a, b), options.repeat)
        copy = 2 * block.nbytes / took / 1e9
        del other
        print(f"{dtype} {shape}: copy {copy:.0f} GB/s")
        moved = block.nbytes * 9 / 8 / 1e9
        rows: dict[str, Any] = {"copy": copy}
        for name, call in (ours(block) | others(block, sigma=0.5)).items():
            try:
                rate = moved / seconds(call, options.repeat)
            except Exception as error:  # of others, most often for want of memory
                print(f"{name:>34}  {error!r}")
                rows[name] = repr(error)
                continue
            rows[name] = rate
            print(f"{name:>34}  {rate:7.0f} GB/s  {rate / copy:5.0%} of a copy")
        figures[dtype] = rows
        del block
        cupy.get_default_memory_pool().free_all_blocks()
    return figures


def ours(block: Any) -> dict[str, Callable[[], object]]:
    """Return every method by 2, and a Gaussian that is too wide for one pass."""
    reductions = {
        name: method.reduction(TWICE, axes="zyx") for name, method in METHODS.items()
    }
    wide = METHODS["gaussian"].reduction(TWICE, axes="zyx", sigma=4)
    return {
        name: lambda r=reduction: reduce_block(block, r, spans_of(block.shape))
        for name, reduction in {**reductions, "gaussian, sigma 4": wide}.items()
    }


def bare(n_bytes: int, repeat: int) -> dict[str, float]:
    """Return GB/s of plain copies between pinned memory and the device."""
    import cupy

    cuda, runtime = cupy.cuda, cupy.cuda.runtime
    kinds = (runtime.memcpyHostToDevice, runtime.memcpyDeviceToHost)
    ways = [
        (kind, cupy.empty(n_bytes, "uint8"), cuda.alloc_pinned_memory(n_bytes), stream)
        for kind, stream in zip(
            kinds, [cuda.Stream(non_blocking=True) for _ in kinds], strict=True
        )
    ]

    def copied(*numbers: int) -> None:
        for number in numbers:
            kind, device, pinned, stream = ways[number]
            ends = (device.data.ptr, pinned.ptr)
            to, of = ends if kind == kinds[0] else ends[::-1]
            runtime.memcpyAsync(to, of, n_bytes, kind, stream.ptr)
        for number in numbers:
            ways[number][-1].synchronize()

    return {
        name: n_bytes / wall(lambda n=numbers: copied(*n), repeat) / 1e9
        for name, numbers in (
            ("bare copy up", (0,)),
            ("bare copy down", (1,)),
            ("bare copies both ways, each", (0, 1)),
        )
    }


def transfers(options: argparse.Namespace) -> dict[str, Any]:
    """Time pinned slabs through the device and back, beside bare copies."""
    depth = min(64, options.shape[0])
    slab = (depth, *options.shape[1:])
    n_slabs = max(2, options.shape[0] // depth) // 2 * 2
    dtype = np.dtype("uint16")
    slab_bytes = math.prod(slab) * dtype.itemsize
    figures: dict[str, Any] = dict(bare(slab_bytes, options.repeat))
    for name, rate in figures.items():
        print(f"{name:>28}  {rate:6.1f} GB/s")
    limit = figures["bare copy up"]
    jobs: dict[str, Any] = {"upload alone": None}
    jobs |= {m: METHODS[m].reduction(TWICE, axes="zyx") for m in ("mean", "gaussian")}
    for name, run in through(slab, dtype, jobs=jobs, n_slabs=n_slabs).items():
        rate = n_slabs * slab_bytes / 1e9 / wall(run, options.repeat)
        figures[name] = rate
        print(f"{name:>28}  {rate:6.1f} GB/s of input  {rate / limit:5.0%} of the bus")
    return figures


def through(
    slab: tuple[int, ...], dtype: np.dtype[Any], *, jobs: dict[str, Any], n_slabs: int
) -> dict[str, Callable[[], None]]:
    """Return what sends slabs through the device, as units do, from two threads."""
    import cupy

    spans = spans_of(slab)
    half = tuple(span.count for span in spans)
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

    def run(reduction: Any) -> None:
        def all_of(number: int) -> None:  # a buffer belongs to one thread at a time
            for _ in range(n_slabs // 2):
                passed(number, reduction)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(all_of, range(2)))

    return {name: lambda r=reduction: run(r) for name, reduction in jobs.items()}
