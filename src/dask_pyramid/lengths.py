"""Units of length in metres, and spacings in several units compared."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from dask_pyramid.axes import SPATIAL

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["METRES", "SI_PREFIXES", "comparable", "decimals", "one_unit"]

SI_PREFIXES = dict(
    zip(
        "yocto zepto atto femto pico nano micro milli".split(),
        (10.0**-e for e in (24, 21, 18, 15, 12, 9, 6, 3)),
        strict=True,
    )
) | {
    "centi": 0.01,
    "deci": 0.1,
    "": 1.0,
    "hecto": 1e2,
    "kilo": 1e3,
    "mega": 1e6,
    "giga": 1e9,
    "tera": 1e12,
    "peta": 1e15,
    "exa": 1e18,
    "zetta": 1e21,
    "yotta": 1e24,
}
METRES = {f"{prefix}meter": size for prefix, size in SI_PREFIXES.items()} | {
    "angstrom": 1e-10,
    "inch": 0.0254,
    "foot": 0.3048,
    "yard": 0.9144,
    "mile": 1609.344,
    "parsec": 3.0856775814913673e16,
}


def comparable(
    scale: Sequence[float], unit: Sequence[str | None], axes: Sequence[str]
) -> tuple[float, ...]:
    """Return spacings in one unit, so that axes can be compared.

    Parameters
    ----------
    scale : sequence of float
        Spacing of each axis, in its unit.
    unit : sequence of str or None
        UDUNITS word for each axis.
    axes : sequence of str
        The axes.

    Returns
    -------
    tuple of float
        Metres, if any spatial axis has a unit: an axis without one then counts as the
        finest of the others. Else the numbers as they are.

    Examples
    --------
    >>> [round(s, 9) for s in comparable(
    ...     (300, 0.1, 7), ("nanometer", "micrometer", None), "zyx")]
    [3e-07, 1e-07, 1e-07]
    """
    metres = [
        s * METRES[u] if a in SPATIAL and u is not None else None
        for s, u, a in zip(scale, unit, axes, strict=True)
    ]
    known = [m for m in metres if m is not None]
    if not known:
        return tuple(scale)
    return tuple(min(known) if m is None else m for m in metres)


def decimals(
    scale: Sequence[float], unit: Sequence[str | None], axes: Sequence[str]
) -> tuple[Fraction, ...]:
    """Return spacings as the decimals that they are written in, as `comparable` does.

    But in the unit that all spatial axes have, if they have one in common.

    Examples
    --------
    >>> [str(s) for s in decimals((300, 0.1), ("nanometer", "micrometer"), "yx")]
    ['3/10000000', '1/10000000']
    """
    numbers = tuple(Fraction(str(s)) for s in scale)
    if one_unit(unit, axes):
        return numbers
    metres = {
        i: s * Fraction(str(METRES[u]))
        for i, (s, u, a) in enumerate(zip(numbers, unit, axes, strict=True))
        if a in SPATIAL and u is not None
    }
    return tuple(metres.get(i, min(metres.values())) for i in range(len(numbers)))


def one_unit(unit: Sequence[str | None], axes: Sequence[str]) -> bool:
    """Return whether all spatial axes have the same unit, or none."""
    return len({u for u, a in zip(unit, axes, strict=True) if a in SPATIAL}) <= 1
