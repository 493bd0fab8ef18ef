"""Pictures of a pyramid's levels; reads the pixels that it shows, needs matplotlib.

Every level is drawn where its metadata say that it is, so that a shift between levels
can be seen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from dask_pyramid.axes import SPATIAL, per_axis
from dask_pyramid.canvas import FAINT, TEXT, new_figure
from dask_pyramid.lengths import METRES
from dask_pyramid.pictures import VIEWS, XY, Face, cheap_levels, paint, read_faces
from dask_pyramid.tables import numbers_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dask_pyramid.pyramid import Pyramid

__all__ = ["plot_pyramid", "scale_bar_length"]

# Inches: between panels, for the titles above and for the names of rows, and the least
# height or width of a panel.
_PAD, _TITLE, _LABEL, _LEAST = 0.1, 0.56, 0.35, 0.3

# What a word is called on a scale bar.
_SYMBOLS = {
    "micrometer": "\u00b5m",
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "angstrom": "\u00c5",
}

Range = tuple[float, float]


def plot_pyramid(
    pyramid: Pyramid,
    *,
    view: Literal["plane", "max", "both", "ortho"] = "plane",
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
    view : {"plane", "max", "both", "ortho"}
        The central z plane, the maximum along z, a row of each, or the maxima along z,
        y and x as three orthogonal projections. An image without z has only a plane.
    at : dict by axis, optional
        Index along t, z and c at level 0 (z: that of the plane). By default the first
        time, the central plane, and all active channels on top of each other.
    levels : sequence of int, optional
        Which levels; by default those of which at most 2**27 voxels must be read, and
        the smallest.
    window : (low, high), optional
        Grey values drawn black and white; by default those of the `omero` metadata,
        else the range of the centre of the smallest level.
    width : float
        Width of the figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
        A panel, or three, for each level, with its voxel size and a scale bar.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an argument breaks a rule.

    Notes
    -----
    Reads one plane of each level, or for a maximum all of it for one time, block by
    block. Where a picture has more than 2048 pixels along an axis, some are left out.
    """
    if view not in VIEWS:
        raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view!r}")
    index = _indices(pyramid, at)
    faces = VIEWS[view if "z" in pyramid.axes else "plane"]
    picked = _levels(pyramid, levels, cheap_levels(pyramid, faces))
    figure, panels = _empty(pyramid, faces, len(picked), width)
    read = [read_faces(pyramid, k, faces, index) for k in picked]
    for face, row, pictures in zip(faces, panels, zip(*read, strict=True), strict=True):
        painted = paint(pyramid, pictures, index, window)
        for panel, number, picture in zip(row, picked, painted, strict=True):
            _draw(panel, pyramid, face, number, picture)
        if len(faces) > 1:
            _name(row[0], face)
    titles = [_title(pyramid, number) for number in picked]
    longest = max(len(line) for title in titles for line in title.splitlines())
    # A letter is about 0.6 of its size wide; 72 points are an inch.
    size = min(10.0, 72 * width / len(picked) / (0.6 * longest))
    for panel, title in zip(panels[0], titles, strict=True):
        panel.set_title(title, color=TEXT, fontsize=size, loc="left")
        _scale_bar(panel, pyramid)
    return figure


def _name(panel: Axes, face: Face) -> None:
    """Say beside a panel what it shows; below it if there is another to its left."""
    write = panel.set_xlabel if face.column else panel.set_ylabel
    write(face.name, color=FAINT, fontsize=8)


