"""A file that is not TIFF (PNG, JPEG, ...), decoded as a whole by dask-image.

It is asked for one file at a time: its graph of a folder knows files by their names
alone, and crops or wraps planes of another shape or data type. Pillow looks first, for
what dask-image does not say: several frames, and depths that it would cut or stretch
(colours of 16 bits, grey values of 4 or 12). Both are refused.
"""

from __future__ import annotations

import glob
import math
import os
import re
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dask_pyramid.sources.opened import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from dask_pyramid.image import Region

__all__ = ["open_picture"]

# Suffixes for which dask-image asks its plain reader of images.
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")

_HEAD = 4096  # bytes that hold the depth of a file

# The greatest value that is read, for modes of Pillow with other than 8 bits.
_GREATEST = {"1": 1, "I;16": 65535, "I": 65535}


class _Picture:
    """The decoded pixels of a file: y, x, and samples of colour."""

    def __init__(self, pixels: np.ndarray[Any, Any]) -> None:
        self._pixels = pixels
        self.shape = self.chunks = pixels.shape
        self.dtype = pixels.dtype

    def __getitem__(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`."""
        return self._pixels[region]


def open_picture(path: str, part: str = "") -> _Picture:
    """Decode a file that is not TIFF: all of it.

    Raises
    ------
    ValueError
        If it holds several frames, or values that would not be read as they are.
    OSError
        If it is damaged, or no image.
    """
    from dask_image.imread import imread
    from pims import UnknownFormatError

    extent = _checked_extent(path)
    with _plain_name(path) as name:
        try:
            # One block: there is nothing to optimize.
            frames = imread(name).compute(scheduler="synchronous", optimize_graph=False)
        except UnknownFormatError as error:  # "HANDLER errored: WHY", a line for each
            why = str(error).partition(" errored: ")[2] or str(error)
            raise OSError(why.split("\n")[0]) from error
    # How many axes of one stand before depends on the format.
    samples = frames.size // math.prod(extent)
    return _Picture(frames.reshape(*extent, *((samples,) if samples > 1 else ())))


def _checked_extent(path: str) -> tuple[int, int]:
    """Return height and width of a file that is read as it is, or refuse it."""
    from PIL import Image as Picture

    try:
        with Picture.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            greatest = _greatest_value(path, picture)
            read = _GREATEST.get(picture.mode, 255)
    except Picture.DecompressionBombError as error:
        raise SourceError(
            f"planes must be of a size that Pillow reads, got {path!r}: {error} Save "
            "it as a TIFF"
        ) from error
    if frames > 1 and picture.format != "MPO":  # which is a JPEG with its previews
        raise SourceError(
            f"planes must be of one frame, got {frames} in {path!r}; save each as "
            "a file, or all as a TIFF"
        )
    if greatest not in (None, read):
        raise SourceError(
            f"colours must have 8 bits, grey values 1, 8 or 16, got values up to "
            f"{greatest} in {path!r}, which would be read as values up to {read}; save "
            "them as a TIFF"
        )
    return picture.height, picture.width


def _greatest_value(path: str, picture: Any) -> int | None:
    """Return the greatest value that a file may hold, or None if it is read as it is.

    Readers stretch or cut what has other depths than theirs, and do not say so.
    """
    with Path(path).open("rb") as file:
        head = file.read(_HEAD)
    if picture.format == "PNG":  # IHDR: bit depth, and 3 for a palette
        return None if head[25] == 3 else int(2 ** head[24] - 1)
    if picture.format == "JPEG2000":  # SOC and SIZ: depth - 1, bit 7 where signed
        size = head[head.find(b"\xff\x4f\xff\x51") + 42]
        return int(2 ** ((size & 127) + 1 - (size >> 7)) - 1)
    words = re.sub(rb"#[^\r\n]*", b"", head).split()
    if words[0] in (b"P2", b"P3", b"P5", b"P6"):  # then width, height, greatest value
        return int(words[3])
    return None


@contextmanager
def _plain_name(path: str) -> Iterator[str]:
    """Give a file a name that dask-image takes: no pattern, and a suffix it knows."""
    if path.lower().endswith(_SUFFIXES) and not glob.has_magic(path):
        yield path
        return
    with TemporaryDirectory() as folder:
        link = os.path.join(folder, "plane.png")  # the format is told by the content
        os.symlink(os.path.abspath(path), link)
        yield link
