"""Pictures of a pyramid's levels; reads the pixels that it shows, needs matplotlib.

Every level is drawn where its metadata say that it is, so that a shift between levels
can be seen.
"""

from __future__ import annotations

import colorsys
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dask_pyramid.axes import SPATIAL, per_axis
from dask_pyramid.canvas import FAINT, TEXT, new_figure
from dask_pyramid.tables import numbers_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dask_pyramid.pyramid import Pyramid

__all__ = ["plot_pyramid", "scale_bar_length"]

_VIEWS = ("plane", "max", "both")

# Inches: between panels, for the titles above and for the names of rows.
_PAD, _TITLE, _LABEL = 0.1, 0.56, 0.25

_VIEW_NAMES = {"plane": "central plane", "max": "maximum along z"}

# More pixels than a panel can show are skipped.
_MOST_PIXELS = 2048

# What a word is called on a scale bar.
_SYMBOLS = {
    "micrometer": "\u00b5m",
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "angstrom": "\u00c5",
}


def plot_pyramid(
    pyramid: Pyramid,
    *,
    view: Literal["plane", "max", "both"] = "plane",
    at: Mapping[str, int] | None = None,
    levels: Sequence[int] | None = None,
    window: tuple[float, float] | None = None,
    width: float = 12.0,
) -> Figure:
    """Draw the levels of a pyramid side by side at the same physical size.

    Parameters
    ----------
    pyramid : Pyramid
        The pyramid.
    view : {"plane", "max", "both"}
        The central z plane, the maximum along z, or a row of each. An image without z
        has only a plane.
    at : dict by axis, optional
        Index along t, z and c at level 0 (z: that of the plane). By default the first
        time, the central plane, and all active channels on top of each other.
    levels : sequence of int, optional
        Which levels; by default all.
    window : (low, high), optional
        Grey values drawn black and white; by default those of the `omero` metadata,
        else the range of the smallest level.
    width : float
        Width of the figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each level, its voxel size as title, and a scale bar.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an argument breaks a rule.

    Notes
    -----
    Reads one plane of each level, or with ``"max"`` all of it for one time. Where a
    plane has more than 2048 pixels along an axis, some are left out.
    """
    if view not in _VIEWS:
        raise ValueError(f"view must be one of {', '.join(_VIEWS)}, got {view!r}")
    picked = _levels(pyramid, levels)
    index = _indices(pyramid, at)
    views = _views(pyramid, view)
    figure, panels = _empty(pyramid, (len(views), len(picked)), width)
    for row, kind in zip(panels, views, strict=True):
        pictures = [_picture(pyramid, k, kind, index) for k in picked]
        painted = _paint(pyramid, pictures, index, window)
        for panel, number, picture in zip(row, picked, painted, strict=True):
            _draw(panel, pyramid, number, picture)
        if len(views) > 1:
            row[0].set_ylabel(_VIEW_NAMES[kind], color=FAINT, fontsize=9)
    for panel, number in zip(panels[0], picked, strict=True):
        panel.set_title(_title(pyramid, number), color=TEXT, fontsize=10)
    _scale_bar(panels[-1][0], pyramid)
    return figure


def _empty(pyramid: Pyramid, grid: tuple[int, int], width: float) -> tuple[Figure, Any]:
    """Return a figure just large enough for a grid of panels with their titles."""
    n_rows, n_columns = grid
    left = _PAD + (_LABEL if n_rows > 1 else 0.0)
    across = (width - left - _PAD * n_columns) / n_columns
    down = _panel_height(pyramid, across)
    height = _TITLE + (down + _PAD) * n_rows
    figure = new_figure(width, height, verb="plot_pyramid")
    place = {
        "left": left / width,
        "right": 1 - _PAD / width,
        "top": 1 - _TITLE / height,
        "bottom": _PAD / height,
        "wspace": _PAD / across,
        "hspace": _PAD / down,
    }
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, gridspec_kw=place)


