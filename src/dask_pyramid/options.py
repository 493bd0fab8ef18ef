"""Texts of the command line to Python values; what they may be is checked elsewhere.

Three notations: one value, one for each axis (``0.29,0.26,0.26`` or ``z=0.29,y=0.26``),
and, where it makes sense, these for each level, with semicolons between.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from dask_pyramid.factors import exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "amount",
    "by_axis",
    "extent",
    "extents",
    "factors",
    "lengths",
    "named",
    "nodata",
    "numbers",
    "places",
    "region",
    "settings",
    "shard",
    "sigma",
    "sizes",
    "span",
    "unit",
    "unit_numbers",
]

T = TypeVar("T")


def by_axis(text: str, convert: Callable[[str], T]) -> tuple[T, ...] | dict[str, T]:
    """Return values by axis: a dict if axes are named, else a tuple.

    Parameters
    ----------
    text : str
        Entries with commas between, all or none of them ``axis=value``.
    convert : callable
        Turns the text of an entry into a value.

    Returns
    -------
    tuple or dict
        The values.

    Raises
    ------
    ValueError
        If an entry is empty or cannot be converted, or an axis is named twice.

    Examples
    --------
    >>> by_axis("1,2", int), by_axis("y=1,x=2", int)
    ((1, 2), {'y': 1, 'x': 2})
    """
    entries = [entry.strip() for entry in text.split(",")]
    if not any("=" in entry for entry in entries):
        return tuple(convert(entry) for entry in entries)
    named: dict[str, T] = {}
    for entry in entries:
        axis, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or not axis:
            raise ValueError(f"{entry!r} must be axis=value, as the others in {text!r}")
        if axis in named:
            raise ValueError(f"axis {axis!r} must be given once, got {text!r}")
        named[axis] = convert(value)
    return named


def amount(text: str) -> str | float:
    """Return how much to read: a word, a number of boxes, or a part of them.

    Examples
    --------
    >>> amount("full"), amount("16"), amount("0.5"), amount("10%")
    ('full', 16, 0.5, 0.1)
    """
    word = text.strip().lower()
    if word in ("structure", "full"):
        return word
    if word.endswith("%"):
        value = _number(word[:-1]) / 100
    else:
        value = _number(word) if "." in word or "e" in word else _whole(word)
    if not 0 < value < 1e9 or (isinstance(value, float) and value > 1):
        raise ValueError(
            f"{text!r} must be structure, full, a number of boxes or a part up to 1"
        )
    return value


def extents(text: str) -> Any:
    """Return an extent in voxels, or a list of these by level if there is a semicolon.

    Raises
    ------
    ValueError
        If an entry is no extent, or a single number stands for a level: in Python a
        list of numbers cannot be told from one extent by axis.

    Examples
    --------
    >>> extents("64"), extents("z=16;z=8"), extents("16,64,64;none")
    (64, [{'z': 16}, {'z': 8}], [(16, 64, 64), False])
    """
    parts = text.split(";")
    if len(parts) == 1:
        return extent(text)
    values = [extent(part) for part in parts]
    for value, part in zip(values, parts, strict=True):
        if type(value) is int:
            raise ValueError(
                f"extents of several levels must be by axis, got {part!r} in {text!r}; "
                "write z=64,y=64,x=64"
            )
    return values


def extent(text: str) -> Any:
    """Return an extent in voxels: an int, a tuple or dict by axis, or False for none.

    Examples
    --------
    >>> extent("64"), extent("16,64,64"), extent("none"), extent("auto")
    (64, (16, 64, 64), False, None)
    """
    word = text.strip().lower()
    if word in ("none", "auto"):
        return False if word == "none" else None
    return _single(by_axis(text, _whole))


def factors(text: str) -> Any:
    """Return scale factors: a word or a list with an entry for each level.

    Examples
    --------
    >>> factors("auto"), factors("none"), factors("2,4,8"), factors("1.5,3")
    ('auto', [], [2, 4, 8], [Fraction(3, 2), 3])
    >>> factors("y=2,x=2;z=2,y=4,x=4")
    [{'y': 2, 'x': 2}, {'z': 2, 'y': 4, 'x': 4}]
    >>> factors("isotropic"), factors("isotropic=0.5")
    ('isotropic', {'isotropic': Fraction(1, 2)})
    """
    word, equals, size = (part.strip() for part in text.lower().partition("="))
    if text.strip().lower() in ("auto", "isotropic"):
        return word
    if text.strip().lower() == "none":
        return []
    if word == "isotropic" and equals:
        return {"isotropic": _factor(size)}
    if "=" not in text:
        if ";" in text and "," in text:
            raise ValueError(
                f"factors by axis must name the axes, got {text!r}; "
                "write y=2,x=2;z=2,y=4,x=4"
            )
        return [_factor(part) for part in text.replace(";", ",").split(",")]
    return [
        by_axis(part, _factor) if "=" in part else _factor(part)
        for part in text.split(";")
    ]


def nodata(text: str) -> int | float:
    """Return a value of voxels; whole numbers stay exact, whatever their size.

    Examples
    --------
    >>> nodata("0"), nodata("-1.5"), nodata("nan")
    (0, -1.5, nan)
    """
    try:
        return int(text)
    except ValueError:
        return _number(text)


def numbers(text: str) -> Any:
    """Return numbers by axis.

    Examples
    --------
    >>> numbers("z=0.29,y=0.26,x=0.26"), numbers("0.5")
    ({'z': 0.29, 'y': 0.26, 'x': 0.26}, (0.5,))
    """
    return by_axis(text, _number)


def places(text: str) -> Any:
    """Return spacings or places by axis, whose unit is given apart.

    Examples
    --------
    >>> places("z=0.29,x=0.26")
    {'z': 0.29, 'x': 0.26}
    """
    try:
        return numbers(text)
    except ValueError as error:
        raise ValueError(f"{error}; the unit goes to --unit") from None


def lengths(text: str) -> Any:
    """Return spacings: numbers, or texts with a unit, one for all axes or by axis.

    Examples
    --------
    >>> lengths("0.5"), lengths("500 nm"), lengths("z=1,x=0.2um")
    (0.5, '500 nm', {'z': 1.0, 'x': '0.2um'})
    """
    return _single(by_axis(text, _length))


def _length(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def sizes(text: str) -> Any:
    """Return extents of axes.

    Examples
    --------
    >>> sizes("86,80,79"), sizes("y=80,x=79")
    ((86, 80, 79), {'y': 80, 'x': 79})
    """
    return by_axis(text, _whole)


def named(texts: Iterable[str]) -> dict[str, str] | None:
    """Return paths by name; one without a name is called `labels`.

    Examples
    --------
    >>> named(["nuclei=a.tif", "b.tif"])
    {'nuclei': 'a.tif', 'labels': 'b.tif'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, place = text.partition("=")
        # A URL or path may hold a "=" of its own.
        plain = bool(equals) and not set(name) & set("/\\:?")
        key, path = (name, place) if plain else ("labels", text)
        if key in found:
            raise ValueError(f"name {key!r} must be given once, got {text!r}")
        found[key] = path
    return found or None


def region(text: str) -> Any:
    """Return ranges by axis.

    Examples
    --------
    >>> region("z=0:16,y=512:")
    {'z': slice(0, 16, None), 'y': slice(512, None, None)}
    """
    return by_axis(text, _range)


def sigma(text: str) -> Any:
    """Return one number for all axes, or numbers by axis.

    Examples
    --------
    >>> sigma("0.7"), sigma("z=0,y=1")
    (0.7, {'z': 0.0, 'y': 1.0})
    """
    return _single(numbers(text))


def unit(text: str) -> Any:
    """Return a unit for all spatial axes, or units by axis; "none" is None.

    Examples
    --------
    >>> unit("um"), unit("t=s,y=um"), unit("none,um,um")
    ('um', {'t': 's', 'y': 'um'}, (None, 'um', 'um'))
    """
    return _single(by_axis(text, lambda word: None if word == "none" else word))


def unit_numbers(text: str) -> tuple[int, ...]:
    """Return numbers of units.

    Examples
    --------
    >>> unit_numbers("3,17")
    (3, 17)
    """
    return tuple(_whole(part) for part in text.split(","))


def _single(values: Any) -> Any:
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values


def _range(text: str) -> slice:
    start, colon, stop = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} must be a range, such as 0:16")
    edges = [_whole(edge) if edge.strip() else None for edge in (start, stop)]
    return slice(*edges)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} must be a whole number") from None


