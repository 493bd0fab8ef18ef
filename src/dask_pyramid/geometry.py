"""Shapes, factors, halos, scale and translation: integers and floats, no arrays.

Array index i is the centre of a voxel. Sample j of a level sits at index ``a * j + b``
of level 0, where a is the true factor, never the ratio of two shapes. Everything that
places a level in the world, or says which voxels a voxel is made of, is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask_pyramid.axes import SPATIAL

__all__ = [
    "Placement",
    "Reach",
    "Span",
    "absolute_factors",
    "auto_factors",
    "ceil_div",
    "dependent",
    "needed",
    "reduced_shape",
]


# Far beyond any pyramid; the taps of a filter grow with the factor.
_MOST = 2**15


def ceil_div(n: int, d: int) -> int:
    """Return ``n / d`` rounded up, in integers.

    Examples
    --------
    >>> ceil_div(7, 2)
    4
    """
    return -(-n // d)


def reduced_shape(shape: Sequence[int], steps: Sequence[int]) -> tuple[int, ...]:
    """Return the shape after a reduction: no voxel is dropped, no axis reaches zero.

    Examples
    --------
    >>> reduced_shape((5, 1), (2, 2))
    (3, 1)
    """
    return tuple(ceil_div(n, f) for n, f in zip(shape, steps, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a kernel looks beyond its window along one axis, in voxels."""

    before: int = 0
    """Voxels before the first voxel of the window."""
    after: int = 0
    """Voxels after the last voxel of the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a kernel makes along one axis: ``[first, stop)`` of the next level."""

    first: int
    """First sample."""
    stop: int
    """One beyond the last sample."""
    size: int
    """Extent of the whole axis that is reduced, to know where its border is."""

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.stop - self.first

    def last_width(self, step: int) -> int:
        """Return how many voxels the window of the last sample holds.

        Examples
        --------
        >>> Span(first=0, stop=3, size=5).last_width(2)
        1
        """
        return min(step, self.size - step * (self.stop - 1))


def needed(start: int, stop: int, *, step: int, reach: Reach, size: int) -> slice:
    """Return what is needed of an axis to make ``[start, stop)`` of the next level.

    Parameters
    ----------
    start, stop : int
        Half-open range of samples of the next level.
    step : int
        Window of the reduction, in voxels.
    reach : Reach
        What the kernel needs beyond the window.
    size : int
        Extent of the axis; the range is cut to it.

    Returns
    -------
    slice
        Half-open range of voxels.

    Examples
    --------
    >>> needed(4, 8, step=2, reach=Reach(before=2, after=2), size=17)
    slice(6, 17, None)
    """
    return slice(
        max(0, step * start - reach.before), min(size, step * stop + reach.after)
    )


