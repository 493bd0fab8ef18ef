"""Axis names, types, units and order; nothing about pixels or files.

OME-Zarr allows two to five axes out of t, c, z, y, x, of which two or three are
space, and wants time first, then channel, then space. Everything inside the package is
in that *storage order*; only this module knows how another order is turned into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

__all__ = [
    "SPACE_UNITS",
    "SPATIAL",
    "STORAGE_ORDER",
    "TIME_UNITS",
    "axis_type",
    "default_axes",
    "first_spatial",
    "normalise_unit",
    "parse_axes",
    "parse_units",
    "per_axis",
    "storage_permutation",
]

STORAGE_ORDER = "tczyx"
SPATIAL = frozenset("zyx")

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}

# UDUNITS-2 names, the list of the OME-Zarr specification ("axes" metadata, 0.4 to 0.6).
SPACE_UNITS = frozenset(
    "angstrom attometer centimeter decimeter exameter femtometer foot gigameter "
    "hectometer inch kilometer megameter meter micrometer mile millimeter nanometer "
    "parsec petameter picometer terameter yard yoctometer yottameter zeptometer "
    "zettameter".split()
)
TIME_UNITS = frozenset(
    "attosecond centisecond day decisecond exasecond femtosecond gigasecond "
    "hectosecond hour kilosecond megasecond microsecond millisecond minute "
    "nanosecond petasecond picosecond second terasecond yoctosecond yottasecond "
    "zeptosecond zettasecond".split()
)
# What microscopes and ImageJ write. Both micro signs (U+00B5) and Greek mu (U+03BC)
# occur, ImageJ also stores the escape sequence literally.
_ABBREVIATIONS = {
    "um": "micrometer",
    "\u00b5m": "micrometer",
    "\u03bcm": "micrometer",
    "\\u00b5m": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "nm": "nanometer",
    "pm": "picometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "km": "kilometer",
    "a": "angstrom",
    "\u00e5": "angstrom",
    "\u212b": "angstrom",
    "in": "inch",
    "inches": "inch",
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "us": "microsecond",
    "\u00b5s": "microsecond",
    "\u03bcs": "microsecond",
    "ns": "nanosecond",
    "min": "minute",
    "h": "hour",
    "d": "day",
}

T = TypeVar("T")


def axis_type(axis: str) -> str:
    """Return the OME-Zarr type of an axis: ``"time"``, ``"channel"`` or ``"space"``.

    Examples
    --------
    >>> axis_type("z")
    'space'
    """
    return _TYPES[axis]


def first_spatial(axes: Sequence[str]) -> int:
    """Return the number of the first spatial axis.

    Examples
    --------
    >>> first_spatial("tczyx")
    2
    """
    return next(i for i, axis in enumerate(axes) if axis in SPATIAL)


def default_axes(ndim: int) -> tuple[str, ...]:
    """Return the axes assumed for an array that does not name them.

    Examples
    --------
    >>> default_axes(3)
    ('z', 'y', 'x')
    >>> default_axes(4)
    ('c', 'z', 'y', 'x')
    """
    if not 2 <= ndim <= 5:
        msg = (
            f"an image must have 2 to 5 axes, got {ndim}; "
            "index or stack the array first"
        )
        raise ValueError(msg)
    return tuple(STORAGE_ORDER[-ndim:])


def parse_axes(axes: str | Iterable[str] | None, ndim: int) -> tuple[str, ...]:
    """Check axis names against the rules of OME-Zarr, in the order given.

    Parameters
    ----------
    axes : str or iterable of str, optional
        Names out of t, c, z, y, x, one for each dimension: ``"zyx"``, ``"yxc"``,
        ``["c", "y", "x"]``. By default the last `ndim` of t, c, z, y, x.
    ndim : int
        Number of dimensions of the array.

    Returns
    -------
    tuple of str
        The names, lower case, in the order given.

    Raises
    ------
    ValueError
        If a name is unknown or occurs twice, the number of names is not `ndim`, or
        fewer than two of them are spatial.

    Examples
    --------
    >>> parse_axes("YXC", 3)
    ('y', 'x', 'c')
    """
    if axes is None:
        return default_axes(ndim)
    if not isinstance(axes, Iterable):
        raise ValueError(f"axes must be a text like 'zyx', got {axes!r}")
    names = tuple(str(axis).lower() for axis in axes)
    unknown = [axis for axis in names if axis not in _TYPES]
    if unknown:
        raise ValueError(f"axes must be out of t, c, z, y, x, got {unknown[0]!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"axes must be unique, got {''.join(names)!r}")
    if len(names) != ndim:
        raise ValueError(
            f"axes must name all {ndim} dimensions of the array, "
            f"got {''.join(names)!r}, which names {len(names)}"
        )
    # "The number of axes of type 'space' MUST be 2 or 3" (multiscales, 0.4 to 0.5).
    if sum(axis in SPATIAL for axis in names) < 2:
        raise ValueError(
            f"axes must hold two or three of z, y, x, got {''.join(names)!r}"
        )
    return names


def storage_permutation(axes: Sequence[str]) -> tuple[int, ...]:
    """Return the transposition that brings `axes` into storage order.

    Examples
    --------
    >>> storage_permutation(("y", "x", "c"))
    (2, 0, 1)
    """
    return tuple(sorted(range(len(axes)), key=lambda i: STORAGE_ORDER.index(axes[i])))


def per_axis(
    value: Any, axes: Sequence[str], *, name: str, default: T
) -> tuple[Any | T, ...]:
    """Spread a dict by axis or a sequence over `axes`; nothing is converted.

    Parameters
    ----------
    value : dict or sequence or None
        A dict fills the axes that it names and leaves `default` to the others; a
        sequence has one entry for each axis, in the order of `axes`.
    axes : sequence of str
        The axes.
    name : str
        What to call `value` in a message.
    default : object
        The entry of an axis that is not named.

    Returns
    -------
    tuple
        One entry for each axis.

    Raises
    ------
    ValueError
        If an axis is named that is not there, or the length is wrong.

    Examples
    --------
    >>> per_axis({"x": 3}, "zyx", name="scale", default=1)
    (1, 1, 3)
    """
    if value is None:
        return (default,) * len(axes)
    if isinstance(value, Mapping):
        missing = [axis for axis in value if axis not in axes]
        if missing:
            raise ValueError(
                f"{name} must name axes of the image ({''.join(axes)}), "
                f"got {missing[0]!r}"
            )
        return tuple(value.get(axis, default) for axis in axes)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(
            f"{name} must be a dict by axis or have one entry for each axis of "
            f"{''.join(axes)!r}, got {value!r}"
        )
    entries = tuple(value)
    if len(entries) != len(axes):
        raise ValueError(
            f"{name} must have one entry for each axis of {''.join(axes)!r}, "
            f"got {entries!r}"
        )
    return entries


def normalise_unit(unit: str, axis: str) -> str:
    """Return the full UDUNITS word for a unit of length or time.

    Parameters
    ----------
    unit : str
        A full word (``"micrometer"``) or a usual abbreviation (``"um"``).
    axis : str
        The axis it belongs to: length for z, y, x, time for t.

    Returns
    -------
    str
        The word that OME-Zarr stores. Neuroglancer refuses an image whose unit is
        abbreviated.

    Raises
    ------
    ValueError
        If the unit is not one that the specification lists for this axis.

    Examples
    --------
    >>> normalise_unit("um", "x")
    'micrometer'
    """
    known = SPACE_UNITS if axis in SPATIAL else TIME_UNITS
    word = unit.strip().lower()
    word = _ABBREVIATIONS.get(word, word)
    for spelling in (word, word.removesuffix("s"), word.replace("metre", "meter")):
        if spelling in known and axis != "c":
            return spelling
    kind = {"time": "time", "space": "length", "channel": "no unit at all"}
    raise ValueError(
        f"unit of axis {axis!r} must be a unit of {kind[axis_type(axis)]}, "
        f"got {unit!r}; OME-Zarr takes full UDUNITS words such as 'micrometer'"
    )


def parse_units(
    unit: str | Mapping[str, str | None] | Sequence[str | None] | None,
    axes: Sequence[str],
) -> tuple[str | None, ...]:
    """Return one unit, or None, for each axis.

    Parameters
    ----------
    unit : str, dict or sequence, optional
        One unit for all spatial axes, a dict by axis, or one entry for each axis.
    axes : sequence of str
        The axes.

    Returns
    -------
    tuple of str or None
        Full UDUNITS words.

    Raises
    ------
    ValueError
        If a unit or an axis is unknown.

    Examples
    --------
    >>> parse_units("um", ("c", "y", "x"))
    (None, 'micrometer', 'micrometer')
    """
    if isinstance(unit, str):
        unit = {axis: unit for axis in axes if axis in SPATIAL}
    entries = per_axis(unit, axes, name="unit", default=None)
    return tuple(
        None if entry is None else normalise_unit(str(entry), axis)
        for entry, axis in zip(entries, axes, strict=True)
    )
