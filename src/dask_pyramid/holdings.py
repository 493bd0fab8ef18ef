"""What a unit holds: planes of each level on the host, pieces of them on a device.

Integers only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dask_pyramid import tiles
from dask_pyramid.schedule import capacities
from dask_pyramid.tiles import Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.passes import Pass

__all__ = [
    "buffer_memory",
    "cross_sections",
    "device_tile",
    "device_use",
    "held_planes",
]

# Units on a GPU at a time, if there is memory: one copies while another computes.
_PLACES = (2, 1)
# Intermediates of a generic kernel on a device, where large ones are faster.
_DEVICE_KERNEL_BYTES = 2**28


def buffer_memory(sweep: Pass, itemsize: int) -> int:
    """Return what the rolling buffers of one task take at most, in bytes."""
    sizes = zip(held_planes(sweep), cross_sections(sweep), strict=True)
    return sum(planes * cross for planes, cross in sizes) * itemsize


def _typical(n: int) -> list[int]:
    """Return units that stand for all along an axis: those at its ends."""
    return sorted({0, min(1, n - 1), max(0, n - 2), n - 1})


def cross_sections(sweep: Pass) -> list[int]:
    """Return the most voxels of a plane of each level."""
    cross = [1] * len(sweep.levels)
    for axis, n in enumerate(sweep.grid):
        if axis == sweep.axis:
            continue
        for i in range(len(cross)):
            needs = (sweep.ranges(axis, u)[i][1] for u in _typical(n))
            cross[i] *= max(stop - start for start, stop in needs)
    return cross


def held_planes(sweep: Pass) -> list[int]:
    """Return the most planes of each level that are held at a time."""
    planes = [0] * len(sweep.levels)
    for u in _typical(sweep.grid[sweep.axis]):
        index = [0] * len(sweep.grid)
        index[sweep.axis] = u
        held = capacities(sweep.lanes(index), slab=sweep.slab)
        planes = [max(p, h) for p, h in zip(planes, held, strict=True)]
    return planes


def device_tile(sweep: Pass, *, itemsize: int, memory: int) -> tuple[Tile, int]:
    """Choose how much of a unit is made on a device at a time.

    Parameters
    ----------
    sweep : Pass
        The pass.
    itemsize : int
        Bytes of a voxel.
    memory : int
        Bytes of the device for one unit.

    Returns
    -------
    tile : Tile
        The largest one that fits, or the smallest one if none does.
    memory : int
        Bytes of the device that a unit takes at most.
    """
    if len(sweep.levels) == 1:  # nothing is made there
        return Tile(planes=1, kernel=1), 0
    cross, most = cross_sections(sweep), held_planes(sweep)
    kernel = max(tiles.LEAST_KERNEL_BYTES, min(_DEVICE_KERNEL_BYTES, memory // 2))
    tile = Tile(planes=most[1], kernel=kernel)
    while True:
        held = _mirrored(sweep, tile.planes, most)
        needed = sum(p * c for p, c in zip(held, cross, strict=True)) * itemsize
        smaller = tile.halved(most=tile.planes)
        if needed + tile.kernel <= memory or smaller == tile:
            return tile, needed + tile.kernel
        tile = smaller


def device_use(
    passes: Sequence[Pass], *, itemsize: int, memory: int
) -> tuple[int, int]:
    """Return what one process makes of a device.

    Parameters
    ----------
    passes : sequence of Pass
        The passes.
    itemsize : int
        Bytes of a voxel.
    memory : int
        Bytes of the device that may be used; 0 if there is none.

    Returns
    -------
    places : int
        Units that are on the device at a time; 0 without a device.
    memory : int
        Bytes that they take together at most. More than `memory` if not one fits.
    """
    most = 0
    for places in _PLACES if memory else ():
        most = max(
            (
                device_tile(sweep, itemsize=itemsize, memory=memory // places)[1]
                for sweep in passes
            ),
            default=0,
        )
        if most <= memory // places:
            return places, places * most
    return min(memory, 1), most


def _mirrored(sweep: Pass, planes: int, most: Sequence[int]) -> list[int]:
    """Return how many planes of each level a piece holds on a device at most."""
    axis = sweep.axis
    made, held = planes, []
    for i, level in enumerate(sweep.levels):
        if i > 1:
            made = int((made + level.reaches[axis].after) // level.steps[axis]) + 1
        kept = 0
        for above in sweep.levels[i + 1 : i + 2]:
            reach = above.reaches[axis]
            kept = math.ceil(above.steps[axis]) + reach.before + reach.after
            if i == 0:
                kept += math.ceil(planes * above.steps[axis])
        held.append(min(most[i], kept + (made if i else 0)))
    return held