def dependent(start: int, stop: int, *, step: int, reach: Reach, size: int) -> slice:
    """Return what of the next level is made, in part, of ``[start, stop)``.

    The other side of `needed`: sample j is among them if what it needs meets the range.

    Parameters
    ----------
    start, stop : int
        Half-open range of voxels; an empty one makes nothing.
    step : int
        Window of the reduction, in voxels.
    reach : Reach
        What the kernel needs beyond the window.
    size : int
        Extent of the next level; the range is cut to it.

    Returns
    -------
    slice
        Half-open range of samples of the next level.

    Examples
    --------
    >>> dependent(8, 9, step=2, reach=Reach(before=2, after=2), size=100)
    slice(3, 6, None)
    """
    if start >= stop:
        return slice(0, 0)
    # needed(j) ends at step * (j + 1) + after and begins at step * j - before.
    return slice(
        max(0, (start - reach.after) // step),
        min(size, ceil_div(stop + reach.before, step)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the samples of a level sit: sample j is at ``a * j + b`` of level 0."""

    a: float = 1.0
    """Distance of two samples, in voxels of level 0."""
    b: float = 0.0
    """Position of sample 0, in voxels of level 0."""

    def reduced(self, step: int, *, offset: float) -> Placement:
        """Return the placement after one more reduction.

        Parameters
        ----------
        step : int
            Window of the reduction, in voxels of this level.
        offset : float
            Where the sample sits in its window, in voxels of this level from the first:
            0 for `first`, ``(step - 1) / 2`` for `centre`.

        Returns
        -------
        Placement
            ``a' = a * step``, ``b' = b + a * offset``.

        Examples
        --------
        >>> Placement().reduced(2, offset=0.5).reduced(2, offset=0.5)
        Placement(a=4.0, b=1.5)
        """
        return Placement(a=self.a * step, b=self.b + self.a * offset)

    def world(self, scale: float, translation: float) -> tuple[float, float]:
        """Return scale and translation of the level in world units.

        Examples
        --------
        >>> Placement(a=2.0, b=0.5).world(3.0, 0.0)
        (6.0, 1.5)
        """
        return scale * self.a, translation + scale * self.b


def absolute_factors(
    scale_factors: Iterable[int | Mapping[str, int]], axes: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Check a list of factors and spread each over the axes.

    Parameters
    ----------
    scale_factors : iterable of int or dict by axis
        Factors relative to level 0. An int reduces all spatial axes; an axis that a
        dict does not name keeps its factor of level 0, 1.
    axes : sequence of str
        Axes in storage order.

    Returns
    -------
    tuple of tuple of int
        One factor for each axis, for each level but level 0.

    Raises
    ------
    ValueError
        If a factor is not a positive integer, names an axis that is not there or is
        not spatial, or the factors do not increase.

    Examples
    --------
    >>> absolute_factors([2, {"y": 4, "x": 4, "z": 2}], ("z", "y", "x"))
    ((2, 2, 2), (2, 4, 4))
    >>> absolute_factors([2, 2], ("y", "x"))
    Traceback (most recent call last):
    ...
    ValueError: scale_factors must increase, got (2, 2); they are relative to level 0, \
so halvings are (2, 4)
    """
    given = tuple(scale_factors)
    spread = tuple(_spread(entry, axes) for entry in given)
    previous = (1,) * len(axes)
    for factors in spread:
        grows = factors != previous
        if not grows or any(f < p for f, p in zip(factors, previous, strict=True)):
            halvings = tuple(2 ** (k + 1) for k in range(len(given)))
            raise ValueError(
                f"scale_factors must increase, got {given!r}; they are relative to "
                f"level 0, so halvings are {halvings!r}"
            )
        previous = factors
    return spread


def _spread(entry: Any, axes: Sequence[str]) -> tuple[int, ...]:
    if isinstance(entry, Mapping):
        for axis, factor in entry.items():
            _check_axis(axis, factor, axes)
        return tuple(_check_factor(entry.get(axis, 1)) for axis in axes)
    factor = _check_factor(entry)
    return tuple(factor if axis in SPATIAL else 1 for axis in axes)


def _check_axis(axis: str, factor: Any, axes: Sequence[str]) -> None:
    if axis not in axes:
        raise ValueError(
            f"scale_factors must name axes of the image ({''.join(axes)}), got {axis!r}"
        )
    if axis not in SPATIAL and factor != 1:
        raise ValueError(
            f"scale_factors must leave axis {axis!r} alone, got {factor!r}; "
            "only z, y and x are reduced"
        )


def _check_factor(factor: Any) -> int:
    try:
        whole = int(factor)
    except (TypeError, ValueError, OverflowError):
        whole = 0
    if isinstance(factor, bool) or whole != factor or whole < 1:
        raise ValueError(
            f"scale_factors must be whole numbers of at least 1, got {factor!r}; "
            "2 halves every spatial axis, {'y': 2, 'x': 2} halves y and x"
        )
    if whole > _MOST:
        raise ValueError(f"scale_factors must be at most {_MOST}, got {factor!r}")
    return whole


def auto_factors(
    shape: Sequence[int],
    scale: Sequence[float],
    *,
    axes: Sequence[str],
    chunks: Sequence[int],
) -> tuple[tuple[int, ...], ...]:
    """Choose factors that first make voxels isotropic, then keep them so.

    Each level halves the spatial axes whose spacing is at most sqrt(2) times the
    finest one; levels are added until the spatial part fits into one chunk.

    Parameters
    ----------
    shape : sequence of int
        Extent of level 0.
    scale : sequence of float
        Spacing of level 0.
    axes : sequence of str
        Axes in storage order.
    chunks : sequence of int
        Extent of a chunk.

    Returns
    -------
    tuple of tuple of int
        Factors from level 0, for each level but level 0; empty for a small image.

    Notes
    -----
    Only axes longer than one voxel are halved, and only they are looked at to find the
    finest spacing: the z of a single plane says nothing.

    Examples
    --------
    >>> auto_factors((60, 512, 512), (1.0, 0.25, 0.25), axes="zyx", chunks=(64,) * 3)
    ((1, 2, 2), (1, 4, 4), (2, 8, 8))
    """
    factors = [1] * len(axes)
    levels: list[tuple[int, ...]] = []
    while True:
        now = reduced_shape(shape, factors)
        live = [i for i, axis in enumerate(axes) if axis in SPATIAL and now[i] > 1]
        if all(now[i] <= chunks[i] for i in live):
            return tuple(levels)
        finest = min(scale[i] * factors[i] for i in live)
        for i in live:
            # A hair of tolerance: 2 * 0.1 / (0.2 * 2**0.5) must not depend on rounding.
            if scale[i] * factors[i] <= finest * math.sqrt(2) * (1 + 1e-9):
                factors[i] *= 2
        levels.append(tuple(factors))