def scale_bar_length(extent: float) -> float:
    """Return a round length, 1, 2 or 5 times a power of ten, for a scale bar.

    Parameters
    ----------
    extent : float
        Width of the picture.

    Returns
    -------
    float
        The greatest such length that is at most 0.3 times `extent`.

    Examples
    --------
    >>> scale_bar_length(66.56), scale_bar_length(0.7)
    (10.0, 0.2)
    """
    most = 0.3 * extent
    power = math.floor(math.log10(most))
    for digit in (5, 2, 1):
        length = float(f"{digit}e{power}")
        if length <= most:
            break
    return length


def _levels(pyramid: Pyramid, levels: Sequence[int] | None) -> list[int]:
    n = len(pyramid.levels)
    picked = [*range(n)] if levels is None else [*levels]
    if not picked or any(k not in range(n) for k in picked):
        raise ValueError(
            f"levels must be some of 0 to {n - 1}, got {levels!r}; "
            "leave it out to see all"
        )
    return picked


def _indices(pyramid: Pyramid, at: Mapping[str, int] | None) -> dict[str, int]:
    given = per_axis(at, pyramid.axes, name="at", default=None)
    index = {a: i for a, i in zip(pyramid.axes, given, strict=True) if i is not None}
    for axis, i in index.items():
        n = pyramid.shapes[0][pyramid.axes.index(axis)]
        if axis in "yx" or i not in range(n):
            rule = "must not name y or x" if axis in "yx" else f"must be below {n}"
            raise ValueError(f"at {rule}, got {i!r} for axis {axis!r}")
    return index


def _views(pyramid: Pyramid, view: str) -> tuple[str, ...]:
    if "z" not in pyramid.axes:
        return ("plane",)
    return ("plane", "max") if view == "both" else (view,)


def _panel_height(pyramid: Pyramid, width: float) -> float:
    (top, bottom), (left, right) = _borders(pyramid, 0)
    return min(max(width * (bottom - top) / (right - left), 0.5), 3 * width)


Range = tuple[float, float]


def _borders(pyramid: Pyramid, number: int) -> tuple[Range, Range]:
    """Return (top, bottom) and (left, right) of a level in world units."""
    ranges = []
    for axis in "yx":
        i = pyramid.axes.index(axis)
        scale, start = pyramid.scale[number][i], pyramid.translation[number][i]
        low = start - scale / 2
        ranges.append((low, low + scale * pyramid.shapes[number][i]))
    return ranges[0], ranges[1]


