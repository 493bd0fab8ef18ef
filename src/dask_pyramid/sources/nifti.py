"""NIfTI-1 and 2, plain (mapped) or compressed (through an index of the gzip stream).

Axes come out as c, t, z, y, x: the file's x is the last one, as it lies in the file. A
slope and an intercept are applied. The affine gives a translation if it neither turns
nor mirrors. Pairs of `.hdr` and `.img` are not read.
"""

from __future__ import annotations

import gzip
import math
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import normalise_unit
from dask_pyramid.sources.files import FileReader, MappedArray
from dask_pyramid.sources.opened import Opened, SourceError, single

if TYPE_CHECKING:
    from dask_pyramid.image import Region
    from dask_pyramid.sources.files import StoredArray

__all__ = ["open_nifti", "open_volume"]

_NAMES = "xyztc"
# What nibabel calls the units of nifti1.h.
_UNITS = {"micron": "um", "meter": "m", "msec": "ms", "usec": "us"}

# An index of a gzip stream keeps 32 KiB for each of its points: at most 32 MiB.
_SPACING, _POINTS = 2**22, 2**10
_PIECE = 2**20  # bytes that are decompressed at a time


def open_nifti(path: str, axes: tuple[str, ...] | None) -> Opened:
    """Open a NIfTI file.

    Raises
    ------
    ValueError
        If the file is damaged or truncated, has too many axes, or holds colours.
    """
    image = _load(path)
    kept = _kept(image, path)
    dtype = image.dataobj.dtype
    if dtype.kind == "V":
        raise SourceError(
            f"source must hold plain numbers, got colours ({dtype}) in {path!r}; store "
            "red, green and blue as volumes along the fifth axis"
        )
    _check_length(path, image.dataobj)
    scale, unit = _spacing(image, kept)
    return Opened(
        pixels=FileReader(open_volume, path),
        axes=tuple(reversed(kept)),
        scale=scale,
        translation=_translation(image),
        unit=unit,
    )


def open_volume(path: str, part: str) -> StoredArray:
    """Return the voxels, in the reverse order of the file's axes."""
    image = _load(path)
    found = image.dataobj
    kept = reversed(_kept(image, path))
    shape = tuple(found.shape[_NAMES.index(name)] for name in kept)
    compressed = path.lower().endswith(".gz")
    kind = _CompressedArray if compressed else MappedArray
    stored = kind(path, found.dtype, shape=shape, offset=int(found.offset))
    if (found.slope, found.inter) == (1.0, 0.0):
        return stored
    return _ScaledArray(stored, float(found.slope), float(found.inter))


class _ScaledArray:
    """Another array times a slope, plus an intercept."""

    def __init__(self, stored: StoredArray, slope: float, inter: float) -> None:
        self._stored, self._slope, self._inter = stored, slope, inter
        self.shape = stored.shape
        self.chunks = getattr(stored, "chunks", None)
        # 24 bits hold integers of 8 and 16; nibabel itself always takes 64.
        narrow = 2 if stored.dtype.kind in "iu" else 4
        self.dtype = np.dtype(
            "float32" if stored.dtype.itemsize <= narrow else "float64"
        )

    def __getitem__(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`."""
        block = self._stored[region]
        out = np.empty(block.shape, self.dtype)
        for index in np.ndindex(block.shape[:-2]):  # sums take 64 bits
            plane = np.multiply(block[index], self._slope, dtype="float64")
            out[index] = plane + self._inter
        return out


class _CompressedArray:
    """Voxels of a compressed file; planes are decompressed as a whole."""

    def __init__(
        self, path: str, dtype: Any, *, shape: tuple[int, ...], offset: int
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self.chunks = (*(1,) * (len(shape) - 2), *shape[-2:])
        self._offset = offset
        self._stream = _indexed(path, math.prod(shape) * dtype.itemsize)
        self._lock = threading.Lock()

    def __getitem__(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`."""
        lead, inner = region[:-2], region[-2:]
        out = np.empty([part.stop - part.start for part in region], self.dtype)
        for index in np.ndindex(out.shape[:-2]):
            at = [i + part.start for i, part in zip(index, lead, strict=True)]
            out[index] = self._plane(at)[inner]
        return out

    def _plane(self, index: list[int]) -> np.ndarray[Any, Any]:
        extent = self.shape[-2:]
        size = math.prod(extent) * self.dtype.itemsize
        number = int(np.ravel_multi_index(index, self.shape[:-2])) if index else 0
        with self._lock:
            self._stream.seek(self._offset + number * size)
            data = self._stream.read(size)
        if len(data) < size:
            raise EOFError(f"its voxels end within plane {number}")
        return np.frombuffer(data, self.dtype).reshape(extent)


def _load(path: str) -> Any:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        return nibabel.load(path)
    except ImageFileError as error:
        raise ValueError(str(error)) from error


def _kept(image: Any, path: str) -> tuple[str, ...]:
    """Return the file's axes, without those of time and channel that have extent 1."""
    shape = image.dataobj.shape
    if len(shape) < 2 or any(n > 1 for n in shape[len(_NAMES) :]):
        raise SourceError(
            f"source must have 2 to 5 axes, got {shape} in {path!r}; take a part of it"
        )
    pairs = zip(_NAMES, shape, strict=False)
    return tuple(name for name, n in pairs if name in "xyz" or n > 1)


def _spacing(
    image: Any, kept: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, str | None]]:
    sizes = [abs(single(zoom)) for zoom in image.header.get_zooms()]
    words = image.header.get_xyzt_units()
    scale: dict[str, float] = {}
    unit: dict[str, str | None] = {}
    for name, size in zip(_NAMES, sizes, strict=False):
        if name not in kept or name == "c" or not 0 < size < math.inf:
            continue
        word = words[name == "t"]
        try:
            unit[name] = normalise_unit(_UNITS.get(word, word), name)
        except ValueError:
            if name == "t":
                continue  # hertz, parts per million or radians: not a time
        scale[name] = size
    return scale, unit


def _translation(image: Any) -> dict[str, float]:
    """Return where voxel 0 is, if the file says so and axes keep their directions."""
    header = image.header
    if not (int(header["sform_code"]) or int(header["qform_code"])):
        return {}  # nibabel then puts the origin into the centre
    matrix = image.affine[:3, :3]
    step = np.diagonal(matrix)
    if (np.abs(matrix - np.diag(step)) > 1e-4 * np.abs(step).max()).any():
        return {}
    if (step <= 0).any():
        return {}
    return dict(zip("xyz", map(single, image.affine[:3, 3]), strict=True))


def _indexed(path: str, size: int) -> Any:
    """Return a compressed file that can be read from any position."""
    from indexed_gzip import IndexedGzipFile

    spacing = max(_SPACING, size // _POINTS)
    return IndexedGzipFile(path, spacing=spacing, buffer_size=_PIECE)


def _check_length(path: str, found: Any) -> None:
    """Refuse a file that ends before its last voxel.

    A compressed one is decompressed for it only if its last bytes, the length modulo
    2**32, are not what they should be: then it is truncated, or in several parts.
    """
    end = int(found.offset) + math.prod(found.shape) * found.dtype.itemsize
    size = os.path.getsize(path)
    if path.lower().endswith(".gz"):
        with Path(path).open("rb") as file:
            file.seek(-4, os.SEEK_END)
            if int.from_bytes(file.read(4), "little") == end % 2**32:
                return
        with gzip.open(path) as file:
            size = sum(len(piece) for piece in iter(lambda: file.read(_PIECE), b""))
    if end > size:
        raise ValueError(f"its voxels end at byte {end}, the file at byte {size}")
