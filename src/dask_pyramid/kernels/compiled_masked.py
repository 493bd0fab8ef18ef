"""Reductions over the voxels that count, in numba; same results as `masked`.

What the plain kernels can do is left to them: filters run twice, over the values and
over the weights, and extrema over values that cannot win where nothing counts. Means,
ranks and the first voxel of a window have loops of their own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from dask_pyramid.kernels.compiled import (
    filter_volume,
    in_three,
    volumes,
    working_dtype,
)
from dask_pyramid.kernels.compiled_windows import (
    as_integers,
    as_line,
    from_keys,
    keys,
    window_volume,
)
from dask_pyramid.kernels.masked import counting, own_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.filters import AxisFilter
    from dask_pyramid.geometry import Span
    from dask_pyramid.methods import Reduction

__all__ = ["reduce_block"]

Array = np.ndarray[Any, Any]


def reduce_block(
    block: Array,
    reduction: Reduction,
    spans: Sequence[Span],
    *,
    out: Array,
    mask: Array | None = None,
) -> None:
    """Reduce one block into `out`; see `dask_pyramid.kernels.reduce_block`."""
    assert reduction.ignore is not None  # or all voxels would count
    valid = np.ascontiguousarray(counting(block, reduction.ignore, mask))
    if not valid.any():
        out[...] = reduction.ignore.fill
        return
    filters, steps, spans3 = in_three(reduction, spans)
    own = own_windows(reduction, spans)
    fill = np.asarray(reduction.ignore.fill, block.dtype)[()]
    for volume, counts, windows, target in zip(
        volumes(block),
        volumes(valid.view(np.uint8)),
        volumes(valid[own].view(np.uint8)),
        volumes(out),
        strict=True,
    ):
        found = np.empty(target.shape, np.uint8)
        window_volume(windows, found, "max", steps)
        if reduction.kernel == "filter":
            _filter(volume, counts, target, filters=filters, spans=spans3, found=found)
        else:
            _window(volume, counts, target, kernel=reduction.kernel, steps=steps)
        target[found == 0] = fill


def _filter(
    volume: Array,
    counts: Array,
    out: Array,
    *,
    filters: Sequence[AxisFilter],
    spans: Sequence[Span],
    found: Array,
) -> None:
    """Divide the sum of weighted values by that of the weights of what counts."""
    dtype = working_dtype(volume.dtype)
    # As floats, so that one compiled loop serves values and weights of most types.
    kept = np.zeros(volume.shape, dtype)
    np.copyto(kept, volume, where=counts.view(np.bool_))
    total, weight = np.empty(out.shape, dtype), np.empty(out.shape, dtype)
    filter_volume(kept, total, filters, spans, dtype=dtype)
    filter_volume(counts.astype(dtype), weight, filters, spans, dtype=dtype)
    weight[found == 0] = 1
    total /= weight
    if out.dtype.kind == "f":
        out[...] = total
    else:
        info = np.iinfo(out.dtype)
        np.rint(total, out=total)
        out[...] = np.clip(total, float(info.min), float(info.max))


def _window(
    volume: Array, counts: Array, out: Array, *, kernel: str, steps: Sequence[int]
) -> None:
    if kernel in ("min", "max"):
        kept = np.where(counts, volume, _worst(volume.dtype, kernel))
        window_volume(kept, out, kernel, steps)
        return
    flat, plane, row = as_line(volume)
    if kernel in ("median", "mode"):
        flat, out, floats = as_integers(flat, out)
    given = flat, (plane, row), volume.shape, counts, out, tuple(steps)
    if kernel == "mean":
        nx = volume.shape[2]
        line, number = np.empty(nx, np.float64), np.empty(nx, np.int32)
        _mean_kernel(*given, line, number, volume.dtype.kind != "f")
    elif kernel == "first":
        _first_kernel(*given)
    else:
        values = np.empty(math.prod(steps), flat.dtype)
        _rank_kernel(*given, values, floats, kernel == "mode")


def _worst(dtype: np.dtype[Any], kernel: str) -> Any:
    """Return a value that no other loses against."""
    if dtype.kind == "f":
        return dtype.type(np.inf if kernel == "min" else -np.inf)
    info = np.iinfo(dtype)
    return dtype.type(info.max if kernel == "min" else info.min)


@njit(nogil=True, cache=True)
def _mean_kernel(flat, strides, shape, counts, out, steps, line, number, integral):  # type: ignore[no-untyped-def]
    """Average what counts; float sums are exact for the integers that come here."""
    plane, row = strides
    nz, ny, nx = shape
    fz, fy, fx = steps
    for z in range(out.shape[0]):
        wz = min(fz, nz - z * fz)
        for y in range(out.shape[1]):
            wy = min(fy, ny - y * fy)
            for k in range(wz * wy):
                iz, iy = z * fz + k // wy, y * fy + k % wy
                offset = iz * plane + iy * row
                source, counted = flat[offset : offset + nx], counts[iz, iy]
                if k == 0:
                    for i in range(nx):
                        line[i] = source[i] if counted[i] else 0.0
                        number[i] = counted[i]
                else:
                    for i in range(nx):
                        line[i] += source[i] if counted[i] else 0.0
                        number[i] += counted[i]
            for x in range(out.shape[2]):
                total, n = line[fx * x], number[fx * x]
                for i in range(fx * x + 1, min(fx * x + fx, nx)):
                    total += line[i]
                    n += number[i]
                value = total / max(n, 1)
                out[z, y, x] = np.rint(value) if integral else value


@njit(nogil=True, cache=True)
def _first_kernel(flat, strides, shape, counts, out, steps):  # type: ignore[no-untyped-def]
    """Take the first voxel of each window that counts."""
    plane, row = strides
    nz, ny, nx = shape
    fz, fy, fx = steps
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                found = False
                for iz in range(z * fz, min(z * fz + fz, nz)):
                    for iy in range(y * fy, min(y * fy + fy, ny)):
                        for ix in range(x * fx, min(x * fx + fx, nx)):
                            if counts[iz, iy, ix] and not found:
                                out[z, y, x] = flat[iz * plane + iy * row + ix]
                                found = True
                        if found:
                            break
                    if found:
                        break


@njit(nogil=True, cache=True)
def _rank_kernel(flat, strides, shape, counts, out, steps, values, floats, want_mode):  # type: ignore[no-untyped-def]
    """Take the mode or the lower median of what counts in each window."""
    nan = np.iinfo(values.dtype).max
    plane, row = strides
    nz, ny, nx = shape
    fz, fy, fx = steps
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                n = 0
                for iz in range(z * fz, min(z * fz + fz, nz)):
                    for iy in range(y * fy, min(y * fy + fy, ny)):
                        start = iz * plane + iy * row
                        for ix in range(x * fx, min(x * fx + fx, nx)):
                            if counts[iz, iy, ix]:
                                values[n] = flat[start + ix]
                                n += 1
                if n == 0:
                    continue
                if floats[0]:
                    keys(values[:n], floats)
                _sort(values, n)
                if want_mode:
                    values[0] = _longest_run(values, n)
                elif not floats[0] or values[n - 1] != nan:
                    values[0] = values[(n - 1) // 2]
                else:
                    values[0] = nan
                if floats[0]:
                    from_keys(values[:1], floats)
                out[z, y, x] = values[0]


@njit(nogil=True, cache=True)
def _sort(values, n):  # type: ignore[no-untyped-def]
    """Sort the first `n` values by Shell's method, gaps 3h + 1."""
    gap = 1
    while 3 * gap + 1 < n:
        gap = 3 * gap + 1
    while gap:
        for i in range(gap, n):
            value = values[i]
            j = i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value
        gap //= 3


@njit(nogil=True, cache=True)
def _longest_run(values, n):  # type: ignore[no-untyped-def]
    """Return the value of the longest run of equals, the first of equal runs."""
    best, longest, run = values[0], 1, 1
    for i in range(1, n):
        run = run + 1 if values[i] == values[i - 1] else 1
        if run > longest:
            best, longest = values[i], run
    return best
