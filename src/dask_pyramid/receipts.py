"""Receipts of finished units, and the books that add them up; no files.

A receipt says which objects a unit has stored, with size and checksum, and which it
has left out because they hold nothing but the fill value: absent is not missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.geometry import ceil_div
from dask_pyramid.grey import Grey
from dask_pyramid.idents import Ids, merged
from dask_pyramid.provenance import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.plan import PyramidPlan

__all__ = [
    "ABSENT",
    "Books",
    "Receipt",
    "Written",
    "can_read",
    "kept_objects",
    "object_grid",
    "valid_units",
]

ABSENT = -1
"""Size of an object that is left out on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Storage objects of one level that a unit owns: a box in the grid of objects."""

    level: int
    """Number of the level."""
    first: tuple[int, ...]
    """Position of the first object."""
    shape: tuple[int, ...]
    """Number of objects along each axis."""
    sizes: tuple[int, ...]
    """Bytes stored of each, C order; `ABSENT` for what is left out."""
    crc32: tuple[int, ...]
    """CRC-32C of what is stored; 0 for what is left out."""

    @property
    def box(self) -> tuple[slice, ...]:
        """Where in the grid of objects they are."""
        return tuple(
            slice(a, a + n) for a, n in zip(self.first, self.shape, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: _listed(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Written:
        """Return what `to_json` gave."""
        whole = {name: tuple(map(int, entry[name])) for name in _WRITTEN_LISTS}
        return cls(level=int(entry["level"]), **whole)


_WRITTEN_LISTS = ("first", "shape", "sizes", "crc32")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a finished unit has done."""

    number: int
    """Number of the unit in its plan."""
    unit: str
    """Name of the unit."""
    fingerprint: str
    """Which plan, source and codecs it belongs to."""
    bytes: int
    """Bytes written before compression, all levels."""
    seconds: float
    """How long it took."""
    written: tuple[Written, ...]
    """Its objects, level by level."""
    grey: tuple[Grey, ...] = ()
    """Grey values of level 0 by channel; empty if the unit does not make level 0."""
    channel: int = 0
    """Channel of the first entry of `grey`."""
    ids: Ids = ()
    """Ids in its part of level 0 of a label image, as far as they are counted."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "number": self.number,
            "unit": self.unit,
            "fingerprint": self.fingerprint,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 4),
            "written": [written.to_json() for written in self.written],
            "grey": [grey.to_json() for grey in self.grey],
            "channel": self.channel,
            "ids": list(self.ids),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Receipt:
        """Return what `to_json` gave.

        Raises
        ------
        ValueError
            If it is not a receipt.
        """
        try:
            return cls(
                number=int(entry["number"]),
                unit=str(entry["unit"]),
                fingerprint=str(entry["fingerprint"]),
                bytes=int(entry["bytes"]),
                seconds=float(entry["seconds"]),
                written=tuple(map(Written.from_json, entry["written"])),
                grey=tuple(map(Grey.from_json, entry["grey"])),
                channel=int(entry["channel"]),
                ids=tuple(map(int, entry["ids"])),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not a receipt: {error!r}") from error


class Books:
    """What all finished units have stored; small, however many they are.

    Parameters
    ----------
    plan : PyramidPlan
        Its levels and units.
    """

    def __init__(self, plan: PyramidPlan) -> None:
        self._plan = plan
        self.done = np.zeros(plan.n_tasks, bool)
        """Whether each unit has a receipt that counts."""
        self.tallies = [Tally(object_grid(plan, k)) for k in range(len(plan.levels))]
        """Objects of each level."""
        self.grey = [Grey() for _ in range(_channels(plan))]
        """Grey values of level 0 by channel."""
        self.ids: Ids = ()
        """Ids of a label image, as far as they are counted."""

    def add(self, receipt: Receipt) -> None:
        """Count a receipt; one that is counted already changes nothing."""
        if self.done[receipt.number]:
            return
        self.done[receipt.number] = True
        for written in receipt.written:
            tally = self.tallies[written.level]
            cells = np.ndindex(*written.shape)
            for at, size, crc in zip(cells, written.sizes, written.crc32, strict=True):
                if size != ABSENT:
                    index = [a + i for a, i in zip(written.first, at, strict=True)]
                    tally.add(index, size=size, crc32=crc)
        for i, grey in enumerate(receipt.grey):
            self.grey[receipt.channel + i].add(grey)
        self.ids = merged(self.ids, receipt.ids)

    @property
    def complete(self) -> bool:
        """Whether every unit has its receipt."""
        return bool(self.done.all())

    def missing(self, sweep: int | None = None) -> list[str]:
        """Return the names of units without a receipt, of one pass or of all."""
        units = self._plan.units
        return [
            units[int(number)].name
            for number in np.flatnonzero(~self.done)
            if sweep is None or units[int(number)].sweep == sweep
        ]


def _channels(plan: PyramidPlan) -> int:
    return plan.levels[0].shape[plan.axes.index("c")] if "c" in plan.axes else 1


def object_grid(plan: PyramidPlan, level: int) -> tuple[int, ...]:
    """Return the number of storage objects of a level along each axis."""
    found = plan.levels[level]
    return tuple(
        ceil_div(n, o) for n, o in zip(found.shape, found.objects, strict=True)
    )


def kept_objects(plan: PyramidPlan) -> list[np.ndarray[Any, Any]]:
    """Return, for each level, which objects the plan leaves as they are."""
    kept = [np.ones(object_grid(plan, k), bool) for k in range(len(plan.levels))]
    for sweep in plan.passes:
        for level in sweep.levels:
            box = tuple(
                slice(start // extent, ceil_div(stop, extent))
                for (start, stop), extent in zip(level.part, level.objects, strict=True)
            )
            kept[level.level][box] = False
    return kept


def valid_units(
    plan: PyramidPlan,
    receipts: Sequence[Receipt],
    sizes: Sequence[np.ndarray[Any, Any]],
) -> list[Receipt]:
    """Return the receipts whose objects are all there, made of levels that are.

    Parameters
    ----------
    plan : PyramidPlan
        The plan of the run.
    receipts : sequence of Receipt
        What is found in the store.
    sizes : sequence of numpy.ndarray
        Bytes of each object that is found in the store, for each level in the shape
        of its grid; `ABSENT` where there is none.

    Returns
    -------
    list of Receipt
        The others are void, with all that was computed from what they wrote.
    """
    sound = kept_objects(plan)
    valid = []
    for number in range(len(plan.passes)):
        good = [
            receipt
            for receipt in receipts
            if plan.units[receipt.number].sweep == number
            and _is_whole(plan, receipt)
            and _is_there(receipt, sizes)
            and can_read(plan, receipt.number, sound)
        ]
        for receipt in good:
            for written in receipt.written:
                sound[written.level][written.box] = True
        valid += good
    return valid


def _is_whole(plan: PyramidPlan, receipt: Receipt) -> bool:
    """Return whether a receipt names the objects of its unit, each once."""
    if not 0 <= receipt.channel <= _channels(plan) - len(receipt.grey):
        return False
    named: dict[int, int] = {}
    boxes = dict(plan.boxes(receipt.number))
    for written in receipt.written:
        box = boxes.get(written.level)
        if box is None or {len(written.first), len(written.shape)} != {len(box)}:
            return False
        inside = all(
            own.start <= part.start < part.stop <= own.stop
            for own, part in zip(box, written.box, strict=True)
        )
        count = math.prod(written.shape)
        if not inside or {len(written.sizes), len(written.crc32)} != {count}:
            return False
        named[written.level] = named.get(written.level, 0) + count
    return named == {
        level: math.prod(part.stop - part.start for part in box)
        for level, box in boxes.items()
    }


def _is_there(receipt: Receipt, sizes: Sequence[np.ndarray[Any, Any]]) -> bool:
    return all(
        np.array_equal(
            sizes[written.level][written.box].ravel(), np.array(written.sizes)
        )
        for written in receipt.written
    )


def can_read(
    plan: PyramidPlan, number: int, sound: Sequence[np.ndarray[Any, Any]]
) -> bool:
    """Return whether all stored objects that a unit reads are sound.

    Parameters
    ----------
    plan : PyramidPlan
        The plan.
    number : int
        The unit.
    sound : sequence of numpy.ndarray of bool
        For each level, which objects are.
    """
    unit = plan.units[number]
    sweep = plan.passes[unit.sweep]
    if not sweep.stored:
        return True
    level = sweep.levels[0].level
    box = tuple(
        slice(start // extent, ceil_div(stop, extent))
        for (start, stop), extent in zip(
            (sweep.ranges(axis, i)[0][1] for axis, i in enumerate(unit.index)),
            plan.levels[level].objects,
            strict=True,
        )
    )
    return bool(sound[level][box].all())
