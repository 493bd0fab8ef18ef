"""NIfTI-1 and 2, plain (mapped) or compressed (through an index of the gzip stream).

Axes come out as c, t, z, y, x: the file's x is the last one, as it lies in the file. A
slope and an intercept are applied. The affine gives a translation if it neither turns
nor mirrors. Pairs of `.hdr` and `.img` are not read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import normalise_unit
from dask_pyramid.sources.files import FileReader
from dask_pyramid.sources.gzipped import check_length, open_voxels
from dask_pyramid.sources.opened import Opened, SourceError, single

if TYPE_CHECKING:
    from dask_pyramid.image import Region
    from dask_pyramid.sources.files import StoredArray

__all__ = ["open_nifti", "open_volume"]

_NAMES = "xyztc"
# What nibabel calls the units of nifti1.h.
_UNITS = {"micron": "um", "meter": "m", "msec": "ms", "usec": "us"}


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
    found = image.dataobj
    check_length(path, found.dtype, shape=found.shape, offset=int(found.offset))
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
    stored = open_voxels(path, found.dtype, shape=shape, offset=int(found.offset))
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
