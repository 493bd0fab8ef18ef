"""In which order units run: neighbours close in time.

Units that lie beside each other read some chunks twice, because of their halos. The
second read is cheap while the chunk is still in the page cache, so the way through the
grid should keep what has been begun small. Halving the longest axis again and again
does so for any grid: after m units, about m^(2/3) faces are open, where row after row
leaves a whole layer of the image open. Of equal axes the streaming axis is halved
first, so that it varies slowest: the units of a window then lie side by side *across*
it, stream the same planes at the same time, and meet at the same chunks; units that
follow each other *along* it meet only at the end of one and the start of the next.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["nearby"]

Index = tuple[int, ...]


def nearby(grid: Sequence[int], axis: int, *, first: int = 0) -> Iterator[Index]:
    """Yield the positions of a grid so that neighbours come close in time.

    Parameters
    ----------
    grid : sequence of int
        Number of units along each axis.
    axis : int
        Axis of streaming.
    first : int
        The first spatial axis; those before it (t, c) share nothing and are gone
        through one after the other.

    Yields
    ------
    tuple of int
        Every position once. Costs nothing to begin: no list is made.

    Examples
    --------
    >>> list(nearby((1, 2, 4), 0))[:4]
    [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]
    """
    inner = tuple(grid[first:])
    for head in itertools.product(*map(range, grid[:first])):
        for tail in _halves((0,) * len(inner), inner, axis=axis - first):
            yield (*head, *tail)


def _halves(start: Index, stop: Index, *, axis: int) -> Iterator[Index]:
    extents = [b - a for a, b in zip(start, stop, strict=True)]
    most = max(extents)
    longest = axis if extents[axis] == most else extents.index(most)
    if extents[longest] == 1:
        yield start
        return
    middle = start[longest] + (extents[longest] + 1) // 2
    before = (*stop[:longest], middle, *stop[longest + 1 :])
    after = (*start[:longest], middle, *start[longest + 1 :])
    yield from _halves(start, before, axis=axis)
    yield from _halves(after, stop, axis=axis)
