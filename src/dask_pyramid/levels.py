"""The levels of a pyramid: extent, factors, place in the world, chunks and shards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dask_pyramid import layout
from dask_pyramid.axes import comparable
from dask_pyramid.geometry import (
    Placement,
    absolute_factors,
    auto_factors,
    ceil_div,
    reduced_shape,
)

if TYPE_CHECKING:
    from dask_pyramid.image import Image
    from dask_pyramid.methods import Method

__all__ = ["Level", "make_levels", "parent_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of a pyramid."""

    number: int
    """0 is full resolution."""
    shape: tuple[int, ...]
    """Extent in voxels."""
    factors: tuple[int, ...]
    """Voxels of level 0 that one voxel stands for, along each axis."""
    parent: int | None
    """Level that this one is computed from; None for level 0."""
    steps: tuple[int, ...]
    """Window of the reduction from the parent, in voxels of the parent."""
    scale: tuple[float, ...]
    """Spacing of voxel centres, in the unit of the image."""
    translation: tuple[float, ...]
    """World position of the centre of voxel 0, in the unit of the image."""
    chunks: tuple[int, ...]
    """Extent of a chunk in voxels."""
    shards: tuple[int, ...] | None
    """Extent of a shard in voxels; None if chunks are stored one by one."""
    path: str
    """Name of the array in the group."""

    @property
    def objects(self) -> tuple[int, ...]:
        """Extent of a storage object in voxels."""
        return self.shards or self.chunks

    @property
    def n_objects(self) -> int:
        """Number of storage objects, if none is left out for being empty."""
        return math.prod(
            ceil_div(n, o) for n, o in zip(self.shape, self.objects, strict=True)
        )

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)


def make_levels(
    image: Image, method: Method, *, scale_factors: Any, chunks: Any, shards: Any
) -> tuple[Level, ...]:
    """Return all levels of a pyramid: extent, place and layout of each.

    Parameters
    ----------
    image : Image
        Level 0.
    method : Method
        Decides where samples sit in their windows, and whether levels are chained.
    scale_factors, chunks, shards
        As for `dask_pyramid.plan_pyramid`.

    Returns
    -------
    tuple of Level
        Level 0 first.

    Raises
    ------
    ValueError
        If an argument breaks a rule.
    """
    factors = ((1,) * image.ndim, *_factors(image, scale_factors, chunks))
    shapes = [reduced_shape(image.shape, f) for f in factors]
    chunk_list = layout.level_chunks(
        chunks, shapes=shapes, axes=image.axes, itemsize=image.dtype.itemsize
    )
    shard_list = layout.level_shards(
        shards,
        shapes=shapes,
        chunks=chunk_list,
        axes=image.axes,
        itemsize=image.dtype.itemsize,
    )
    levels: list[Level] = []
    places: list[tuple[Placement, ...]] = []
    for k, factor in enumerate(factors):
        parent = parent_of(factors, k, chain=method.chain)
        steps = factor
        places.append((Placement(),) * image.ndim)
        if parent is not None:
            pairs = zip(factor, factors[parent], strict=True)
            steps = tuple(f // p for f, p in pairs)
            places[k] = tuple(
                place.reduced(step, offset=method.offset(step))
                for place, step in zip(places[parent], steps, strict=True)
            )
        world = [
            place.world(s, t)
            for place, s, t in zip(
                places[k], image.scale, image.translation, strict=True
            )
        ]
        levels.append(
            Level(
                number=k,
                shape=shapes[k],
                factors=factor,
                parent=parent,
                steps=steps,
                scale=tuple(s for s, _ in world),
                translation=tuple(t for _, t in world),
                chunks=chunk_list[k],
                shards=shard_list[k],
                path=str(k),
            )
        )
    return tuple(levels)


def _factors(
    image: Image, scale_factors: Any, chunks: Any
) -> tuple[tuple[int, ...], ...]:
    if isinstance(scale_factors, str):
        if scale_factors != "auto":
            raise ValueError(
                f"scale_factors must be 'auto' or a list of factors, got "
                f"{scale_factors!r}; three halvings are (2, 4, 8)"
            )
        first = layout.level_chunks(
            chunks[:1] if isinstance(chunks, list) else chunks,
            shapes=[image.shape],
            axes=image.axes,
            itemsize=image.dtype.itemsize,
        )[0]
        spacing = comparable(image.scale, image.unit, image.axes)
        return auto_factors(image.shape, spacing, axes=image.axes, chunks=first)
    if isinstance(scale_factors, Mapping) or not isinstance(scale_factors, Sequence):
        raise ValueError(
            f"scale_factors must be a list with one entry for each level, got "
            f"{scale_factors!r}; three halvings are (2, 4, 8)"
        )
    return absolute_factors(scale_factors, image.axes)


def parent_of(factors: Sequence[Sequence[int]], k: int, *, chain: bool) -> int | None:
    """Return the coarsest earlier level whose factors divide those of level `k`."""
    if k == 0:
        return None
    for j in range(k - 1 if chain else 0, -1, -1):
        if all(f % p == 0 for f, p in zip(factors[k], factors[j], strict=True)):
            return j
    return 0
