"""Shapes, windows, halos, scale and translation: numbers, no arrays.

Array index i is the centre of a voxel. Sample j of a level sits at index ``a * j + b``
of level 0, where a is the true factor, never the ratio of two shapes. Everything that
places a level in the world, or says which voxels a voxel is made of, is decided here.

A step is a whole number or an exact fraction. Voxel i covers ``[i, i + 1)`` of its
axis, and the window of sample j is ``[step * j, step * (j + 1))``: it holds every voxel
that it touches, so that all that follows is the same for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Factor",
    "Placement",
    "Reach",
    "Span",
    "ceil_div",
    "covered",
    "dependent",
    "needed",
    "reduced_shape",
    "spacing",
]

Factor = int | Fraction
"""A factor or step: an int if it is whole, else exact."""


def ceil_div(n: int, d: Factor) -> int:
    """Return ``n / d`` rounded up, exactly.

    Examples
    --------
    >>> ceil_div(7, 2), ceil_div(7, Fraction(5, 2))
    (4, 3)
    """
    return -(-n // d)


def reduced_shape(shape: Sequence[int], steps: Sequence[Factor]) -> tuple[int, ...]:
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


def needed(start: int, stop: int, *, step: Factor, reach: Reach, size: int) -> slice:
    """Return what is needed of an axis to make ``[start, stop)`` of the next level.

    Parameters
    ----------
    start, stop : int
        Half-open range of samples of the next level.
    step : int or Fraction
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
    >>> needed(1, 2, step=Fraction(5, 2), reach=Reach(), size=17)
    slice(2, 5, None)
    """
    return slice(
        max(0, math.floor(step * start) - reach.before),
        min(size, math.ceil(step * stop) + reach.after),
    )


def covered(spans: Sequence[Span], steps: Sequence[Factor]) -> tuple[slice, ...]:
    """Return the voxels of the windows of samples, cut at the border.

    Parameters
    ----------
    spans : sequence of Span
        Samples along each axis.
    steps : sequence of int or Fraction
        Windows, in voxels.

    Returns
    -------
    tuple of slice
        `needed` of each axis, without any reach.

    Examples
    --------
    >>> covered([Span(first=1, stop=3, size=5)], [2])
    (slice(2, 5, None),)
    """
    return tuple(
        needed(span.first, span.stop, step=step, reach=Reach(), size=span.size)
        for span, step in zip(spans, steps, strict=True)
    )


def dependent(start: int, stop: int, *, step: Factor, reach: Reach, size: int) -> slice:
    """Return what of the next level is made, in part, of ``[start, stop)``.

    The other side of `needed`: sample j is among them if what it needs meets the range.

    Parameters
    ----------
    start, stop : int
        Half-open range of voxels; an empty one makes nothing.
    step : int or Fraction
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
    # needed(j) ends at step * (j + 1) + after and begins at step * j - before, the one
    # rounded up and the other down, which a whole number on the other side allows for.
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

    def reduced(self, step: Factor, *, offset: float) -> Placement:
        """Return the placement after one more reduction.

        Parameters
        ----------
        step : int or Fraction
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


def spacing(scale: float, factor: Factor) -> float:
    """Return the spacing of a level as a product of decimals, rounded once.

    Parameters
    ----------
    scale : float
        Spacing of level 0; it stands for the decimal number that it is written as.
    factor : int or Fraction
        Factor from level 0.

    Returns
    -------
    float
        The same for all axes of an isotropic level, to the last bit.

    Examples
    --------
    >>> spacing(0.202, Fraction(500, 101)), spacing(0.1, 3), 0.1 * 3
    (1.0, 0.3, 0.30000000000000004)
    """
    return float(Fraction(str(scale)) * factor)
