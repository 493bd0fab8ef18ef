"""The levels of a pyramid: extent, factors, place in the world, chunks and shards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dask_pyramid import layout
from dask_pyramid.factors import (
    absolute_factors,
    auto_factors,
    exact,
    is_whole,
    isotropic_factors,
)
from dask_pyramid.geometry import Factor, Placement, ceil_div, reduced_shape, spacing
from dask_pyramid.lengths import comparable, decimals, one_unit

if TYPE_CHECKING:
    from dask_pyramid.image import Image
    from dask_pyramid.methods import Method

__all__ = ["Level", "chain_of", "make_levels", "parent_of", "steps_between"]


# Steps up to this are taken for images of any size: one of many, or one that will grow.
_USUAL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of a pyramid."""

    number: int
    """0 is full resolution."""
    shape: tuple[int, ...]
    """Extent in voxels."""
    factors: tuple[Factor, ...]
    """Voxels of level 0 that one voxel stands for, along each axis."""
    parent: int | None
    """Level that this one is computed from; None for level 0."""
    steps: tuple[Factor, ...]
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


def chain_of(levels: Sequence[Level], number: int) -> tuple[tuple[Factor, ...], ...]:
    """Return how a level is made: its steps, those of its parent, and so on.

    Parameters
    ----------
    levels : sequence of Level
        All levels.
    number : int
        Which level.

    Returns
    -------
    tuple of tuple of int or Fraction
        Empty for level 0.
    """
    chain = []
    level = levels[number]
    while level.parent is not None:
        chain.append(level.steps)
        level = levels[level.parent]
    return tuple(chain)


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
    # Products of floats may differ in the last bit where products of decimals do not.
    exactly = _goal(scale_factors) is not None or not all(map(is_whole, factors))
    levels: list[Level] = []
    places: list[tuple[Placement, ...]] = []
    for k, factor in enumerate(factors):
        parent = parent_of(factors, k, chain=method.chain)
        steps = factor if parent is None else steps_between(factor, factors[parent])
        before = None if parent is None else places[parent]
        places.append(_places(before, steps, method))
        scale, translation = _world(image, places[k])
        if exactly:
            scale = tuple(map(spacing, image.scale, factor))
        levels.append(
            Level(
                number=k,
                shape=shapes[k],
                factors=factor,
                parent=parent,
                steps=steps,
                scale=scale,
                translation=translation,
                chunks=chunk_list[k],
                shards=shard_list[k],
                path=str(k),
            )
        )
    return tuple(levels)


def _places(
    parent: Sequence[Placement] | None, steps: Sequence[Factor], method: Method
) -> tuple[Placement, ...]:
    """Return where the samples of a level sit, of level 0 for no parent."""
    if parent is None:
        return (Placement(),) * len(steps)
    return tuple(
        place.reduced(step, offset=offset)
        for place, step, offset in zip(
            parent, steps, method.offsets(steps), strict=True
        )
    )


def _world(
    image: Image, places: Sequence[Placement]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return scale and translation of a level whose samples sit at these places."""
    scale, translation = zip(
        *(
            place.world(s, t)
            for place, s, t in zip(places, image.scale, image.translation, strict=True)
        ),
        strict=True,
    )
    return scale, translation


def _factors(
    image: Image, scale_factors: Any, chunks: Any
) -> tuple[tuple[Factor, ...], ...]:
    goal = _goal(scale_factors)
    if goal is not None or scale_factors == "auto":
        first = layout.level_chunks(
            chunks[:1] if isinstance(chunks, list) else chunks,
            shapes=[image.shape],
            axes=image.axes,
            itemsize=image.dtype.itemsize,
        )[0]
        if goal is None:
            scale = comparable(image.scale, image.unit, image.axes)
            return auto_factors(image.shape, scale, axes=image.axes, chunks=first)
        return isotropic_factors(
            image.shape,
            decimals(image.scale, image.unit, image.axes),
            axes=image.axes,
            chunks=first,
            spacing=_asked_spacing(goal, image),
        )
    if isinstance(scale_factors, str | Mapping) or not isinstance(
        scale_factors, Sequence
    ):
        raise ValueError(
            "scale_factors must be 'auto', 'isotropic' or a list with one entry for "
            f"each level, got {scale_factors!r}; three halvings are (2, 4, 8)"
        )
    found = absolute_factors(scale_factors, image.axes)
    for before, factors in pairwise(((1,) * image.ndim, *found)):
        _check_size(steps_between(factors, before), reduced_shape(image.shape, before))
    return found


def _check_size(steps: Sequence[Factor], shape: Sequence[int]) -> None:
    """Refuse a voxel at least twice as long as the level that it is made of.

    Along all axes that are reduced, for thin stacks are fine.
    """
    reduced = [(f, n) for f, n in zip(steps, shape, strict=True) if f > 1]
    if max(steps) > _USUAL and all(f >= 2 * n for f, n in reduced):
        told = " x ".join(str(f) for f, _ in reduced)
        raise ValueError(
            "scale_factors must step by less than twice the level before, got a step "
            f"of {told} for {' x '.join(str(n) for _, n in reduced)} voxels; "
            f"{max(n for _, n in reduced)} leaves one voxel"
        )


def _goal(scale_factors: Any) -> Any:
    """Return the spacing of an isotropic level, "" for the default; None: not asked."""
    if isinstance(scale_factors, Mapping) and set(scale_factors) == {"isotropic"}:
        return scale_factors["isotropic"]
    return "" if scale_factors == "isotropic" else None


def _asked_spacing(goal: Any, image: Image) -> Fraction | None:
    if goal == "":
        return None
    try:
        size = float(goal)
    except (TypeError, ValueError):
        size = math.nan
    if isinstance(goal, bool) or not 0 < size < math.inf:
        raise ValueError(
            f"the isotropic spacing must be a positive number, got {goal!r}; it is in "
            "the unit of the image"
        )
    if not one_unit(image.unit, image.axes):
        raise ValueError(
            "the isotropic spacing must not be given for axes of several units, got "
            f"{goal!r} for {image.unit!r}; 'isotropic' alone takes the coarsest"
        )
    return Fraction(exact(goal))


def parent_of(
    factors: Sequence[Sequence[Factor]], k: int, *, chain: bool
) -> int | None:
    """Return the level that level `k` is made from.

    The coarsest earlier one whose factors divide its own; if none does, the one before.
    """
    if k == 0:
        return None
    for j in range(k - 1 if chain else 0, -1, -1):
        if all(f % p == 0 for f, p in zip(factors[k], factors[j], strict=True)):
            return j
    return k - 1 if chain else 0


def steps_between(
    factors: Sequence[Factor], parent: Sequence[Factor]
) -> tuple[Factor, ...]:
    """Return the steps from a level to a coarser one.

    Examples
    --------
    >>> steps_between((1, 5, exact("5/2")), (1, 2, 2))
    (1, Fraction(5, 2), Fraction(5, 4))
    """
    return tuple(exact(Fraction(f) / p) for f, p in zip(factors, parent, strict=True))
