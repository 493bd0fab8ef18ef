"""What can be recomputed of a masked level without its mask, which is not stored.

What is not the fill value is under the mask. A voxel that is made of such voxels alone,
or of none of them, is the same whatever the mask is; one that is made of both kinds may
have been made of zeros, too, that were under the mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.geometry import needed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.geometry import Factor, Reach
    from dask_pyramid.image import Region

__all__ = ["guessed_mask", "mixed"]


def guessed_mask(block: Any, fill: float) -> Any:
    """Return which voxels are under the mask for certain: all that are not fill."""
    if fill != fill:
        return block == block
    return block != np.asarray(fill, block.dtype)


def mixed(
    mask: Any,
    region: Region,
    *,
    steps: Sequence[Factor],
    reaches: Sequence[Reach],
    shape: Sequence[int],
) -> Any:
    """Return which samples of `region` are made of voxels of both kinds.

    Parameters
    ----------
    mask : numpy.ndarray of bool
        Of the voxels that the samples need of the level below.
    region : tuple of slice
        The samples.
    steps, reaches : sequence of int or Fraction, of Reach
        How they are made.
    shape : sequence of int
        Extent of the level below.
    """
    count = mask.astype(np.int64)
    total: Any = 1
    for axis, (part, step, reach, n) in enumerate(
        zip(region, steps, reaches, shape, strict=True)
    ):
        needs = [
            needed(j, j + 1, step=step, reach=reach, size=n)
            for j in range(part.start, part.stop)
        ]
        starts = np.asarray([need.start for need in needs])
        stops = np.asarray([need.stop for need in needs])
        sums = np.insert(np.cumsum(count, axis=axis), 0, 0, axis=axis)
        origin = starts[0]
        count = sums.take(stops - origin, axis) - sums.take(starts - origin, axis)
        along = [1] * count.ndim
        along[axis] = -1
        total = total * (stops - starts).reshape(along)
    return (count > 0) & (count < total)
