"""How much is reduced at a time: chains of moves in pieces, ranges in boxes.

What a piece holds on a device is bounded by its planes, and what a kernel needs beside
it by the size of a box. Integers only; the pixels do not depend on either.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.schedule import computable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dask_pyramid.geometry import Factor, Reach
    from dask_pyramid.schedule import Lane, Move

__all__ = ["LEAST_KERNEL_BYTES", "UNCUT", "Tile", "boxes", "pieces"]

LEAST_KERNEL_BYTES = 2**20
"""What a kernel may hold at least: smaller boxes would cost more than they save."""

UNCUT = 2**62
"""Planes or bytes that are never reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """How much is reduced at a time."""

    planes: int
    """Planes of the first level of a chain that are made at a time."""
    kernel: int
    """Bytes that a kernel may hold beside what it reads and makes."""

    def halved(self, *, most: int) -> Tile:
        """Return a tile that takes less memory; the smallest one is its own half.

        Parameters
        ----------
        most : int
            Planes that were to be made.
        """
        return Tile(
            planes=max(1, min(self.planes, most) // 2),
            kernel=max(LEAST_KERNEL_BYTES, self.kernel // 2),
        )


def pieces(
    chain: Sequence[Move], lanes: Sequence[Lane], *, planes: int
) -> Iterator[tuple[Move, ...]]:
    """Cut reductions that follow each other into pieces that take less memory.

    Parameters
    ----------
    chain : sequence of Move
        Reductions of one lane after the other, as `stream` yields them in a row.
    lanes : sequence of Lane
        All lanes of the unit.
    planes : int
        Planes of the first lane of the chain that a piece makes at most.

    Yields
    ------
    tuple of Move
        A chain: of each lane what can be made of the piece and of those before it.

    Examples
    --------
    >>> from dask_pyramid.schedule import Lane, Move
    >>> lanes = [
    ...     Lane(size=8, own=(0, 8), need=(0, 8), rows=8),
    ...     Lane(size=4, own=(0, 4), need=(0, 4), rows=4, step=2),
    ...     Lane(size=2, own=(0, 2), need=(0, 2), rows=2, step=2),
    ... ]
    >>> chain = [
    ...     Move(kind="reduce", lane=1, start=0, stop=4, keep=0),
    ...     Move(kind="reduce", lane=2, start=0, stop=2, keep=0),
    ... ]
    >>> for piece in pieces(chain, lanes, planes=3):
    ...     print([(move.lane, move.start, move.stop) for move in piece])
    [(1, 0, 3), (2, 0, 1)]
    [(1, 3, 4), (2, 1, 2)]
    """
    done = [move.start for move in chain]
    while done[0] < chain[0].stop:
        ready = [min(chain[0].stop, done[0] + planes)]
        for move, start in zip(chain[1:], done[1:], strict=True):
            stop = move.stop
            if ready[0] < chain[0].stop:
                below, lane = lanes[move.lane - 1], lanes[move.lane]
                stop = max(start, min(stop, computable(below, lane, ready[-1])))
            ready.append(stop)
        yield tuple(
            replace(move, start=start, stop=stop)
            for move, start, stop in zip(chain, done, ready, strict=True)
            if start < stop
        )
        done = ready


def boxes(
    spans: Sequence[Span],
    *,
    steps: Sequence[Factor],
    reaches: Sequence[Reach],
    most: int,
) -> Iterator[tuple[Span, ...]]:
    """Cut what is to be made into boxes, so that a kernel holds little beside them.

    Parameters
    ----------
    spans : sequence of Span
        Samples along each axis.
    steps, reaches : sequence of int or Fraction, of Reach
        Of the reduction, along each axis.
    most : int
        Voxels of which a box is made at most, if it is not a single sample.

    Yields
    ------
    tuple of Span
        In C order; at least one sample each. The first axes are cut first.

    Examples
    --------
    >>> from dask_pyramid.geometry import Reach
    >>> spans = [Span(first=0, stop=4, size=8), Span(first=0, stop=32, size=64)]
    >>> cut = boxes(spans, steps=(2, 2), reaches=[Reach()] * 2, most=256)
    >>> [tuple((span.first, span.stop) for span in box) for box in cut]
    [((0, 2), (0, 32)), ((2, 4), (0, 32))]
    """

    def voxels() -> int:
        return math.prod(
            math.ceil(extent * step) + reach.before + reach.after
            for extent, step, reach in zip(extents, steps, reaches, strict=True)
        )

    extents = [span.count for span in spans]
    for axis in range(len(extents)):
        while voxels() > most and extents[axis] > 1:
            extents[axis] = ceil_div(extents[axis], 2)
    yield from itertools.product(
        *(
            [
                replace(span, first=first, stop=min(first + extent, span.stop))
                for first in range(span.first, span.stop, extent)
            ]
            for span, extent in zip(spans, extents, strict=True)
        )
    )
