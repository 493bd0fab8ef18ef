"""Zarr arrays, v2 and v3, sharded or not, read by region through the fastest codecs.

`zarrs` decodes local stores. It is not used for object stores: it rebuilds the store
from its URL and drops the client's options (zarrs 0.2.3), so that a plain `http` server
is asked by `https` for three minutes; there zarr's own pipeline reads.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import numpy as np

from dask_pyramid.credentials import address_of
from dask_pyramid.limits import default_workers, tune_malloc
from dask_pyramid.locations import is_url, local_path, public_url
from dask_pyramid.sources.opened import (
    DECODE_ERRORS,
    ProcessCache,
    fingerprint,
    native,
    reason,
    region_text,
    unreadable,
)
from dask_pyramid.store_options import StoreOptions, parse_options
from dask_pyramid.stores import (
    is_zip_store,
    lives_in_process,
    open_store,
    place_of,
    store_place,
)

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import Store

    from dask_pyramid.image import Region

__all__ = ["ZarrReader", "limit_threads", "open_zarr_array"]

_ZARR_PIPELINE = "zarr.core.codec_pipeline.BatchedCodecPipeline"
_ZARRS_PIPELINE = "zarrs.ZarrsCodecPipeline"

# The settings of zarr are global: only one array is opened at a time.
_lock = threading.RLock()
_arrays: ProcessCache[Any] = ProcessCache(64)
_executors: ProcessCache[bool] = ProcessCache(1)
_most_threads = default_workers()


def open_zarr_array(
    store: Store | str | os.PathLike[str],
    path: str = "",
    *,
    mode: Literal["r", "r+"] = "r",
    in_place: bool = False,
    checked: bool = False,
    shape: tuple[int, ...] | None = None,
    options: StoreOptions | None = None,
) -> zarr.Array[Any]:
    """Open an array so that codecs use one thread for each read.

    Parameters
    ----------
    store : zarr store, path or URL
        Where the array is.
    path : str
        Path of the array within `store`.
    mode : {"r", "r+"}
        Read, or read and write.
    in_place : bool
        Whether a local array may be written in place, where a killed write leaves a
        torn object; `zarrs` does so, zarr does not.
    checked : bool
        Whether every checksum is looked at: `zarrs` (0.2.3) leaves out those of inner
        chunks that it decodes in part, zarr does not.
    shape : tuple of int, optional
        Extent to open it with, for an array that is growing.
    options : StoreOptions, optional
        How to open a URL.

    Returns
    -------
    zarr.Array
        Decoded by `zarrs` if the store is local and the array is one it can decode,
        else by zarr. Both give the same values.
    """
    import zarr
    from zarr.storage import LocalStore

    if isinstance(store, str | os.PathLike):
        store = open_store(os.fspath(store), read_only=mode == "r", options=options)
    with _lock:
        # zarr makes its threads on first use, as many as `threading.max_workers` says
        # at that moment; made within the block below, all reads would wait for one.
        _executors.get("threads", _make_executor)
        pipelines = [_ZARR_PIPELINE]
        fast = isinstance(store, LocalStore) and (mode == "r" or in_place)
        if fast and not checked and _zarrs_can(store, path):
            pipelines.insert(0, _ZARRS_PIPELINE)
        with zarr.config.set(_settings(pipelines[0])):
            array = zarr.open_array(store, path=path, mode=mode)
            if shape is None or shape == array.shape:
                return array
            metadata = {**array.metadata.to_dict(), "shape": shape}
            return zarr.Array.from_dict(array.store_path, metadata)


def _check_inside(root: str, path: str) -> None:
    """Refuse an array whose folder, or that of its chunks, leads out of its store.

    Raises
    ------
    ValueError
        If links lead out.
    """
    for folder in (path, f"{path}/c") if path else ():
        real = os.path.realpath(os.path.join(root, folder))
        if not real.startswith(os.path.join(root, "")):
            raise ValueError(
                f"arrays of a store must lie in it, got {folder!r}, a link from "
                f"{root!r} to {real!r}; open that array by itself"
            )


def _settings(pipeline: str, *, strict: bool = False) -> dict[str, Any]:
    return {
        "codec_pipeline.path": pipeline,
        "codec_pipeline.strict": strict,
        # Parallelism is the scheduler's: one thread for each task.
        "codec_pipeline.chunk_concurrent_minimum": 1,
        "threading.max_workers": 1,
    }


def _zarrs_can(store: Store, path: str) -> bool:
    """Whether zarrs decodes the array; asked strictly, as else it warns and goes on."""
    import zarr
    from zarrs.pipeline import UnsupportedMetadataError

    try:
        with zarr.config.set(_settings(_ZARRS_PIPELINE, strict=True)):
            array = zarr.open_array(store, path=path, mode="r")
    except UnsupportedMetadataError:
        return False
    # Raised by zarrs when reading: "Non-native byte order not supported", and "input
    # array must be a C contiguous array", for zarr allocates in the order of the array.
    return bool(array.dtype.isnative) and array.order == "C"


def limit_threads(most: int) -> None:
    """Let codecs of this process share so many threads; the first call counts.

    By default they have one for each core, which is too much where there is a process
    for each core. What `RAYON_NUM_THREADS` says in the environment stays.

    Parameters
    ----------
    most : int
        Units that run at a time in this process.
    """
    global _most_threads
    _most_threads = min(_most_threads, most)
    # Read by zarrs when it makes its threads: at its first call.
    os.environ.setdefault("RAYON_NUM_THREADS", str(_most_threads))


def _make_executor() -> bool:
    import zarr
    from zarr.storage import MemoryStore

    tune_malloc()  # before the threads that will allocate
    # Codecs run in these, and each keeps memory of its own.
    workers = zarr.config.get("threading.max_workers", None) or _most_threads
    with zarr.config.set({"threading.max_workers": workers}):
        zarr.open_group(MemoryStore(), mode="w")  # any call that waits makes them
    return True


class ZarrReader:
    """Read an array of a Zarr store by region.

    A reader of a path or URL pickles to a few hundred bytes and opens the array once
    for each process. A chunk that is missing reads as the fill value.

    Parameters
    ----------
    store : path, URL or zarr store
        A `LocalStore` is kept as its path, any other store as it is.
    path : str
        Path of the array within `store`.
    checked : bool
        Whether every checksum is looked at, as for `open_zarr_array`.
    shape : tuple of int, optional
        Extent to read it with, for an array that is growing.
    options : StoreOptions, optional
        How to open a URL.
    """

    def __init__(
        self,
        store: Store | str | os.PathLike[str],
        path: str = "",
        *,
        checked: bool = False,
        shape: tuple[int, ...] | None = None,
        options: StoreOptions | None = None,
    ) -> None:
        self._checked = checked
        self._store: Store | None = None
        self._location = ""
        if not isinstance(store, str | os.PathLike):
            self._store = store
            store, options = place_of(store) or ("", None)
        location = local_path(os.fspath(store))
        self._options = parse_options(options, location)
        if location:
            self._store = None
            self._location = (
                location if is_url(location) else os.path.realpath(location)
            )
        self._path = path.strip("/")
        if self._location and not is_url(self._location):
            _check_inside(self._location, self._path)
        self._extent = shape
        self._stamp = self._fingerprint()
        self._array: zarr.Array[Any] | None = None
        try:
            array = self._open()
        except (OSError, ValueError, TypeError):
            raise
        except Exception as error:
            raise unreadable(error, self._where()) from error
        self._shape = tuple(int(n) for n in array.shape)
        self._dtype = native(array.dtype)
        # For a sharded array, `chunks` of zarr is the inner chunk: what is decoded.
        self._chunks = tuple(int(n) for n in array.chunks)

    def __repr__(self) -> str:
        return f"ZarrReader({self._where()!r}, shape={self._shape})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}

    def __dask_tokenize__(self) -> object:
        place = self._location or id(self._store)
        return type(self).__name__, place, self._path, self._stamp, self._extent

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
        """Extent in voxels of a chunk; of an inner chunk where there are shards."""
        return self._chunks

    @property
    def locations(self) -> tuple[str, ...]:
        """Real path or URL of the array, or the identity of the store object."""
        if is_url(self._location):
            address = address_of(self._location, self._options)
            return ("/".join(filter(None, (address, self._path))),)
        return (self._where() if self._location else store_place(self._store),)

    @property
    def in_memory(self) -> bool:
        """Whether the pixels lie in this process and cannot be read from another."""
        return self._store is not None and lives_in_process(self._store)

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`.

        Raises
        ------
        OSError
            If a chunk cannot be read or decoded.
        """
        from obstore.exceptions import BaseError

        errors: tuple[type[Exception], ...] = (BaseError, *DECODE_ERRORS)
        try:
            block = self._open()[region]
        except errors as error:
            raise self._failure(region, error) from error
        self._check_there(region)
        return np.asarray(block).astype(self._dtype, copy=False)

    def read_into(self, region: Region, out: np.ndarray[Any, Any]) -> None:
        """Decode the voxels of `region` into `out`, C-contiguous and of its shape.

        Raises
        ------
        OSError
            If a chunk cannot be read or decoded.
        """
        from obstore.exceptions import BaseError
        from zarr.core.buffer.cpu import NDBuffer

        array = self._open()
        if not array.dtype.isnative or not out.size:
            out[...] = self.read(region)
            return
        errors: tuple[type[Exception], ...] = (BaseError, *DECODE_ERRORS)
        buffer = NDBuffer.from_ndarray_like(out)  # type: ignore[arg-type]
        try:
            array.get_basic_selection(region, out=buffer)
        except errors as error:
            raise self._failure(region, error) from error
        self._check_there(region)

    def _check_there(self, region: Region) -> None:
        """Refuse what was read of an array that is gone: nothing but the fill value."""
        if self._stamp is not None and self._fingerprint() is None:
            gone = FileNotFoundError("the array was removed while it was read")
            raise self._failure(region, gone) from gone

    def _failure(self, region: Region, error: Exception) -> OSError:
        text = f"cannot read {region_text(region)} of {self._where()}: {reason(error)}"
        return (PermissionError if isinstance(error, PermissionError) else OSError)(
            text
        )

    def _where(self) -> str:
        if is_url(self._location):
            return "/".join(filter(None, (public_url(self._location), self._path)))
        root = self._location or str(self._store)
        return (
            str(Path(root) / self._path) if self._location else f"{root}/{self._path}"
        )

    def _fingerprint(self) -> object:
        if not self._location:
            return None
        if is_url(self._location):
            # What is behind a URL may have changed: nothing is shared between readers.
            return uuid4().hex
        for name in ("zarr.json", ".zarray"):
            file = Path(self._location, self._path, name)
            if is_zip_store(self._location):
                file = Path(self._location)
            if file.is_file():
                return fingerprint(file)
        return None

    def _open(self) -> zarr.Array[Any]:
        if self._store is not None:
            if self._array is None:
                self._array = open_zarr_array(
                    self._store, self._path, shape=self._extent, checked=self._checked
                )
            return self._array
        key = self._location, self._path, self._stamp, self._extent, self._checked
        array: zarr.Array[Any] = _arrays.get(
            key,
            lambda: open_zarr_array(
                self._location,
                self._path,
                shape=self._extent,
                checked=self._checked,
                options=self._options,
            ),
        )
        return array
