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
# What is written from store to store.
KINDS: dict[str, dict[str, Any]] = {
    "gaussian": {"method": "gaussian"},
    "mean": {"method": "mean"},
    "mode": {"method": "mode"},
    "gaussian, sigma 4": {"method": "gaussian", "sigma": 4},
}
# Whole runs are long: as many as this count, after one that does not.
RUNS = 2


def volume(options: argparse.Namespace) -> Path:
    """Return a volume as that of the other benchmarks, made if it is missing."""
    from suite.images import Case, made

    chunk = min(128, options.shape[0] // 2)
    case = Case(axes="zyx", shape=tuple(options.shape), chunks=(chunk,) * 3)
    started = time.perf_counter()
    path = made(case, folder=options.folder)
    print(f"the volume was there after {time.perf_counter() - started:.0f} s")
    return path


def written(source: Any, options: argparse.Namespace, **how: Any) -> float:
    """Write a pyramid with all cores and return the seconds it took."""
    from dask_pyramid import open_image, write_pyramid

    target = options.folder / "gpu-out.zarr"
    shutil.rmtree(target, ignore_errors=True)
    image = open_image(source, axes="zyx")
    given = {"scale_factors": [2, 4, 8], "progress": False, "client": "threads"}
    started = time.perf_counter()
    write_pyramid(image, target, **given | how)
    took = time.perf_counter() - started
    shutil.rmtree(target)
    return took


def stores(options: argparse.Namespace) -> dict[str, Any]:
    """Time whole pyramids from a store to a store, and what `auto` would take."""
    from dask_pyramid import plan_pyramid

    source, figures = volume(options), {}
    for name, how in KINDS.items():
        times = {}
        for device in ("cpu", "gpu"):
            runs = [
                written(source, options, device=device, **how) for _ in range(RUNS + 1)
            ]
            times[device] = figures[f"{name}, {device}"] = min(runs[1:])
        taken = plan_pyramid(source, scale_factors=[2], device="auto", **how).device
        figures[f"{name}, auto takes"] = taken
        told = ", ".join(f"{device} {took:.2f} s" for device, took in times.items())
        print(f"{name:>18}  {told}; auto takes the {taken}")
        if time.monotonic() > options.deadline:
            figures["cut short"] = True
            print("no time is left for the others")
            break
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

    for name, gpu, device in (
        ("filter and levels on the CPU", False, "cpu"),
        ("filter on the GPU, levels on the CPU", True, "cpu"),
        ("filter on the GPU, levels as auto takes", True, "auto"),
    ):
        # Blocks on the device are bounded by the threads that make them.
        with dask.config.set(num_workers=4 if gpu else None):
            runs = [
                written(lazy(gpu), options, method="mean", device=device)
                for _ in range(2 if gpu else 1)
            ]
        figures[name] = min(runs)
        print(f"Gaussian of sigma {SIGMA}, then a pyramid, {name}: {min(runs):.1f} s")
    return figures


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Watch the memory of the device while pyramids are written within limits."""
    from dask_pyramid import plan_pyramid

    source, wrong = volume(options), []
    figures: dict[str, Any] = {}
    how = {"method": "gaussian", "scale_factors": [2, 4, 8], "device": "gpu"}
    written(source, options, **how)  # context and kernels
    for limit in options.limits:
        most = round(limit * GIB)
        given = how | {"gpu_memory_limit": most}
        planned = plan_pyramid(source, **given).device_memory
        with Watch() as watch:
            took = written(source, options, **given)
        figures[f"{limit:g} GiB"] = {
            "planned": planned / GIB,
            "peak": watch.peak / GIB,
            "seconds": took,
        }
        print(
            f"limit {limit:5.1f} GiB: planned {planned / GIB:5.2f} GiB, peak "
            f"{watch.peak / GIB:5.2f} GiB, {took:.2f} s"
        )
        if watch.peak > most:
            wrong.append(f"limit {limit} GiB: {watch.peak / GIB:.2f} GiB")
    return figures | ({"wrong": wrong} if wrong else {})


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