def _picture(
    pyramid: Pyramid, number: int, view: str, index: Mapping[str, int]
) -> np.ndarray[Any, Any]:
    """Return channels, y, x of one level."""
    level = pyramid.levels[number]
    region: list[Any] = []
    for axis, n in zip(pyramid.axes, level.shape, strict=True):
        if axis == "t":
            region.append(index.get("t", 0))
        elif axis == "z" and view == "plane":
            region.append(_plane(pyramid, number, index.get("z")))
        elif axis == "c" and axis in index:
            region.append(slice(index[axis], index[axis] + 1))
        else:
            step = -(-n // _MOST_PIXELS) if axis in "yx" else 1
            region.append(slice(None, None, step))
    part = level[tuple(region)]
    if view == "max":
        part = part.max(axis=-3)
    pixels: np.ndarray[Any, Any] = np.asarray(part.compute())
    return pixels if pixels.ndim == 3 else pixels[np.newaxis]


def _plane(pyramid: Pyramid, number: int, wanted: int | None) -> int:
    """Return the plane of a level nearest to a plane of level 0."""
    i = pyramid.axes.index("z")
    n = pyramid.shapes[number][i]
    first = (pyramid.shapes[0][i] - 1) / 2 if wanted is None else wanted
    z = pyramid.translation[0][i] + first * pyramid.scale[0][i]
    nearest = round((z - pyramid.translation[number][i]) / pyramid.scale[number][i])
    return min(max(nearest, 0), n - 1)


def _paint(
    pyramid: Pyramid,
    pictures: Sequence[np.ndarray[Any, Any]],
    index: Mapping[str, int],
    window: tuple[float, float] | None,
) -> list[np.ndarray[Any, Any]]:
    """Return y, x, RGB of each picture."""
    if pyramid.image.labels:
        return [_label_colours(picture[0]) for picture in pictures]
    channels = _channels(pyramid)
    first = index.get("c", 0)
    results = []
    for picture in pictures:
        total = np.zeros((*picture.shape[1:], 3))
        for c, pixels in enumerate(picture, start=first):
            channel = channels[c] if c < len(channels) else {}
            if len(picture) > 1 and channel.get("active") is False:
                continue
            low, high = window or _window(channel, pictures[-1][c - first])
            grey = np.clip((pixels.astype("float64") - low) / (high - low), 0, 1)
            colour = channel.get("color", "FFFFFF") if len(picture) > 1 else "FFFFFF"
            rgb = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
            total += np.nan_to_num(grey)[..., np.newaxis] * rgb
        results.append(np.clip(total, 0, 1))
    return results


def _channels(pyramid: Pyramid) -> list[Any]:
    found = (pyramid.image.omero or {}).get("channels")
    return [c if isinstance(c, dict) else {} for c in found or []]


def _window(
    channel: Mapping[str, Any], smallest: np.ndarray[Any, Any]
) -> tuple[float, float]:
    window = channel.get("window") or {}
    low, high = window.get("start"), window.get("end")
    if low is None or high is None:
        finite = smallest[np.isfinite(smallest)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    low, high = float(low), float(high)
    return (low, high) if high > low else (low, low + 1)


def _label_colours(ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a colour for each id, far apart for neighbours; 0 is the background."""
    values, where = np.unique(ids, return_inverse=True)
    golden = (math.sqrt(5) - 1) / 2
    table = np.array(
        [
            colorsys.hsv_to_rgb(int(v) * golden % 1, 0.55 + 0.35 * (int(v) % 2), 0.95)
            if v
            else (0.0, 0.0, 0.0)
            for v in values
        ]
    )
    colours: np.ndarray[Any, Any] = table[where.reshape(ids.shape)]
    return colours


def _draw(
    panel: Axes, pyramid: Pyramid, number: int, picture: np.ndarray[Any, Any]
) -> None:
    (top, bottom), (left, right) = _borders(pyramid, number)
    panel.imshow(picture, extent=(left, right, bottom, top), interpolation="nearest")
    # All panels show what level 0 covers.
    (top, bottom), (left, right) = _borders(pyramid, 0)
    panel.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    panel.set_facecolor("black")
    for spine in panel.spines.values():
        spine.set_visible(False)


def _title(pyramid: Pyramid, number: int) -> str:
    order = [i for i, axis in enumerate(pyramid.axes) if axis in SPATIAL]
    spacing = numbers_text([pyramid.scale[number][i] for i in order], " \u00d7 ")
    shape = numbers_text([pyramid.shapes[number][i] for i in order], " \u00d7 ")
    unit = _symbol(pyramid)
    return f"level {number}: {spacing}{f' {unit}' if unit else ''}\n{shape} voxels"


def _symbol(pyramid: Pyramid) -> str:
    word = pyramid.unit[pyramid.axes.index("x")]
    return "" if word is None else _SYMBOLS.get(word, word)


def _scale_bar(panel: Axes, pyramid: Pyramid) -> None:
    from matplotlib.patheffects import withStroke

    (top, bottom), (left, right) = _borders(pyramid, 0)
    width, height = right - left, bottom - top
    length = scale_bar_length(width)
    x, y = left + 0.05 * width, bottom - 0.06 * height
    edge = [withStroke(linewidth=3, foreground="black", alpha=0.6)]
    text = f"{numbers_text([length])} {_symbol(pyramid) or 'pixels'}"
    panel.plot(
        [x, x + length],
        [y, y],
        color="white",
        linewidth=3,
        solid_capstyle="butt",
        path_effects=[withStroke(linewidth=5, foreground="black", alpha=0.6)],
        label="scale bar",
    )
    panel.annotate(
        text,
        (x + length / 2, y),
        xytext=(0, 4),
        textcoords="offset points",
        color="white",
        ha="center",
        va="bottom",
        fontsize=9,
        path_effects=edge,
    )
