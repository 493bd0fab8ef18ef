"""Image and plan to lazy levels: overlapping `map_blocks` graphs on super-blocks.

`boundary="none"`: no dask task pads anything, the block function knows where the true
border of the array is. Blocks stay on their device.
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import namespace
from dask_pyramid.geometry import Reach, Span
from dask_pyramid.kernels import (
    pays_to_compile,
    reduce_block,
    resample_block,
    resampling_work,
)
from dask_pyramid.methods import Reduction
from dask_pyramid.superblocks import Chunks, borrowed, merged, reduced, resampled

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from dask_pyramid.image import Image
    from dask_pyramid.masks import Mask
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.sampling import Sampling

__all__ = ["in_blocks_of", "lazy_levels", "reduce_array", "resample_array"]

# Graphs of so many tasks are not built here; dask takes its detours beyond it.
_ONE_STEP = 2**40


def lazy_levels(
    image: Image, plan: PyramidPlan, *, mask: Mask | None = None
) -> tuple[da.Array, ...]:
    """Return all levels as dask arrays, each built from its parent.

    Parameters
    ----------
    image : Image
        Level 0.
    plan : PyramidPlan
        Its plan.
    mask : Mask, optional
        Which voxels count.

    Returns
    -------
    tuple of dask.array.Array
        Level 0 first; dtype and kind of block (NumPy or CuPy) are those of the image.

    Notes
    -----
    The plan's `graph_tasks` says how many tasks each level adds, those of its mask
    among them.
    """
    levels, under = [image.data], []
    if mask is not None:
        under.append(_lazy_mask(mask, image.data.chunks))
        kept = {"dtype": image.dtype, "meta": image.data._meta}
        levels = [image.data.map_blocks(_masked, under[0], fill=plan.fill, **kept)]
    for level in plan.levels[1:]:
        assert level.parent is not None  # only level 0 has none
        given: dict[str, Any] = {
            "compiled": plan.compiled,
            "first_axis": image.first_spatial,
            "shape": level.shape,
        }
        below, reduction = levels[level.parent], plan.reduction(level.number)
        if mask is None:
            levels.append(reduce_array(below, reduction, **given))
            continue
        inside = under[level.parent]
        levels.append(reduce_array(below, reduction, mask=inside, **given))
        found = Reduction(kernel="any", steps=level.steps, filters=())
        under.append(reduce_array(inside, found, **given))
    return tuple(levels)


def _lazy_mask(mask: Mask, chunks: Chunks) -> da.Array:
    """Return the mask of level 0, in the blocks of the image.

    One that can be read by region has a task for each block.
    """
    import dask.array as da
    from dask.tokenize import tokenize

    reader, axes = mask.image.reader, mask.image.axes
    if reader is None:
        return _spread_mask(mask, chunks)
    lazy: da.Array = da.map_blocks(
        # A partial is opaque to dask, so the reader is not taken apart for tasks.
        partial(_mask_task, mask, _bounds(chunks)),
        chunks=chunks,
        dtype=bool,
        meta=np.empty((0,) * len(chunks), bool),
        name=f"mask-{tokenize(reader, axes, mask.factors, chunks)}",
    )
    return lazy


def _mask_task(
    mask: Mask, bounds: Sequence[Sequence[int]], block_id: tuple[int, ...]
) -> Any:
    region = tuple(
        slice(borders[i], borders[i + 1])
        for borders, i in zip(bounds, block_id, strict=True)
    )
    return mask.read(region, ())


def _spread_mask(mask: Mask, chunks: Chunks) -> da.Array:
    """Return a mask that is a graph itself, repeated where it is coarser or lacks axes.

    Its own tasks, and those that spread it, are not counted by a plan.
    """
    own = tuple(slice(None) if axis in mask.image.axes else None for axis in mask.axes)
    under = (mask.image.data != 0)[own]
    for axis, (sizes, factor) in enumerate(zip(chunks, mask.factors, strict=True)):
        times = sum(sizes) if under.shape[axis] == 1 else factor
        if times > 1:
            under = under.repeat(times, axis)
    under = under[tuple(slice(0, sum(sizes)) for sizes in chunks)]
    spread: da.Array = under.rechunk(chunks)
    return spread


def _masked(block: Any, mask: Any, *, fill: float) -> Any:
    """Return a block with the fill value where it is not under the mask."""
    xp = namespace(block)
    inside = xp.asarray(mask, device=block.device)
    value = bool(fill) if xp.isdtype(block.dtype, "bool") else fill
    return xp.where(inside, block, xp.full_like(block, value))


def in_blocks_of(mask: Any, array: da.Array) -> da.Array:
    """Return an array of any kind as a dask array with the blocks of another one."""
    import dask.array as da

    blocks: da.Array = da.asarray(mask).rechunk(array.chunks)
    return blocks


def reduce_array(
    array: da.Array,
    reduction: Reduction,
    *,
    compiled: bool,
    first_axis: int = 0,
    shape: Sequence[int] | None = None,
    mask: da.Array | None = None,
) -> da.Array:
    """Return a dask array reduced by one step.

    Parameters
    ----------
    array : dask.array.Array
        Any chunking; NumPy or CuPy blocks.
    reduction : Reduction
        How each axis is reduced.
    compiled : bool
        Whether host blocks go to the compiled kernels.
    first_axis : int
        First axis along which blocks may be merged.
    shape : sequence of int, optional
        Extent of the result, if not ``ceil(n / step)``.
    mask : dask.array.Array of bool, optional
        Which voxels count.

    Returns
    -------
    dask.array.Array
        Same dtype.
    """
    halos = reduction.halos
    blocks = merged(array.chunks, reduction.steps, halos, first_axis=first_axis)
    chunks = reduced(blocks, reduction.steps, shape)
    halo = borrowed(blocks, halos)
    array = _overlapping(array, blocks, halo)
    masks = [] if mask is None else [_overlapping(mask, blocks, halo)]
    return array.map_blocks(
        _reduce_task,
        *masks,
        reduction=reduction,
        bounds=_bounds(chunks),
        held=[
            [max(0, start - reach.before) for start in borders[:-1]]
            for borders, reach in zip(_bounds(blocks), halo, strict=True)
        ],
        shape=tuple(sum(sizes) for sizes in blocks),
        compiled=compiled,
        chunks=chunks,
        dtype=array.dtype,
        meta=array._meta,
    )


def _bounds(chunks: Chunks) -> tuple[tuple[int, ...], ...]:
    return tuple((0, *itertools.accumulate(sizes)) for sizes in chunks)


def _overlapping(
    array: da.Array, blocks: Sequence[Sequence[int]], halo: Sequence[Reach]
) -> da.Array:
    """Return an array in blocks that hold what they borrow of their neighbours."""
    from dask.array.overlap import overlap

    if blocks != array.chunks:
        # In one step, as the plan counts it, with or without a client: the blocks hold
        # about the same number of voxels before and after.
        array = array.rechunk(blocks, threshold=_ONE_STEP, method="tasks")
    if any(reach != Reach() for reach in halo):
        depth = {axis: (r.before, r.after) for axis, r in enumerate(halo)}
        array = overlap(array, depth, boundary="none", allow_rechunk=False)
    return array


def _reduce_task(
    block: Any,
    mask: Any = None,
    *,
    reduction: Reduction,
    bounds: Sequence[Sequence[int]],
    held: Sequence[Sequence[int]],
    shape: Sequence[int],
    compiled: bool,
    block_id: tuple[int, ...],
) -> Any:
    spans = [
        Span(first=bound[i], stop=bound[i + 1], size=size)
        for bound, i, size in zip(bounds, block_id, shape, strict=True)
    ]
    if mask is not None:
        xp = namespace(block)
        mask = xp.asarray(mask, device=block.device)
    starts = [first[i] for first, i in zip(held, block_id, strict=True)]
    cut = tuple(
        slice(part.start - start, part.stop - start)
        for part, start in zip(reduction.needed(spans), starts, strict=True)
    )
    return reduce_block(block[cut], reduction, spans, mask=mask, compiled=compiled)


def resample_array(
    array: da.Array, samplings: Sequence[Sampling], *, first_axis: int = 0
) -> da.Array:
    """Return a dask array resampled along its axes.

    Parameters
    ----------
    array : dask.array.Array
        Any chunking; NumPy or CuPy blocks.
    samplings : sequence of Sampling
        One for each axis.
    first_axis : int
        First axis along which blocks may be merged or cut.

    Returns
    -------
    dask.array.Array
        Same dtype; the values do not depend on the chunks of `array`.
    """
    from dask.array.overlap import overlap

    cuts = resampled(
        array.chunks,
        [s.size_out / s.size_in for s in samplings],
        # So long that each holds a sample, and what its neighbours need of it.
        [s.n_taps + 2 * math.ceil(s.a) + 2 for s in samplings],
        first_axis=first_axis,
    )
    if cuts != array.chunks:
        array = array.rechunk(cuts, threshold=_ONE_STEP, method="tasks")
    parts = tuple(_split(s, sizes) for s, sizes in zip(samplings, cuts, strict=True))
    depth = {axis: _depth(samplings[axis], part) for axis, part in enumerate(parts)}
    if any(halo != (0, 0) for halo in depth.values()):
        array = overlap(array, depth, boundary="none", allow_rechunk=False)
    return array.map_blocks(
        _resample_task,
        samplings=tuple(samplings),
        parts=parts,
        before=tuple(halo[0] for halo in depth.values()),
        compiled=pays_to_compile(resampling_work(samplings)),
        chunks=tuple(tuple(b - a for _, a, b in part) for part in parts),
        dtype=array.dtype,
        meta=array._meta,
    )


_Part = tuple[int, int, int]


def _split(sampling: Sampling, sizes: Sequence[int]) -> tuple[_Part, ...]:
    """Return the first voxel of each block, and the samples that lie in it."""
    starts = [0, *itertools.accumulate(sizes)][:-1]
    firsts = [
        min(
            sampling.size_out,
            max(0, math.ceil((start - 0.5 - sampling.b) / sampling.a)),
        )
        for start in starts
    ]
    firsts[0] = 0
    return tuple(
        (start, first, stop)
        for start, (first, stop) in zip(
            starts, itertools.pairwise([*firsts, sampling.size_out]), strict=True
        )
    )


def _depth(sampling: Sampling, parts: Sequence[_Part]) -> tuple[int, int]:
    """Return what blocks need of the one before and of the one after."""
    before = after = 0
    ends = [*(start for start, _, _ in parts[1:]), sampling.size_in]
    for (start, first, stop), end in zip(parts, ends, strict=True):
        need = sampling.needed(first, stop)
        before, after = max(before, start - need.start), max(after, need.stop - end)
    return before, after


def _resample_task(
    block: Any,
    *,
    samplings: Sequence[Sampling],
    parts: Sequence[Sequence[_Part]],
    before: Sequence[int],
    compiled: bool,
    block_id: tuple[int, ...],
) -> Any:
    cut, spans = [], []
    for sampling, part, halo, i in zip(samplings, parts, before, block_id, strict=True):
        start, first, stop = part[i]
        need = sampling.needed(first, stop)
        origin = start - halo if i else 0
        cut.append(slice(need.start - origin, need.stop - origin))
        spans.append(Span(first=first, stop=stop, size=sampling.size_in))
    return resample_block(block[tuple(cut)], samplings, spans, compiled=compiled)
