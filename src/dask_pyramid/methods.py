"""The ways to reduce an image, as records; how pixels are computed is in `kernels`.

Whatever distinguishes one method from another is a field of `Method`. A second
``if method == ...`` elsewhere is a missing field.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dask_pyramid.axes import per_axis
from dask_pyramid.geometry import Reach

if TYPE_CHECKING:
    from dask_pyramid.nodata import Nodata

__all__ = [
    "METHODS",
    "AxisFilter",
    "Method",
    "Reduction",
    "Sigma",
    "find_method",
    "gaussian_weights",
]

Kernel = Literal["filter", "mean", "first", "mode", "median", "min", "max"]

Sigma = float | Mapping[str, float] | Sequence[float | None] | None
"""Standard deviation of a Gaussian: for all axes, by axis, or None for the default."""

# Where the tails of a Gaussian are cut, in sigma; SciPy's default.
_TRUNCATE = 4.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to reduce an image by whole factors."""

    name: str
    """What the user calls it; the OME-Zarr `type`."""
    kernel: Kernel
    """Which kernel computes it."""
    sample: Literal["centre", "first"]
    """Where a sample sits in its window."""
    labels: bool
    """Whether no value is invented, so that ids stay ids."""
    linear: bool
    """Whether a linear ramp in world coordinates stays one, away from the borders."""
    chain: bool = True
    """Whether each level is made from the level below (else from level 0)."""
    sigma: float | None = None
    """Sigma of the Gaussian in voxels is ``sigma * (step - sigma_origin)``; None: no
    Gaussian."""
    sigma_origin: int = 0
    """See `sigma`."""
    description: str
    """One sentence for the metadata."""

    def offset(self, step: int) -> float:
        """Return where a sample sits, in voxels from the first of its window."""
        return (step - 1) / 2 if self.sample == "centre" else 0.0

    def default_sigma(self, step: int) -> float | None:
        """Return the standard deviation for a step in voxels, None for no filter."""
        if self.sigma is None:
            return None
        return self.sigma * (step - self.sigma_origin)

    def reduction(
        self,
        steps: Sequence[int],
        *,
        axes: Sequence[str],
        sigma: Sigma = None,
        ignore: Nodata | None = None,
    ) -> Reduction:
        """Return the reduction by `steps`, ready for the kernels.

        Parameters
        ----------
        steps : sequence of int
            Window along each axis; 1 leaves an axis alone.
        axes : sequence of str
            Axes, to read a dict.
        sigma : float, dict by axis or sequence, optional
            Standard deviation of the Gaussian in voxels of the level that is reduced,
            for the axes that are reduced.
        ignore : Nodata, optional
            Voxels that do not count.

        Returns
        -------
        Reduction
            The steps with their filters.

        Raises
        ------
        ValueError
            If `sigma` is negative or given to a method without a Gaussian, or if it is
            so small that a voxel of a window has no weight although it may be the only
            one that counts.
        """
        sigmas = self._sigmas(steps, axes=axes, sigma=sigma)
        if self.kernel != "filter":
            return Reduction(
                kernel=self.kernel, steps=tuple(steps), filters=(), ignore=ignore
            )
        filters = tuple(
            AxisFilter(
                step=step,
                gauss=gaussian_weights(s) if step > 1 else (1.0,),
                box=self.sample == "centre",
            )
            for step, s in zip(steps, sigmas, strict=True)
        )
        if ignore is not None and not all(f.covers for f in filters):
            raise ValueError(
                f"sigma must reach all voxels of a window of {max(steps)} where voxels "
                f"may not count, got {sigma!r}; at least (step - 1) / 4 does, or use "
                "method 'gaussian'"
            )
        return Reduction(
            kernel=self.kernel, steps=tuple(steps), filters=filters, ignore=ignore
        )

    def _sigmas(
        self, steps: Sequence[int], *, axes: Sequence[str], sigma: Any
    ) -> tuple[float, ...]:
        if sigma is not None and self.sigma is None:
            raise ValueError(
                f"sigma must not be given with method {self.name!r}, got {sigma!r}; "
                "only the Gaussian methods have one"
            )
        spread = sigma
        if sigma is not None and not isinstance(sigma, Iterable):
            spread = (sigma,) * len(steps)
        given = per_axis(spread, axes, name="sigma", default=None)
        defaults = (self.default_sigma(step) or 0.0 for step in steps)
        sigmas = tuple(
            default if entry is None else float(entry)
            for entry, default in zip(given, defaults, strict=True)
        )
        if not all(math.isfinite(s) and s >= 0 for s in sigmas):
            raise ValueError(
                f"sigma must be zero or more, got {sigma!r}; it is in voxels of the "
                "level that is reduced"
            )
        return sigmas


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """One reduction of a block: the kernel with its numbers."""

    kernel: Kernel
    """Which kernel computes it."""
    steps: tuple[int, ...]
    """Window along each axis, in voxels."""
    filters: tuple[AxisFilter, ...]
    """One filter for each axis; empty for window kernels."""
    ignore: Nodata | None = None
    """Voxels that do not count; None: all count."""

    @property
    def reaches(self) -> tuple[Reach, ...]:
        """What is needed beyond the window along each axis."""
        if not self.filters:
            return (Reach(),) * len(self.steps)
        return tuple(f.reach if f.step > 1 else Reach() for f in self.filters)

    @property
    def halo_free(self) -> bool:
        """Whether windows are enough."""
        return all(r == Reach() for r in self.reaches)


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


