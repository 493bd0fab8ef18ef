"""Axes of an image's metadata: names, types, order and units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_pyramid.axes import SPACE_UNITS, STORAGE_ORDER, TIME_UNITS, axis_type
from dask_pyramid.verify.described import Axis
from dask_pyramid.verify.nodes import shown

if TYPE_CHECKING:
    from dask_pyramid.verify.findings import Log

__all__ = ["check_axes"]

_RANK = {"time": 0, "channel": 1, "space": 2}
_UNITS = {"space": SPACE_UNITS, "time": TIME_UNITS}


def check_axes(entries: Any, log: Log, *, level: str) -> tuple[Axis, ...] | None:
    """Check `axes`.

    Parameters
    ----------
    entries : object
        What stands there.
    log : Log
        Told what is wrong.
    level : str
        Path of the group.

    Returns
    -------
    tuple of Axis or None
        None if they could not be read.
    """
    if isinstance(entries, list):
        # Plain names in 0.3.
        entries = [{"name": e} if isinstance(e, str) else e for e in entries]
    if not isinstance(entries, list) or not all(
        isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
        for entry in entries
    ):
        log.add(
            "axes-invalid",
            f"axes must be a list of objects with a name, got {shown(entries)}",
            level=level,
        )
        return None
    if not 2 <= len(entries) <= 5:
        log.add("axes-invalid", f"2 to 5 axes, got {len(entries)}", level=level)
    axes = tuple(
        Axis(name=e["name"], kind=_text(e.get("type")), unit=_text(e.get("unit")))
        for e in entries
    )
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names) or "" in names:
        log.add("axes-name", f"names must be unique, got {names!r}", level=level)
    _check_types(axes, entries, log, level=level)
    for axis, entry in zip(axes, entries, strict=True):
        _check_unit(axis, entry, log, level=level)
    _check_units(axes, entries, log, level=level)
    return axes


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _check_types(
    axes: tuple[Axis, ...], entries: list[Any], log: Log, *, level: str
) -> None:
    kinds = Counter(axis.kind for axis in axes)
    typed = None not in kinds
    if typed and not 2 <= kinds["space"] <= 3:
        log.add("axes-type", f"{kinds['space']} axes of type space", level=level)
    # "MUST NOT contain more than one axis of type 'time' ... 'channel' or null/custom"
    others = sum(n for kind, n in kinds.items() if kind not in ("space", "time"))
    if kinds["time"] > 1 or (typed and others > 1):
        kinds_text = [axis.kind for axis in axes]
        log.add("axes-type", f"types {kinds_text!r}", level=level)
    for axis, entry in zip(axes, entries, strict=True):
        _check_type(axis, entry, log, level=level)
    ranks = [_RANK.get(axis.kind or "", 1) for axis in axes]
    if typed and ranks != sorted(ranks):
        log.add(
            "axes-order",
            f"time, then channel, then space, got {[a.kind for a in axes]!r}",
            level=level,
        )
    space = [axis.name for axis in axes if axis.is_space]
    known = [name for name in STORAGE_ORDER if name in space]
    if set(space) == set(known) and space != known:
        # "the spatial axes SHOULD be ordered as 'zyx'" (axes): viewers rely on it.
        log.add("axes-order", f"space is z, y, x, got {space!r}", level=level)


def _check_type(axis: Axis, entry: Any, log: Log, *, level: str) -> None:
    if axis.kind is None:
        if entry.get("type") is not None:
            log.add(
                "axes-type",
                f"the type of axis {axis.name!r} must be a text, got "
                f"{shown(entry['type'])}",
                level=level,
            )
        else:
            log.add("axes-doubtful", f"axis {axis.name!r} has no type", level=level)
        return
    if axis.name in STORAGE_ORDER and len(axis.name) == 1:
        if axis.kind != axis_type(axis.name):
            log.add(
                "axes-type",
                f"axis {axis.name!r} must be of type {axis_type(axis.name)}, got "
                f"{axis.kind!r}",
                level=level,
            )
        return
    log.add(
        "axes-doubtful",
        f"axis {axis.name!r} is none of t, c, z, y, x, which viewers know",
        level=level,
    )


def _check_unit(axis: Axis, entry: Any, log: Log, *, level: str) -> None:
    unit = entry.get("unit")
    if unit is None:
        return
    known = _UNITS.get(axis.kind or "")
    if known is None:
        log.add(
            "axes-unit",
            f"axis {axis.name!r} of type {axis.kind!r} has no unit, got {shown(unit)}",
            level=level,
        )
    elif unit not in known:
        log.add(
            "axes-unit",
            f"the unit of axis {axis.name!r} must be a word like "
            f"{'micrometer' if axis.kind == 'space' else 'second'!r}, got "
            f"{shown(unit)}",
            level=level,
        )


def _check_units(
    axes: tuple[Axis, ...], entries: list[Any], log: Log, *, level: str
) -> None:
    space = [e.get("unit") for a, e in zip(axes, entries, strict=True) if a.is_space]
    if any(unit is None for unit in space):
        code = "units-missing" if not any(space) else "units-differ"
        told = ", ".join(str(unit or "none") for unit in space)
        log.add(code, f"units of the axes of space are {told:.80}", level=level)
