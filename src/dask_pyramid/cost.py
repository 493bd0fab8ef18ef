"""What a pass costs: chunks decoded, time; and which to choose.

Numbers only. The weights were measured on two busy threads of one core (uint16 with the
noise of photons, Blosc zstd level 3): each decodes 310 Mvoxel/s, encodes 115, reduces
1000 to 3000. By them 1024**3 takes 16 s of processor time with `mean` and 18 s with
`gaussian`, where whole processes took 15.5 to 16.5 s and 18.5 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dask_pyramid.budgets import Budget, task_memory
from dask_pyramid.geometry import Reach, ceil_div
from dask_pyramid.passes import Pass, PassLevel, base_extent, grid_level

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["best_pass", "core_seconds", "decoded_chunks"]

# A minute of one core: what is lost with a unit that is killed.
_UNIT_VOXELS = 2**33
_SLAB_BYTES = 2**24
_SAMPLED = 128

# Bytes of voxels that a core decodes in a second; all else is told in that time.
_DECODE = 6e8
# In units of the time to decode one voxel.
_ENCODE = 2.8
_REDUCE = 0.2
_PER_UNIT = 1e7
# Moving what was decoded to where the unit holds it.
_COPY = 0.1
_TWICE = 1.5
# Workers do not end together: in units of one unit.
_TAIL = 0.04
# Twice the memory must be worth this much time.
_PER_DOUBLING = 0.05
_SMALL_TASK = 2**25


def decoded_chunks(sweep: Pass, chunks: Sequence[int]) -> tuple[float, int]:
    """Return how many chunks a pass decodes, and how many there are.

    Parameters
    ----------
    sweep : Pass
        The pass.
    chunks : sequence of int
        Extent of what is decoded together at the level that is read.

    Returns
    -------
    decoded : float
        Chunks decoded by all units; a chunk that two units read counts twice. Exact up
        to 128 units along an axis, extrapolated from as many beyond.
    needed : int
        Chunks of the level that a unit needs.
    """
    decoded, total = 1.0, 1
    for axis, chunk in enumerate(chunks):
        first = sweep.ranges(axis, 0)[0][1]
        last = sweep.ranges(axis, sweep.grid[axis] - 1)[0][1]
        total *= ceil_div(last[1], chunk) - first[0] // chunk
        decoded *= _sum_over_units(sweep, axis, chunk)
    return decoded, total


def _sum_over_units(sweep: Pass, axis: int, chunk: int) -> float:
    n = sweep.grid[axis]
    picked = range(min(n, _SAMPLED))
    count = 0
    for index in picked:
        start, stop = sweep.ranges(axis, index)[0][1]
        # Slabs start at multiples of the slab: a chunk across two of them counts twice.
        slab = sweep.slab if axis == sweep.axis else sweep.levels[0].shape[axis]
        while start < stop:
            end = min(stop, (start // slab + 1) * slab)
            count += ceil_div(end, chunk) - start // chunk
            start = end
    return count * n / len(picked)


def duration(sweep: Pass, budget: Budget) -> float:
    """Return what a pass costs for choosing one: its time, and what is to be avoided.

    In decoded voxels of one worker.
    """
    decoded, total = counts = decoded_chunks(sweep, budget.chunks)
    halo_free = all(r == Reach() for level in sweep.levels for r in level.reaches)
    # Without a halo nothing needs to be decoded twice: only if nothing else fits.
    avoided = _TWICE if halo_free and decoded > total else 1
    return _time(sweep, budget, counts) * avoided


def core_seconds(sweep: Pass, budget: Budget) -> float:
    """Return how long a pass takes with as many cores as workers, in seconds."""
    counts = decoded_chunks(sweep, budget.chunks)
    return _time(sweep, budget, counts) * budget.itemsize / _DECODE


def _time(sweep: Pass, budget: Budget, counts: tuple[float, int]) -> float:
    """Return how long a pass takes, in decoded voxels of one worker.

    `counts` are its `decoded_chunks`.
    """
    decoded, total = counts
    if budget.read_once:
        decoded = total
    work = decoded * math.prod(budget.chunks)
    for i, level in enumerate(sweep.levels):
        needed = math.prod(
            _sum_needed(sweep, axis, i) for axis in range(len(level.shape))
        )
        work += _REDUCE * needed
        work += _ENCODE * level.size
        if i == 0 and sweep.apart:
            work += _COPY * needed
    work += _PER_UNIT * sweep.n_units
    rounds = ceil_div(sweep.n_units, budget.workers)
    return work / sweep.n_units * (rounds + _TAIL)


def _sum_needed(sweep: Pass, axis: int, i: int) -> float:
    n = sweep.grid[axis]
    picked = range(min(n, _SAMPLED))
    needs = (sweep.ranges(axis, u)[i][1] for u in picked)
    return sum(stop - start for start, stop in needs) * n / len(picked)


def best_pass(
    levels: Sequence[PassLevel], *, stored: bool, axes: Sequence[int], budget: Budget
) -> tuple[Pass, float, int]:
    """Choose the units of a pass.

    Parameters
    ----------
    levels : sequence of PassLevel
        The level that is read, then each level made from the one before.
    stored : bool
        Whether the level that is read lies in the target.
    axes : sequence of int
        Axes along which units may be streamed; the first is the first spatial one.
    budget : Budget
        What the pass may use.

    Returns
    -------
    sweep : Pass
        The fastest pass that fits, or the smallest one if none does.
    duration : float
        Its cost; infinite if it does not fit.
    memory : int
        Bytes of one task.

    Notes
    -----
    Along each of `axes` units grow from the smallest that cuts no storage object. Each
    step doubles the extent that gains most, or costs least memory; the best of all
    steps is taken. A slab lies across the axis of streaming, so of a flat stack it is
    smaller along y than along z.
    """
    ways = [_grow(levels, stored, axis, first=axes[0], budget=budget) for axis in axes]
    best = min(ways, key=lambda way: (way.cost, way.memory))
    return best.sweep, best.cost, best.memory


def _grow(
    levels: Sequence[PassLevel], stored: bool, axis: int, *, first: int, budget: Budget
) -> _Option:
    """Choose the units that are streamed along one axis; infinite if none fits."""
    over = levels[grid_level(levels)]
    chunks = budget.chunks if over is levels[0] else over.objects
    base = tuple(base_extent(levels, i) for i in range(len(over.shape)))
    extent = _whole_channels(over, base, budget.chunks, first)
    best: _Option | None = None
    smallest: _Option | None = None
    while True:
        options = []
        for grown in _grown(extent, over.shape, chunks, first, best is None):
            sweep = Pass(
                stored=stored, levels=tuple(levels), extent=grown, axis=axis, slab=1
            )
            option = _option(sweep, budget)
            smallest = min(option, smallest or option, key=lambda o: o.memory)
            if option.memory <= budget.task_memory:
                options.append(option)
        if not options:
            break
        step = min(options, key=lambda option: (option.cost, option.memory))
        if best is None or step.cost < best.cost:
            best = step
        extent = step.sweep.extent
    if best is None:
        assert smallest is not None  # the first round has at least one option
        return smallest
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """One way to cut a pass."""

    sweep: Pass
    memory: int
    cost: float


def _option(sweep: Pass, budget: Budget) -> _Option:
    """Cut slabs for a unit, thinner than a chunk only if it would not fit else."""
    slab = _slab(sweep, budget)
    sweep = replace(sweep, slab=slab)
    while (memory := task_memory(sweep, budget)) > budget.task_memory and slab > 8:
        slab //= 2
        sweep = replace(sweep, slab=slab)
    if memory > budget.task_memory:
        return _Option(sweep=sweep, memory=memory, cost=math.inf)
    doublings = math.log2(max(1, memory / _SMALL_TASK))
    cost = duration(sweep, budget) * (1 + _PER_DOUBLING * doublings)
    return _Option(sweep=sweep, memory=memory, cost=cost)


def _grown(
    extent: tuple[int, ...],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    first_spatial: int,
    starting: bool,
) -> list[tuple[int, ...]]:
    """Return the extents to try next: the start itself, then one axis grown."""
    if starting:
        return [extent]
    options = []
    for i in range(first_spatial, len(extent)):
        if extent[i] >= shape[i]:
            continue
        for factor in {2, math.lcm(extent[i], chunks[i]) // extent[i]} - {1}:
            grown = min(shape[i], extent[i] * factor)
            option = (*extent[:i], grown, *extent[i + 1 :])
            if math.prod(option) <= _UNIT_VOXELS:
                options.append(option)
    return options


def _whole_channels(
    level: PassLevel, base: tuple[int, ...], chunks: tuple[int, ...], axis: int
) -> tuple[int, ...]:
    """Cover what is decoded together along t and c by one unit."""
    outer = tuple(
        min(n, math.lcm(b, c))
        for b, c, n in zip(base[:axis], chunks, level.shape[:axis], strict=False)
    )
    return outer + base[axis:]


def _slab(sweep: Pass, budget: Budget) -> int:
    """Return whole chunks to read at a time, no fewer planes than are worth a call."""
    cross = math.prod(
        extent for i, extent in enumerate(sweep.read_extent) if i != sweep.axis
    )
    chunk = budget.chunks[sweep.axis]
    return chunk * max(1, _SLAB_BYTES // (chunk * cross * budget.itemsize))
