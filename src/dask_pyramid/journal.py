"""What a store says of its growth while it grows, so that a killed one goes on.

The journal is put before anything is changed. It holds what cannot be known any more
afterwards: the extents before, and the checksums of what stays. Values, no files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from dask_pyramid.provenance import LevelRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.passes import Part

__all__ = ["Journal"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """One growth of one store."""

    verb: str
    """Which one: "add_levels", "update_pyramid", "append", or "write_pyramid" of a
    region."""
    parameters: Mapping[str, Any]
    """All that the stored bytes depend on, JSON values."""
    plan: Mapping[str, Any]
    """The plan, JSON values: receipts name its units."""
    before: tuple[Shape, ...]
    """Extent of each level that was there."""
    records: tuple[LevelRecord | None, ...]
    """What is stored of each level without the objects that are written now; None if
    the store has no record of its making."""
    remove: tuple[str, ...] = ()
    """Arrays that are to be removed before anything is written."""
    region: Part | None = None
    """What has changed of level 0, or is written again."""
    published: bool = False
    """Whether all is done but cleaning up, for which receipts go first."""

    @property
    def fingerprint(self) -> str:
        """Hash of the parameters; receipts carry it."""
        text = json.dumps(self.parameters, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        record = {item.name: getattr(self, item.name) for item in fields(self)}
        record["records"] = [entry and entry.to_json() for entry in self.records]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Journal:
        """Return the journal that `to_json` gave.

        Raises
        ------
        ValueError
            If it is not one.
        """
        try:
            return cls(
                verb=str(record["verb"]),
                parameters=dict(record["parameters"]),
                plan=dict(record["plan"]),
                before=tuple(_whole(shape) for shape in record["before"]),
                records=tuple(
                    None if entry is None else LevelRecord.from_json(entry)
                    for entry in record["records"]
                ),
                remove=tuple(map(str, record["remove"])),
                region=_region(record["region"]),
                published=bool(record["published"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"a journal must have all its entries, got {sorted(record)!r}: "
                f"{error!r}"
            ) from error


def _whole(values: Sequence[Any]) -> Shape:
    return tuple(int(value) for value in values)


def _region(entries: Sequence[Any] | None) -> Part | None:
    if entries is None:
        return None
    return tuple((int(start), int(stop)) for start, stop in entries)
