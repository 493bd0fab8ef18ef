"""Resampling kernels in the array API: NumPy, CuPy, array-api-strict.

One pass for each axis that is resampled, in the order of `sampling.pass_order`. A
sample is summed tap after tap, so that the compiled kernels can do the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import namespace
from dask_pyramid.kernels.generic import accumulator, from_accumulator
from dask_pyramid.sampling import Sampling, pass_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.geometry import Span

__all__ = ["gather", "resample_block", "tap_table", "weigh"]

Array = np.ndarray[Any, Any]


def resample_block(
    block: Any, samplings: Sequence[Sampling], spans: Sequence[Span]
) -> Any:
    """Resample one block; see `dask_pyramid.kernels.resample_block`."""
    xp = namespace(block)
    axes = pass_order(tuple(samplings))
    if all(samplings[axis].gather for axis in axes):
        for axis in axes:
            block = gather(block, samplings[axis], spans[axis], axis=axis)
        return block if axes else xp.asarray(block, copy=True)
    values = xp.astype(block, accumulator(block.dtype, xp))
    for axis in axes:
        values = weigh(values, samplings[axis], spans[axis], axis=axis)
    return from_accumulator(values, block.dtype, xp=xp)


def tap_table(sampling: Sampling, span: Span) -> tuple[Array, Array]:
    """Return where the taps of each sample lie in the block, and their weights."""
    index, weights = sampling.taps(span.first, span.stop)
    return index - sampling.needed(span.first, span.stop).start, weights


def gather(block: Any, sampling: Sampling, span: Span, *, axis: int) -> Any:
    """Take one voxel for each sample, without arithmetic: ids of 64 bits stay ids."""
    xp = namespace(block)
    index, _ = tap_table(sampling, span)
    return xp.take(block, xp.asarray(index[:, 0], device=block.device), axis=axis)


def weigh(values: Any, sampling: Sampling, span: Span, *, axis: int) -> Any:
    """Return weighted sums along one axis, in the float type of `values`."""
    xp = namespace(values)
    index, weights = tap_table(sampling, span)
    shape = [1] * values.ndim
    shape[axis] = -1
    total = None
    for tap in range(index.shape[1]):
        at = xp.asarray(index[:, tap], device=values.device)
        weight = xp.asarray(weights[:, tap], dtype=values.dtype, device=values.device)
        term = xp.take(values, at, axis=axis) * xp.reshape(weight, tuple(shape))
        total = term if total is None else total + term
    return total
