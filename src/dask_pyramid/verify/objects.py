"""Stored objects against the record of their writer: number, bytes, checksums."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dask_pyramid.checksums import crc32
from dask_pyramid.provenance import object_hash
from dask_pyramid.verify.presence import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dask_pyramid.provenance import LevelRecord
    from dask_pyramid.verify.boxes import Effort
    from dask_pyramid.verify.described import StoredLevel
    from dask_pyramid.verify.findings import Log
    from dask_pyramid.verify.presence import Presence
    from dask_pyramid.verify.tree import Tree

__all__ = ["Hashed", "Hashing", "check_counts", "hashing_tasks", "tell_hashed"]

_SUMS = 2**32

# A sample takes no group of more objects than this.
_MOST_IN_SAMPLE = 64


@dataclass(frozen=True, kw_only=True)
class Hashed:
    """The hashes of a group of objects."""

    level: int
    """Place of the level."""
    group: tuple[int, ...]
    """Place of the group."""
    total: int
    """Sum of the hashes."""
    expected: int
    """What the record says."""
    objects: int
    """How many objects were read."""
    keys: tuple[str, str]
    """Names of the first and the last object of the group."""
    failed: str = ""
    """Why an object cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Hashing:
    """A group of objects whose stored bytes are to be hashed."""

    tree: Tree
    """The store."""
    level: StoredLevel
    """The level."""
    group: tuple[int, ...]
    """Place of the group."""
    size: tuple[int, ...]
    """Objects of a group along each axis."""
    expected: int
    """What the record says."""

    def run(self) -> Hashed:
        """Read the stored bytes and hash them; nothing is decoded."""
        total = count = 0
        failed = ""
        indices = list(self._indices())
        for index in indices:
            key = key_of(self.level, index)
            try:
                raw = self.tree.get(f"{self.level.path}/{key}", None)
            except OSError as error:
                failed = str(error)
                continue
            if raw is not None:
                count += 1
                total += object_hash(index, len(raw), crc32(raw))
        ends = (key_of(self.level, indices[0]), key_of(self.level, indices[-1]))
        return Hashed(
            level=self.level.number,
            group=self.group,
            total=total % _SUMS,
            expected=self.expected,
            objects=count,
            keys=ends,
            failed=failed,
        )

    def _indices(self) -> Iterator[tuple[int, ...]]:
        return itertools.product(
            *(
                range(g * s, min((g + 1) * s, n))
                for g, s, n in zip(self.group, self.size, self.level.grid, strict=True)
            )
        )


def check_counts(
    level: StoredLevel, record: LevelRecord, presence: Presence, log: Log
) -> None:
    """Compare what is listed with the record: numbers, bytes and empty groups."""
    tally = record.tally()
    sums = tally.sums
    for at in itertools.islice(presence.absent(), 10**6):
        group = tuple(i // g for i, g in zip(at, tally.group, strict=True))
        if math.prod(tally.group) == 1 and sums[group]:
            log.add(
                "object-missing",
                "the record says that it was written",
                level=level.path,
                part=key_of(level, at),
            )
    if presence.count < record.objects and not log.has("object-missing", level.path):
        log.add(
            "object-missing",
            f"{presence.count} objects, {record.objects} were written",
            level=level.path,
        )
    elif presence.count > record.objects:
        log.add(
            "object-changed",
            f"{presence.count} objects, {record.objects} were written",
            level=level.path,
        )
    elif presence.bytes is not None and presence.bytes != record.bytes:
        log.add(
            "object-changed",
            f"{presence.bytes} bytes stored, {record.bytes} were written",
            level=level.path,
        )


def hashing_tasks(
    tree: Tree, level: StoredLevel, record: LevelRecord, effort: Effort, *, seed: int
) -> list[Hashing]:
    """Return the groups to hash: all, or a sample that can be repeated."""
    tally = record.tally()
    sums, size = tally.sums, tally.group
    if not effort.full and math.prod(size) > _MOST_IN_SAMPLE:
        return []
    wanted = effort.boxes(math.ceil(sums.size))
    chosen = np.arange(sums.size)
    if wanted < sums.size:
        rng = np.random.default_rng([seed, level.number])
        chosen = np.sort(rng.choice(sums.size, wanted, replace=False))
    places = (np.unravel_index(int(flat), sums.shape) for flat in chosen)
    return [
        Hashing(
            tree=tree,
            level=level,
            group=tuple(int(i) for i in place),
            size=size,
            expected=int(sums[place]),
        )
        for place in places
    ]


def tell_hashed(level: StoredLevel, hashed: Hashed, log: Log) -> None:
    """Note what hashes say."""
    first, last = hashed.keys
    part = first if first == last else f"{first} to {last}"
    if hashed.failed:
        log.add("object-undecodable", hashed.failed, level=level.path, part=part)
    elif hashed.total != hashed.expected and hashed.objects:
        log.add(
            "object-changed",
            "not the bytes that were written there"
            if hashed.expected
            else "nothing was written there",
            level=level.path,
            part=part,
        )
    elif hashed.total != hashed.expected and not log.has("object-missing", level.path):
        log.add(
            "object-missing",
            "the record says that it was written",
            level=level.path,
            part=part,
        )
