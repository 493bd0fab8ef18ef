"""TIFF, BigTIFF, ImageJ and OME-TIFF, read by region through tifffile's Zarr store.

The first series at full resolution is the image. Regions decode whole strips or tiles.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.sources.files import FileReader
from dask_pyramid.sources.opened import Opened
from dask_pyramid.sources.tiff_metadata import describe, series_axes

if TYPE_CHECKING:
    from tifffile import TiffFile
    from tifffile.zarr import ZarrTiffStore

__all__ = ["open_series", "open_tiff"]


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

    path = os.path.realpath(path)  # files of one image lie beside it, not beside a link
    with _Complaints(), tifffile.TiffFile(path) as tiff:
        series = _first_series(tiff)
        _check_codec(series.keyframe, path)
        _check_extent(tiff, series, path)
        names = series_axes(series.axes, path, given=axes is not None)
        found = describe(tiff, names)
        files = (path, *(str(Path(path).with_name(f)) for f in found.files))
    return Opened(
        pixels=FileReader(_open_array, path, locations=files),
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


def _open_array(path: str, part: str) -> Any:
    """Return the first series as a Zarr array whose file is closed when it is gone."""
    store, array = open_series(path)
    weakref.finalize(array, store.close)
    return array
