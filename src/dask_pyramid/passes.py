"""Passes and units: which task reads, computes and writes which voxels.

A *pass* reads one level (the image, or a level that is stored already) and writes one
or several others. It is cut into *units*, one task each, by a grid over the level that
it reads; over the first that it writes if the step to that is no whole number, for then
no grid over the one cuts no object of the other. Units are enumerated, never stored: a
plan for a petabyte is a few numbers.

A level need not be written whole: its *window* says which objects are. Then the grid
spans only the units that own one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dask_pyramid.factors import is_whole
from dask_pyramid.geometry import Factor, Reach, ceil_div, needed
from dask_pyramid.schedule import Lane

__all__ = [
    "Part",
    "Pass",
    "PassLevel",
    "Range",
    "Unit",
    "Units",
    "base_extent",
    "grid_level",
]

Range = tuple[int, int]
"""Half-open range of voxels along one axis."""
Part = tuple[Range, ...]
"""A box of voxels: one range for each axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassLevel:
    """A level as a pass sees it."""

    level: int
    """Number of the level; of the level that is read for the first entry."""
    shape: tuple[int, ...]
    """Extent in voxels."""
    objects: tuple[int, ...]
    """Extent of a storage object in voxels; of a chunk, if the level is only read."""
    written: bool
    """Whether the pass writes it."""
    steps: tuple[Factor, ...]
    """Window of the reduction from the entry before; ones for the first."""
    reaches: tuple[Reach, ...]
    """What that reduction needs beyond the window."""
    window: Part | None = None
    """Which part is written, whole objects, one range for each axis; None: all."""

    @property
    def part(self) -> Part:
        """What is written: the window, or all, or nothing of a level that is read."""
        if not self.written:
            return ((0, 0),) * len(self.shape)
        return self.window or tuple((0, n) for n in self.shape)

    @property
    def size(self) -> int:
        """Number of voxels that are written."""
        return math.prod(stop - start for start, stop in self.part)

    @property
    def n_objects(self) -> int:
        """Number of storage objects that are written."""
        return math.prod(
            ceil_div(stop, o) - start // o
            for (start, stop), o in zip(self.part, self.objects, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One sweep over a level: what is read, what is made of it, in which units."""

    stored: bool
    """Whether the level that is read lies in the target (else in the source)."""
    levels: tuple[PassLevel, ...]
    """The level that is read, then each level made from the one before."""
    extent: tuple[int, ...]
    """Extent of a unit, in voxels of the level that the grid is over."""
    axis: int
    """Axis along which a unit is streamed."""
    slab: int
    """Planes that are read at a time."""

    def __hash__(self) -> int:
        """Return a hash without the levels: it is asked for often."""
        return hash((self.extent, self.axis, self.slab))

    @property
    def base(self) -> PassLevel:
        """The level that the grid is over."""
        return self.levels[grid_level(self.levels)]

    @property
    def read_extent(self) -> tuple[int, ...]:
        """Extent of a unit in voxels of the level that is read, without a halo."""
        return tuple(
            min(math.ceil(extent * step), n)
            for extent, step, n in zip(
                self.extent, self.base.steps, self.levels[0].shape, strict=True
            )
        )

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of units along each axis."""
        return tuple(
            stop - start
            for start, stop in (_unit_range(self, i) for i in range(len(self.extent)))
        )

    @property
    def n_units(self) -> int:
        """Number of units."""
        return math.prod(self.grid)

    @property
    def apart(self) -> bool:
        """Whether planes that follow each other lie apart in the memory of a unit."""
        return math.prod(self.extent[: self.axis]) > 1

    @property
    def n_written(self) -> int:
        """Number of levels that are written."""
        return sum(level.written for level in self.levels)

    def ranges(self, axis: int, index: int) -> tuple[tuple[Range, Range], ...]:
        """Return what the units at one grid position own and need along one axis.

        Parameters
        ----------
        axis : int
            The axis.
        index : int
            Position in the grid.

        Returns
        -------
        tuple of (own, need)
            Half-open ranges for each level of the pass, in voxels of that level; `own`
            is empty for a level that is only read, and outside of its window.
        """
        return _ranges(self, axis, index)

    def lanes(self, index: Sequence[int]) -> tuple[Lane, ...]:
        """Return the lanes of a unit along the axis of streaming."""
        ranges = self.ranges(self.axis, index[self.axis])
        return tuple(
            Lane(
                size=level.shape[self.axis],
                own=own,
                need=need,
                rows=level.objects[self.axis],
                step=level.steps[self.axis],
                reach=level.reaches[self.axis],
            )
            for level, (own, need) in zip(self.levels, ranges, strict=True)
        )


def grid_level(levels: Sequence[PassLevel]) -> int:
    """Return which of the levels of a pass its grid is over."""
    return 0 if len(levels) == 1 or is_whole(levels[1].steps) else 1


def _grid_factors(levels: Sequence[PassLevel], axis: int) -> Iterator[int]:
    """Yield for each level how many voxels of the grid's level one voxel stands for.

    A level below the grid's is only read, and a part of none of its voxels is owned.
    """
    base, factor = grid_level(levels), 1
    for i, level in enumerate(levels):
        step = level.steps[axis]
        if i > base:
            assert isinstance(step, int)  # by strategy, which begins a new pass else
            factor *= step
        yield factor


@lru_cache(maxsize=256)
def _unit_range(sweep: Pass, axis: int) -> Range:
    """Return the units that write something, counted from the border of the image."""
    extent = sweep.extent[axis]
    if all(level.window is None for level in sweep.levels):
        return 0, ceil_div(sweep.base.shape[axis], extent)
    starts, stops = [], []
    for level, factor in zip(
        sweep.levels, _grid_factors(sweep.levels, axis), strict=True
    ):
        if level.size:
            start, stop = level.part[axis]
            starts.append(start * factor // extent)
            stops.append((stop - 1) * factor // extent + 1)
    return min(starts, default=0), max(stops, default=0)


@lru_cache(maxsize=4096)
def _ranges(sweep: Pass, axis: int, index: int) -> tuple[tuple[Range, Range], ...]:
    first_unit, end_unit = _unit_range(sweep, axis)
    position = first_unit + index
    last = position == end_unit - 1
    owns: list[Range] = []
    for level, factor in zip(
        sweep.levels, _grid_factors(sweep.levels, axis), strict=True
    ):
        first, end = level.part[axis]
        start = max(first, min(position * sweep.extent[axis] // factor, end))
        stop = end if last else (position + 1) * sweep.extent[axis] // factor
        owns.append((start, max(start, min(stop, end))))
    needs = [owns[-1]]
    for i in range(len(owns) - 2, -1, -1):
        above = sweep.levels[i + 1]
        needs.insert(0, _needs(owns[i], needs[0], above, sweep.levels[i], axis))
    return tuple(zip(owns, needs, strict=True))


def _needs(
    own: Range, wanted: Range, above: PassLevel, level: PassLevel, axis: int
) -> Range:
    """Return what a unit holds of a level: its own and what the next is made of."""
    if wanted[0] == wanted[1]:
        return own
    halo = needed(
        *wanted,
        step=above.steps[axis],
        reach=above.reaches[axis],
        size=level.shape[axis],
    )
    if own[0] == own[1]:
        return halo.start, halo.stop
    return min(halo.start, own[0]), max(halo.stop, own[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One task of the writer: a position in the grid of a pass."""

    number: int
    """Position among all units of the plan."""
    sweep: int
    """Number of the pass."""
    index: tuple[int, ...]
    """Position in the grid of the pass."""

    @property
    def name(self) -> str:
        """Short name for messages and receipts.

        Examples
        --------
        >>> Unit(number=7, sweep=1, index=(0, 2, 3)).name
        '1-0.2.3'
        """
        return f"{self.sweep}-" + ".".join(map(str, self.index))


@dataclass(frozen=True, slots=True)
class Units(Sequence[Unit]):
    """All units of a plan in the order of the passes, made when asked for."""

    passes: tuple[Pass, ...]
    """The passes."""

    def __len__(self) -> int:
        return sum(sweep.n_units for sweep in self.passes)

    def __getitem__(self, number):  # type: ignore[no-untyped-def]  # int or slice
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        wanted = number + len(self) if number < 0 else number
        if not 0 <= wanted < len(self):
            raise IndexError(f"unit must be below {len(self)}, got {number}")
        offsets = self.offsets()
        sweep = max(i for i, offset in enumerate(offsets) if offset <= wanted)
        return self._unit(sweep, wanted, wanted - offsets[sweep])

    def __iter__(self) -> Iterator[Unit]:
        for number in range(len(self.passes)):
            yield from self.of_pass(number)

    def checked(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Return numbers of units, each once.

        Raises
        ------
        ValueError
            If one is none.
        """
        if not isinstance(numbers, Iterable) or isinstance(numbers, str):
            raise ValueError(f"units must be a sequence of numbers, got {numbers!r}")
        for number in numbers:
            if isinstance(number, bool) or number not in range(len(self)):
                raise ValueError(
                    f"units must be numbers from 0 to {len(self) - 1}, got {number!r}"
                )
        return tuple(dict.fromkeys(map(int, numbers)))

    def at(self, sweep: int, index: Sequence[int]) -> Unit:
        """Return the unit at a position in the grid of a pass."""
        position = 0
        for i, n in zip(index, self.passes[sweep].grid, strict=True):
            position = position * n + i
        number = self.offsets()[sweep] + position
        return Unit(number=number, sweep=sweep, index=tuple(index))

    def of_pass(self, number: int) -> Iterator[Unit]:
        """Yield the units of one pass, in C order of its grid."""
        offset = self.offsets()[number]
        for i in range(self.passes[number].n_units):
            yield self._unit(number, offset + i, i)

    def offsets(self) -> tuple[int, ...]:
        """Return the number of the first unit of each pass."""
        counts = [sweep.n_units for sweep in self.passes]
        return tuple(sum(counts[:i]) for i in range(len(counts)))

    def _unit(self, sweep: int, number: int, position: int) -> Unit:
        index: list[int] = []
        for n in reversed(self.passes[sweep].grid):
            position, i = divmod(position, n)
            index.insert(0, i)
        return Unit(number=number, sweep=sweep, index=tuple(index))


def base_extent(levels: Sequence[PassLevel], axis: int) -> int:
    """Return the smallest extent of a unit whose borders cut no storage object.

    Parameters
    ----------
    levels : sequence of PassLevel
        Levels of the pass.
    axis : int
        The axis.

    Returns
    -------
    int
        Voxels of the level that the grid is over; units are multiples of it. An object
        that covers a level along the axis makes it the whole axis.
    """
    whole = levels[grid_level(levels)].shape[axis]
    extent = 1
    for level, factor in zip(levels, _grid_factors(levels, axis), strict=True):
        extent = math.lcm(extent, factor)
        if level.written:
            if level.objects[axis] >= level.shape[axis]:
                return whole
            extent = math.lcm(extent, level.objects[axis] * factor)
    return min(extent, whole)
