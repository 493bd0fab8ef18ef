"""Write whole storage objects of a level, and say what is stored of each.

Objects are encoded in a staging folder by the fastest codecs, which write in place, and
then renamed, or, if the store is no folder, put: the same bytes everywhere, one put for
each object, and nothing is read.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
import uuid
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.checksums import crc32
from dask_pyramid.receipts import ABSENT, Written
from dask_pyramid.sources.opened import reason, region_text
from dask_pyramid.sources.zarr_arrays import open_zarr_array
from dask_pyramid.store import objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from dask_pyramid.image import Region
    from dask_pyramid.levels import Level
    from dask_pyramid.store.targets import Target

__all__ = ["WORK", "LevelWriter", "with_shape"]

WORK = ".dask-pyramid"
"""Folder within a target for what is there only while it is written."""

_BLOCK_BYTES = 2**20


class LevelWriter:
    """Write whole storage objects of one level.

    Parameters
    ----------
    target : Target
        The pyramid, created before.
    level : Level
        The level, with the extent that it shall have.
    """

    def __init__(self, target: Target, level: Level) -> None:
        self._number, self._target = level.number, str(target)
        self._sink: _Folder | _Puts
        if target.local:
            self._sink = _Folder(Path(target.root), level)
        else:
            # A pyramid that is complete may grow: its objects are replaced, or end.
            fresh = target.state != "complete"
            self._sink = _Puts(target.open(), level, fresh=fresh)
        self._array = self._sink.array

    def write(self, region: Region, values: np.ndarray[Any, Any]) -> Written:
        """Write `values` to `region`, which must consist of whole objects.

        Parameters
        ----------
        region : tuple of slice
            Voxels of the level; cuts no object but at the border of the level.
        values : numpy.ndarray
            C-contiguous, of the region's shape.

        Returns
        -------
        Written
            Size and checksum of each object.

        Raises
        ------
        OSError
            If the store cannot be written.
        """
        extents = self._array.shards or self._array.chunks
        grid = [
            range(part.start // extent, -(-part.stop // extent))
            for part, extent in zip(region, extents, strict=True)
        ]
        indices = list(itertools.product(*grid))
        keys = [self._array.metadata.encode_chunk_key(index) for index in indices]
        stored = self._sink.write(region, values, keys)
        for index, key, (size, _) in zip(indices, keys, stored, strict=True):
            part = tuple(
                slice(max(0, i * extent - r.start), (i + 1) * extent - r.start)
                for i, extent, r in zip(index, extents, region, strict=True)
            )
            if size == ABSENT and not self._is_fill(values[part]):
                raise FileNotFoundError(
                    f"target must stay while it is written, got {self._target}, of "
                    f"which somebody has removed {self._number}/{key}"
                )
        return Written(
            level=self._number,
            first=tuple(r.start for r in grid),
            shape=tuple(map(len, grid)),
            sizes=tuple(size for size, _ in stored),
            crc32=tuple(crc for _, crc in stored),
        )

    def _is_fill(self, values: np.ndarray[Any, Any]) -> bool:
        fill = self._array.fill_value
        is_nan = fill != fill
        return bool(((values != values) if is_nan else (values == fill)).all())


def with_shape(metadata: bytes, shape: Sequence[int]) -> bytes:
    """Return the metadata of a Zarr array, v2 or v3, with another extent.

    Examples
    --------
    >>> with_shape(b'{"shape": [2, 3], "fill_value": 0}', (4, 3))
    b'{"shape": [4, 3], "fill_value": 0}'
    """
    found = json.loads(metadata)
    if found["shape"] == list(shape):
        return metadata
    return json.dumps({**found, "shape": list(shape)}).encode()


class _Folder:
    """A level of a local store."""

    def __init__(self, root: Path, level: Level) -> None:
        self._final = root / level.path
        self._staging = root / WORK / f"staging-{uuid.uuid4().hex}" / level.path
        self._staging.mkdir(parents=True)
        self._folders: set[Path] = set()
        for name in ("zarr.json", ".zarray"):
            if (self._final / name).exists():
                content = (self._final / name).read_bytes()
                (self._staging / name).write_bytes(with_shape(content, level.shape))
        self.array = open_zarr_array(str(self._staging), mode="r+", in_place=True)

    def write(
        self, region: Region, values: np.ndarray[Any, Any], keys: Sequence[str]
    ) -> list[tuple[int, int]]:
        try:
            self.array[region] = values
        except (OSError, RuntimeError) as error:  # the second is what zarrs raises
            raise OSError(
                f"cannot write {region_text(region)} of {self._final}: {reason(error)}"
            ) from error
        return [self._publish(key) for key in keys]

    def _publish(self, key: str) -> tuple[int, int]:
        """Move an object to its place; return its size and checksum."""
        staged, final = self._staging / key, self._final / key
        self._enter(final.parent)
        try:
            found = _sum_of(staged)
        except FileNotFoundError:
            # All fill value: such an object is not stored.
            final.unlink(missing_ok=True)
            return ABSENT, 0
        staged.replace(final)
        return found

    def _enter(self, folder: Path) -> None:
        """Make a folder, once; refuse one that leads out of the target."""
        if folder in self._folders:
            return
        if not self._final.exists():
            raise FileNotFoundError(
                f"target must stay while it is written, got {str(self._final)!r}, "
                "which somebody has removed"
            )
        if os.path.realpath(folder) != str(folder):
            raise ValueError(
                f"target must hold no symbolic links, got {str(folder)!r}, which "
                f"leads to {os.path.realpath(folder)!r}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._folders.add(folder)


def _sum_of(file: Path) -> tuple[int, int]:
    """Return size and checksum of a file."""
    size = crc = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            size += len(block)
            crc = crc32(block, crc)
    return size, crc


class _Puts:
    """A level of any other store: encoded here as for a folder, then put whole."""

    def __init__(self, store: Any, level: Level, *, fresh: bool) -> None:
        self._store, self._path, self._fresh = store, level.path, fresh
        folder = tempfile.mkdtemp(prefix="dask-pyramid-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._staging = Path(folder)
        for name in ("zarr.json", ".zarray"):
            content = objects.get(store, f"{level.path}/{name}")
            if content is not None:
                (self._staging / name).write_bytes(with_shape(content, level.shape))
        self.array = open_zarr_array(folder, mode="r+", in_place=True)

    def write(
        self, region: Region, values: np.ndarray[Any, Any], keys: Sequence[str]
    ) -> list[tuple[int, int]]:
        self.array[region] = values
        found = {key: self._taken(key) for key in keys}
        full = {key: data for key, data in found.items() if data is not None}
        objects.put_all(self._store, self._path, full)
        if not self._fresh:
            for key in found.keys() - full.keys():
                objects.delete(self._store, f"{self._path}/{key}")
        return [_sum(found[key]) for key in keys]

    def _taken(self, key: str) -> bytes | None:
        """Return an encoded object, no longer staged; None if it is all fill value."""
        file = self._staging / key
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            return None
        file.unlink()
        return data


def _sum(data: bytes | None) -> tuple[int, int]:
    """Return size and checksum of an object."""
    return (ABSENT, 0) if data is None else (len(data), crc32(data))
