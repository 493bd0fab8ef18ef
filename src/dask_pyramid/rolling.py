"""Planes of a level, held while they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dask_pyramid.schedule import Move

__all__ = ["Rolling"]


class Rolling:
    """Planes of one level along an axis, the oldest forgotten first.

    Parameters
    ----------
    data : array
        Memory of a host or device for as many planes as are held at a time.
    axis : int
        The axis.
    origin : iterable of int
        Where in the level the first voxel of the first plane is.
    """

    def __init__(self, data: Any, axis: int, *, origin: Iterable[int]) -> None:
        self._data = data
        self._axis = axis
        self._origin = list(origin)
        self._stop = self._origin[axis]

    def planes(self, start: int, stop: int) -> Any:
        """Return a view of planes that are held."""
        first = self._origin[self._axis]
        return self._data[self._index(start - first, stop - first)]

    def part(self, region: Sequence[slice]) -> Any:
        """Return a view of a region of the level that is held."""
        return self._data[
            tuple(
                slice(r.start - first, r.stop - first)
                for r, first in zip(region, self._origin, strict=True)
            )
        ]

    def extend(self, move: Move) -> Any:
        """Forget what `move` no longer needs and return a view to fill with its planes.

        Kept planes move to the front only when the buffer is full.
        """
        capacity = self._data.shape[self._axis]
        first = self._origin[self._axis]
        if move.stop - first > capacity:
            self._shift(move.keep - first)
        self._stop = move.stop
        return self.planes(move.start, move.stop)

    def _shift(self, by: int) -> None:
        """Move what is held to the front, in pieces that do not overlap themselves.

        NumPy would copy an overlapping range as a whole first.
        """
        held = self._stop - self._origin[self._axis]
        for start in range(by, held, by):
            stop = min(start + by, held)
            piece = self._data[self._index(start, stop)]
            self._data[self._index(start - by, stop - by)] = piece
        self._origin[self._axis] += by

    def _index(self, start: int, stop: int) -> tuple[Any, ...]:
        return (*(slice(None),) * self._axis, slice(start, stop), ...)
