"""TIFF, BigTIFF, ImageJ and OME-TIFF, read by region through tifffile's Zarr store.

The first series at full resolution is the image. Regions decode whole strips or tiles.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.sources.opened import (
    DECODE_ERRORS,
    Opened,
    ProcessCache,
    fingerprint,
    native,
    region_text,
)
from dask_pyramid.sources.tiff_metadata import describe, series_axes

if TYPE_CHECKING:
    from tifffile import TiffFile
    from tifffile.zarr import ZarrTiffStore

    from dask_pyramid.image import Region

__all__ = ["TiffReader", "open_series", "open_tiff", "read_series"]


def open_tiff(path: str, axes: tuple[str, ...] | None) -> Opened:
    """Open a TIFF file of any kind.

    Parameters
    ----------
    path : str
        Path of the file.
    axes : tuple of str, optional
        Names that the caller gave; they allow a file whose axes are not known.

    Raises
    ------
    ValueError
        If the file is damaged, truncated, or its axes cannot be named.
    ImportError
        If its compression needs imagecodecs, which is not installed.
    """
    import tifffile

    with _Complaints(), tifffile.TiffFile(path) as tiff:
        series = _first_series(tiff)
        _check_codec(series.keyframe, path)
        _check_extent(tiff, series, path)
        names = series_axes(series.axes, path, given=axes is not None)
        found = describe(tiff, names)
        files = (path, *(str(Path(path).with_name(f)) for f in found.files))
    return Opened(
        pixels=TiffReader(path, locations=files),
        axes=names,
        scale=found.scale,
        unit=found.unit,
        name=found.name,
        omero=found.omero,
    )


class _Complaints(logging.Filter):
    """What tifffile logs, and goes on, while this thread opens a truncated file.

    It reads what is left as if it were the whole: other axes, fewer planes. Nothing
    gets into the log: if the file is good, its reader opens it again, and tifffile
    says the same once more.
    """

    # Baseline tags only: private ones (from 32768) are often broken and do not matter.
    _RULE = re.compile(r"TiffTag (\d+) .*invalid value offset|invalid page offset")

    def __enter__(self) -> None:
        self._thread = threading.get_ident()
        self._first = ""
        logging.getLogger("tifffile").addFilter(self)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        logging.getLogger("tifffile").removeFilter(self)
        if self._first and kind is None:
            raise ValueError(self._first)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the first complaint of this thread, and none of them in the log."""
        if record.thread != self._thread:
            return True
        found = self._RULE.search(record.getMessage())
        if found is not None and (found[1] is None or int(found[1]) < 32768):
            self._first = self._first or record.getMessage()
        return False


def _first_series(tiff: TiffFile) -> Any:
    if not tiff.series:
        raise ValueError("it holds no image")
    return tiff.series[0]


def _check_codec(page: Any, path: str) -> None:
    import tifffile

    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        if page.predictor != 1:
            tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError as error:
        name = getattr(page.compression, "name", page.compression)
        raise ImportError(
            f"{path!r} is compressed with {name}, which needs imagecodecs: "
            "pip install 'dask-pyramid[tiff]'"
        ) from error


def _check_extent(tiff: TiffFile, series: Any, path: str) -> None:
    """Refuse a file that ends before its last page; tifffile reads what is there."""
    size = os.path.getsize(path)
    if series.dataoffset is not None:
        end = series.dataoffset + series.nbytes
    else:
        end = max(
            (
                offset + count
                for page in (tiff.pages.first, tiff.pages[-1])
                for offset, count in zip(
                    page.dataoffsets, page.databytecounts, strict=False
                )
            ),
            default=0,
        )
    if end > size:
        raise ValueError(f"its pixels end at byte {end}, the file at byte {size}")


def open_series(path: str) -> tuple[ZarrTiffStore, Any]:
    """Return tifffile's store of the first series, and it as a Zarr array."""
    import tifffile
    import zarr

    from dask_pyramid.sources.zarr_arrays import open_zarr_array

    with tifffile.TiffFile(path) as tiff:
        # With one worker tifffile decodes in zarr's event loop, so that the readers of
        # all threads wait for each other; with two it decodes in zarr's threads.
        store = _first_series(tiff).aszarr(level=0, maxworkers=2)
    # The file is closed now; the store opens it again when it reads.
    array = open_zarr_array(store)
    assert isinstance(array, zarr.Array)
    return store, array


def _close(held: tuple[ZarrTiffStore, Any]) -> None:
    held[0].close()


_open_files: ProcessCache[tuple[Any, Any]] = ProcessCache(32, _close)


def read_series(path: str, stamp: tuple[int, int], region: Region) -> Any:
    """Read a region of the first series; the file stays open in this process."""
    _, array = _open_files.get((path, stamp), lambda: open_series(path))
    return array[region]


class TiffReader:
    """Read the first series of a TIFF file by region.

    Parameters
    ----------
    path : str
        Path of the file.
    locations : sequence of str
        The files that hold its pixels.
    """

    def __init__(self, path: str, locations: tuple[str, ...] = ()) -> None:
        self._path = os.path.realpath(path)
        self._stamp = fingerprint(Path(self._path))
        self._locations = tuple(
            dict.fromkeys(os.path.realpath(file) for file in (path, *locations))
        )
        store, array = open_series(self._path)
        self._shape = tuple(int(n) for n in array.shape)
        self._chunks = tuple(int(n) for n in array.chunks)
        self._dtype = native(array.dtype)
        store.close()

    def __repr__(self) -> str:
        return f"TiffReader({self._path!r}, shape={self._shape})"

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self._path, self._stamp

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
        """Extent in voxels of a strip or tile."""
        return self._chunks

    @property
    def locations(self) -> tuple[str, ...]:
        """Real paths of the files that hold the pixels."""
        return self._locations

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`.

        Raises
        ------
        OSError
            If a strip or tile cannot be read or decoded.
        """
        try:
            block = read_series(self._path, self._stamp, region)
        except DECODE_ERRORS as error:
            raise OSError(
                f"cannot read {region_text(region)} of {self._path}: {error}"
            ) from error
        return np.asarray(block).astype(self._dtype, copy=False)
