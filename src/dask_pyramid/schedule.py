"""How a unit runs through its levels in slabs: pure integers along one axis.

A unit is streamed along one spatial axis. A slab of the level that is read comes
in; each level hands on to the next what can already be computed, writes the rows of
objects that are complete, and forgets planes that nobody needs any more. The memory of
a unit is thus that of a few slabs, not that of the unit, and no plane is read twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from dask_pyramid.geometry import Factor, Reach, needed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Lane", "Move", "capacities", "computable", "stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One level of a unit along the axis of streaming, in planes of that level."""

    size: int
    """Extent of the level."""
    own: tuple[int, int]
    """Planes that the unit writes; empty if the level is only read."""
    need: tuple[int, int]
    """Planes that the unit holds at some time: its own and the halo."""
    rows: int
    """Planes of one row of storage objects."""
    step: Factor = 1
    """Window of the reduction that makes this level from the lane before."""
    reach: Reach = field(default_factory=Reach)
    """What that reduction needs beyond the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step: read or compute planes of a lane, or write them."""

    kind: Literal["read", "reduce", "write"]
    """What happens; `reduce` makes planes of `lane` from the lane before."""
    lane: int
    """Which lane it happens to."""
    start: int
    """First plane."""
    stop: int
    """One beyond the last plane."""
    keep: int
    """First plane of the lane that is still needed when the move begins."""


def stream(lanes: Sequence[Lane], *, slab: int) -> Iterator[Move]:
    """Yield the moves of a unit in order.

    Parameters
    ----------
    lanes : sequence of Lane
        The level that is read, then each level made from the one before.
    slab : int
        Planes to read at a time; slabs start at multiples of it, so that they can be
        aligned with the chunks of the source.

    Yields
    ------
    Move
        A read, the write of what was read, then the reductions that it allows, lane
        after lane, and their writes.
        Reads and reductions extend their lane without gap, writes come in whole rows of
        objects; every lane ends complete.

    Examples
    --------
    >>> lanes = [
    ...     Lane(size=8, own=(0, 8), need=(0, 8), rows=4),
    ...     Lane(size=4, own=(0, 4), need=(0, 4), rows=4, step=2),
    ... ]
    >>> [(m.kind, m.lane, m.start, m.stop) for m in stream(lanes, slab=4)]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('read', 0, 0, 4), ('write', 0, 0, 4), ('reduce', 1, 0, 2),
     ('read', 0, 4, 8), ('write', 0, 4, 8), ('reduce', 1, 2, 4), ('write', 1, 0, 4)]
    """
    have = [lane.need[0] for lane in lanes]
    done = [lane.own[0] for lane in lanes]
    start, end = lanes[0].need
    while start < end:
        stop = min(end, (start // slab + 1) * slab)
        yield _move("read", 0, (start, stop), lanes, have, done)
        have[0] = start = stop
        # Level 0 is written first: kernels are loaded while its codecs are at work.
        yield from _writes(range(1), lanes, have, done)
        for i in range(1, len(lanes)):
            ready = computable(lanes[i - 1], lanes[i], have[i - 1])
            if ready > have[i]:
                yield _move("reduce", i, (have[i], ready), lanes, have, done)
                have[i] = ready
        yield from _writes(range(1, len(lanes)), lanes, have, done)


def _writes(
    numbers: range, lanes: Sequence[Lane], have: Sequence[int], done: list[int]
) -> Iterator[Move]:
    """Yield the writes of lanes that have complete rows, and note them as done."""
    for i in numbers:
        rows = _complete(lanes[i], have[i])
        if rows > done[i]:
            yield _move("write", i, (done[i], rows), lanes, have, done)
            done[i] = rows


def _move(
    kind: Literal["read", "reduce", "write"],
    i: int,
    planes: tuple[int, int],
    lanes: Sequence[Lane],
    have: Sequence[int],
    done: Sequence[int],
) -> Move:
    keep = have[i]
    if done[i] < lanes[i].own[1]:
        keep = min(keep, done[i])
    if i + 1 < len(lanes) and have[i + 1] < lanes[i + 1].need[1]:
        after = lanes[i + 1]
        low = needed(
            have[i + 1],
            have[i + 1] + 1,
            step=after.step,
            reach=after.reach,
            size=lanes[i].size,
        )
        keep = min(keep, max(low.start, lanes[i].need[0]))
    return Move(kind=kind, lane=i, start=planes[0], stop=planes[1], keep=keep)


def computable(below: Lane, lane: Lane, have: int) -> int:
    """Return one beyond the last plane of `lane` that can be made now."""
    if have >= below.need[1]:
        return lane.need[1]
    return min(lane.need[1], max(lane.need[0], (have - lane.reach.after) // lane.step))


def _complete(lane: Lane, have: int) -> int:
    """Return one beyond the last plane that completes a row of objects."""
    if have >= lane.own[1]:
        return lane.own[1]
    return max(lane.own[0], have // lane.rows * lane.rows)


def capacities(lanes: Sequence[Lane], *, slab: int) -> tuple[int, ...]:
    """Return how many planes of each lane are held at most at one time.

    Parameters
    ----------
    lanes : sequence of Lane
        As for `stream`.
    slab : int
        As for `stream`.

    Returns
    -------
    tuple of int
        Planes of each lane.
    """
    most = [0] * len(lanes)
    for move in stream(lanes, slab=slab):
        if move.kind != "write":
            most[move.lane] = max(most[move.lane], move.stop - move.keep)
    return tuple(most)
