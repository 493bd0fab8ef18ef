"""Decimating filters along one axis: a Gaussian, with a mean or without."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from dask_pyramid.geometry import Reach

__all__ = ["AxisFilter", "check_sigma", "gaussian_weights"]

# Where the tails are cut, in sigma; SciPy's default.
_TRUNCATE = 4.0
# The widest Gaussian: a sample is made of eight times as many voxels along each axis.
_WIDEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisFilter:
    """A decimating filter along one axis: a Gaussian, then a mean or a sample."""

    step: int
    """Window in voxels; every `step`-th sample is kept."""
    gauss: tuple[float, ...]
    """Weights of the Gaussian, odd in number, sum 1."""
    box: bool
    """Whether the local mean over the window follows (else its first voxel)."""

    def taps(self, width: int) -> tuple[float, ...]:
        """Return the weights of one sample whose window holds `width` voxels.

        Parameters
        ----------
        width : int
            Voxels of the window that exist: `step`, or fewer for the last window.

        Returns
        -------
        tuple of float
            Weights of the voxels from ``reach.before`` before the window on, sum 1.

        Examples
        --------
        >>> AxisFilter(step=2, gauss=(0.25, 0.5, 0.25), box=True).taps(2)
        (0.125, 0.375, 0.375, 0.125)
        """
        if not self.box or width == 1:
            return self.gauss
        mean = np.full(width, 1 / width)
        return tuple(float(w) for w in np.convolve(self.gauss, mean))

    @property
    def reach(self) -> Reach:
        """What is needed beyond the window."""
        radius = len(self.gauss) // 2
        after = radius if self.box else max(0, radius - (self.step - 1))
        return Reach(before=radius, after=after)

    @property
    def covers(self) -> bool:
        """Whether every voxel of the window has a weight."""
        return self.box or len(self.gauss) // 2 >= self.step - 1


def check_sigma(sigma: float, step: float, *, given: Any) -> None:
    """Refuse a Gaussian that is none, or so wide that it is no filter any more.

    Parameters
    ----------
    sigma : float
        Standard deviation in voxels.
    step : float
        Distance of two samples in voxels, to which the Gaussians of all methods grow.
    given : object
        What to name in a message.

    Raises
    ------
    ValueError
        If `sigma` is out of its range.

    Examples
    --------
    >>> check_sigma(1e6, 2, given=1e6)
    Traceback (most recent call last):
        ...
    ValueError: sigma must be at most 64 voxels, or the window where that is larger, \
got 1000000.0; smooth an image that was reduced before
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(
            f"sigma must be zero or more, got {given!r}; it is in voxels of the level "
            "that is reduced"
        )
    if sigma > max(_WIDEST, step):
        raise ValueError(
            f"sigma must be at most {_WIDEST} voxels, or the window where that is "
            f"larger, got {given!r}; smooth an image that was reduced before"
        )


@lru_cache(maxsize=256)
def gaussian_weights(sigma: float) -> tuple[float, ...]:
    """Return the sampled, normalised Gaussian that `scipy.ndimage` uses.

    Parameters
    ----------
    sigma : float
        Standard deviation in voxels; below 1/8 there is a single weight of 1.

    Returns
    -------
    tuple of float
        ``2 * int(4 * sigma + 0.5) + 1`` weights, sum 1.

    Examples
    --------
    >>> [round(w, 4) for w in gaussian_weights(0.5)]
    [0.0003, 0.1065, 0.7866, 0.1065, 0.0003]
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0:
        return (1.0,)
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * x**2)
    return tuple(float(w) for w in weights / weights.sum())
