"""Plain voxels of a file that may be compressed by gzip, read from any position."""

from __future__ import annotations

import gzip
import math
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.sources.files import MappedArray

if TYPE_CHECKING:
    from dask_pyramid.image import Region
    from dask_pyramid.sources.files import StoredArray

__all__ = ["GzippedArray", "check_length", "open_voxels"]

# An index of a gzip stream keeps 32 KiB for each of its points: at most 32 MiB.
_SPACING, _POINTS = 2**22, 2**10
_PIECE = 2**20  # bytes that are decompressed at a time


def open_voxels(
    path: str, dtype: Any, *, shape: tuple[int, ...], offset: int
) -> StoredArray:
    """Return the voxels of a file, mapped if it is plain; arguments of `MappedArray`.

    It is compressed if its name ends with ``.gz``.
    """
    kind = GzippedArray if _is_compressed(path) else MappedArray
    return kind(path, dtype, shape=shape, offset=offset)


def check_length(path: str, dtype: Any, *, shape: tuple[int, ...], offset: int) -> None:
    """Refuse a file that ends before its last voxel; arguments of `MappedArray`.

    A compressed one is decompressed for it only if its last bytes, the length modulo
    2**32, are not what they should be: then it is truncated, or in several parts.

    Raises
    ------
    ValueError
        If it does.
    """
    end = offset + math.prod(shape) * dtype.itemsize
    size = os.path.getsize(path)
    if _is_compressed(path):
        with Path(path).open("rb") as file:
            file.seek(-4, os.SEEK_END)
            if int.from_bytes(file.read(4), "little") == end % 2**32:
                return
        with gzip.open(path) as file:
            size = sum(len(piece) for piece in iter(lambda: file.read(_PIECE), b""))
    if end > size:
        raise ValueError(f"its voxels end at byte {end}, the file at byte {size}")


def _is_compressed(path: str) -> bool:
    return path.lower().endswith(".gz")


class GzippedArray:
    """Voxels of a compressed file; planes are decompressed as a whole."""

    def __init__(
        self, path: str, dtype: Any, *, shape: tuple[int, ...], offset: int
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self.chunks = (*(1,) * (len(shape) - 2), *shape[-2:])
        self._offset = offset
        self._stream = _indexed(path, math.prod(shape) * dtype.itemsize)
        self._lock = threading.Lock()

    def __getitem__(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`."""
        lead, inner = region[:-2], region[-2:]
        out = np.empty([part.stop - part.start for part in region], self.dtype)
        for index in np.ndindex(out.shape[:-2]):
            at = [i + part.start for i, part in zip(index, lead, strict=True)]
            out[index] = self._plane(at)[inner]
        return out

    def _plane(self, index: list[int]) -> np.ndarray[Any, Any]:
        extent = self.shape[-2:]
        size = math.prod(extent) * self.dtype.itemsize
        number = int(np.ravel_multi_index(index, self.shape[:-2])) if index else 0
        with self._lock:
            self._stream.seek(self._offset + number * size)
            data = self._stream.read(size)
        if len(data) < size:
            raise EOFError(f"its voxels end within plane {number}")
        return np.frombuffer(data, self.dtype).reshape(extent)


def _indexed(path: str, size: int) -> Any:
    """Return a compressed file that can be read from any position."""
    from indexed_gzip import IndexedGzipFile

    spacing = max(_SPACING, size // _POINTS)
    return IndexedGzipFile(path, spacing=spacing, buffer_size=_PIECE)
