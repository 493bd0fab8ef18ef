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
    "typical_units",
]

# Units on a GPU at a time, if there is memory: one copies while another computes.
_PLACES = (2, 1)
# What a kernel holds on a device beside its block, where large blocks are faster.
_DEVICE_KERNEL_BYTES = 2**28


def buffer_memory(sweep: Pass, itemsize: int) -> int:
    """Return what the rolling buffers of one task take at most, in bytes."""
    sizes = zip(held_planes(sweep), cross_sections(sweep), strict=True)
    return sum(planes * cross for planes, cross in sizes) * itemsize


def typical_units(n: int) -> list[int]:
    """Return units that stand for all along an axis: those at its ends."""
    return sorted({0, min(1, n - 1), max(0, n - 2), n - 1})


def cross_sections(sweep: Pass) -> list[int]:
    """Return the most voxels of a plane of each level."""
    cross = [1] * len(sweep.levels)
    for axis, n in enumerate(sweep.grid):
        if axis == sweep.axis:
            continue
        for i in range(len(cross)):
            needs = (sweep.ranges(axis, u)[i][1] for u in typical_units(n))
            cross[i] *= max(stop - start for start, stop in needs)
    return cross


def held_planes(sweep: Pass) -> list[int]:
    """Return the most planes of each level that are held at a time."""
    planes = [0] * len(sweep.levels)
    for u in typical_units(sweep.grid[sweep.axis]):
        index = [0] * len(sweep.grid)
        index[sweep.axis] = u
        held = capacities(sweep.lanes(index), slab=sweep.slab)
        planes = [max(p, h) for p, h in zip(planes, held, strict=True)]
    return planes


def device_tile(
    sweep: Pass, *, itemsize: int, memory: int, scratch: float
) -> tuple[Tile, int]:
    """Choose how much of a unit is made on a device at a time.

    Parameters
    ----------
    sweep : Pass
        The pass.
    itemsize : int
        Bytes of a voxel.
    memory : int
        Bytes of the device for one unit.
    scratch : float
        Bytes that kernels hold for each voxel that they read, those of the level that
        takes most.

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
    cap, planes = min(_DEVICE_KERNEL_BYTES, memory // 2), most[1]
    while True:
        held = _mirrored(sweep, planes, most)
        voxels = [p * c for p, c in zip(held, cross, strict=True)]
        beside = min(cap, math.ceil(scratch * max(voxels[:-1])))
        tile = Tile(planes=planes, kernel=max(tiles.LEAST_KERNEL_BYTES, beside))
        needed = sum(voxels) * itemsize + tile.kernel
        if needed <= memory or (planes == 1 and cap <= tiles.LEAST_KERNEL_BYTES):
            return tile, needed
        cap, planes = cap // 2, max(1, planes // 2)


def device_use(
    passes: Sequence[Pass], *, itemsize: int, memory: int, scratch: Sequence[float]
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
    scratch : sequence of float
        As for `device_tile`, of each pass.

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
                device_tile(
                    sweep, itemsize=itemsize, memory=memory // places, scratch=held
                )[1]
                for sweep, held in zip(passes, scratch, strict=True)
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
