"""`omero` rendering metadata: made from a data type, or taken over and completed.

Viewers refuse or misdraw an image whose channels lack a colour or a window, so nothing
incomplete leaves this module. No pixel is read: contrast is the caller's to measure.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["channel_labels", "default_omero", "is_finite"]

# One channel is grey; several start with the two that add up to white, then the rest of
# the fully saturated hues.
_GREY = "FFFFFF"
_PALETTE = ("FF00FF", "00FF00", "00FFFF", "FFFF00", "FF0000", "0000FF", "FF8000")
_RGB = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}

# Viv draws at most six channels at once and fails on more.
_ACTIVE = 6


def default_omero(
    dtype: np.dtype[Any],
    n_channels: int = 1,
    *,
    window: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
    names: Sequence[str] | None = None,
    source: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Return complete rendering metadata of an intensity image.

    Parameters
    ----------
    dtype : numpy.dtype
        Data type of the pixels; an integer type gives `min` and `max` of the window.
    n_channels : int
        Extent of the channel axis; 1 where there is none.
    window : pair of float, or one pair for each channel, optional
        Grey values drawn black and white where `source` does not say. By default the
        whole range of an integer type, and 0 to 1 for floats.
    names : sequence of str, optional
        Channel names; by default those of `source`, then "0", "1", ...
    source : mapping, optional
        The `omero` of the image this one was made from. Entries that are valid are
        kept, the others repaired; surplus channels are dropped.
    name : str, optional
        What viewers call the image.

    Returns
    -------
    dict
        `channels`, each with label, color, window and active, and what else was in
        `source`.

    Raises
    ------
    ValueError
        If `names` or `window` do not fit to `n_channels`, or a window is empty.

    Examples
    --------
    >>> default_omero(np.dtype("uint8"))["channels"][0]["window"]
    {'min': 0, 'max': 255, 'start': 0, 'end': 255}
    """
    windows = _windows(window, n_channels)
    if names is not None and len(names) != n_channels:
        raise ValueError(
            f"names must have one entry for each of {n_channels} channels, "
            f"got {list(names)!r}"
        )
    source = dict(source or {})
    given = source.get("channels")
    given = [*given] if isinstance(given, list) else []
    given += [None] * (n_channels - len(given))
    source["channels"] = [
        _channel(
            given[i] if isinstance(given[i], Mapping) else {},
            i,
            n_channels,
            dtype=np.dtype(dtype),
            window=windows[i],
            label=None if names is None else names[i],
        )
        for i in range(n_channels)
    ]
    if name is not None:
        source["name"] = name
    return source


def channel_labels(omero: Mapping[str, Any] | None) -> list[str]:
    """Return what channels are called, as far as it is said.

    Examples
    --------
    >>> channel_labels({"channels": [{"label": "DAPI"}, {}]})
    ['DAPI', '1']
    """
    channels = None if omero is None else omero.get("channels")
    if not isinstance(channels, Sequence):
        return []
    entries = [entry if isinstance(entry, Mapping) else {} for entry in channels]
    if not any(entry.get("label") for entry in entries):
        return []
    return [str(entry.get("label") or i) for i, entry in enumerate(entries)]


def is_finite(value: Any) -> bool:
    """Whether what stands in metadata is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _windows(
    window: tuple[float, float] | Sequence[tuple[float, float]] | None, n: int
) -> list[tuple[float, float] | None]:
    if window is None:
        return [None] * n
    pairs: list[Any] = [window] * n if np.ndim(window[0]) == 0 else [*window]
    if len(pairs) != n or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"window must be (start, end), or one for each of {n} channels, "
            f"got {window!r}"
        )
    for start, end in pairs:
        if not (math.isfinite(start) and math.isfinite(end) and start < end):
            raise ValueError(
                f"window must be finite and increase, got {(start, end)!r}"
            )
    return pairs


def _channel(
    given: Mapping[str, Any],
    index: int,
    n: int,
    *,
    dtype: np.dtype[Any],
    window: tuple[float, float] | None,
    label: str | None,
) -> dict[str, Any]:
    found = given.get("label")
    if label is None:
        label = found if isinstance(found, str) and found else str(index)
    active = given.get("active")
    return {
        **given,
        "label": label,
        "color": _color(given.get("color")) or _default_color(label, index, n),
        "window": _window(given.get("window"), dtype, window),
        "active": active if isinstance(active, bool) else index < _ACTIVE,
    }


def _color(color: Any) -> str | None:
    # "'color', which is a string of 6 hexadecimal digits specifying the color of the
    # channel in RGB format" (omero, 0.4 to 0.6); web notation and alpha occur.
    digits = color.removeprefix("#").upper() if isinstance(color, str) else ""
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return digits[:6] if re.fullmatch("[0-9A-F]{6}([0-9A-F]{2})?", digits) else None


def _default_color(label: str, index: int, n: int) -> str:
    if label.lower() in _RGB:
        return _RGB[label.lower()]
    return _GREY if n == 1 else _PALETTE[index % len(_PALETTE)]


def _window(
    given: Any, dtype: np.dtype[Any], window: tuple[float, float] | None
) -> dict[str, Any]:
    # "MUST contain the fields 'min' and 'max' ... MUST also contain the fields 'start'
    # and 'end'" (omero, 0.4 to 0.6).
    known = {
        key: value
        for key, value in (given.items() if isinstance(given, Mapping) else ())
        if is_finite(value)
    }
    low, high = _limits(dtype, window)
    low, high = known.get("min", low), known.get("max", high)
    if not low < high:
        low, high = _limits(dtype, window)
    measured = window or (low, high)
    start, end = known.get("start", measured[0]), known.get("end", measured[1])
    if not start < end:
        start, end = measured
    return {"min": low, "max": high, "start": start, "end": end}


def _limits(
    dtype: np.dtype[Any], window: tuple[float, float] | None
) -> tuple[float, float]:
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return int(info.min), int(info.max)
    return (0, 1) if window is None or dtype.kind == "b" else window
