"""Small objects of any store: put, get, create only if new, list with sizes."""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dask_pyramid.object_store import UrlStore

__all__ = [
    "delete",
    "delete_all",
    "get",
    "get_all",
    "list_sizes",
    "prune",
    "put",
    "put_all",
    "put_new",
]

# Objects of one call that are on their way at a time.
_PUTS_AT_A_TIME = 16
_GETS_AT_A_TIME = 64

# What a file system answers that has no hard links, by which zarr creates exclusively.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)

_ATTEMPTS = 5

# Between asking whether an object is there and putting it lies far less.
_SETTLE_SECONDS = 1.0


def get(store: Any, key: str) -> bytes | None:
    """Return the content of an object, or None if there is none."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    try:
        found = sync(store.get(key, default_buffer_prototype()))
    except FileNotFoundError:  # not even the folder of the store is there
        return None
    return None if found is None else bytes(found.to_bytes())


def get_all(store: Any, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Yield keys and contents of objects, several of which are fetched at a time."""
    import asyncio

    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    async def fetch(some: Sequence[str]) -> list[Any]:
        prototype = default_buffer_prototype()
        return await asyncio.gather(*(store.get(key, prototype) for key in some))

    for start in range(0, len(keys), _GETS_AT_A_TIME):
        some = keys[start : start + _GETS_AT_A_TIME]
        for key, found in zip(some, sync(fetch(some)), strict=True):
            yield key, None if found is None else bytes(found.to_bytes())


def put(store: Any, key: str, data: bytes) -> None:
    """Put an object whole; one that is there is replaced."""
    from zarr.core.buffer.cpu import Buffer
    from zarr.core.sync import sync

    with _named(store, key):
        sync(store.set(key, Buffer.from_bytes(data)))


@contextmanager
def _named(store: Any, key: str) -> Iterator[None]:
    """Name the object in an error of the system that does not: of a full disk, say."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        text = f"{error.strerror}: cannot write {key} of {store}"
        raise OSError(error.errno, text) from error


def put_all(store: Any, folder: str, contents: Mapping[str, bytes]) -> None:
    """Put objects into a folder, several at a time."""
    import asyncio

    from zarr.core.buffer.cpu import Buffer
    from zarr.core.sync import sync

    async def put_them() -> None:
        free = asyncio.Semaphore(_PUTS_AT_A_TIME)

        async def put_one(key: str, data: bytes) -> None:
            async with free:
                await store.set(f"{folder}/{key}", Buffer.from_bytes(data))

        async with asyncio.TaskGroup() as group:
            for key, data in contents.items():
                group.create_task(put_one(key, data))

    try:
        sync(put_them())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def put_new(store: Any, key: str, data: bytes) -> bool:
    """Put an object unless there is one, and tell whether this one is there now.

    Parameters
    ----------
    store : zarr store
        Writable.
    key : str
        Where.
    data : bytes
        Must differ from what anybody else would put.

    Returns
    -------
    bool
        Of several that try at a time, one gets True.

    Notes
    -----
    The answer comes from reading back: a client that repeats a put whose answer was
    lost is told that the object exists, which is its own. A store that cannot create
    exclusively (fsspec) is asked first; there the last of several wins, which is why
    reading back waits until they all have put.
    """
    from zarr.abc.store import Store

    _create(store, key, data)
    if type(store).set_if_not_exists is Store.set_if_not_exists:
        time.sleep(_SETTLE_SECONDS)
    return get(store, key) == data


def _create(store: Any, key: str, data: bytes) -> None:
    from zarr.core.buffer.cpu import Buffer
    from zarr.core.sync import sync

    for attempt in range(_ATTEMPTS):
        try:
            with _named(store, key):
                sync(store.set_if_not_exists(key, Buffer.from_bytes(data)))
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
            continue  # somebody has just removed the folder, as it was empty
        except NotImplementedError:
            if get(store, key) is None:
                put(store, key, data)
        except OSError as error:
            if error.errno not in _NO_LINKS or not hasattr(store, "root"):
                raise
            _create_file(Path(store.root, key), data)
        return


def _create_file(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return


def delete(store: Any, key: str) -> None:
    """Remove an object; none is no error."""
    from zarr.core.sync import sync

    sync(store.delete(key))


def delete_all(store: Any, prefix: str) -> None:
    """Remove all objects below a prefix, which ends without a slash."""
    from zarr.core.sync import sync

    sync(store.delete_dir(prefix))


def prune(store: Any, prefix: str, *, below: bool = True) -> None:
    """Remove a folder if it is empty, before it those below it; nothing elsewhere."""
    from zarr.storage import LocalStore

    if not isinstance(store, LocalStore):
        return
    root = Path(store.root, prefix)
    folders = [str(root)]
    if below:
        folders = [folder for folder, _, _ in os.walk(root, topdown=False)]
    for folder in folders:
        with suppress(OSError):  # not empty
            Path(folder).rmdir()


def list_sizes(store: Any, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield the key of each object below a prefix, and its size in bytes.

    Parameters
    ----------
    store : zarr store
        Any.
    prefix : str
        Folder, without a slash at its end; empty for all.

    Yields
    ------
    key, size
        The key is complete, not relative to the prefix.

    Notes
    -----
    Cost: one request for each 1000 objects of an object store.
    """
    from zarr.storage import LocalStore, ObjectStore

    if isinstance(store, LocalStore):
        yield from _files(Path(store.root), prefix)
    elif hasattr(store, "pages"):  # our own
        yield from _listed(store, prefix)
    elif isinstance(store, ObjectStore):
        for batch in store.store.list(prefix=prefix or None):
            for entry in batch:
                yield str(entry["path"]), int(entry["size"])
    else:
        yield from _asked(store, prefix)


def _files(root: Path, prefix: str) -> Iterator[tuple[str, int]]:
    folders = [root / prefix]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        key = Path(entry.path).relative_to(root).as_posix()
                        yield key, entry.stat().st_size
        except FileNotFoundError:
            continue


def _listed(store: UrlStore, prefix: str) -> Iterator[tuple[str, int]]:
    from zarr.core.sync import sync

    pages = store.pages(f"{prefix}/" if prefix else "")

    async def following() -> list[tuple[str, int]] | None:
        return await anext(pages, None)

    while (page := sync(following())) is not None:
        yield from page


def _asked(store: Any, prefix: str) -> Iterator[tuple[str, int]]:
    from zarr.core.sync import sync

    async def collect() -> list[tuple[str, int]]:
        below = f"{prefix}/" if prefix else ""
        return [
            (key, await store.getsize(key)) async for key in store.list_prefix(below)
        ]

    yield from sync(collect())
