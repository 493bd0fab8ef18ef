"""What can be recomputed of a masked level without its mask, which is not stored.

What is not the fill value is under the mask. A voxel that is made of such voxels alone,
or of none of them, is the same whatever the mask is; one that is made of both kinds may
have been made of zeros, too, that were under the mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.geometry import Reach
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
    steps: Sequence[int],
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
    steps, reaches : sequence of int, of Reach
        How they are made.
    shape : sequence of int
        Extent of the level below.
    """
    count = mask.astype(np.int64)
    total: Any = 1
    for axis, (part, step, reach, n) in enumerate(
        zip(region, steps, reaches, shape, strict=True)
    ):
        samples = np.arange(part.start, part.stop)
        starts = np.maximum(samples * step - reach.before, 0)
        stops = np.minimum((samples + 1) * step + reach.after, n)
        sums = np.insert(np.cumsum(count, axis=axis), 0, 0, axis=axis)
        origin = max(0, part.start * step - reach.before)
        count = sums.take(stops - origin, axis) - sums.take(starts - origin, axis)
        along = [1] * count.ndim
        along[axis] = -1
        total = total * (stops - starts).reshape(along)
    return (count > 0) & (count < total)
