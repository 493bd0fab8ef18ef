"""Resampling beside SciPy, and the memory of one that grows large."""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

import dask_pyramid as dp
from dask_pyramid.geometry import Span
from dask_pyramid.kernels import resample_block
from suite.images import Case, made
from suite.processes import FOLDER, MIB, SIZE, Run, python, rate

if TYPE_CHECKING:
    from dask_pyramid.sampling import Sampling

FACTORS = {
    "z up by 9.4": (9.4, 1, 1),
    "up by 2.3": (2.3, 2.3, 2.3),
    "down by 2.5": (0.4, 0.4, 0.4),
    "y, x down by 9.23": (1, 0.10833, 0.10833),
}
_SIDE = 256 if SIZE != "toy" else 24
_GROWN = 9.4


def scipy_zoom(volume: np.ndarray, samplings: tuple[Sampling, ...], order: int) -> Any:
    """Do the same with SciPy: behind a Gaussian where axes shrink."""
    sigma = [sampling.sigma for sampling in samplings]
    zoom = [s.size_out / s.size_in for s in samplings]
    smooth = volume
    if any(sigma):
        smooth = ndimage.gaussian_filter(volume, sigma, output="float32")
    return ndimage.zoom(
        smooth, zoom, order=order, mode="reflect", grid_mode=True, output="uint16"
    )


class Resampling:
    """Kernels on one core, uint16, voxels of the larger side."""

    params = (list(FACTORS), (0, 1, 3))
    param_names = ("factors", "order")
    timeout = 600

    def setup(self, name: str, order: int) -> None:
        """Make the block that is needed."""
        factors = FACTORS[name]
        grown = float(np.prod(factors))
        side = max(8, round(_SIDE / max(1.0, grown) ** (1 / 3)))
        volume = (np.random.default_rng(0).random((side,) * 3) * 1000).astype("uint16")
        image = dp.resample(volume, factor=factors, order=order)
        samplings: tuple[Sampling, ...] = image.reader.samplings
        spans = [Span(first=0, stop=s.size_out, size=s.size_in) for s in samplings]
        need = tuple(s.needed(0, s.size_out) for s in samplings)
        block = np.ascontiguousarray(volume[need])
        self.voxels = max(volume.size, image.size)
        self.ours = lambda: resample_block(block, samplings, spans, compiled=True)
        self.theirs = lambda: scipy_zoom(volume, samplings, order)

    def time_resample(self, *_: Any) -> None:
        """One block."""
        self.ours()

    def track_rate(self, *_: Any) -> float:
        """Ours."""
        return rate([self.ours], voxels=self.voxels)[0]

    def track_over_scipy(self, *_: Any) -> float:
        """Ours over `scipy.ndimage.zoom`, in turn."""
        ours, theirs = rate([self.ours, self.theirs], voxels=self.voxels)
        return ours / theirs

    track_rate.unit = "Mvoxel/s"
    track_over_scipy.unit = "times"


@cache
def _grown() -> tuple[Run, float, int]:
    """Return a write of what grows to 8 GiB, its predicted MiB, and its voxels."""
    side = 2048 if SIZE != "toy" else 32
    planes = max(2, round(2**33 / 2048**2 / 2 / _GROWN)) if SIZE != "toy" else 4
    chunks = (min(64, planes), *(min(128, side),) * 2)
    case = Case(
        axes="zyx", shape=(planes, side, side), chunks=chunks, content="pattern"
    )
    source, target = made(case), FOLDER / "resampled.zarr"
    shutil.rmtree(target, ignore_errors=True)
    run = python(
        *("-m", "dask_pyramid.cli", "resample", source, target),
        *("--factor", f"z={_GROWN}", "--memory-limit", "1GiB", "--workers", 2),
        *("--factors", "none", "--no-progress"),
    )
    shutil.rmtree(target, ignore_errors=True)
    image = dp.resample(source, factor={"z": _GROWN})
    plan = dp.plan_pyramid(image, scale_factors=[], memory_limit="1GiB", workers=2)
    return run, plan.peak_memory / MIB, image.size


class GrowingLarge:
    """z up by 9.4 through the command, to 8 GiB, within 1 GiB."""

    timeout = 3600

    def track_peak(self) -> float:
        """Of the process."""
        return _grown()[0].peak_mib

    def track_predicted(self) -> float:
        """What the plan says."""
        return _grown()[1]

    def track_rate(self) -> float:
        """Voxels written."""
        run, _, voxels = _grown()
        return voxels / run.seconds / 1e6

    track_peak.unit = "MiB"
    track_predicted.unit = "MiB"
    track_rate.unit = "Mvoxel/s"
