"""Arrays of files, read by region; each process opens a file for itself."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dask_pyramid.sources.opened import (
    DECODE_ERRORS,
    ProcessCache,
    SourceError,
    fingerprint,
    native,
    reason,
    region_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dask_pyramid.image import Region

__all__ = ["FileReader", "MappedArray", "StoredArray", "only_array"]


class StoredArray(Protocol):
    """What an opener returns: an array that decodes what is asked for.

    It may say `chunks`, the extent of what is decoded together.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        ...

    @property
    def dtype(self) -> Any:
        """Data type, of any byte order."""
        ...

    def __getitem__(self, region: Region, /) -> Any:
        """Return the voxels of `region`."""
        ...


class MappedArray:
    """Plain voxels in a file, mapped into memory while they are read.

    A map that stays would count what was read of it as memory of the process.

    Parameters
    ----------
    path : str
        The file.
    dtype : numpy.dtype
        Data type, of any byte order.
    shape : tuple of int
        Extent in voxels, in C order.
    offset : int
        Where the first voxel begins, in bytes.
    """

    def __init__(
        self, path: str, dtype: Any, *, shape: tuple[int, ...], offset: int
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._path, self._offset = path, offset

    def __getitem__(self, region: Region) -> np.ndarray[Any, Any]:
        """Return a copy of the voxels of `region`."""
        mapped = np.memmap(
            self._path, self.dtype, "r", offset=self._offset, shape=self.shape
        )
        return np.array(mapped[region], subok=False)


_open_arrays: ProcessCache[Any] = ProcessCache(64)


class FileReader:
    """Read an array of a file by region.

    It pickles to a few hundred bytes: what is open stays in its process.

    Parameters
    ----------
    opener : callable
        ``opener(path, part) -> StoredArray``; a function of a module, so that other
        processes find it.
    path : str
        Path of the file or folder.
    part : str
        Which array of it.
    locations : sequence of str
        Further files that are read.
    stamped : str, optional
        The file that changes when `path` does, if that is a folder.
    by_thread : bool
        Whether each thread opens the file for itself, because it cannot be shared.
    kept : bool
        Whether the file stays open; else it is opened for each read.
    """

    def __init__(
        self,
        opener: Callable[[str, str], StoredArray],
        path: str,
        part: str = "",
        *,
        locations: Sequence[str] = (),
        stamped: str | None = None,
        by_thread: bool = False,
        kept: bool = True,
    ) -> None:
        self._opener = opener
        # Not the real path: libraries tell formats by the suffix, which links may add.
        self._path = os.path.abspath(path)
        self._part = part
        self._locations = tuple(
            dict.fromkeys(os.path.realpath(file) for file in (path, *locations))
        )
        self._stamp = fingerprint(Path(stamped or self._path))
        self._by_thread = by_thread
        self._kept = kept
        array = self._open()
        self._shape = tuple(int(n) for n in array.shape)
        self._dtype = native(array.dtype)
        # None, as h5py has it, is an array that lies in the file as it is.
        chunks = getattr(array, "chunks", None) or (1,) * len(self._shape)
        self._chunks = tuple(
            min(int(c), n) for c, n in zip(chunks, self._shape, strict=True)
        )

    def __repr__(self) -> str:
        return f"FileReader({self._where()!r}, shape={self._shape})"

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self._key()

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type in native byte order."""
        return self._dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent in voxels of what is decoded together; 1 where nothing is."""
        return self._chunks

    @property
    def locations(self) -> tuple[str, ...]:
        """Real paths of the files that hold the pixels."""
        return self._locations

    @property
    def part(self) -> str:
        """Which array of the file is read; empty if it holds one."""
        return self._part

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`, C-contiguous.

        Raises
        ------
        OSError
            If they cannot be read or decoded.
        """
        try:
            block = np.asarray(self._open()[region])
            return block.astype(self._dtype, order="C", copy=False)
        except DECODE_ERRORS as error:
            raise OSError(
                f"cannot read {region_text(region)} of {self._where()}: {reason(error)}"
            ) from error

    def _key(self) -> tuple[object, ...]:
        opener = f"{self._opener.__module__}.{self._opener.__qualname__}"
        return opener, self._path, self._part, self._stamp

    def _where(self) -> str:
        return os.path.join(self._path, self._part) if self._part else self._path

    def _open(self) -> Any:
        if not self._kept:
            return self._opener(self._path, self._part)
        thread = threading.get_ident() if self._by_thread else None
        return _open_arrays.get(
            (*self._key(), thread), lambda: self._opener(self._path, self._part)
        )


def only_array(path: str, found: Mapping[str, tuple[int, ...]]) -> str:
    """Return the name of the one array that a file holds.

    Parameters
    ----------
    path : str
        Path of the file.
    found : dict
        Shape of each array, by name.

    Raises
    ------
    ValueError
        If there is none, or several; the text shows them.
    """
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise SourceError(
            f"source must hold an image, got {path!r}, which holds no array of two "
            "dimensions or more; check it"
        )
    shown = [f"{name} {shape}" for name, shape in list(found.items())[:8]]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    raise SourceError(
        f"source must be one image, got {path!r}, which holds {', '.join(shown)}"
        f"{more}; open one of them, such as {os.path.join(path, next(iter(found)))}"
    )
