"""Open stores: folders, URLs of object stores, and what a store object tells of itself.

The one place where a path or URL becomes a zarr store.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.locations import is_url, is_zipped, local_path
from dask_pyramid.store_options import StoreOptions

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = [
    "check_bucket",
    "is_zip_store",
    "lives_in_process",
    "open_store",
    "place_of",
    "store_place",
    "within",
]


def open_store(
    location: str,
    *,
    read_only: bool = True,
    options: StoreOptions | None = None,
    hurried: bool = False,
) -> Store:
    """Return a Zarr store for a path or URL; nothing is read.

    Parameters
    ----------
    location : str
        A path, of a zipped OME-Zarr file, too, or an s3, gs, az, abfs, http, https or
        file URL.
    read_only : bool
        Whether writing is refused.
    options : StoreOptions, optional
        How to open a URL; what it leaves open comes from the environment.
    hurried : bool
        Whether a store that is away is given up soon: for a first contact.

    Returns
    -------
    zarr.abc.store.Store
        A store that pickles to its location and options.

    Raises
    ------
    ValueError
        If the scheme of the URL is not known.
    PermissionError
        If there is nothing to sign requests with.
    """
    from zarr.storage import LocalStore

    location = local_path(location)
    if is_zip_store(location):
        from dask_pyramid.zip_store import ZippedStore

        return ZippedStore(location)
    if not is_url(location):
        return LocalStore(location, read_only=read_only)
    from dask_pyramid.object_store import UrlStore

    return UrlStore(
        location, options or StoreOptions(), read_only=read_only, hurried=hurried
    )


def is_zip_store(location: str) -> bool:
    """Whether a path is of a zipped OME-Zarr file, by its name or how it begins.

    The name is not enough: a link to the file may lack the suffix, or lead to a file
    without it. RFC-9 has the metadata of the root first.
    """
    if is_zipped(location) or is_url(location) or not Path(location).is_file():
        return is_zipped(location)
    with Path(location).open("rb") as file:
        head = file.read(64)
    return head.startswith(b"PK\3\4") and head[30:].startswith(b"zarr.json")


def check_bucket(store: Store) -> None:
    """Check that the bucket of an object store is there; other stores pass.

    Raises
    ------
    FileNotFoundError
        If there is no such bucket.
    """
    from zarr.core.sync import sync

    check = getattr(store, "check_bucket", None)
    if check is not None:
        sync(check())


def place_of(store: Any) -> tuple[str, StoreOptions] | None:
    """Return location and options of a store that can be opened again by them.

    Parameters
    ----------
    store : zarr store
        Any store.

    Returns
    -------
    tuple or None
        For a local store, zarr's or one of fsspec, its folder; None if the store must
        be kept as it is.
    """
    from zarr.storage import FsspecStore, LocalStore

    if isinstance(store, LocalStore):
        return str(store.root), StoreOptions()
    if isinstance(store, FsspecStore):
        system: Any = getattr(store.fs, "sync_fs", store.fs)
        return (str(store.path), StoreOptions()) if "file" in system.protocol else None
    location, options = (
        getattr(store, "location", None),
        getattr(store, "options", None),
    )
    if isinstance(location, str) and isinstance(options, StoreOptions):
        return location, options
    return None


def store_place(store: object) -> str:
    """Return a text that tells a store object from others of this process.

    zarr opens read-only copies of a store, which share what holds the objects.
    """
    holder = getattr(store, "_store_dict", getattr(store, "store", store))
    return f"store:{type(store).__name__}:{id(holder)}"


def within(store: Any, path: str) -> Store:
    """Return what lies below a path of a store as a store of its own."""
    from zarr.storage import LocalStore

    if isinstance(store, LocalStore):
        return LocalStore(store.root / path, read_only=store.read_only)
    from dask_pyramid.nested_store import NestedStore

    return NestedStore(store, path)


def lives_in_process(store: Any) -> bool:
    """Whether what a store object holds is out of reach for other processes."""
    from obstore.store import MemoryStore
    from zarr.storage import FsspecStore, LocalStore, ObjectStore

    store = getattr(store, "inner", store)  # of a part of a store
    if place_of(store) is not None:
        return False
    if isinstance(store, ObjectStore):
        return isinstance(store.store, MemoryStore)
    return not isinstance(store, FsspecStore | LocalStore)
