"""What lies in a store: metadata as bytes, names and sizes of objects; read only.

Nothing outside of the store is ever read: paths are checked by the rule of
`multiscales.check_path`, and links that lead out of a local store are not followed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.locations import is_url, local_path, public_url
from dask_pyramid.sources.opened import reason
from dask_pyramid.sources.zarr_arrays import ZarrReader, open_zarr_array
from dask_pyramid.store_options import StoreOptions, parse_options
from dask_pyramid.stores import is_zip_store, lives_in_process, open_store, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import zarr

__all__ = ["Tree", "open_tree"]

# Metadata beyond this are no metadata.
_MOST_BYTES = 2**26


def open_tree(
    store: Any, storage_options: Mapping[str, Any] | StoreOptions | None = None
) -> Tree:
    """Return the tree of a path, URL, zarr store or group.

    Raises
    ------
    FileNotFoundError
        If there is nothing at a local path.
    TypeError
        If it is none of these.
    """
    import zarr
    from zarr.abc.store import Store

    if isinstance(store, str | os.PathLike):
        place = local_path(os.fspath(store))
        options = parse_options(storage_options, place)
        if is_url(place):
            held = open_store(place, options=options, hurried=True)
            return StoreTree(held, location=place)
        return _folder(place)
    prefix = ""
    if isinstance(store, zarr.Group):
        store, prefix = store.store, store.path
    if not isinstance(store, Store):
        raise TypeError(
            "store must be a path, a URL, a zarr store or a zarr group, got "
            f"{type(store).__name__}"
        )
    location, _ = place_of(store) or ("", None)
    if location and not is_url(location):
        return _folder(str(Path(location, prefix)))
    return StoreTree(_opened(store), prefix=prefix)


def _opened(store: Any) -> Any:
    """Return a store that is open, for reading."""
    from zarr.core.sync import sync
    from zarr.storage import StorePath

    return sync(StorePath.open(store, "", mode="r")).store


def _folder(place: str) -> Tree:
    if is_zip_store(place) and Path(place).is_file():
        return StoreTree(open_store(place), location=place)
    if not Path(place).is_dir():
        there = "a file" if Path(place).exists() else "where there is nothing"
        raise FileNotFoundError(
            f"store must be the folder of an OME-Zarr image, got {place!r}, {there}"
        )
    return FolderTree(place)


class Tree:
    """A group and all below it; keys have ``/`` between their parts."""

    location: str
    """Path or URL, without secrets."""
    listable: bool = True
    """Whether names can be listed."""
    travels: bool = True
    """Whether other processes can read the store."""

    def get(self, key: str, limit: int | None = _MOST_BYTES) -> bytes | None:
        """Return the bytes of an object, None if there is none.

        Raises
        ------
        OSError
            If it cannot be read, or is larger than `limit`.
        """
        raise NotImplementedError

    def children(self, path: str) -> list[str]:
        """Return the names of the folders within a folder, in order."""
        raise NotImplementedError

    def objects(self, path: str) -> Iterator[tuple[str, int | None]]:
        """Yield the key, relative to `path`, and the size of all objects below it."""
        raise NotImplementedError

    def outside(self, path: str) -> list[str]:
        """Return the links at or below `path` that lead out of the store."""
        return []

    def leaves(self, path: str) -> bool:
        """Return whether the folder of a node is a link out of the store."""
        return False

    def reader(self, path: str, *, checked: bool = False) -> ZarrReader:
        """Return a reader of an array; `checked` as for `ZarrReader`."""
        raise NotImplementedError

    def array(self, path: str) -> zarr.Array[Any]:
        """Return an array as zarr opens it."""
        raise NotImplementedError


class FolderTree(Tree):
    """A local folder."""

    def __init__(self, location: str) -> None:
        self.location = location
        self._root = os.path.realpath(location)

    def get(self, key: str, limit: int | None = _MOST_BYTES) -> bytes | None:
        """See `Tree.get`."""
        path = Path(self._root, key)
        if self._is_outside(path) or not path.is_file():
            return None
        if limit is not None and path.stat().st_size > limit:
            raise OSError(f"cannot read {str(path)!r}: larger than {limit} bytes")
        return path.read_bytes()

    def children(self, path: str) -> list[str]:
        """See `Tree.children`."""
        folder = Path(self._root, path)
        if self._is_outside(folder) or not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())

    def objects(self, path: str) -> Iterator[tuple[str, int | None]]:
        """See `Tree.objects`."""
        top = Path(self._root, path)
        if self._is_outside(top) or not top.is_dir():
            return
        start = len(str(top)) + 1
        for entry in _entries(str(top)):
            is_link = entry.is_symlink()
            if is_link and self._is_outside(Path(entry.path)):
                continue
            if is_link or not entry.is_dir(follow_symlinks=False):
                size = None if is_link else entry.stat().st_size
                yield entry.path[start:].replace(os.sep, "/"), size

    def outside(self, path: str) -> list[str]:
        """See `Tree.outside`."""
        top = Path(self._root, path)
        if self._is_outside(top):
            return [path]
        return [
            Path(entry.path).relative_to(self._root).as_posix()
            for entry in (_entries(str(top)) if top.is_dir() else ())
            if entry.is_symlink() and self._is_outside(Path(entry.path))
        ]

    def leaves(self, path: str) -> bool:
        """See `Tree.leaves`."""
        return self._is_outside(Path(self._root, path))

    def reader(self, path: str, *, checked: bool = False) -> ZarrReader:
        """See `Tree.reader`."""
        return ZarrReader(self._root, path, checked=checked)

    def array(self, path: str) -> zarr.Array[Any]:
        """See `Tree.array`."""
        return open_zarr_array(self._root, path)

    def _is_outside(self, path: Path) -> bool:
        real = os.path.realpath(path)
        return real != self._root and not real.startswith(self._root + os.sep)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield all that lies below a folder; links to folders are not followed."""
    with os.scandir(folder) as found:
        for entry in found:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)


