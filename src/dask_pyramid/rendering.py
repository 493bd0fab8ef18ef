"""How the channels of a pyramid are drawn: name, colour, and what is black and white.

As its `omero` metadata say; what they leave open comes from a small part of its
smallest level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.omero import default_omero, is_finite

if TYPE_CHECKING:
    from dask_pyramid.pyramid import Pyramid

__all__ = ["REFUSED", "Channel", "channels_of"]

# "data types are restricted": what Neuroglancer 2.41 and viewers built on it refuse.
REFUSED = ("bool", "int64", "float16", "float64")

# Extent along y and x of what is read to find a contrast.
_SAMPLE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """How one channel is drawn."""

    name: str
    """What it is called."""
    colour: str
    """Six hexadecimal digits, RGB."""
    low: float
    """Grey value that is drawn black."""
    high: float
    """Grey value that is drawn in the full colour; greater than `low`."""
    active: bool
    """Whether it is shown at first."""


def channels_of(pyramid: Pyramid) -> tuple[Channel, ...]:
    """Return how each channel of an intensity image is drawn.

    Parameters
    ----------
    pyramid : Pyramid
        The pyramid; one without a channel axis has one channel.

    Returns
    -------
    tuple of Channel
        In the order of the channel axis.

    Notes
    -----
    Reads nothing if the metadata have a window for each channel; else the centre of
    the smallest level, one plane of at most 1024 x 1024 voxels at the first time.
    """
    n = pyramid.shapes[0][pyramid.axes.index("c")] if "c" in pyramid.axes else 1
    given = (pyramid.image.omero or {}).get("channels")
    given = given if isinstance(given, list) else []
    windows = [_window(entry) for entry in given[:n]]
    windows += [None] * (n - len(windows))
    if None in windows:
        sample = _sample(pyramid)
        found = [_range(pixels) for pixels in sample]
        windows = [window or found[i] for i, window in enumerate(windows)]
    omero = default_omero(pyramid.dtype, n, source=pyramid.image.omero)
    return tuple(
        Channel(
            name=entry["label"],
            colour=entry["color"],
            low=window[0],
            high=window[1],
            active=entry["active"],
        )
        for entry, window in zip(omero["channels"], windows, strict=True)
        if window is not None
    )


def _window(channel: Any) -> tuple[float, float] | None:
    """Return start and end of the window of a channel, if they can be used."""
    window = channel.get("window") if isinstance(channel, Mapping) else None
    if not isinstance(window, Mapping):
        return None
    pair: tuple[Any, Any] = window.get("start"), window.get("end")
    if not all(map(is_finite, pair)) or not pair[0] < pair[1]:
        return None
    return float(pair[0]), float(pair[1])


def _sample(pyramid: Pyramid) -> np.ndarray[Any, Any]:
    """Return channel, y, x of the centre of the smallest level."""
    level = pyramid.levels[-1]
    region: list[Any] = []
    for axis, n in zip(pyramid.axes, level.shape, strict=True):
        if axis == "c":
            region.append(slice(None))
        elif axis in "yx":
            first = max(0, (n - _SAMPLE) // 2)
            region.append(slice(first, first + _SAMPLE))
        else:
            region.append(0 if axis == "t" else n // 2)
    pixels: np.ndarray[Any, Any] = np.asarray(level[tuple(region)].compute())
    return pixels if pixels.ndim == 3 else pixels[np.newaxis]


def _range(pixels: np.ndarray[Any, Any]) -> tuple[float, float]:
    finite = pixels[np.isfinite(pixels)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0, 1)
    return (low, high) if high > low else (low, low + 1)
