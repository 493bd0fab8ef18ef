"""Why a box is wrong: another method, another parent, a shift, or nothing known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_pyramid.verify.content import Explanation, different, explain_box, read_box
from dask_pyramid.verify.making import ways_of

if TYPE_CHECKING:
    from dask_pyramid.image import Region
    from dask_pyramid.verify.content import Compared, Way
    from dask_pyramid.verify.part import Part

__all__ = ["diagnose"]


def diagnose(part: Part, result: Compared) -> str:
    """Return what explains a box that is wrong, empty if nothing does."""
    number = result.level
    reader = part.readers[number]
    assert part.making is not None  # or nothing would have been compared
    way = part.making.way(number, part.readers)
    assert way is not None
    shift = _shift(part, result.region, way, number=number)
    if shift:
        return shift
    ways = ways_of(number, part.levels, part.readers)
    task = Explanation(level=number, reader=reader, region=result.region, ways=ways)
    found = explain_box(task)
    fitting = found.get("ways")
    if not fitting or not found["telling"]:
        return ""
    best = ways[fitting[0]]
    return f"it equals {best.recipe.name} of {part.levels[best.parent].path!r}"


def _shift(part: Part, region: Region, way: Way, *, number: int) -> str:
    """Return by how many voxels the content is shifted, empty if it is not."""
    shape = part.levels[number].shape
    inner = tuple(
        slice(max(r.start, 1), min(r.stop, n - 1)) if n > 4 else r
        for r, n in zip(region, shape, strict=True)
    )
    if any(r.stop <= r.start for r in inner):
        return ""
    try:
        stored = read_box(part.readers[number], inner)
        for axis, n in enumerate(shape):
            for by in (1, -1) if n > 4 else ():
                moved = list(inner)
                moved[axis] = slice(inner[axis].start + by, inner[axis].stop + by)
                if not different(stored, way.made(tuple(moved)), exact=False).any():
                    if stored.min() == stored.max():
                        return ""
                    return f"the content is shifted by {-by} along axis {axis}"
    except OSError:
        pass
    return ""
