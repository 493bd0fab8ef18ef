"""A zarr store behind a URL, through obstore, with what a long run needs.

One put for each object, whatever its size; passing troubles are tried again, lasting
ones end soon; every error is an OSError that names the public URL and no secret. A
store pickles to its URL and options, and is opened anew where it is unpickled.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import BaseError
from zarr.storage import ObjectStore

from dask_pyramid.clients import LONGEST_PAUSE, open_client
from dask_pyramid.clouds import find_cloud
from dask_pyramid.credentials import can_sign
from dask_pyramid.locations import public_url
from dask_pyramid.store_errors import is_passing, os_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from dask_pyramid.store_options import StoreOptions

__all__ = ["UrlStore"]

T = TypeVar("T")

Page = list[tuple[str, int]]
"""Keys of objects, and their sizes in bytes."""

# An object of S3 is put whole up to 5 GiB; above this size it goes in parts.
_ONE_PUT = 2**30

# What may be sent within the time that an answer may take; more gets more time.
_QUICK_BYTES = 2**23

_FIRST_PAUSE = 0.1


class UrlStore(ObjectStore[Any]):
    """Objects behind an s3, gs, az, http or https URL.

    Parameters
    ----------
    location : str
        The URL.
    options : StoreOptions
        How to open it.
    read_only : bool
        Whether writing is refused.
    hurried : bool
        Whether a store that is away is given up soon, as for a first contact.

    Raises
    ------
    PermissionError
        If there is nothing to sign requests with.
    ValueError
        If the URL cannot be opened.
    """

    def __init__(
        self,
        location: str,
        options: StoreOptions,
        *,
        read_only: bool = True,
        hurried: bool = False,
    ) -> None:
        cloud = find_cloud(location)
        if not can_sign(cloud, options):
            raise PermissionError(
                f"{public_url(location)} needs credentials, and there are none; "
                f"{cloud.hint}"
            )
        self.location = location
        self.options = options
        self._hurried = hurried
        self._used = options.hurried() if hurried else options
        self._cloud = cloud
        super().__init__(open_client(location, self._used), read_only=read_only)
        self._patient: dict[int, Any] = {}

    def __reduce__(self) -> Any:
        return _reopened, (self.location, self.options, self.read_only, self._hurried)

    def __eq__(self, value: object) -> bool:
        return isinstance(value, UrlStore) and (
            (self.location, self.options, self.read_only)
            == (value.location, value.options, value.read_only)
        )

    __hash__ = None  # type: ignore[assignment]  # as zarr's

    def __str__(self) -> str:
        return public_url(self.location)

    def __repr__(self) -> str:
        return f"UrlStore({str(self)!r})"

    def with_read_only(self, read_only: bool = False) -> UrlStore:
        """Return a store of the same objects; zarr calls it."""
        return _reopened(self.location, self.options, read_only, self._hurried)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the bytes of an object, or None if there is none."""
        get = super().get
        return await self._try("read", key, lambda: get(key, prototype, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Any
    ) -> list[Buffer | None]:
        """Return parts of objects."""
        get, wanted = super().get_partial_values, list(key_ranges)
        return await self._try("read", "", lambda: get(prototype, wanted))

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        exists = super().exists
        return await self._try("read", key, lambda: exists(key))

    async def getsize(self, key: str) -> int:
        """Return the size of an object in bytes."""
        getsize = super().getsize
        return await self._try("read", key, lambda: getsize(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Put an object: one request, which is atomic."""
        self._check_writable()
        data = value.as_buffer_like()
        client = self._client_for(len(value))
        parts = len(value) > _ONE_PUT
        await self._try(
            "write",
            key,
            lambda: obstore.put_async(client, key, data, use_multipart=parts),
        )

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Put an object unless there is one."""
        put = super().set_if_not_exists
        await self._try("write", key, lambda: put(key, value))

    async def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        delete = super().delete
        await self._try("delete", key, lambda: delete(key))

    async def delete_dir(self, prefix: str) -> None:
        """Remove all objects of a prefix, a thousand at a time."""
        self._check_writable()
        folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        async for page in self.pages(folder):
            keys = [key for key, _ in page]
            remove = partial(obstore.delete_async, self.store, keys)
            await self._try("delete", prefix, remove)

    async def list(self) -> AsyncGenerator[str, None]:
        """Yield all keys."""
        async for page in self.pages(""):
            for key, _ in page:
                yield key

    async def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
        """Yield all keys that begin so."""
        async for page in self.pages(prefix):
            for key, _ in page:
                yield key

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """Yield the names within a folder."""
        names = super().list_dir

        async def collect() -> Any:
            return [name async for name in names(prefix)]

        for name in await self._try("list", prefix, collect):
            yield name

    async def getsize_prefix(self, prefix: str) -> int:
        """Return the size of all objects of a prefix in bytes."""
        getsize = super().getsize_prefix
        return await self._try("list", prefix, lambda: getsize(prefix))

    async def check_bucket(self) -> None:
        """Raise FileNotFoundError if there is no such bucket.

        What is missing in a bucket, and what is missing with it, looks the same.
        """
        if not self._cloud.keys:  # a web server has no buckets, and lists nothing
            return
        try:
            await self.is_empty("")
        except FileNotFoundError:
            raise
        except OSError:
            return  # it cannot be listed, but it is there

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        """Yield keys and sizes by page; a listing that breaks off goes on there."""
        last: str | None = None
        stream: Any = None

        async def page() -> Any:
            nonlocal stream
            if stream is None:
                stream = obstore.list(
                    self.store, prefix or None, offset=last, chunk_size=1000
                ).__aiter__()
            try:
                return await anext(stream, None)
            except BaseException:
                stream = None
                raise

        while found := await self._try("list", prefix, page):
            last = found[-1]["path"]
            yield [(entry["path"], entry["size"]) for entry in found]

    async def _try(self, verb: str, key: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do what obstore does not try again by itself, until done or too late."""
        deadline = time.monotonic() + self._used.retry_seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return await act()
            except (BaseError, OSError) as error:
                if not is_passing(error) or time.monotonic() + pause > deadline:
                    doing = f"{verb} {'/'.join(filter(None, (str(self), key)))}"
                    raise os_error(error, doing, self._cloud) from None
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _client_for(self, size: int) -> Any:
        """Return a client that waits long enough for an object of `size` bytes."""
        doublings = (size // _QUICK_BYTES).bit_length()
        if not doublings:
            return self.store
        if doublings not in self._patient:
            self._patient[doublings] = open_client(
                self.location, self._used, 2**doublings
            )
        return self._patient[doublings]


def _reopened(
    location: str, options: StoreOptions, read_only: Any, hurried: Any
) -> UrlStore:
    return UrlStore(location, options, read_only=read_only, hurried=hurried)
