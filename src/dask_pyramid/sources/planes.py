"""A folder or pattern of planes, stacked in natural order of their names.

TIFF planes are read by region, those of other formats (PNG, JPEG, ...) as a whole. All
planes must be of one format, shape and data type; files of several frames are refused.
"""

from __future__ import annotations

import glob
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.sources.files import FileReader
from dask_pyramid.sources.formats import find_format, open_file
from dask_pyramid.sources.opened import (
    DECODE_ERRORS,
    Opened,
    SourceError,
    fingerprint,
    native,
    reason,
    region_text,
)
from dask_pyramid.sources.pictures import open_picture
from dask_pyramid.sources.tiff import open_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from dask_pyramid.image import Reader, Region

__all__ = [
    "PlanesReader",
    "is_pattern",
    "natural_key",
    "open_folder",
    "open_pattern",
    "open_plane",
]

_IGNORED = {"thumbs.db", "desktop.ini"}


def is_pattern(source: str) -> bool:
    """Whether `source` is a glob pattern and not the path of something that exists."""
    return glob.has_magic(source) and not os.path.exists(source)


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts numbers by value.

    Examples
    --------
    >>> sorted(["z10.tif", "z9.tif"], key=natural_key)
    ['z9.tif', 'z10.tif']
    """
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]


def open_pattern(pattern: str, axes: tuple[str, ...] | None) -> Opened:
    """Open the files that match a glob pattern as one stack."""
    files = [file for file in glob.glob(pattern) if Path(file).is_file()]
    if not files:
        raise FileNotFoundError(
            f"source must match files, got {pattern!r}, which matches none; check it, "
            "and quote it in a shell"
        )
    return _open_planes(files, axes, str(Path(pattern).parent), pattern)


def open_folder(folder: str, axes: tuple[str, ...] | None) -> Opened:
    """Open all visible files of a folder as one stack."""
    files = [
        str(file)
        for file in Path(folder).iterdir()
        if file.is_file()
        and not file.name.startswith(".")
        and file.name.lower() not in _IGNORED
    ]
    if not files:
        raise ValueError(
            "source must be a Zarr store or a folder of planes, got "
            f"{folder!r}, which holds no files"
        )
    return _open_planes(files, axes, folder, folder)


def _open_planes(
    files: list[str], axes: tuple[str, ...] | None, folder: str, pattern: str
) -> Opened:
    files = sorted(files, key=natural_key)
    suffixes = sorted({_format(file) for file in files})
    if len(suffixes) > 1:
        raise ValueError(
            f"planes must be of one format, got {', '.join(suffixes)} in {pattern!r}; "
            f"give a pattern, such as {os.path.join(folder, '*' + suffixes[0])!r}"
        )
    name = Path(folder).name or None
    kind = find_format(files[0])
    if kind is not None and kind.name == "TIFF":
        return _open_tiff_planes(files, axes, name)
    try:
        _check_same(open_picture(files[0]), open_picture(files[-1]), files)
    except SourceError:
        raise
    except DECODE_ERRORS as error:
        raise SourceError(
            f"planes must be images, got {files[0]!r}, which cannot be read: "
            f"{reason(error)}"
        ) from error
    reader = PlanesReader(files, _picture)
    return Opened(pixels=reader, axes=axes or _colour_axes(reader), name=name)


def _format(file: str) -> str:
    suffix = Path(file).suffix.lower()
    return {".tiff": ".tif", ".jpeg": ".jpg"}.get(suffix, suffix) or "no suffix"


def _open_tiff_planes(
    files: list[str], axes: tuple[str, ...] | None, name: str | None
) -> Opened:
    first = open_file(files[0], None if axes is None else axes[1:])
    last = first if len(files) == 1 else open_file(files[-1], axes)
    _check_same(first.pixels, last.pixels, files)
    stacked = None
    if first.axes is not None:
        stacked = ("t" if "z" in first.axes else "z", *first.axes)
    return Opened(
        pixels=PlanesReader(files, _tiff_plane),
        axes=axes or stacked,
        scale=first.scale,
        unit=first.unit,
        name=name,
        omero=first.omero,
    )


def _check_same(one: Any, other: Any, files: Sequence[str]) -> None:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        raise SourceError(
            "planes must have one shape and data type, got "
            f"{one.shape} {one.dtype} in {files[0]!r} and "
            f"{other.shape} {other.dtype} in {files[-1]!r}"
        )


@contextmanager
def _tiff_plane(file: str) -> Iterator[Any]:
    store, array = open_series(file)
    try:
        yield array
    finally:
        store.close()


@contextmanager
def _picture(file: str) -> Iterator[Any]:
    yield open_picture(file)


class PlanesReader:
    """Read a stack of files by region; axis 0 is the file.

    Parameters
    ----------
    files : sequence of str
        Paths in the order of the stack.
    opener : callable
        ``opener(file)``, a context in which the array of a file is open; a function of
        a module, so that other processes find it.
    """

    def __init__(
        self,
        files: Sequence[str],
        opener: Callable[[str], AbstractContextManager[Any]],
    ) -> None:
        self._opener = opener
        self._files = tuple(os.path.realpath(file) for file in files)
        with opener(self._files[0]) as array:
            self._plane = tuple(int(n) for n in array.shape)
            self._chunks = tuple(int(n) for n in array.chunks)
            self._dtype = native(array.dtype)
        ends = (self._files[0], self._files[-1])
        self._stamp = tuple(fingerprint(Path(file)) for file in ends)

    def __repr__(self) -> str:
        return f"PlanesReader({len(self._files)} files from {self._files[0]!r})"

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self._files, self._stamp

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        return len(self._files), *self._plane

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type in native byte order."""
        return self._dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """One file, and in it a tile, or a plane where there are only strips."""
        # To open a file costs more than to decode the rest of a stripped plane.
        tiled = self._chunks[-1] < self._plane[-1]
        return (1, *(self._chunks if tiled else self._plane))

    @property
    def locations(self) -> tuple[str, ...]:
        """Real paths of the planes."""
        return self._files

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`.

        Raises
        ------
        OSError
            If a plane cannot be read or decoded.
        ValueError
            If a plane has another shape or data type than the first.
        """
        extent = tuple(part.stop - part.start for part in region)
        block = np.empty(extent, dtype=self._dtype)
        for i, index in enumerate(range(region[0].start, region[0].stop)):
            self._read_plane(self._files[index], region[1:], block[i])
        return block

    def _read_plane(self, file: str, region: Region, out: np.ndarray[Any, Any]) -> None:
        try:
            with self._opener(file) as array:
                fits = array.shape == self._plane and (
                    native(array.dtype) == self._dtype
                )
                if fits:
                    out[...] = array[region]
        except DECODE_ERRORS as error:
            raise OSError(
                f"cannot read {region_text(region)} of {file}: {reason(error)}"
            ) from error
        if not fits:
            raise ValueError(
                f"planes must have one shape and data type, got {array.shape} "
                f"{array.dtype} in {file!r}, not {self._plane} {self._dtype} as in "
                f"{self._files[0]!r}"
            )


def open_plane(path: str, axes: tuple[str, ...] | None) -> Opened:
    """Open one file that is not TIFF as one plane, grey or in colours."""
    reader = FileReader(open_picture, path, kept=False)
    return Opened(pixels=reader, axes=axes or _colour_axes(reader))


def _colour_axes(reader: Reader) -> tuple[str, ...]:
    """Return y and x, behind them c if there are colours, before them z of a stack."""
    stack = ("z",) * isinstance(reader, PlanesReader)
    return (*stack, "y", "x", *("c",) * (len(reader.shape) - len(stack) > 2))
