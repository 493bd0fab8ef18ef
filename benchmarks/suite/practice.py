"""Practice 1: a stack of (100, 2040, 3300) made about nine times smaller in y and x.

NumPy, SciPy, scikit-image and this package reduce the same array in memory, in slabs of
20 planes, on one thread. Ten planes of fibres with photon and read noise, repeated.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.transform import downscale_local_mean, rescale

import dask_pyramid as dp
from dask_pyramid.probes import band_limited
from suite.processes import SIZE

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from phantoms import filaments  # examples are no package

if TYPE_CHECKING:
    from collections.abc import Callable

FACTOR, STEP = 0.108333, 9
SIGMA = (1 / FACTOR - 1) / 2
SLAB = 20


SHAPE = (100, 2040, 3300) if SIZE != "toy" else (4, 90, 180)


def theirs() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what is used today."""

    def rescaled(slab: np.ndarray, *, smooth: bool) -> np.ndarray:
        factors = (1, FACTOR, FACTOR)
        return rescale(slab, factors, anti_aliasing=smooth, preserve_range=True)

    def smoothed(slab: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(slab, (0, SIGMA, SIGMA))[:, ::STEP, ::STEP]

    return {
        "NumPy slices": lambda slab: slab[:, ::STEP, ::STEP].copy(),
        "skimage rescale": lambda slab: rescaled(slab, smooth=False),
        "skimage rescale, anti-aliased": lambda slab: rescaled(slab, smooth=True),
        "skimage local mean": lambda slab: downscale_local_mean(slab, (1, STEP, STEP)),
        "SciPy Gaussian, then slices": smoothed,
    }


def ours() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what this package offers."""

    def down(method: str, sigma: float | None = None) -> Callable[..., np.ndarray]:
        spread = None if sigma is None else (0, sigma, sigma)
        return lambda slab: dp.downsample(slab, (1, STEP, STEP), method, sigma=spread)

    def resampled(slab: np.ndarray) -> np.ndarray:
        # By default order 1 and the Gaussian of rescale; one thread, as the others.
        image = dp.resample(slab, factor={"y": FACTOR, "x": FACTOR})
        return image.data.compute(scheduler="synchronous")

    return {
        "nearest": down("nearest"),
        "mean": down("mean"),
        "gaussian": down("gaussian"),
        # As wide, with its local mean, as the Gaussian of rescale.
        "gaussian, sigma 3.3": down("gaussian", 3.3),
        "gaussian-stride": down("gaussian-stride"),
        "resample, anti-aliased": resampled,
    }


@cache
def stack() -> tuple[np.ndarray, np.ndarray]:
    """Return the stack, and some of its planes without noise."""
    drawn = min(SHAPE[0], 10)
    noisy, clean = filaments((drawn, *SHAPE[1:]))
    return np.tile(noisy, (-(-SHAPE[0] // drawn), 1, 1))[: SHAPE[0]], clean[:4]


def decibels(result: np.ndarray, clean: np.ndarray, label: str) -> float:
    """Return signal over error, at the samples where the method has them."""
    first = "slices" in label or "stride" in label or label == "nearest"
    ideal = clean
    for axis in (1, 2):
        n, count = clean.shape[axis], result.shape[axis]
        factor = n / count if "rescale" in label else STEP
        factor = 1 / FACTOR if "resample" in label else factor
        offset = 0 if first else (factor - 1) / 2
        ideal = band_limited(ideal, factor, axis=axis, offset=offset, count=count)
    error = np.mean((result.astype("float64") - ideal) ** 2)
    return float(10 * np.log10(np.var(ideal) / error))


class Practice:
    """Ways to reduce the stack; ours begin with a star."""

    params = ((*theirs(), *(f"* {name}" for name in ours())),)
    param_names = ("by",)
    timeout = 600
    number, repeat = 1, (1, 3, 10.0)

    def setup(self, label: str) -> None:
        """Reduce one slab, which loads what is compiled."""
        self.label = label.removeprefix("* ")
        self.reduce = {**theirs(), **ours()}[self.label]
        noisy, self.clean = stack()
        self.slabs = [noisy[i : i + SLAB] for i in range(0, len(noisy), SLAB)]
        self.reduce(self.slabs[0])

    def time_stack(self, *_: str) -> None:
        """All slabs."""
        for slab in self.slabs:
            self.reduce(slab)

    def track_mean_over_std(self, *_: str) -> float:
        """What practice calls signal to noise."""
        result = self.reduce(self.slabs[0])
        return float(result.mean() / result.std())

    def track_signal(self, *_: str) -> float:
        """Over error, against the stack without noise and without its high part."""
        result = self.reduce(self.slabs[0][: len(self.clean)])
        return decibels(result, self.clean, self.label)

    track_signal.unit = "dB"
