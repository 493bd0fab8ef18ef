"""Images and targets that are not there: to plan, and to count what costs no I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from zarr.storage import MemoryStore

from dask_pyramid.receipts import ABSENT, Written

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer

    from dask_pyramid.image import Region
    from dask_pyramid.levels import Level


class Nothing:
    """An image that is only a shape, and zero where it is read."""

    locations = ()

    def __init__(
        self, shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...]
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.chunks = chunks

    def read(self, region: Region) -> np.ndarray:
        """Return zeros."""
        return np.zeros([part.stop - part.start for part in region], self.dtype)

    def read_into(self, region: Region, out: np.ndarray) -> None:
        """Leave `out` as it is."""


class Sink(MemoryStore):
    """A store in which nothing is ever kept."""

    async def set(self, key: str, value: Buffer, byte_range: object = None) -> None:
        """Forget it."""


class _Writer:
    def __init__(self, level: Level) -> None:
        self._level = level

    def write(self, region: Region, values: np.ndarray) -> Written:
        """Say that there was nothing to store."""
        grid = [
            range(part.start // n, -(-part.stop // n))
            for part, n in zip(region, self._level.objects, strict=True)
        ]
        n_objects = math.prod(map(len, grid))
        return Written(
            level=self._level.number,
            first=tuple(places.start for places in grid),
            shape=tuple(map(len, grid)),
            sizes=(ABSENT,) * n_objects,
            crc32=(0,) * n_objects,
        )


class Nowhere:
    """A target that takes everything and keeps nothing, as `store.targets.Target`."""

    state = "unfinished"

    def __init__(self) -> None:
        self._store = Sink()

    def open(self) -> Sink:
        """Return the store of the receipts."""
        return self._store

    def level_writer(self, level: Level) -> _Writer:
        """Return a writer of a level."""
        return _Writer(level)

    def level_reader(self, level: Level) -> Nothing:
        """Return a reader of a level."""
        return Nothing(level.shape, "uint16", level.chunks)
