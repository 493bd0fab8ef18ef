"""MRC and CCP4 maps, plain (mapped into memory) or compressed by gzip, as EMDB's are.

Axes are named as the header orders them. The voxel size is in angstrom; the place comes
from `origin`, or, where that is zero, from the start of the map in its unit cell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dask_pyramid.sources.files import FileReader
from dask_pyramid.sources.gzipped import check_length, open_voxels
from dask_pyramid.sources.opened import Opened, SourceError, single

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.sources.files import StoredArray

__all__ = ["open_map", "open_mrc"]

# MRC2014, words 1 to 3: the sizes of the file stand in the first 1024 bytes.
_HEADER = 1024


def open_mrc(path: str, axes: tuple[str, ...] | None) -> Opened:
    """Open an MRC file.

    Raises
    ------
    ValueError
        If the file is damaged or truncated, or packs voxels into less than a byte.
    """
    import mrcfile

    with mrcfile.open(path, header_only=True) as file:
        header = file.header
        mode = int(header.mode)
        voxel = {a: single(file.voxel_size[a]) for a in "xyz"}
        start = [int(header[name]) for name in ("nzstart", "nystart", "nxstart")]
        origin = {a: single(header.origin[a]) for a in "xyz"}
        order = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if mode == 101:
        raise SourceError(
            f"source must have voxels of whole bytes, got mode 101 in {path!r}; unpack "
            "it first, with newstack -mode 0 of IMOD"
        )
    reader = FileReader(open_map, path)
    # Words 17 to 19: which of x, y, z are the columns, rows and sections.
    known = sorted(order) == [1, 2, 3]
    space = tuple("xyz"[i - 1] for i in order) if known else ("z", "y", "x")
    ndim = len(reader.shape)
    scale = {a: n for a, n in voxel.items() if 0 < n < math.inf}
    return Opened(
        pixels=reader,
        axes=("t", *space) if ndim == 4 else space[3 - ndim :],
        scale=scale,
        # Words 5 to 7: the first section, row and column, in the order of the file.
        translation=_place(scale, origin, dict(zip(space, start, strict=True))),
        unit=dict.fromkeys(scale, "angstrom"),
    )


def open_map(path: str, part: str) -> StoredArray:
    """Return the voxels of a file."""
    import mrcfile
    from mrcfile.utils import data_dtype_from_header, data_shape_from_header

    with mrcfile.open(path, header_only=True) as file:
        dtype = data_dtype_from_header(file.header)
        shape = data_shape_from_header(file.header)
        offset = _HEADER + int(file.header.nsymbt)
    check_length(path, dtype, shape=shape, offset=offset)
    return open_voxels(path, dtype, shape=shape, offset=offset)


def _place(
    scale: Mapping[str, float], origin: Mapping[str, float], start: Mapping[str, int]
) -> Mapping[str, float]:
    if any(origin.values()):
        return origin
    return {axis: single(start[axis] * size) for axis, size in scale.items()}
