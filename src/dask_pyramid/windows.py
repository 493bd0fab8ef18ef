"""What of each level depends on a part of level 0: integers only.

Where level 0 has changed, or where an image has grown, only the objects that hold a
dependent voxel are written again. A voxel is dependent if what it needs of its parent
meets a dependent part of that; rounding to whole objects is never passed on.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from dask_pyramid.axes import per_axis
from dask_pyramid.geometry import ceil_div, dependent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.levels import Level
    from dask_pyramid.methods import Reduction
    from dask_pyramid.passes import Part, Range

__all__ = ["dependent_parts", "nothing", "parse_region", "whole", "whole_objects"]


def whole(level: Level) -> Part:
    """Return all of a level."""
    return tuple((0, n) for n in level.shape)


def nothing(level: Level) -> Part:
    """Return a part without a voxel."""
    return ((0, 0),) * len(level.shape)


def dependent_parts(
    levels: Sequence[Level], reductions: Sequence[Reduction], region: Part
) -> tuple[Part, ...]:
    """Return the voxels of each level that depend on a region of level 0.

    Parameters
    ----------
    levels : sequence of Level
        All levels.
    reductions : sequence of Reduction
        How each is made from its parent; unused for level 0.
    region : tuple of (int, int)
        Half-open range along each axis, in voxels of level 0.

    Returns
    -------
    tuple of tuple of (int, int)
        A box for each level; that of level 0 is the region.

    Notes
    -----
    For an image that has grown along an axis, the region is what is new: a voxel near
    the old end, that was made of mirrored voxels or of a cut window, needs a new one.
    """
    parts = [region]
    for level, reduction in zip(levels[1:], reductions[1:], strict=True):
        assert level.parent is not None  # only level 0 has none
        ranges = [
            dependent(*range_, step=step, reach=reach, size=size)
            for range_, step, reach, size in zip(
                parts[level.parent],
                level.steps,
                reduction.reaches,
                level.shape,
                strict=True,
            )
        ]
        parts.append(tuple((r.start, r.stop) for r in ranges))
    return tuple(parts)


def whole_objects(part: Part, level: Level) -> Part:
    """Return the storage objects that hold a voxel of a part, as a box of voxels.

    An object at the border ends where the level ends.
    """
    return tuple(
        (start // o * o, min(n, ceil_div(stop, o) * o)) if start < stop else (0, 0)
        for (start, stop), o, n in zip(part, level.objects, level.shape, strict=True)
    )


def parse_region(region: Any, shape: Sequence[int], axes: Sequence[str]) -> Part:
    """Return a region of level 0 as a range for each axis.

    Parameters
    ----------
    region : dict by axis or sequence of slice or (start, stop)
        An axis that a dict does not name is taken whole; a slice may count from the
        end, as in Python.
    shape : sequence of int
        Extent of level 0.
    axes : sequence of str
        Axes in storage order.

    Returns
    -------
    tuple of (int, int)
        Half-open ranges, none of them empty.

    Raises
    ------
    ValueError
        If a range is empty, has a step, or leaves the image.

    Examples
    --------
    >>> parse_region({"y": slice(4, None), "x": (0, 2)}, (3, 8, 8), "zyx")
    ((0, 3), (4, 8), (0, 2))
    """
    given = per_axis(region, axes, name="region", default=None)
    return tuple(
        _range(entry, n, axis)
        for entry, n, axis in zip(given, shape, axes, strict=True)
    )


def _range(entry: Any, n: int, axis: str) -> Range:
    if entry is None:
        return 0, n
    if isinstance(entry, slice):
        if entry.step not in (None, 1):
            raise ValueError(f"region must have no step, got {entry!r} for {axis!r}")
        start, stop, _ = entry.indices(n)
        # Python would cut these; whoever asks for more than there is errs.
        edges = (edge for edge in (entry.start, entry.stop) if edge is not None)
        outside = any(not -n <= edge <= n for edge in edges)
    else:
        try:
            start, stop = (operator.index(edge) for edge in entry)
        except (TypeError, ValueError):
            raise ValueError(
                f"region must be a slice or (start, stop) for each axis, got {entry!r} "
                f"for {axis!r}"
            ) from None
        outside = False
    if outside or not 0 <= start < stop <= n:
        raise ValueError(
            f"region must hold a voxel of level 0 and none outside, got {entry!r} for "
            f"{axis!r} of extent {n}"
        )
    return start, stop
