"""What kernels hold beside what they read and make; numbers only.

They are upper bounds, held against what NumPy and the fused kernels really take. Those
of CuPy's own functions are from its source: `sort` along an axis that is not the last
works on a copy, beside the number of its row for each value, and has both once more.
"""

from __future__ import annotations

import itertools
import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.kernels import (
    fused,
    fused_filters,
    generic,
    has_compiled,
    pays_to_compile,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dask_pyramid.methods import Reduction

__all__ = ["holds_intermediates", "scratch_bytes"]

# Generic kernels, in values for each voxel: wide ones of filters and resampling (a
# copy, what is padded, a term and two sums; where not all count, weights in place of a
# term), the voxels' own of extrema, and of sorted windows with their counters.
_WIDE = 5
_OWN = 3
_COUNTERS = 6
# Sums, quotients and remainders of 64 bits.
_MEAN = 40
# Which voxels count: the mask, and what it is joined with.
_MASK = 2
# The compiled kernels of which not all count: values and weights as floats, and which.
_COMPILED_MASKED = 18
# Of CuPy: two numbers of rows.
_ROWS = 16


def scratch_bytes(
    dtype: np.dtype[Any] | str,
    reduction: Reduction,
    *,
    compiled: bool = False,
    on_gpu: bool = False,
) -> float:
    """Return what a reduction holds beside a block in C order and its samples.

    Parameters
    ----------
    dtype : numpy.dtype or str
        Data type of the block.
    reduction : Reduction
        The reduction.
    compiled : bool
        Whether blocks on the host go to the compiled kernels.
    on_gpu : bool
        Whether the block is in the memory of a GPU.

    Returns
    -------
    float
        Bytes for each voxel of the block, at most; 0 if nothing is held.

    Examples
    --------
    >>> from dask_pyramid import METHODS
    >>> mean = METHODS["mean"].reduction((2, 2, 2), axes="zyx")
    >>> [scratch_bytes("uint16", mean, on_gpu=gpu) for gpu in (False, True)]
    [40, 0.25]
    """
    dtype = np.dtype(dtype)
    if on_gpu and fused.has_kernel(dtype, reduction):
        return _of_fused(dtype, reduction)
    if compiled and has_compiled(dtype, reduction):
        return 0 if reduction.ignore is None else _COMPILED_MASKED
    mask = 0 if reduction.ignore is None else _MASK
    return mask + _of_generic(dtype, reduction, on_gpu=on_gpu)


def holds_intermediates(
    dtype: np.dtype[Any] | str, reductions: Iterable[Reduction], *, n_voxels: int
) -> bool:
    """Return whether one of the reductions of a job holds something on the host.

    Parameters
    ----------
    dtype : numpy.dtype or str
        Data type of the image.
    reductions : iterable of Reduction
        How its levels are made.
    n_voxels : int
        Voxels of the image, which decide which kernels are taken.
    """
    compiled = pays_to_compile(n_voxels)
    return any(scratch_bytes(dtype, made, compiled=compiled) > 0 for made in reductions)


def _of_fused(dtype: np.dtype[Any], reduction: Reduction) -> float:
    """Count samples whose place is not in one piece, and sums between axes."""
    samples: float = dtype.itemsize / math.prod(reduction.windows)
    filters = reduction.filters
    if not filters or fused_filters.in_one_pass(filters):
        return samples
    real = _itemsize_of_sums(dtype)
    left = itertools.accumulate(
        (step for step in reduction.windows if step > 1), operator.mul
    )
    between: float = sum(real / done for done in left)
    return samples + float(dtype.itemsize) + between


def _of_generic(dtype: np.dtype[Any], reduction: Reduction, *, on_gpu: bool) -> float:
    if reduction.kernel == "sample" and reduction.ignore is not None:
        # Values and weights as floats, each resampled in float64.
        return 2 * _itemsize_of_sums(dtype) + _WIDE * 8
    if reduction.kernel in ("filter", "sample"):
        return _WIDE * _itemsize_of_sums(dtype)
    if reduction.kernel == "mean":
        return _MEAN
    own: int = _OWN * dtype.itemsize
    if reduction.kernel in ("mode", "median"):
        return own + _COUNTERS + on_gpu * (own + _ROWS)
    return own


def _itemsize_of_sums(dtype: np.dtype[Any]) -> int:
    return int(np.dtype(generic.accumulator(dtype, np)).itemsize)
