"""From store to store on CPU and GPU, and memory of the device; parts of ``gpu.py``."""

from __future__ import annotations

import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

SIGMA = 8
GIB = 2**30


def volume(options: argparse.Namespace) -> Path:
    """Return a volume as that of the other benchmarks, made if it is missing."""
    from suite.images import Case, made

    chunk = min(128, options.shape[0] // 2)
    return made(
        Case(axes="zyx", shape=tuple(options.shape), chunks=(chunk,) * 3),
        folder=options.folder,
    )


def written(source: Any, options: argparse.Namespace, **how: Any) -> float:
    """Write a pyramid with all cores and return the seconds it took."""
    from dask_pyramid import write_pyramid

    target = options.folder / "gpu-out.zarr"
    shutil.rmtree(target, ignore_errors=True)
    started = time.perf_counter()
    write_pyramid(
        source, target, axes="zyx", scale_factors=[2, 4, 8], progress=False, **how
    )
    took = time.perf_counter() - started
    shutil.rmtree(target)
    return took


def stores(options: argparse.Namespace) -> dict[str, Any]:
    """Time whole pyramids from a store to a store, and what `auto` would take."""
    source, figures = volume(options), {}
    for method in ("mean", "gaussian"):
        for device in ("cpu", "gpu", "auto"):
            times = [
                written(source, options, method=method, device=device)
                for _ in range(options.repeat + 1)
            ]
            figures[f"{method} {device}"] = min(times[1:])
            print(f"{method:>10} {device:>5}  {min(times[1:]):7.2f} s")
    return figures


def pipeline(options: argparse.Namespace) -> dict[str, Any]:
    """Time a wide filter whose result is written as a pyramid, on CPU and GPU."""
    import dask
    import dask.array as da
    from cupyx.scipy import ndimage as on_gpu
    from scipy import ndimage as on_cpu

    source, figures = da.from_zarr(volume(options)), {}
    source = source.rechunk([max(4 * SIGMA, n // 4) for n in source.shape])

    def blurred(block: Any, gpu: bool = False) -> Any:
        import cupy

        values = (cupy.asarray(block) if gpu else block).astype("float32")
        filtered = (on_gpu if gpu else on_cpu).gaussian_filter(values, SIGMA)
        return filtered.astype(block.dtype)

    def lazy(gpu: bool) -> Any:
        import cupy

        meta = (cupy if gpu else np).empty((0, 0, 0), source.dtype)
        return da.map_overlap(
            blurred,
            source,
            depth=4 * SIGMA,
            boundary="reflect",
            dtype=source.dtype,
            meta=meta,
            gpu=gpu,
        )

    for gpu in (False, True):
        # One block at a time computes on the device; the others decode and encode.
        with dask.config.set(num_workers=4 if gpu else None):
            took = written(lazy(gpu), options, method="mean", client="threads")
        name = "gpu" if gpu else "cpu"
        figures[name] = took
        print(f"Gaussian of sigma {SIGMA}, then a pyramid, {name}: {took:.1f} s")
    return figures


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Watch the memory of the device while pyramids are written within limits."""
    source, figures, wrong = volume(options), {}, []
    written(source, options, method="gaussian", device="gpu")  # context and kernels
    for limit in options.limits:
        most = round(limit * GIB)
        with Watch() as watch:
            written(
                source,
                options,
                method="gaussian",
                device="gpu",
                gpu_memory_limit=most,
            )
        figures[f"{limit:g} GiB"] = watch.peak / GIB
        print(f"limit {limit:5.1f} GiB: peak {watch.peak / GIB:5.2f} GiB")
        if watch.peak > most:
            wrong.append(f"limit {limit} GiB: {watch.peak / GIB:.2f} GiB")
    return figures | {"wrong": wrong}


class Watch:
    """The most memory of the device that is taken, over what was at first."""

    def __enter__(self) -> Watch:
        """Begin to look every few milliseconds."""
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()
        self._info = cupy.cuda.runtime.memGetInfo
        self._free = self._least = self._info()[0]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            self._least = min(self._least, self._info()[0])

    def __exit__(self, *error: object) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    @property
    def peak(self) -> int:
        """Bytes."""
        return self._free - self._least
