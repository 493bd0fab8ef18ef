"""Axes and their units in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from dask_pyramid.axes import SPATIAL
from dask_pyramid.tables import numbers_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["other_axes", "spatial", "unit_text"]

T = TypeVar("T")


def unit_text(axes: Sequence[str], units: Sequence[str | None]) -> str:
    """Return the unit of the spatial axes.

    Parameters
    ----------
    axes : sequence of str
        Axes in storage order.
    units : sequence of str or None
        Unit of each axis.

    Returns
    -------
    str
        One word if all have the same, else one for each.

    Examples
    --------
    >>> unit_text("tyx", ("second", "micrometer", "micrometer"))
    'micrometer'
    >>> unit_text("yx", (None, "nanometer"))
    'y pixels, x nanometer'
    """
    pairs = zip(axes, units, strict=True)
    words = {a: u or "pixels" for a, u in pairs if a in SPATIAL}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{axis} {word}" for axis, word in words.items())


def spatial(axes: Sequence[str], values: Sequence[Sequence[T]]) -> list[tuple[T, ...]]:
    """Keep the entries of spatial axes."""
    return [
        tuple(v for v, axis in zip(vector, axes, strict=True) if axis in SPATIAL)
        for vector in values
    ]


def other_axes(
    axes: Sequence[str],
    scale: Sequence[float],
    translation: Sequence[float],
    unit: Sequence[str | None],
) -> str:
    """Return what t and c measure, where it is not 1 from 0; no level changes it."""
    parts = []
    for axis, s, t, word in zip(axes, scale, translation, unit, strict=True):
        if axis not in SPATIAL and (word or (s, t) != (1.0, 0.0)):
            start = f" from {numbers_text([t])}" if t else ""
            parts.append(f"{axis}: {numbers_text([s])} {word or ''}".rstrip() + start)
    return "; ".join(parts)
