"""Resampling kernels in numba for host blocks; the bits of `interpolation`.

Each pass sees a block as (outer, axis, inner) and weighs whole rows of `inner`, which
vectorises. For the last axis a few rows at a time are turned, so that there is an inner
axis, too. No reassociation of float sums is allowed (no ``fastmath``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from dask_pyramid.kernels.interpolation import tap_table

if TYPE_CHECKING:
    from dask_pyramid.geometry import Span
    from dask_pyramid.sampling import Sampling

__all__ = ["resample_axis"]

Array = np.ndarray[Any, Any]

# Rows that are turned at a time: one or two cache lines of float32.
_LANES = 32
# Part of a row that is weighed at a time: its sum and its voxels stay in the cache.
_PART = 4096


def resample_axis(
    values: Array,
    sampling: Sampling,
    span: Span,
    *,
    axis: int,
    real: np.dtype[Any],
    out: Array,
) -> None:
    """Resample one axis into `out`; see `dask_pyramid.kernels.resample_axis`."""
    index, weights = tap_table(sampling, span)
    weights = weights.astype(real)
    if not out.flags.c_contiguous:
        target = np.empty(out.shape, out.dtype)
        _pass(values, target, index, weights, axis=axis)
        out[...] = target
    else:
        _pass(values, out, index, weights, axis=axis)


def _pass(
    values: Array, out: Array, index: Array, weights: Array, *, axis: int
) -> None:
    """Resample one axis; sums become voxels where `out` holds integers."""
    inner = math.prod(values.shape[axis + 1 :])
    source = np.ascontiguousarray(values).reshape(-1, values.shape[axis], inner)
    target = out.reshape(-1, out.shape[axis], inner)
    integral = out.dtype.kind in "iu"
    low, high = (
        (np.iinfo(out.dtype).min, np.iinfo(out.dtype).max) if integral else (0, 0)
    )
    limits = (weights.dtype.type(low), weights.dtype.type(high))
    if inner > 1:
        total = np.empty(min(inner, _PART), weights.dtype)
        _weigh_rows(source, target, index, weights, total, limits, integral)
    else:
        shape = (source.shape[1], _LANES)
        work = np.empty(shape, weights.dtype), np.empty(_LANES, weights.dtype)
        _weigh_lanes(
            source[:, :, 0], target[:, :, 0], index, weights, work, limits, integral
        )


@njit(nogil=True, cache=True)
def _weigh_rows(source, target, index, weights, total, limits, integral):  # type: ignore[no-untyped-def]
    """Sum weighted rows, tap after tap."""
    real = total.dtype.type
    low, high = limits
    inner = source.shape[2]
    for o in range(source.shape[0]):
        for j in range(index.shape[0]):
            for start in range(0, inner, total.size):
                n = min(total.size, inner - start)
                w = weights[j, 0]
                a = source[o, index[j, 0], start : start + n]
                for i in range(n):
                    total[i] = w * real(a[i])
                tap = 1
                while tap + 2 <= index.shape[1]:
                    w, v = weights[j, tap], weights[j, tap + 1]
                    a = source[o, index[j, tap], start : start + n]
                    b = source[o, index[j, tap + 1], start : start + n]
                    for i in range(n):
                        total[i] = total[i] + w * real(a[i]) + v * real(b[i])
                    tap += 2
                if tap < index.shape[1]:
                    w = weights[j, tap]
                    a = source[o, index[j, tap], start : start + n]
                    for i in range(n):
                        total[i] = total[i] + w * real(a[i])
                row = target[o, j, start : start + n]
                if integral:
                    for i in range(n):
                        row[i] = min(max(np.rint(total[i]), low), high)
                else:
                    for i in range(n):
                        row[i] = total[i]


@njit(nogil=True, cache=True)
def _weigh_lanes(source, target, index, weights, work, limits, integral):  # type: ignore[no-untyped-def]
    """Sum weighted columns of a few rows that lie turned side by side."""
    turned, total = work
    real = total.dtype.type
    low, high = limits
    lanes = total.size
    for first in range(0, source.shape[0], lanes):
        n = min(lanes, source.shape[0] - first)
        for k in range(n):
            row = source[first + k]
            for i in range(row.size):
                turned[i, k] = real(row[i])
        for j in range(index.shape[0]):
            w = weights[j, 0]
            a = turned[index[j, 0]]
            for k in range(lanes):
                total[k] = w * a[k]
            for tap in range(1, index.shape[1]):
                w = weights[j, tap]
                a = turned[index[j, tap]]
                for k in range(lanes):
                    total[k] = total[k] + w * a[k]
            if integral:
                for k in range(n):
                    target[first + k, j] = min(max(np.rint(total[k]), low), high)
            else:
                for k in range(n):
                    target[first + k, j] = total[k]
