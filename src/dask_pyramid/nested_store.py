"""A part of a zarr store as a store of its own: what lies below a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarr.abc.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

__all__ = ["NestedStore"]


class NestedStore(Store):
    """Show what lies below a path of another store.

    Parameters
    ----------
    store : zarr store
        The other one.
    path : str
        Without slashes at its ends.
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, store: Store, path: str) -> None:
        super().__init__(read_only=store.read_only)
        self.inner, self._path = store, path

    def __repr__(self) -> str:
        return f"NestedStore({self.inner!r}, {self._path!r})"

    def __str__(self) -> str:
        return f"{self.inner}/{self._path}"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NestedStore)
            and self.inner == other.inner
            and self._path == other._path
        )

    __hash__ = None  # type: ignore[assignment]  # as other stores

    def with_read_only(self, read_only: bool = False) -> NestedStore:  # zarr's
        """Return the same part, read-only or not."""
        return NestedStore(self.inner.with_read_only(read_only), self._path)

    def _key(self, key: str) -> str:
        return f"{self._path}/{key}" if key else self._path

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """See `Store.get`."""
        return await self.inner.get(self._key(key), prototype, byte_range)

    async def get_partial_values(
        self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]
    ) -> list[Any]:
        """See `Store.get_partial_values`."""
        ranges = [(self._key(key), part) for key, part in key_ranges]
        return await self.inner.get_partial_values(prototype, ranges)

    async def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        return await self.inner.exists(self._key(key))

    async def set(self, key: str, value: Any) -> None:
        """See `Store.set`."""
        await self.inner.set(self._key(key), value)

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        """See `Store.set_if_not_exists`."""
        await self.inner.set_if_not_exists(self._key(key), value)

    async def delete(self, key: str) -> None:
        """See `Store.delete`."""
        await self.inner.delete(self._key(key))

    async def delete_dir(self, prefix: str) -> None:
        """See `Store.delete_dir`."""
        await self.inner.delete_dir(self._key(prefix))

    async def getsize(self, key: str) -> int:
        """See `Store.getsize`."""
        return await self.inner.getsize(self._key(key))

    async def list(self) -> AsyncIterator[str]:
        """See `Store.list`."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """See `Store.list_prefix`."""
        start = f"{self._path}/"
        async for key in self.inner.list_prefix(start + prefix):
            yield key.removeprefix(start)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """See `Store.list_dir`."""
        async for name in self.inner.list_dir(self._key(prefix)):
            yield name
