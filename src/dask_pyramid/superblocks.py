"""Blocks of the lazy graph: whole multiples of the step, large enough, integers only.

A dask task costs the scheduler 0.3 to 0.6 ms and 4 kB, and an overlap 24 to 35 tasks
for each block. So the graph is never built on storage chunks but on super-blocks.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from functools import partial
from typing import TYPE_CHECKING

from dask_pyramid.geometry import Factor, Reach, ceil_div
from dask_pyramid.methods import Reduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.image import Image
    from dask_pyramid.levels import Level

__all__ = [
    "Chunks",
    "borrowed",
    "graph_tasks",
    "merged",
    "reduced",
    "resampled",
    "tasks",
]

Chunks = tuple[tuple[int, ...], ...]
"""Blocks along each axis, as dask has them."""

_BLOCK_VOXELS = 2**24


def merged(
    chunks: Chunks,
    steps: Sequence[Factor],
    reaches: Sequence[Reach],
    *,
    first_axis: int = 0,
) -> Chunks:
    """Return super-blocks for a reduction: blocks merged, cut only if they must be.

    Parameters
    ----------
    chunks : tuple of tuple of int
        Blocks along each axis, as dask has them.
    steps : sequence of int or Fraction
        Window along each axis.
    reaches : sequence of Reach
        What a block needs beyond its ends.
    first_axis : int
        First axis along which blocks are merged; those before are left alone.

    Returns
    -------
    tuple of tuple of int
        Blocks no shorter than the reach, that begin at multiples of the step if it is
        a whole number.

    Examples
    --------
    >>> merged(((3, 3, 3),), (2,), (Reach(),))
    ((9,),)
    """
    shape = [sum(blocks) for blocks in chunks]
    sizes = _grown([max(blocks) for blocks in chunks], shape, first_axis=first_axis)
    return tuple(
        _merge(blocks, size, step, max(reach.before, reach.after, 1))
        for blocks, size, step, reach in zip(chunks, sizes, steps, reaches, strict=True)
    )


def _grown(
    sizes: Sequence[int],
    shape: Sequence[int],
    *,
    first_axis: int,
    growth: float = 1.0,
) -> list[int]:
    """Return sizes doubled, the smallest first, until a block is large enough.

    A block is that and what is made of it, `growth` times as large.
    """
    sizes = list(sizes)
    while math.prod(sizes) * growth < _BLOCK_VOXELS:
        growing = [i for i in range(first_axis, len(sizes)) if sizes[i] < shape[i]]
        if not growing:
            break
        smallest = min(growing, key=lambda i: sizes[i])
        sizes[smallest] = min(2 * sizes[smallest], shape[smallest])
    return sizes


def _merge(
    blocks: tuple[int, ...], size: int, step: Factor, least: int
) -> tuple[int, ...]:
    total = sum(blocks)
    if not isinstance(step, int):
        # A window may belong to two blocks, but each block has a sample of its own, and
        # the last one has another if that lies beyond level 0.
        step, least = 1, max(least, math.ceil(2 * step))
    borders = list(itertools.accumulate(blocks))
    if any(border % step for border in borders[:-1]):
        regular = ceil_div(max(size, least), step) * step
        borders = [*range(regular, total, regular), total]
    cuts = [0]
    for border in borders:
        if border - cuts[-1] >= max(size, least) or border == total:
            cuts.append(border)
    if len(cuts) > 2 and cuts[-1] - cuts[-2] < least:
        del cuts[-2]
    return tuple(b - a for a, b in itertools.pairwise(cuts))


def resampled(
    chunks: Chunks, ratios: Sequence[float], least: Sequence[int], *, first_axis: int
) -> Chunks:
    """Return super-blocks for a resampling: merged, or cut where they grow too large.

    Parameters
    ----------
    chunks : tuple of tuple of int
        Blocks along each axis, as dask has them.
    ratios : sequence of float
        New samples for each voxel along each axis.
    least : sequence of int
        Shortest block along each axis, but for axes of one block.
    first_axis : int
        First axis along which blocks are merged or cut.

    Returns
    -------
    tuple of tuple of int
        Blocks that hold about 2**24 voxels, before or after, whichever is more.

    Examples
    --------
    >>> resampled(((4, 4), (4096,)), (1.0, 8.0), (1, 16), first_axis=0)
    ((8,), (4096,))
    >>> resampled(((4096,), (4096, 4096)), (8.0, 8.0), (16, 16), first_axis=0)
    ((1024, 1024, 1024, 1024), (1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024))
    """
    shape = [sum(blocks) for blocks in chunks]
    sizes = [max(blocks) for blocks in chunks]
    growth = max(1.0, math.prod(ratios))
    while math.prod(sizes) * growth > 4 * _BLOCK_VOXELS:
        cut = [i for i in range(first_axis, len(sizes)) if sizes[i] > 2 * least[i]]
        if not cut:
            break
        largest = max(cut, key=lambda i: sizes[i])
        sizes[largest] = ceil_div(sizes[largest], 2)
    sizes = _grown(sizes, shape, first_axis=first_axis, growth=growth)
    return tuple(
        _merge(blocks if max(blocks) <= size else _regular(n, size), size, 1, shortest)
        for blocks, size, shortest, n in zip(chunks, sizes, least, shape, strict=True)
    )


def _regular(extent: int, size: int) -> tuple[int, ...]:
    whole, rest = divmod(extent, size)
    return (size,) * whole + ((rest,) if rest else ())


def reduced(
    chunks: Chunks, steps: Sequence[Factor], shape: Sequence[int] | None = None
) -> Chunks:
    """Return the blocks of the next level: a window belongs to where it begins.

    Parameters
    ----------
    chunks : tuple of tuple of int
        Blocks along each axis.
    steps : sequence of int or Fraction
        Window along each axis.
    shape : sequence of int, optional
        Extent of the level; by default ``ceil(n / step)``. Steps that are no whole
        numbers may end one sample earlier, which lies beyond level 0.

    Examples
    --------
    >>> reduced(((4, 3), (2,)), (2, 1))
    ((2, 2), (2,))
    """
    if shape is None:
        shape = [ceil_div(sum(b), step) for b, step in zip(chunks, steps, strict=True)]
    return tuple(
        tuple(
            min(extent, ceil_div(stop, step)) - ceil_div(stop - n, step)
            for n, stop in zip(blocks, itertools.accumulate(blocks), strict=True)
        )
        for blocks, step, extent in zip(chunks, steps, shape, strict=True)
    )


def borrowed(chunks: Chunks, reaches: Sequence[Reach]) -> tuple[Reach, ...]:
    """Return what blocks need of their neighbours: nothing where there is none.

    An axis of one block may be shorter than the reach, which dask would refuse.

    Examples
    --------
    >>> borrowed(((1,),), (Reach(before=2, after=2),))
    (Reach(before=0, after=0),)
    """
    return tuple(
        reach if len(blocks) > 1 else Reach()
        for blocks, reach in zip(chunks, reaches, strict=True)
    )


def tasks(before: Chunks, after: Chunks, reaches: Sequence[Reach]) -> int:
    """Return how many dask tasks one level adds to the graph.

    Parameters
    ----------
    before : tuple of tuple of int
        Blocks of the level below.
    after : tuple of tuple of int
        Its super-blocks.
    reaches : sequence of Reach
        What a block needs beyond its ends.

    Returns
    -------
    int
        Cutting, one task for each part of a block that is cut; merging, one for each
        super-block that is new; borders, 3n - 2 along each axis with a halo at both
        ends;
        overlapping and reducing, one each.

    Examples
    --------
    >>> tasks(((8, 8),), ((8, 8),), (Reach(before=2, after=2),))
    8
    """
    reaches = borrowed(after, reaches)
    counts = [len(blocks) for blocks in after]
    n_blocks = math.prod(counts)
    merging = 0 if before == after else n_blocks + _parts(before, after)
    if all(reach == Reach() for reach in reaches):
        return merging + n_blocks
    borders = math.prod(
        n + (n - 1) * ((reach.before > 0) + (reach.after > 0))
        for n, reach in zip(counts, reaches, strict=True)
    )
    return merging + borders + 2 * n_blocks


def _parts(before: Chunks, after: Chunks) -> int:
    """Return in how many parts blocks are cut; a block that stays whole is none."""
    pieces, whole = 1, 1
    for old, new in zip(before, after, strict=True):
        borders = list(itertools.accumulate(new))
        ends = [0, *itertools.accumulate(old)]
        # One piece more for each border of a super-block that lies within a block.
        cuts = [
            bisect_left(borders, end) - bisect_right(borders, start)
            for start, end in itertools.pairwise(ends)
        ]
        pieces *= len(old) + sum(cuts)
        whole *= cuts.count(0)
    return pieces - whole


def graph_tasks(
    image: Image, levels: Sequence[Level], reductions: Sequence[Reduction]
) -> tuple[int, ...]:
    """Return how many tasks each level adds to the lazy graph, its mask among them.

    Parameters
    ----------
    image : Image
        Level 0, and the blocks in which it is read.
    levels : sequence of Level
        All levels.
    reductions : sequence of Reduction
        How each is made from its parent.

    Returns
    -------
    tuple of int
        One number for each level.
    """
    ignore = reductions[0].ignore
    masked = ignore is not None and ignore.masked
    n_blocks = math.prod(map(len, image.blocks))
    # Blocks are read, and with a mask that is, and both are put together.
    counts = [(n_blocks if image.reader is not None else 0) + 2 * n_blocks * masked]
    blocks, under = [image.blocks], [image.blocks]
    waiting = [0]  # the mask of a level is made with the first level that needs it
    for level, reduction in zip(levels[1:], reductions[1:], strict=True):
        assert level.parent is not None  # only level 0 has none
        made = partial(_blocks_made, level=level, first_axis=image.first_spatial)
        count, above, after = made(blocks[level.parent], reduction)
        blocks.append(after)
        if masked:
            inside = under[level.parent]
            # Cut as the voxels are, but not reduced with them; then by itself.
            count += tasks(inside, above, reduction.halos)
            count += waiting[level.parent] - math.prod(map(len, above))
            waiting[level.parent] = 0
            any_of = Reduction(kernel="any", steps=level.steps, filters=())
            later, cut, after = made(inside, any_of)
            if cut == above:  # which is done already
                later = tasks(cut, cut, any_of.halos)
            waiting.append(later)
            under.append(after)
        counts.append(count)
    return tuple(counts)


def _blocks_made(
    below: Chunks, reduction: Reduction, *, level: Level, first_axis: int
) -> tuple[int, Chunks, Chunks]:
    """Return tasks of a reduction, blocks that it is made of, and those it makes."""
    above = merged(below, level.steps, reduction.halos, first_axis=first_axis)
    count = tasks(below, above, reduction.halos)
    return count, above, reduced(above, level.steps, level.shape)
