"""The ways to reduce an image, as records; how pixels are computed is in `kernels`.

By whole steps a method has a kernel of its own. If the step along an axis is no whole
number, all axes of the reduction are resampled: `Method.between` says how.

Whatever distinguishes one method from another is a field of `Method`. A second
``if method == ...`` elsewhere is a missing field.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dask_pyramid.axes import per_axis
from dask_pyramid.factors import is_whole
from dask_pyramid.filters import AxisFilter, check_sigma, gaussian_weights
from dask_pyramid.geometry import Factor, Reach, Span, needed
from dask_pyramid.sampling import AxisSampler, Between

if TYPE_CHECKING:
    from dask_pyramid.nodata import Nodata

__all__ = [
    "METHODS",
    "Method",
    "Reduction",
    "Sigma",
    "find_method",
]

Kernel = Literal[
    "filter", "mean", "first", "mode", "median", "min", "max", "sample", "any"
]

Sigma = float | Mapping[str, float] | Sequence[float | None] | None
"""Standard deviation of a Gaussian: for all axes, by axis, or None for the default."""

_BETWEEN: dict[Between, str] = {
    "linear": "Gaussian, then linear interpolation at the centre of each voxel",
    "nearest": "the voxel nearest to the centre of each",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to reduce an image."""

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
    between: Between | None = None
    """How samples are made if a step is no whole number; None: that is refused."""
    description: str
    """One sentence for the metadata."""

    @property
    def between_text(self) -> str:
        """What the metadata say of levels whose step is no whole number."""
        return _BETWEEN[self.between] if self.between else ""

    def offset(self, step: int) -> float:
        """Return where a sample sits, in voxels from the first of its window."""
        return (step - 1) / 2 if self.sample == "centre" else 0.0

    def offsets(self, steps: Sequence[Factor]) -> tuple[float, ...]:
        """Return the same for each axis; the centre, if a step is no whole number.

        Examples
        --------
        >>> from fractions import Fraction
        >>> METHODS["nearest"].offsets((2, Fraction(5, 2)))
        (0.5, 0.75)
        """
        if is_whole(steps):
            return tuple(self.offset(int(step)) for step in steps)
        return tuple(float((step - 1) / 2) for step in steps)

    def default_sigma(self, step: int) -> float | None:
        """Return the standard deviation for a step in voxels, None for no filter."""
        if self.sigma is None:
            return None
        return self.sigma * (step - self.sigma_origin)

    def default_sigmas(self, steps: Sequence[Factor]) -> tuple[float | None, ...]:
        """Return the same for each axis; (step - 1) / 2, if a step is not whole."""
        if is_whole(steps):
            return tuple(self.default_sigma(int(step)) for step in steps)
        if self.between != "linear":
            return (None,) * len(steps)
        return tuple(float((step - 1) / 2) for step in steps)

    def reduction(
        self,
        steps: Sequence[Factor],
        *,
        axes: Sequence[str],
        sigma: Sigma = None,
        ignore: Nodata | None = None,
    ) -> Reduction:
        """Return the reduction by `steps`, ready for the kernels.

        Parameters
        ----------
        steps : sequence of int or Fraction
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
            one that counts; or if a step is no whole number and the method has no
            meaning for that.
        """
        sigmas = self._sigmas(steps, axes=axes, sigma=sigma)
        if not is_whole(steps):
            return self._resampling(steps, sigmas, ignore)
        if self.kernel != "filter":
            return Reduction(
                kernel=self.kernel, steps=tuple(steps), filters=(), ignore=ignore
            )
        filters = tuple(
            AxisFilter(
                step=int(step),
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

    def _resampling(
        self, steps: Sequence[Factor], sigmas: Sequence[float], ignore: Nodata | None
    ) -> Reduction:
        if min(steps) < 1:
            raise ValueError(
                f"steps must be at least 1, got {_steps_text(steps)}; resample makes "
                "voxels finer"
            )
        if self.between is None:
            able = ", ".join(name for name, m in METHODS.items() if m.between)
            raise ValueError(
                f"method must be one of {able} for steps between levels that are no "
                f"whole numbers, got {self.name!r} for a step of "
                f"{_steps_text(steps)}; give scale_factors that are multiples of those "
                "before"
            )
        samplers = tuple(
            AxisSampler(
                step=step, between=self.between, sigma=sigma if step > 1 else 0.0
            )
            for step, sigma in zip(steps, sigmas, strict=True)
        )
        return Reduction(
            kernel="sample",
            steps=tuple(steps),
            filters=(),
            ignore=ignore,
            samplers=samplers,
        )

    def _sigmas(
        self, steps: Sequence[Factor], *, axes: Sequence[str], sigma: Any
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
        defaults = (default or 0.0 for default in self.default_sigmas(steps))
        sigmas = tuple(
            default if entry is None else float(entry)
            for entry, default in zip(given, defaults, strict=True)
        )
        for width in sigmas:
            check_sigma(width, float(max(steps)), given=sigma)
        return sigmas


def _steps_text(steps: Sequence[Factor]) -> str:
    return " x ".join(f"{float(step):g}" for step in steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """One reduction of a block: the kernel with its numbers."""

    kernel: Kernel
    """Which kernel computes it."""
    steps: tuple[Factor, ...]
    """Window along each axis, in voxels."""
    filters: tuple[AxisFilter, ...]
    """One filter for each axis; empty for other kernels."""
    ignore: Nodata | None = None
    """Voxels that do not count; None: all count."""
    samplers: tuple[AxisSampler, ...] = ()
    """One sampler for each axis; empty for whole steps."""

    @property
    def windows(self) -> tuple[int, ...]:
        """The steps of a reduction by whole ones."""
        return tuple(map(int, self.steps))

    @property
    def reaches(self) -> tuple[Reach, ...]:
        """What is needed beyond the window along each axis."""
        if self.samplers:
            return tuple(sampler.reach for sampler in self.samplers)
        if not self.filters:
            return (Reach(),) * len(self.steps)
        return tuple(f.reach if f.step > 1 else Reach() for f in self.filters)

    @property
    def halos(self) -> tuple[Reach, ...]:
        """What a block needs beyond its ends to make the windows that begin in it."""
        return tuple(
            reach
            if isinstance(step, int)
            else Reach(before=reach.before, after=reach.after + math.ceil(step))
            for step, reach in zip(self.steps, self.reaches, strict=True)
        )

    def needed(self, spans: Sequence[Span]) -> tuple[slice, ...]:
        """Return the voxels that samples are made of, cut at the border."""
        return tuple(
            needed(span.first, span.stop, step=step, reach=reach, size=span.size)
            for span, step, reach in zip(spans, self.steps, self.reaches, strict=True)
        )

    @property
    def halo_free(self) -> bool:
        """Whether windows are enough."""
        return all(r == Reach() for r in self.halos)


_RECORDS = (
    Method(
        name="gaussian",
        kernel="filter",
        sample="centre",
        labels=False,
        linear=True,
        sigma=0.25,
        between="linear",
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
        between="linear",
        description="Gaussian, then the first voxel of each window",
    ),
    Method(
        name="mean",
        kernel="mean",
        sample="centre",
        labels=False,
        linear=True,
        between="linear",
        description="local mean over the window, rounded half to even",
    ),
    Method(
        name="nearest",
        kernel="first",
        sample="first",
        labels=True,
        linear=True,
        between="nearest",
        description="the first voxel of each window",
    ),
    Method(
        name="mode",
        kernel="mode",
        sample="centre",
        labels=True,
        linear=False,
        between="nearest",
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