_RECORDS = (
    Method(
        name="gaussian",
        kernel="filter",
        sample="centre",
        labels=False,
        linear=True,
        sigma=0.25,
        description="Gaussian, then local mean over the window, as one filter per axis",
    ),
    Method(
        name="gaussian-stride",
        kernel="filter",
        sample="first",
        labels=False,
        linear=True,
        sigma=0.5,
        sigma_origin=1,
        description="Gaussian, then the first voxel of each window",
    ),
    Method(
        name="mean",
        kernel="mean",
        sample="centre",
        labels=False,
        linear=True,
        description="local mean over the window, rounded half to even",
    ),
    Method(
        name="nearest",
        kernel="first",
        sample="first",
        labels=True,
        linear=True,
        description="the first voxel of each window",
    ),
    Method(
        name="mode",
        kernel="mode",
        sample="centre",
        labels=True,
        linear=False,
        description="most frequent value of the window, the smallest of equals",
    ),
    Method(
        name="mode-exact",
        kernel="mode",
        sample="centre",
        labels=True,
        linear=False,
        chain=False,
        description="most frequent value of the whole window of level 0, the smallest "
        "of equals",
    ),
    Method(
        name="median",
        kernel="median",
        sample="centre",
        labels=False,
        linear=False,
        description="median of the window, the lower one of an even number",
    ),
    Method(
        name="min",
        kernel="min",
        sample="centre",
        labels=False,
        linear=False,
        description="smallest value of the window",
    ),
    Method(
        name="max",
        kernel="max",
        sample="centre",
        labels=False,
        linear=False,
        description="largest value of the window",
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _RECORDS}
"""The methods by name."""


def find_method(method: str | Method) -> Method:
    """Return the record of a method.

    Parameters
    ----------
    method : str or Method
        A name out of `METHODS`, or a record.

    Returns
    -------
    Method
        The record.

    Raises
    ------
    ValueError
        If there is no method of this name.

    Examples
    --------
    >>> find_method("gaussian").sample
    'centre'
    """
    if isinstance(method, Method):
        return method
    try:
        return METHODS[method]
    except (KeyError, TypeError):
        known = ", ".join(METHODS)
        raise ValueError(f"method must be one of {known}, got {method!r}") from None
