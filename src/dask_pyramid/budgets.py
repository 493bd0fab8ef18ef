"""What a task of a pass takes of memory, held against what was measured.

Integers only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dask_pyramid.geometry import Reach, ceil_div
from dask_pyramid.holdings import cross_sections, held_planes, typical_units

if TYPE_CHECKING:
    from dask_pyramid.passes import Pass

__all__ = ["CUT_BYTES", "ENCODE_BYTES", "KERNEL_BYTES", "Budget", "task_memory"]

KERNEL_BYTES = 2**25
"""Intermediates of the generic kernels: reductions go in strips of planes."""
ENCODE_BYTES = 2**24
"""Voxels that are handed to the codecs at a time, if an object is not larger."""
CUT_BYTES = 2 * ENCODE_BYTES
"""Chunks, decoded, that are read in part at a time, if one is not larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a pass may use."""

    itemsize: int
    """Bytes of a voxel."""
    chunks: tuple[int, ...]
    """Extent of what is decoded together at the level that is read."""
    task_memory: int
    """Bytes that one task may hold."""
    workers: int
    """Tasks that run at a time."""
    direct: bool
    """Whether what is read is decoded straight into the buffer of the task."""
    working: int = 0
    """Bytes that reading holds beside its result, if more than a chunk."""
    read_once: bool = False
    """Whether blocks of a dask graph are read, which are kept until used up."""
    mask: int = 0
    """Bytes that reading a mask takes; 0 without one."""
    intermediates: bool = True
    """Whether kernels hold something beside what they read and make."""


def task_memory(sweep: Pass, budget: Budget) -> int:
    """Return an upper bound for what one task holds at a time, in bytes.

    Parameters
    ----------
    sweep : Pass
        The pass.
    budget : Budget
        Voxel size and chunks.

    Returns
    -------
    int
        Rolling buffers of all levels, the slab that comes in, and whichever is larger:
        reading, the intermediates of a kernel, or the codecs.
    """
    cross, planes = cross_sections(sweep), held_planes(sweep)
    # A mask has buffers of its own, of one byte for each voxel.
    voxel = budget.itemsize + (1 if budget.mask else 0)
    buffers = sum(p * c for p, c in zip(planes, cross, strict=True)) * voxel
    slab = min(sweep.slab, planes[0]) * cross[0] * budget.itemsize
    chunk = math.prod(budget.chunks) * budget.itemsize
    # Decoding holds a chunk encoded and decoded, and half as much again (measured).
    reading = max(budget.working, chunk * 5 // 2) + (0 if budget.direct else slab)
    # Chunks that are decoded in part are held encoded beside those (measured).
    cut = _cut_bytes(sweep, budget)
    if room := _room(sweep, budget, cut):
        buffers += room
        reading += min(cut, 2 * slab, max(CUT_BYTES, 2 * room))
    elif budget.direct:
        reading += cut
    if budget.read_once:
        # A block and what it is computed from.
        reading = slab + 3 * _blocks(sweep, budget)
    if budget.mask:
        # The mask of a slab as it is read, what is outside of it, and its windows.
        reading += budget.mask
        buffers += 3 * slab // budget.itemsize
    kernel = KERNEL_BYTES + slab // 2 if budget.intermediates else 0
    return buffers + max(reading, kernel, _encoding(sweep, budget))


def _cut_bytes(sweep: Pass, budget: Budget) -> int:
    """Return how large the chunks are, decoded, that a slab of a unit holds in part.

    At the end of an image, too, where voxels of a chunk lie outside of it.
    """
    touched = whole = 1
    for axis, chunk in enumerate(budget.chunks):
        parts = [
            part
            for index in typical_units(sweep.grid[axis])
            for part in _parts(sweep, axis, *sweep.ranges(axis, index)[0][1])
        ]
        start, end = min(a for a, _ in parts), max(b for _, b in parts)
        lengths = [b - a for a, b in parts]
        if all(a % chunk == 0 and (b % chunk == 0 or b == end) for a, b in parts):
            touched *= ceil_div(max(lengths), chunk)
            whole *= min(b // chunk - a // chunk for a, b in parts)
        else:  # wherever it begins
            there = ceil_div(end, chunk) - start // chunk
            touched *= min(there, (max(lengths) - 2) // chunk + 2)
            whole *= max(0, (min(lengths) + 1) // chunk - 1)
    return (touched - whole) * math.prod(budget.chunks) * budget.itemsize


def _parts(sweep: Pass, axis: int, start: int, stop: int) -> list[tuple[int, int]]:
    """Return what is read of a range at a time: the first slabs and the last."""
    if axis != sweep.axis:
        return [(start, stop)]
    slab = sweep.slab
    first, last = start // slab, (stop - 1) // slab
    return [
        (max(start, k * slab), min(stop, (k + 1) * slab))
        for k in {first, min(first + 1, last), last}
    ]


def _blocks(sweep: Pass, budget: Budget) -> int:
    """Return what the computed blocks take that a slab of a dask graph touches."""
    voxels = 1
    for i, (n, extent, chunk) in enumerate(
        zip(sweep.levels[0].shape, sweep.extent, budget.chunks, strict=True)
    ):
        length = sweep.slab if i == sweep.axis else extent
        cut = 1 if length % chunk and chunk % length else 0
        voxels *= min(n, (ceil_div(length, chunk) + cut) * chunk)
    return voxels * budget.itemsize


def _room(sweep: Pass, budget: Budget, cut: int) -> int:
    """Return what voxels take on their way into a buffer or out of it.

    Some objects or chunks at a time: planes along another axis than the first lie
    apart, a halo lies between voxels that are to be written, and too many chunks would
    be decoded in part.
    """
    most = 0
    for i, level in enumerate(sweep.levels):
        halo = any(
            reach != Reach() for up in sweep.levels[i + 1 :] for reach in up.reaches
        )
        too_many = i == 0 and budget.direct and cut > CUT_BYTES
        if sweep.apart or halo or too_many:
            at_once = level.objects if level.written else ()
            if i == 0 and budget.direct:
                at_once = max(at_once, budget.chunks, key=math.prod)
            one = math.prod(at_once)
            most = max(most, one, min(ENCODE_BYTES // budget.itemsize, level.size))
    return most * budget.itemsize


def _encoding(sweep: Pass, budget: Budget) -> int:
    """Return what the codecs take: measured for `zarrs`, an object raw and encoded."""
    objects = (level.objects for level in sweep.levels if level.written)
    return 2 * max(map(math.prod, objects), default=0) * budget.itemsize
