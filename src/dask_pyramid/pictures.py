"""What is drawn of a level: planes and projections, read and given their colours."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.rendering import channels_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.pyramid import Pyramid

__all__ = ["VIEWS", "XY", "Face", "cheap_levels", "paint", "read_faces"]

# More pixels than a panel can show are skipped.
_MOST_PIXELS = 2048

# Voxels of a level that are read without being asked for.
_CHEAP = 2**27


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A picture of a level along an axis, and where it stands beside the others."""

    name: str
    """What it is called."""
    down: str
    """Axis from top to bottom."""
    across: str
    """Axis from left to right."""
    along: str
    """Axis of which one plane, or the maximum, is shown, if there is such an axis."""
    projected: bool
    """Whether it is the maximum."""
    row: int = 0
    """Row of the panel."""
    column: int = 0
    """Column of the panel."""


XY = Face(name="central plane", down="y", across="x", along="z", projected=False)


def _maximum(down: str, across: str, along: str, row: int = 0, column: int = 0) -> Face:
    return Face(
        name=f"maximum\nalong {along}",
        down=down,
        across=across,
        along=along,
        projected=True,
        row=row,
        column=column,
    )


VIEWS: dict[str, tuple[Face, ...]] = {
    "plane": (XY,),
    "max": (_maximum("y", "x", "z"),),
    "both": (XY, _maximum("y", "x", "z", row=1)),
    "ortho": (
        _maximum("y", "x", "z"),
        _maximum("y", "z", "x", column=1),
        _maximum("z", "x", "y", row=1),
    ),
}


def cheap_levels(pyramid: Pyramid, faces: Sequence[Face]) -> list[int]:
    """Return the levels that are read soon, and the smallest in any case.

    Parameters
    ----------
    pyramid : Pyramid
        The pyramid.
    faces : sequence of Face
        What is shown of each level.
    """
    whole = any(face.projected for face in faces)
    skipped = {"t"} if whole else {"t", "z"}
    n = len(pyramid.shapes)
    voxels = [
        math.prod(
            extent
            for axis, extent in zip(pyramid.axes, shape, strict=True)
            if axis not in skipped
        )
        for shape in pyramid.shapes
    ]
    return [k for k in range(n) if voxels[k] <= _CHEAP or k == n - 1]


def read_faces(
    pyramid: Pyramid, number: int, faces: Sequence[Face], index: Mapping[str, int]
) -> list[np.ndarray[Any, Any]]:
    """Read what is shown of a level; each block of it once.

    Parameters
    ----------
    pyramid : Pyramid
        The pyramid.
    number : int
        The level.
    faces : sequence of Face
        What is shown.
    index : mapping
        Index at level 0 along t, z and c, where given.

    Returns
    -------
    list of numpy.ndarray
        Channel, down, across of each face.
    """
    import dask

    lazy = [_face(pyramid, number, face, index) for face in faces]
    return [np.asarray(pixels) for pixels in dask.compute(*lazy)]


def _face(pyramid: Pyramid, number: int, face: Face, index: Mapping[str, int]) -> Any:
    """Return channel, down, across of a level, lazy."""
    level = pyramid.levels[number]
    region: list[Any] = []
    left = []
    for axis, n in zip(pyramid.axes, level.shape, strict=True):
        if axis == "t":
            region.append(index.get("t", 0))
            continue
        if axis == face.along and not face.projected:
            region.append(_plane(pyramid, number, index.get(axis)))
            continue
        left.append(axis)
        if axis == "c" and axis in index:
            region.append(slice(index[axis], index[axis] + 1))
        else:
            shown = axis in (face.down, face.across)
            step = -(-n // _MOST_PIXELS) if shown else 1
            region.append(slice(None, None, step))
    part = level[tuple(region)]
    if face.projected:
        part = part.max(axis=left.index(face.along))
        left.remove(face.along)
    if "c" not in left:
        part, left = part[np.newaxis], ["c", *left]
    return part.transpose([left.index(a) for a in ("c", face.down, face.across)])


def _plane(pyramid: Pyramid, number: int, wanted: int | None) -> int:
    """Return the plane of a level nearest to a plane of level 0."""
    i = pyramid.axes.index("z")
    n = pyramid.shapes[number][i]
    first = (pyramid.shapes[0][i] - 1) / 2 if wanted is None else wanted
    z = pyramid.translation[0][i] + first * pyramid.scale[0][i]
    nearest = round((z - pyramid.translation[number][i]) / pyramid.scale[number][i])
    return min(max(nearest, 0), n - 1)


def paint(
    pyramid: Pyramid,
    pictures: Sequence[np.ndarray[Any, Any]],
    index: Mapping[str, int],
    window: tuple[float, float] | None,
) -> list[np.ndarray[Any, Any]]:
    """Give pictures their colours.

    Parameters
    ----------
    pyramid : Pyramid
        Whose they are.
    pictures : sequence of numpy.ndarray
        Channel, down, across of each.
    index : mapping
        Has ``"c"`` if one channel alone is shown.
    window : (low, high) or None
        Grey values drawn black and white; None takes those of the channels.

    Returns
    -------
    list of numpy.ndarray
        Down, across, RGB of each, 0 to 1.
    """
    if pyramid.image.labels:
        return [_label_colours(picture[0]) for picture in pictures]
    channels = channels_of(pyramid)[index.get("c", 0) :]
    results = []
    for picture in pictures:
        several = len(picture) > 1
        total = np.zeros((*picture.shape[1:], 3))
        for channel, pixels in zip(channels, picture, strict=False):
            if several and not channel.active:
                continue
            low, high = window or (channel.low, channel.high)
            grey = np.clip((pixels.astype("float64") - low) / (high - low), 0, 1)
            colour = channel.colour if several else "FFFFFF"
            rgb = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
            total += np.nan_to_num(grey)[..., np.newaxis] * rgb
        results.append(np.clip(total, 0, 1))
    return results


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
