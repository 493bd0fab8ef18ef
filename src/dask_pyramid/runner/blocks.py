"""Blocks of a dask graph that are given to units: computed once, then forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask_pyramid.units import unit_region

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dask_pyramid.passes import Unit
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.sources.blocks import BlockReader

__all__ = ["GivenBlocks"]

Index = tuple[int, ...]


class GivenBlocks:
    """Know which blocks each unit needs, and hold them while somebody does.

    Parameters
    ----------
    plan : PyramidPlan
        Which units there are.
    reader : BlockReader
        The source.
    compute : callable
        Takes a list of lazy blocks and returns them, or futures of them.
    """

    def __init__(
        self,
        plan: PyramidPlan,
        reader: BlockReader,
        compute: Callable[[list[Any]], Sequence[Any]],
    ) -> None:
        self._plan, self._reader, self._compute = plan, reader, compute
        self._made: dict[Index, Any] = {}
        self._left: dict[Index, int] = {}
        self._given: dict[int, tuple[list[Index], list[Any]]] = {}

    def given(self, unit: Unit) -> tuple[list[Index], list[Any]]:
        """Return the blocks of a unit; the same ones when it is tried again."""
        if unit.number not in self._given:
            self._given[unit.number] = self._take(unit)
        return self._given[unit.number]

    def done(self, number: int) -> None:
        """Forget what was held for a unit."""
        self._given.pop(number, None)

    def failed(self, number: int) -> None:
        """Forget the blocks of a unit, so that they are computed again.

        Some of them are then held until the end: it is not known who still needs them.
        """
        indices, _ = self._given.pop(number, ([], []))
        for index in indices:
            self._made.pop(index, None)
            self._left.pop(index, None)

    def _take(self, unit: Unit) -> tuple[list[Index], list[Any]]:
        region = unit_region(self._plan, unit)
        indices = self._reader.blocks_of(region)
        missing = [index for index in indices if index not in self._made]
        made = self._compute(self._reader.lazy(missing))
        for index, block in zip(missing, made, strict=True):
            self._made[index] = block
            self._left[index] = self._reader.size_of(index)
        blocks = [self._made[index] for index in indices]
        for index in indices:
            # Every voxel is read once: what is used up is held for its last unit only.
            self._left[index] -= self._reader.overlap(index, region)
            if not self._left[index]:
                del self._made[index], self._left[index]
        return indices, blocks
