"""What a finished pyramid says of its making; dict in, dict out, no files.

The record stands in the attributes of the group, beside the OME-Zarr metadata: source,
program, method, and for each level the checksums of its stored objects. The checksums
of many objects are summed, so that the record stays small, and an object that is
replaced is subtracted and added again.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.factors import plain, restored
from dask_pyramid.geometry import Factor, ceil_div
from dask_pyramid.nodata import Nodata

if TYPE_CHECKING:
    from dask_pyramid.levels import Level

__all__ = [
    "KEY",
    "LevelRecord",
    "Provenance",
    "Tally",
    "is_unfinished",
    "object_hash",
    "read_provenance",
    "unfinished",
]

KEY = "dask-pyramid"
"""Attribute of the group that holds the record, or the mark of an unfinished one."""

# One checksum for each object up to here: about 5 kB of text for a level.
_MOST_GROUPS = 1024


def unfinished() -> dict[str, Any]:
    """Return the attribute of a group whose levels are not complete."""
    return {KEY: {"status": "unfinished"}}


def is_unfinished(attributes: Mapping[str, Any]) -> bool:
    """Return whether a group says that its levels are not complete."""
    mark = attributes.get(KEY)
    return isinstance(mark, Mapping) and mark.get("status") == "unfinished"


def object_hash(index: Sequence[int], size: int, crc32: int) -> int:
    """Return the hash of a stored object, never 0.

    Parameters
    ----------
    index : sequence of int
        Position in the grid of objects of its level.
    size : int
        Bytes stored.
    crc32 : int
        CRC-32 of these bytes, that of zlib: an object that ends with a CRC-32C of its
        own has the same CRC-32C whatever it holds.

    Returns
    -------
    int
        32 bits. The position is part of it: two objects that are swapped are noticed.

    Examples
    --------
    >>> object_hash((0, 1), 10, 7) == object_hash((1, 0), 10, 7)
    False
    """
    text = f"{'.'.join(map(str, index))}:{size}:{crc32}"
    digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") or 1


class Tally:
    """Count the stored objects of a level and sum their hashes by groups.

    Parameters
    ----------
    grid : sequence of int
        Number of objects along each axis.

    Examples
    --------
    >>> tally = Tally((2, 3))
    >>> tally.add((1, 2), size=10, crc32=7)
    >>> tally.remove((1, 2), size=10, crc32=7)
    >>> tally.objects, int(tally.sums.sum())
    (0, 0)
    """

    def __init__(self, grid: Sequence[int]) -> None:
        self.grid = tuple(grid)
        """Number of objects along each axis."""
        self.group = _group_of(self.grid)
        """Objects along each axis whose hashes are summed."""
        self.sums = np.zeros(_groups(self.grid, self.group), "uint32")
        """Sum of hashes for each group, modulo 2**32; 0 where nothing is stored."""
        self.objects = 0
        """Number of objects stored."""
        self.bytes = 0
        """Bytes stored."""

    def add(self, index: Sequence[int], *, size: int, crc32: int) -> None:
        """Count an object that is stored."""
        self._change(index, object_hash(index, size, crc32))
        self.objects += 1
        self.bytes += size

    def remove(self, index: Sequence[int], *, size: int, crc32: int) -> None:
        """Take back an object that was counted."""
        self._change(index, -object_hash(index, size, crc32))
        self.objects -= 1
        self.bytes -= size

    def _change(self, index: Sequence[int], by: int) -> None:
        at = tuple(i // g for i, g in zip(index, self.group, strict=True))
        self.sums[at] = (int(self.sums[at]) + by) % 2**32

    def include(self, other: Tally) -> None:
        """Add what another tally of the same level has counted."""
        self.sums += other.sums  # modulo 2**32
        self.objects += other.objects
        self.bytes += other.bytes

    def extended(self, grid: Sequence[int]) -> Tally:
        """Return the same tally for a level that has grown.

        Parameters
        ----------
        grid : sequence of int
            Number of objects along each axis, nowhere smaller than before.
        """
        larger = Tally(grid)
        larger.objects, larger.bytes = self.objects, self.bytes
        for at in np.argwhere(self.sums):
            first = [int(i) * g for i, g in zip(at, self.group, strict=True)]
            to = tuple(i // g for i, g in zip(first, larger.group, strict=True))
            larger.sums[to] = (int(larger.sums[to]) + int(self.sums[tuple(at)])) % 2**32
        return larger


def _group_of(grid: Sequence[int]) -> tuple[int, ...]:
    """Return powers of two, so that groups of a larger level are made of whole ones."""
    group = 1
    while math.prod(_groups(grid, (group,) * len(grid))) > _MOST_GROUPS:
        group *= 2
    return (group,) * len(grid)


def _groups(grid: Sequence[int], group: Sequence[int]) -> tuple[int, ...]:
    return tuple(ceil_div(n, g) for n, g in zip(grid, group, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRecord:
    """What is stored of one level, and how it was made."""

    path: str
    """Name of the array in the group."""
    factors: tuple[Factor, ...]
    """Voxels of level 0 that one voxel stands for, along each axis."""
    steps: tuple[Factor, ...]
    """Window of the reduction from the parent, in voxels of the parent."""
    parent: int | None
    """Level that it was computed from; None for level 0."""
    grid: tuple[int, ...]
    """Number of objects along each axis, stored or left out for being empty."""
    objects: int
    """Number of objects stored."""
    bytes: int
    """Bytes stored."""
    checksums: tuple[int, ...]
    """Sum of hashes for each group of objects, C order; 0: nothing is stored there."""

    def tally(self) -> Tally:
        """Return a tally that goes on from this record."""
        tally = Tally(self.grid)
        tally.objects, tally.bytes = self.objects, self.bytes
        sums = np.array(self.checksums, "uint32")
        tally.sums[...] = sums.reshape(tally.sums.shape)
        return tally

    def extended(self, grid: Sequence[int]) -> LevelRecord:
        """Return the same record for a level that has grown."""
        return LevelRecord.counted(self, self.tally().extended(grid))

    @classmethod
    def counted(cls, level: Level | LevelRecord, tally: Tally) -> LevelRecord:
        """Return the record of a level whose objects a tally has counted."""
        return cls(
            path=level.path,
            factors=level.factors,
            steps=level.steps,
            parent=level.parent,
            grid=tally.grid,
            objects=tally.objects,
            bytes=tally.bytes,
            checksums=tuple(int(s) for s in tally.sums.ravel()),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        sums = np.array(self.checksums, "<u4").tobytes()
        return {
            "path": self.path,
            "factors": plain(self.factors),
            "steps": plain(self.steps),
            "parent": self.parent,
            "grid": list(self.grid),
            "objects": self.objects,
            "bytes": self.bytes,
            "checksums": base64.b64encode(sums).decode(),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> LevelRecord:
        """Return the record that `to_json` gave.

        Raises
        ------
        ValueError
            If it is not one.
        """
        try:
            grid = _whole_numbers(entry["grid"])
            sums = np.frombuffer(base64.b64decode(entry["checksums"]), "<u4")
            if not grid or min(grid) < 1:
                raise ValueError("an empty grid")
            if len(sums) != math.prod(_groups(grid, _group_of(grid))):
                raise ValueError(f"{len(sums)} checksums for a grid of {grid}")
            return cls(
                path=str(entry["path"]),
                factors=restored(entry["factors"]),
                steps=restored(entry["steps"]),
                parent=None if entry["parent"] is None else int(entry["parent"]),
                grid=grid,
                objects=int(entry["objects"]),
                bytes=int(entry["bytes"]),
                checksums=tuple(int(s) for s in sums),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{KEY} must hold records of levels, got {dict(entry)!r:.200}: {error}"
            ) from error


def _whole_numbers(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a finished pyramid was made."""

    version: str
    """Version of dask-pyramid."""
    source: Mapping[str, Any]
    """What was read; never a secret."""
    method: str
    """Name of the method."""
    sigma: tuple[float | None, ...] | None
    """Standard deviation asked for along each axis; None for the method's own."""
    nodata: Nodata | None
    """Voxels that do not count; None: all count."""
    mask: Mapping[str, Any] | None
    """What was read as a mask, as `source`; None: there was none."""
    compressors: Any
    """Codecs as JSON values."""
    levels: tuple[LevelRecord, ...]
    """All levels, level 0 first."""

    def to_json(self) -> dict[str, Any]:
        """Return the attribute of the group, JSON values."""
        return {
            "status": "complete",
            "version": self.version,
            "source": dict(self.source),
            "method": self.method,
            "sigma": None if self.sigma is None else list(self.sigma),
            "nodata": None if self.nodata is None else self.nodata.to_json(),
            "mask": None if self.mask is None else dict(self.mask),
            "compressors": self.compressors,
            "levels": [level.to_json() for level in self.levels],
        }


def read_provenance(attributes: Mapping[str, Any]) -> Provenance | None:
    """Return the record of a group, or None if it has none.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group.

    Returns
    -------
    Provenance or None
        None for pyramids of other tools, and for one that is not complete.

    Raises
    ------
    ValueError
        If there is a record that cannot be read.
    """
    found = attributes.get(KEY)
    if found is None or is_unfinished(attributes):
        return None
    if not isinstance(found, Mapping) or not isinstance(found.get("levels"), list):
        raise ValueError(f"{KEY} must be a record of levels, got {found!r:.200}")
    sigma, source = found.get("sigma"), found.get("source")
    mask = found.get("mask")
    return Provenance(
        version=str(found.get("version")),
        source=dict(source) if isinstance(source, Mapping) else {},
        method=str(found.get("method")),
        sigma=None if sigma is None else tuple(sigma),
        nodata=Nodata.from_json(found.get("nodata")),
        mask=dict(mask) if isinstance(mask, Mapping) else None,
        compressors=found.get("compressors"),
        levels=tuple(
            LevelRecord.from_json(entry if isinstance(entry, Mapping) else {})
            for entry in found["levels"]
        ),
    )
