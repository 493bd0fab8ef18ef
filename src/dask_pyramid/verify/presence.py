"""Which objects of a level are stored; by listing, no pixel is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dask_pyramid.image import Region
    from dask_pyramid.verify.described import StoredLevel
    from dask_pyramid.verify.findings import Log
    from dask_pyramid.verify.tree import Tree

__all__ = ["Presence", "index_of", "key_of", "list_objects"]

# A bit map of more objects than any store holds.
_MOST_OBJECTS = 2**30

_METADATA = frozenset(("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Presence:
    """The objects of a level that are there."""

    there: np.ndarray[Any, np.dtype[np.bool_]]
    """Whether an object is stored, by its place in the grid."""
    count: int
    """Number of objects stored."""
    bytes: int | None
    """Bytes stored; None if the store does not tell sizes."""

    def absent(self) -> Iterator[tuple[int, ...]]:
        """Yield the places of the objects that are not stored, in C order."""
        flat = self.there.reshape(-1)
        step = 2**20
        for start in range(0, flat.size, step):
            for at in np.flatnonzero(~flat[start : start + step]):
                place = np.unravel_index(start + int(at), self.there.shape)
                yield tuple(int(i) for i in place)

    def lacks(self, region: Region, objects: Sequence[int]) -> bool:
        """Return whether an object that a region touches is not stored."""
        part = tuple(
            slice(r.start // o, -(-r.stop // o))
            for r, o in zip(region, objects, strict=True)
        )
        return not bool(self.there[part].all())


def key_of(level: StoredLevel, index: Sequence[int]) -> str:
    """Return the name of an object within its array."""
    numbers = level.separator.join(map(str, index))
    return level.separator.join(filter(None, (level.prefix, numbers)))


def index_of(level: StoredLevel, key: str) -> tuple[int, ...] | None:
    """Return the place of an object in the grid, None if it is no object's name."""
    parts = key.split(level.separator)
    if level.prefix:
        if parts[0] != level.prefix:
            return None
        parts = parts[1:]
    if len(parts) != len(level.shape) or not all(
        part.isdecimal() and part.isascii() and len(part) < 19 for part in parts
    ):
        return None
    index = tuple(map(int, parts))
    return index if [str(i) for i in index] == parts else None


def list_objects(tree: Tree, level: StoredLevel, log: Log) -> Presence | None:
    """List the objects of a level.

    Parameters
    ----------
    tree : Tree
        The store.
    level : StoredLevel
        The level.
    log : Log
        Told of objects that do not belong to the level.

    Returns
    -------
    Presence or None
        None if the store cannot be listed.
    """
    if math.prod(level.grid) > _MOST_OBJECTS:
        log.add("not-listable", f"{math.prod(level.grid)} objects", level=level.path)
        return None
    there = np.zeros(level.grid, bool)
    total: int | None = 0
    for key, size in tree.objects(level.path):
        if key in _METADATA:
            continue
        index = index_of(level, key)
        if index is None or any(i >= n for i, n in zip(index, level.grid, strict=True)):
            log.add(
                "object-stray", "no object of this array", level=level.path, part=key
            )
            continue
        there[index] = True
        if size == 0:
            log.add("object-undecodable", "0 bytes", level=level.path, part=key)
        total = None if size is None or total is None else total + size
    if not tree.listable:
        log.add("not-listable", "the store does not list names", level=level.path)
        return None
    return Presence(there=there, count=int(there.sum()), bytes=total)