def _empty(
    pyramid: Pyramid, faces: Sequence[Face], n: int, width: float
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with panels of the right shape: for each face one by level."""
    downs, acrosses = _extents(pyramid, faces)
    left = _PAD + (_LABEL if len(faces) > 1 else 0.0)
    scale = (width - left - _PAD * n * len(acrosses)) / (n * sum(acrosses))
    across = [max(extent * scale, _LEAST) for extent in acrosses]
    down = [min(max(extent * scale, _LEAST), 3 * across[0]) for extent in downs]
    tile = sum(across) + _PAD * len(across)
    size = (left + n * tile, _TITLE + sum(down) + _PAD * len(down))
    figure = new_figure(*size, verb="plot_pyramid")
    panels = []
    for face in faces:
        x = left + sum(across[: face.column]) + _PAD * face.column
        y = size[1] - _TITLE - sum(down[: face.row + 1]) - _PAD * face.row
        wide, high = across[face.column], down[face.row]
        places = [
            ((x + k * tile) / size[0], y / size[1], wide / size[0], high / size[1])
            for k in range(n)
        ]
        panels.append([figure.add_axes(place) for place in places])
    return figure, panels


def _extents(
    pyramid: Pyramid, faces: Sequence[Face]
) -> tuple[list[float], list[float]]:
    """Return heights of the rows and widths of the columns of a level, in world units.

    They are those of the first face in each.
    """
    downs: dict[int, float] = {}
    acrosses: dict[int, float] = {}
    for face in faces:
        (top, bottom), (left, right) = _borders(pyramid, face, 0)
        downs.setdefault(face.row, bottom - top)
        acrosses.setdefault(face.column, right - left)
    return [*downs.values()], [*acrosses.values()]


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


def _levels(
    pyramid: Pyramid, levels: Sequence[int] | None, default: list[int]
) -> list[int]:
    n = len(pyramid.shapes)
    picked = default if levels is None else [*levels]
    if not picked or any(k not in range(n) for k in picked):
        raise ValueError(
            f"levels must be some of 0 to {n - 1}, got {levels!r}; "
            "leave it out to see those that are read soon"
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


def _borders(pyramid: Pyramid, face: Face, number: int) -> tuple[Range, Range]:
    """Return (top, bottom) and (left, right) of a level, in the unit of x."""
    ranges = []
    for axis in (face.down, face.across):
        i = pyramid.axes.index(axis)
        unit = _in_unit_of_x(pyramid, i)
        scale, start = pyramid.scale[number][i], pyramid.translation[number][i]
        low = start - scale / 2
        high = low + scale * pyramid.shapes[number][i]
        ranges.append((low * unit, high * unit))
    return ranges[0], ranges[1]


def _in_unit_of_x(pyramid: Pyramid, i: int) -> float:
    word, x = pyramid.unit[i], pyramid.unit[pyramid.axes.index("x")]
    return METRES[word] / METRES[x] if word in METRES and x in METRES else 1.0


def _draw(
    panel: Axes,
    pyramid: Pyramid,
    face: Face,
    number: int,
    picture: np.ndarray[Any, Any],
) -> None:
    (top, bottom), (left, right) = _borders(pyramid, face, number)
    panel.imshow(picture, extent=(left, right, bottom, top), interpolation="nearest")
    # All panels show what level 0 covers.
    (top, bottom), (left, right) = _borders(pyramid, face, 0)
    panel.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    panel.set_facecolor("black")
    for spine in panel.spines.values():
        spine.set_visible(False)


def _title(pyramid: Pyramid, number: int) -> str:
    order = [i for i, axis in enumerate(pyramid.axes) if axis in SPATIAL]
    sizes = [pyramid.scale[number][i] * _in_unit_of_x(pyramid, i) for i in order]
    spacing = numbers_text(sizes, " \u00d7 ")
    shape = numbers_text([pyramid.shapes[number][i] for i in order], " \u00d7 ")
    unit = _symbol(pyramid)
    return f"level {number}: {spacing}{f' {unit}' if unit else ''}\n{shape} voxels"


def _symbol(pyramid: Pyramid) -> str:
    word = pyramid.unit[pyramid.axes.index("x")]
    return "" if word is None else _SYMBOLS.get(word, word)


def _scale_bar(panel: Axes, pyramid: Pyramid) -> None:
    from matplotlib.patheffects import withStroke

    (top, bottom), (left, right) = _borders(pyramid, XY, 0)
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