class StoreTree(Tree):
    """A zarr store of any kind, or what a URL means."""

    def __init__(self, store: Any, *, location: str = "", prefix: str = "") -> None:
        self.location = public_url(location) if location else str(store)
        self._store = store
        self._prefix = prefix.strip("/")
        self.travels = bool(location) or not lives_in_process(store)
        # A web server is not asked: its refusals would be tried again for a minute.
        self.listable = not location.startswith(("http://", "https://"))

    def get(self, key: str, limit: int | None = _MOST_BYTES) -> bytes | None:
        """See `Tree.get`."""
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        try:
            found = sync(self._store.get(self._key(key), default_buffer_prototype()))
        except Exception as error:  # each kind of store has errors of its own
            raise self._failed(key, error) from error
        if found is not None and limit is not None and len(found) > limit:
            raise OSError(f"cannot read {key!r}: larger than {limit} bytes")
        return None if found is None else bytes(found.to_bytes())

    def children(self, path: str) -> list[str]:
        """See `Tree.children`."""
        from zarr.core.sync import sync

        if not self.listable:
            return []

        async def names() -> list[str]:
            return [name async for name in self._store.list_dir(self._key(path))]

        try:
            return sorted({name.strip("/") for name in sync(names())})
        except Exception:  # a web server cannot list; the error is each store's own
            self.listable = False
            return []

    def objects(self, path: str) -> Iterator[tuple[str, int | None]]:
        """See `Tree.objects`."""
        if not self.listable:
            return
        prefix = self._key(path) + "/"
        try:
            for key, size in self._listed(prefix):
                yield key.removeprefix(prefix), size
        except Exception:  # as above
            self.listable = False

    def _listed(self, prefix: str) -> Iterator[tuple[str, int | None]]:
        from zarr.core.sync import sync
        from zarr.storage import ObjectStore

        from dask_pyramid.object_store import UrlStore

        if type(self._store) is ObjectStore:
            for batch in self._store.store.list(prefix):
                yield from ((entry["path"], entry["size"]) for entry in batch)
            return

        if isinstance(self._store, UrlStore):
            pages = self._store.pages(prefix)

            async def page() -> list[tuple[str, int]] | None:
                return await anext(pages, None)

            while found := sync(page()):
                yield from found
            return

        async def keys() -> list[str]:
            return [key async for key in self._store.list_prefix(prefix)]

        yield from ((key, None) for key in sync(keys()))

    def reader(self, path: str, *, checked: bool = False) -> ZarrReader:
        """See `Tree.reader`."""
        return ZarrReader(self._store, self._key(path), checked=checked)

    def array(self, path: str) -> zarr.Array[Any]:
        """See `Tree.array`."""
        return open_zarr_array(self._store, self._key(path))

    def _key(self, path: str) -> str:
        return "/".join(filter(None, (self._prefix, path)))

    def _failed(self, key: str, error: Exception) -> OSError:
        return OSError(f"cannot read {key!r} of {self.location}: {reason(error)}")
