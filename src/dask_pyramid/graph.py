"""Image and plan to lazy levels: overlapping `map_blocks` graphs on super-blocks.

`boundary="none"`: no dask task pads anything, the block function knows where the true
border of the array is. Blocks stay on their device.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from dask_pyramid.geometry import Reach, Span
from dask_pyramid.kernels import reduce_block
from dask_pyramid.superblocks import Chunks, borrowed, merged, reduced

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from dask_pyramid.image import Image
    from dask_pyramid.methods import Reduction
    from dask_pyramid.plan import PyramidPlan

__all__ = ["lazy_levels", "reduce_array"]

# Graphs of so many tasks are not built here; dask takes its detours beyond it.
_ONE_STEP = 2**40


def lazy_levels(image: Image, plan: PyramidPlan) -> tuple[da.Array, ...]:
    """Return all levels as dask arrays, each built from its parent.

    Parameters
    ----------
    image : Image
        Level 0.
    plan : PyramidPlan
        Its plan.

    Returns
    -------
    tuple of dask.array.Array
        Level 0 first; dtype and kind of block (NumPy or CuPy) are those of the image.

    Notes
    -----
    The plan's `graph_tasks` says how many tasks each level adds.
    """
    levels = [image.data]
    for level in plan.levels[1:]:
        assert level.parent is not None  # only level 0 has none
        levels.append(
            reduce_array(
                levels[level.parent],
                plan.reduction(level.number),
                compiled=plan.compiled,
                first_axis=image.stream_axis,
            )
        )
    return tuple(levels)


def reduce_array(
    array: da.Array, reduction: Reduction, *, compiled: bool, first_axis: int = 0
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

    Returns
    -------
    dask.array.Array
        Same dtype, shape ``ceil(n / step)``.
    """
    from dask.array.overlap import overlap

    blocks = merged(
        array.chunks, reduction.steps, reduction.halos, first_axis=first_axis
    )
    if blocks != array.chunks:
        # In one step, as the plan counts it, with or without a client: the blocks hold
        # about the same number of voxels before and after.
        array = array.rechunk(blocks, threshold=_ONE_STEP, method="tasks")
    chunks = reduced(blocks, reduction.steps)
    halo = borrowed(blocks, reduction.halos)
    if any(reach != Reach() for reach in halo):
        depth = {axis: (r.before, r.after) for axis, r in enumerate(halo)}
        array = overlap(array, depth, boundary="none", allow_rechunk=False)
    return array.map_blocks(
        _reduce_task,
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


def _reduce_task(
    block: Any,
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
    starts = [first[i] for first, i in zip(held, block_id, strict=True)]
    cut = tuple(
        slice(part.start - start, part.stop - start)
        for part, start in zip(reduction.needed(spans), starts, strict=True)
    )
    return reduce_block(block[cut], reduction, spans, compiled=compiled)
