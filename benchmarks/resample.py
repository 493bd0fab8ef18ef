"""Resampling beside SciPy, and the memory of one that grows large.

Kernels: one core, uint16, Mvoxel/s of the larger side. `scipy.ndimage.zoom` makes the
same pixels (`grid_mode=True`, behind `gaussian_filter` where axes shrink).

Memory: z of a compressible volume is resampled up by 9.4 through the command, under a
limit; peak of the process, and rate of voxels written. It comes first: a process counts
the memory of the one that has started it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr
from scipy import ndimage

import dask_pyramid as dp
from dask_pyramid.geometry import Span
from dask_pyramid.kernels import resample_block
from kernels import rate
from timing import FOLDER, python

if TYPE_CHECKING:
    from dask_pyramid.sampling import Sampling

CASES = (
    ("z up by 9.4", (9.4, 1, 1)),
    ("up by 2.3", (2.3, 2.3, 2.3)),
    ("down by 2.5", (0.4, 0.4, 0.4)),
    ("y, x down by 9.23", (1, 0.10833, 0.10833)),
)


def speed(size: int, orders: list[int]) -> None:
    """Print the rates of kernels."""
    rng = np.random.default_rng(0)
    for label, factors in CASES:
        grown = float(np.prod(factors))
        side = max(8, round(size / max(1.0, grown) ** (1 / 3)))
        volume = (rng.random((side,) * 3) * 1000).astype("uint16")
        for order in orders:
            image = dp.resample(volume, factor=factors, order=order)
            samplings = samplings_of(image)
            spans = [Span(first=0, stop=s.size_out, size=s.size_in) for s in samplings]
            need = tuple(s.needed(0, s.size_out) for s in samplings)
            block = np.ascontiguousarray(volume[need])
            voxels = max(volume.size, image.size)
            ours = rate(
                lambda b=block, s=samplings, p=spans: resample_block(
                    b, s, p, compiled=True
                ),
                voxels,
                3,
            )
            sigma = [s.sigma for s in samplings]
            theirs = rate(
                lambda v=volume, g=sigma, o=order, f=factors: scipy_zoom(v, f, o, g),
                voxels,
                1,
            )
            print(
                f"{label:>18}  order {order}  {ours:7.0f} Mvoxel/s"
                f"  scipy.ndimage {theirs:6.1f}  {ours / theirs:5.0f} times"
            )


def samplings_of(image: dp.Image) -> tuple[Sampling, ...]:
    """Return what an image was resampled by."""
    samplings: tuple[Sampling, ...] = image.reader.samplings  # type: ignore[union-attr]
    return samplings


def scipy_zoom(
    volume: np.ndarray, factors: tuple[float, ...], order: int, sigma: list[float]
) -> np.ndarray:
    """Do the same with SciPy."""
    smooth: np.ndarray = volume
    if any(sigma):
        smooth = ndimage.gaussian_filter(volume, sigma, output="float32")
    made: np.ndarray = ndimage.zoom(
        smooth, factors, order=order, mode="reflect", grid_mode=True, output="uint16"
    )
    return made


def make_source(path: Path, planes: int, side: int) -> None:
    """Write a volume that compresses well."""
    shape = (planes, side, side)
    chunks = (min(planes, 64), 128, 128)
    array = zarr.create_array(path, shape=shape, chunks=chunks, dtype="uint16")
    y, x = np.mgrid[:side, :side]
    for z in range(0, planes, 64):
        slab = np.arange(z, min(z + 64, planes), dtype="uint16")[:, None, None]
        pattern = (y // 16 + x // 16).astype("uint16")
        array[z : z + 64] = 1000 + ((slab + pattern) % 64) * 16


def memory(options: argparse.Namespace) -> None:
    """Print the peak of a write whose result is large."""
    n = options.result
    # Powers of two in y and x, and as many planes as the result needs.
    side = options.side
    planes = max(2, round(n / side / side / 2 / 9.4))
    source = options.folder / f"resample-{planes}x{side}x{side}.zarr"
    target = options.folder / "resampled.zarr"
    if not source.exists():
        # By a process of its own: the peak of a child begins with that of its parent.
        python(__file__, "--make", source, "--side", side, "--planes", planes)
    shutil.rmtree(target, ignore_errors=True)
    base = python("-c", "import dask_pyramid, numpy").peak_mib
    run = python(
        *("-m", "dask_pyramid.cli", "resample", source, target),
        *("--factor", "z=9.4", "--memory-limit", options.limit, "--workers", 2),
        *("--factors", "none", "--no-progress"),
    )
    image = dp.resample(source, factor={"z": 9.4})
    plan = dp.plan_pyramid(
        image, scale_factors=[], memory_limit=options.limit, workers=2
    )
    print(
        f"z up by 9.4 to {image.shape}, {image.nbytes / 2**30:.2f} GiB, limit "
        f"{options.limit}: peak {run.peak_mib:.0f} MiB (predicted "
        f"{plan.peak_memory / 2**20:.0f}, interpreter {base:.0f}), {run.seconds:.1f} s,"
        f" {image.size / run.seconds / 1e6:.0f} Mvoxel/s written"
    )
    shutil.rmtree(target, ignore_errors=True)


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="of the larger cube")
    parser.add_argument("--orders", type=int, nargs="+", default=[0, 1, 3])
    parser.add_argument(
        "--result", type=float, default=2**33, help="bytes of the large result"
    )
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--limit", default="1GiB")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--toy", action="store_true", help="small, and 1 MiB")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--planes", type=int, default=64, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_source(options.make, options.planes, options.side)
        return
    if options.toy:
        options.size, options.result, options.side = 24, 2.0**20, 128
    memory(options)
    speed(options.size, options.orders)


if __name__ == "__main__":
    main()