def _factor(text: str) -> Any:
    try:
        return exact(text if "/" in text else float(text))
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ValueError(
            f"{text!r} must be a number or a fraction such as 5/2"
        ) from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} must be a number") from None


def shard(text: str) -> tuple[int, int]:
    """Return a share of the units.

    Examples
    --------
    >>> shard("2/8")
    (2, 8)
    """
    first, _, count = text.partition("/")
    if first.isdecimal() and count.isdecimal() and int(first) < int(count):
        return int(first), int(count)
    raise ValueError(
        f"a shard must be I/N with I from 0 to N-1, got {text!r}; the first of four is "
        "0/4"
    )


def settings(texts: Iterable[str]) -> dict[str, Any]:
    """Return named values, each JSON if it can be read as such, else the text.

    Examples
    --------
    >>> settings(["cores=4", "memory=16GB", 'job_extra_directives=["--qos=low"]'])
    {'cores': 4, 'memory': '16GB', 'job_extra_directives': ['--qos=low']}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{text!r} must be key=value")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


def span(text: str) -> tuple[int, int]:
    """Return the fewest and the most of something.

    Examples
    --------
    >>> span("4"), span("1:20")
    ((4, 4), (1, 20))
    """
    least, colon, most = text.partition(":")
    try:
        found = int(least), int(most if colon else least)
    except ValueError:
        raise ValueError(f"{text!r} must be a whole number, or two as 1:20") from None
    if not 0 <= found[0] <= found[1] or not found[1]:
        raise ValueError(f"{text!r} must be at least 1, and rise")
    return found
