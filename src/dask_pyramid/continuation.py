"""What follows behind a stored image: whether it fits, and both as one image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dask_pyramid.labelled import check_spacing
from dask_pyramid.sources.arrays import ExpandedReader, JoinedReader, join_graphs

if TYPE_CHECKING:
    from dask_pyramid.existing import Existing
    from dask_pyramid.image import Image, Reader

__all__ = ["axis_of", "check_continues", "expanded", "joined_image"]


def axis_of(image: Image, axis: str) -> int:
    """Return the position of the axis along which an image grows."""
    if axis not in image.axes:
        raise ValueError(
            f"axis must be one of the pyramid's, {''.join(image.axes)!r}, got {axis!r}"
            f"; give another, such as axis={image.axes[0]!r}"
        )
    return image.axes.index(axis)


def expanded(image: Image, axes: tuple[str, ...], position: int) -> Image:
    """Return an image that lacks the axis, one frame or plane, with it."""
    before, after = axes[:position], axes[position + 1 :]
    if image.axes != before + after:
        return image

    def spread(values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        return (*values[:position], value, *values[position:])

    graph = image.graph
    return replace(
        image,
        axes=axes,
        scale=spread(image.scale, 1.0),
        translation=spread(image.translation, 0.0),
        unit=spread(image.unit, None),
        reader=image.reader and ExpandedReader(image.reader, position),
        graph=None if graph is None else graph[(slice(None),) * position + (None,)],
    )


def check_continues(old: Image, new: Image, position: int) -> None:
    """Refuse an image that is not of the same kind and extent."""
    for name in ("axes", "dtype"):
        if getattr(old, name) != getattr(new, name):
            raise ValueError(
                f"image must have the {name} of the pyramid, {getattr(old, name)!s}, "
                f"got {getattr(new, name)!s}"
            )
    extents = [
        (m, n)
        for i, (m, n) in enumerate(zip(old.shape, new.shape, strict=True))
        if i != position
    ]
    if any(m != n for m, n in extents):
        raise ValueError(
            f"image must have the extents of the pyramid but along "
            f"{old.axes[position]!r}, {old.shape!r}, got {new.shape!r}"
        )
    check_spacing(old, new, "image")


def joined_image(existing: Existing, image: Image, position: int) -> Image:
    """Return the stored level 0 and the image behind it as one."""
    stored = existing.image
    assert stored.reader is not None  # it is stored
    if image.reader is not None:
        reader: Reader = JoinedReader(stored.reader, image.reader, axis=position)
        return replace(stored, reader=reader)
    assert image.graph is not None  # by construction: one of the two is there
    objects = existing.levels[0].shards or existing.levels[0].chunks
    old = stored.shape[position]
    graph = join_graphs(
        stored.data,
        image.graph,
        axis=position,
        cut=old // objects[position] * objects[position],
    )
    return replace(stored, reader=None, graph=graph)
