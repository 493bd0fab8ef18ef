"""A zipped OME-Zarr file (``.ozx``) as a zarr store that is read only.

Entries that are stored as they are lie in the file as one run of bytes, so parts of
them are read without the rest, by any number of threads. Entries that zip has
compressed are refused: they could not be.
"""

from __future__ import annotations

import asyncio
import os
import struct
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from zarr.abc.store import (
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)

from dask_pyramid.store_options import StoreOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from zarr.abc.store import ByteRequest

__all__ = ["ZippedStore"]

# A local header: 26 bytes, then the lengths of the name and of the extra field.
_HEADER, _LENGTHS = 30, struct.Struct("<26xHH")


class ZippedStore(Store):
    """Show the entries of a zip file as the objects of a store.

    Parameters
    ----------
    path : str
        A zip file.

    Raises
    ------
    OSError
        If it cannot be read, or is no zip file.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, path: str) -> None:
        super().__init__(read_only=True)
        self.location, self.options = os.path.realpath(path), StoreOptions()
        # Kept open: the list is of this file, even if another one takes its name.
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115
        try:
            with zipfile.ZipFile(self._file) as archive:
                entries = archive.infolist()
        except zipfile.BadZipFile as error:
            raise OSError(f"cannot read {path!r}: {error}") from error
        packed = [e.filename for e in entries if e.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise OSError(
                f"entries of a zipped OME-Zarr must be stored as they are, got "
                f"{packed[0]!r} in {path!r}, which is compressed; unpack it"
            )
        self._entries = {e.filename: e for e in entries if not e.is_dir()}
        self._starts: dict[str, int] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> Any:
        return ZippedStore, (self.location,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZippedStore) and self.location == other.location

    __hash__ = None  # type: ignore[assignment]  # as other stores

    def __repr__(self) -> str:
        return f"ZippedStore({self.location!r})"

    def __str__(self) -> str:
        return self.location

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """See `Store.get`."""
        found = self._entries.get(key)
        if found is None:
            return None
        first, stop = _part(byte_range, found.file_size)
        return prototype.buffer.from_bytes(
            await asyncio.to_thread(self._part_of, key, first, stop)
        )

    async def get_partial_values(
        self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]
    ) -> list[Any]:
        """See `Store.get_partial_values`."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        return key in self._entries

    async def getsize(self, key: str) -> int:
        """See `Store.getsize`."""
        if key not in self._entries:
            raise FileNotFoundError(key)
        return self._entries[key].file_size

    async def set(self, key: str, value: Any) -> None:
        """Refuse: a zip file is written once."""
        self._refuse()

    async def delete(self, key: str) -> None:
        """Refuse: a zip file is written once."""
        self._refuse()

    async def list(self) -> AsyncIterator[str]:
        """See `Store.list`."""
        for key in self._entries:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """See `Store.list_prefix`."""
        for key in self._entries:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """See `Store.list_dir`."""
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        names = {
            key[len(start) :].partition("/")[0]
            for key in self._entries
            if key.startswith(start)
        }
        for name in sorted(names):
            yield name

    def _refuse(self) -> NoReturn:
        raise OSError(f"{self.location} is written once and not changed; unpack it")

    def _part_of(self, key: str, first: int, stop: int) -> bytes:
        return self._read(self._start(key) + first, stop - first)

    def _start(self, key: str) -> int:
        """Return where the bytes of an entry begin: behind its local header."""
        if key not in self._starts:
            offset = self._entries[key].header_offset
            name, extra = _LENGTHS.unpack(self._read(offset, _HEADER))
            self._starts[key] = offset + _HEADER + name + extra
        return self._starts[key]

    def _read(self, start: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size and (part := self._read_once(start, size)):
            parts.append(part)
            start, size = start + len(part), size - len(part)
        if size:
            raise OSError(f"{self.location} is shorter than its list of entries says")
        return b"".join(parts)

    def _read_once(self, start: int, size: int) -> bytes:
        """Return some of the bytes that are asked for; none at the end of the file."""
        if hasattr(os, "pread"):  # no position that threads and forks would share
            return os.pread(self._file.fileno(), size, start)
        with self._lock:  # Windows
            self._file.seek(start)
            return self._file.read(size)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def _part(asked: ByteRequest | None, size: int) -> tuple[int, int]:
    """Return the first byte and the end of what is asked for."""
    if isinstance(asked, RangeByteRequest):
        return min(asked.start, size), min(asked.end, size)
    if isinstance(asked, OffsetByteRequest):
        return min(asked.offset, size), size
    if isinstance(asked, SuffixByteRequest):
        return max(0, size - asked.suffix), size
    return 0, size
