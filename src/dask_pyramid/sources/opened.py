"""What a source says of itself, and what a process holds open of it.

Every opener returns an `Opened`, in the order of the input's own axes; `open_image`
turns it into an `Image`. Files are opened once for each process, by `ProcessCache`.
"""

from __future__ import annotations

import lzma
import os
import struct
import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from dask_pyramid.locations import is_url, public_url

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from pathlib import Path

    import dask.array as da

    from dask_pyramid.image import Reader, Region

__all__ = [
    "DECODE_ERRORS",
    "Opened",
    "ProcessCache",
    "SourceError",
    "fingerprint",
    "native",
    "reason",
    "region_text",
    "single",
    "unreadable",
]

DECODE_ERRORS: tuple[type[Exception], ...] = (
    OSError,  # the file system, gzip, obstore
    ValueError,  # zarr, tifffile
    RuntimeError,  # zarrs, numcodecs, imagecodecs
    EOFError,
    IndexError,
    KeyError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
"""What codecs raise on damaged data, as met in zarr, zarrs, numcodecs and tifffile."""

T = TypeVar("T")


class SourceError(ValueError):
    """Why a source is refused; the text is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Pixels and what the source says of them; numbers are by axis name."""

    pixels: Reader | da.Array
    """In the order of the input's axes."""
    axes: tuple[str, ...] | None = None
    """Names out of t, c, z, y, x, or None if the source does not name them."""
    scale: Mapping[str, float] = field(default_factory=dict)
    """Spacing, for the axes whose spacing is known."""
    translation: Mapping[str, float] = field(default_factory=dict)
    """Position of the centre of voxel 0, where known."""
    unit: Mapping[str, str | None] = field(default_factory=dict)
    """UDUNITS words, where known."""
    name: str | None = None
    """What the source is called."""
    omero: Mapping[str, Any] | None = None
    """Rendering metadata, perhaps incomplete."""
    labels: bool = False
    """Whether the source says that its values are ids."""
    image_label: Mapping[str, Any] | None = None
    """What it says of them: colours, properties; not of which image they are."""


class ProcessCache(Generic[T]):
    """Opened files of this process, the least recently used given up first.

    What is given up is closed when whoever reads it lets go of it. A forked child
    starts empty: locks, threads and file positions do not survive it.

    Parameters
    ----------
    size : int
        How many are held open.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.RLock()
        self._held: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, opener: Callable[[], T]) -> T:
        """Return what is held under `key`; call `opener` once if there is nothing."""
        with self._lock:
            if key not in self._held:
                self._held[key] = opener()
                if len(self._held) > self._size:
                    self._held.popitem(last=False)
            self._held.move_to_end(key)
            return self._held[key]

    def forget(self, matches: Callable[[Any], bool]) -> None:
        """Give up what is held under the keys that match."""
        with self._lock:
            for key in [key for key in self._held if matches(key)]:
                del self._held[key]


def fingerprint(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of change, to notice that a file was replaced."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def native(dtype: Any) -> np.dtype[Any]:
    """Return a data type in native byte order.

    Examples
    --------
    >>> native(">u2") == np.dtype("uint16")
    True
    """
    found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    return found


def single(value: float) -> float:
    """Return a float of 32 bits as the decimal that was written into it.

    Examples
    --------
    >>> single(np.float32(0.1))
    0.1
    """
    return float(f"{value:.7g}")


def reason(error: BaseException) -> str:
    """Return the first line of an error, or its kind if it says nothing."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def unreadable(error: Exception, place: str) -> ValueError:
    """Return the error to raise where zarr cannot read the metadata of a node.

    On metadata of strangers zarr raises of all kinds: KeyError, AttributeError,
    RecursionError, MemoryError.
    """
    shown = public_url(place) if is_url(place) else place
    return ValueError(
        f"source must be readable, got {shown!r}, whose Zarr metadata cannot be read: "
        f"{reason(error)}"
    )


def region_text(region: Region) -> str:
    """Return a region as it is written in Python.

    Examples
    --------
    >>> region_text((slice(0, 16), slice(8, 32)))
    '[0:16, 8:32]'
    """
    return f"[{', '.join(f'{part.start}:{part.stop}' for part in region)}]"
