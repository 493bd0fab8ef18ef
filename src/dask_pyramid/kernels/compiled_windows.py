"""Window kernels in numba, and how they see a volume: one contiguous line.

As in `compiled`, whole rows along x are worked on, and no float sum is reassociated.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["as_integers", "as_line", "from_keys", "keys", "window_volume"]

Array = np.ndarray[Any, Any]

# Below this, window sums of 8- and 16-bit integers are exact in float32, and dividing
# them by the count cannot move a value onto a tie: sums stay below 2**24, and the
# distance to a tie, 1 / (2 * 255), is more than half a unit of float32 at 2**16.
_FLOAT32_WINDOW = 256
# Windows that are sorted side by side: with their values they stay in the cache.
_WINDOWS = 256


def as_line(volume: Array) -> tuple[Array, int, int]:
    """Return a volume as one contiguous line, with its z and y strides in elements.

    Numba vectorises over a contiguous array. A view into a larger block is none, but
    the memory from its first to its last voxel is. It is read-only, as some blocks are:
    kernels are compiled once for both.
    """
    plane, row = (stride // volume.itemsize for stride in volume.strides[:2])
    nz, ny, nx = volume.shape
    length = (nz - 1) * plane + (ny - 1) * row + nx
    line = as_strided(volume, (length,), (volume.itemsize,), writeable=False)
    return line, plane, row


def as_integers(flat: Array, out: Array) -> tuple[Array, Array, tuple[Any, ...]]:
    """Return what is sorted as integers of its size, with what `keys` must know.

    Integers stay what they are. The bits of a float without its sign are in the order
    of its size, so that floats are sorted as fast.
    """
    if flat.dtype.kind != "f":
        return flat, out, (False, flat.dtype.type(0), flat.dtype.type(0))
    integers = np.dtype(f"i{flat.dtype.itemsize}")
    infinity, nan = np.array([np.inf, np.nan], flat.dtype).view(integers)
    return flat.view(integers), out.view(integers), (True, infinity, nan)


def window_volume(volume: Array, out: Array, kernel: str, steps: Sequence[int]) -> None:
    """Reduce the windows of a volume."""
    flat, plane, row = as_line(volume)
    nx = volume.shape[2]
    count = math.prod(steps)
    strides = (plane, row)
    steps3 = tuple(steps)
    if kernel == "mean":
        single = volume.dtype.kind != "f" and volume.itemsize <= 2
        small = single and count < _FLOAT32_WINDOW
        line = np.empty(nx, np.float32 if small else np.float64)
        integral = volume.dtype.kind != "f"
        _mean_kernel(flat, strides, volume.shape, out, steps3, line, integral)
    elif kernel in ("min", "max"):
        line = np.empty(nx, volume.dtype)
        _extremum_kernel(
            flat, strides, volume.shape, out, steps3, line, kernel == "min"
        )
    else:
        flat, out, floats = as_integers(flat, out)
        windows = np.empty((count, min(out.shape[2], _WINDOWS)), flat.dtype)
        scratch = (
            np.empty((2, windows.shape[1]), np.int32),
            np.empty(windows.shape[1], np.bool_),
            np.empty(windows.shape[1], np.int64),
            np.empty(windows.shape[1], flat.dtype),
        )
        given = flat, strides, volume.shape, out, steps3
        _rank_kernel(*given, windows, scratch, floats, kernel == "mode")


@njit(nogil=True, cache=True)
def _mean_kernel(flat, strides, shape, out, steps, line, integral):  # type: ignore[no-untyped-def]
    """Average windows; float sums are exact for the integers that come here."""
    plane, row = strides
    nz, ny, nx = shape
    fz, fy, fx = steps
    real = line.dtype.type
    whole = nx // fx
    rest = nx - whole * fx
    for z in range(out.shape[0]):
        wz = min(fz, nz - z * fz)
        for y in range(out.shape[1]):
            wy = min(fy, ny - y * fy)
            start = z * fz * plane + y * fy * row
            # Row by row: all four of a 2x2 window in one loop took 1.6 times as long.
            source = flat[start : start + nx]
            for i in range(nx):
                line[i] = real(source[i])
            for k in range(1, wz * wy):
                offset = start + (k // wy) * plane + (k % wy) * row
                source = flat[offset : offset + nx]
                for i in range(nx):
                    line[i] += real(source[i])
            count = line.dtype.type(wz * wy * fx)
            if fx == 2:
                pairs = line[: 2 * whole].reshape(whole, 2)
                target = out[z, y]
                if integral:
                    for x in range(whole):
                        target[x] = np.rint((pairs[x, 0] + pairs[x, 1]) / count)
                else:
                    for x in range(whole):
                        target[x] = (pairs[x, 0] + pairs[x, 1]) / count
            else:
                for x in range(whole):
                    total = line[fx * x]
                    for k in range(1, fx):
                        total += line[fx * x + k]
                    value = total / count
                    out[z, y, x] = np.rint(value) if integral else value
            if rest:
                total = line[fx * whole]
                for i in range(fx * whole + 1, nx):
                    total += line[i]
                value = total / line.dtype.type(wz * wy * rest)
                out[z, y, whole] = np.rint(value) if integral else value


@njit(nogil=True, cache=True)
def _extremum_kernel(flat, strides, shape, out, steps, line, smallest):  # type: ignore[no-untyped-def]
    """Keep the extremum of each window; a NaN, once met, stays."""
    plane, row = strides
    nz, ny, nx = shape
    fz, fy, fx = steps
    for z in range(out.shape[0]):
        wz = min(fz, nz - z * fz)
        for y in range(out.shape[1]):
            wy = min(fy, ny - y * fy)
            start = z * fz * plane + y * fy * row
            for i in range(nx):
                line[i] = flat[start + i]
            for k in range(1, wz * wy):
                offset = start + (k // wy) * plane + (k % wy) * row
                source = flat[offset : offset + nx]
                if smallest:
                    for i in range(nx):
                        v = source[i]
                        line[i] = v if (v < line[i]) | (v != v) else line[i]
                else:
                    for i in range(nx):
                        v = source[i]
                        line[i] = v if (v > line[i]) | (v != v) else line[i]
            paired = 0
            if fx == 2:  # which the loop below does one by one
                paired = nx // 2
                pairs = line[: 2 * paired].reshape(paired, 2)
                target = out[z, y]
                if smallest:
                    for x in range(paired):
                        u, v = pairs[x, 0], pairs[x, 1]
                        target[x] = v if (v < u) | (v != v) else u
                else:
                    for x in range(paired):
                        u, v = pairs[x, 0], pairs[x, 1]
                        target[x] = v if (v > u) | (v != v) else u
            for x in range(paired, out.shape[2]):
                best = line[fx * x]
                for i in range(fx * x + 1, min(fx * x + fx, nx)):
                    v = line[i]
                    if smallest:
                        best = v if (v < best) | (v != v) else best
                    else:
                        best = v if (v > best) | (v != v) else best
                out[z, y, x] = best


@njit(nogil=True, cache=True)
def keys(values, floats):  # type: ignore[no-untyped-def]
    """Turn the bits of floats into integers of their order; -0 is 0, NaN the largest.

    Sign and magnitude become two's complement.
    """
    _, infinity, _ = floats
    last = np.iinfo(values.dtype).max
    for j in range(values.shape[0]):
        bits = values[j]
        size = bits & last
        key = size if bits >= 0 else -size
        values[j] = last if size > infinity else key


@njit(nogil=True, cache=True)
def from_keys(values, floats):  # type: ignore[no-untyped-def]
    """Turn them back."""
    _, _, nan = floats
    info = np.iinfo(values.dtype)
    for j in range(values.shape[0]):
        key = values[j]
        bits = key if key >= 0 else -key | info.min
        values[j] = nan if key == info.max else bits


@njit(nogil=True, cache=True)
def _rank_kernel(flat, strides, shape, out, steps, windows, scratch, floats, want_mode):  # type: ignore[no-untyped-def]
    """Gather windows side by side, then take the mode or the lower median of each."""
    plane, row = strides
    nz, ny, nx = shape
    fz, fy, fx = steps
    whole = nx // fx
    for z in range(out.shape[0]):
        wz = min(fz, nz - z * fz)
        for y in range(out.shape[1]):
            wy = min(fy, ny - y * fy)
            start = z * fz * plane + y * fy * row
            for first in range(0, out.shape[2], windows.shape[1]):
                # The window at the end may be cut: it is sorted by itself.
                for x, stop, wx in (
                    (first, min(first + windows.shape[1], whole), fx),
                    (max(first, whole), first + windows.shape[1], nx - whole * fx),
                ):
                    n = min(stop, out.shape[2]) - x
                    if n <= 0 or wx == 0:
                        continue
                    count = wz * wy * wx
                    for k in range(wz * wy):
                        offset = start + (k // wy) * plane + (k % wy) * row + x * fx
                        if wx == 2:
                            pairs = flat[offset : offset + 2 * n].reshape(n, 2)
                            left, right = windows[2 * k], windows[2 * k + 1]
                            for j in range(n):
                                left[j] = pairs[j, 0]
                                right[j] = pairs[j, 1]
                            continue
                        for i in range(wx):
                            values = windows[k * wx + i]
                            for j in range(n):
                                values[j] = flat[offset + i + j * fx]
                    target = out[z, y, x : x + n]
                    if floats[0]:
                        for k in range(count):
                            keys(windows[k, :n], floats)
                    if want_mode:
                        _take_mode(windows, scratch, count, target)
                    else:
                        _sort(windows, count, n)
                        _take_median(windows, count, target, floats[0])
                    if floats[0]:
                        from_keys(target, floats)


@njit(nogil=True, cache=True)
def _take_median(windows, count, target, nan_counts):  # type: ignore[no-untyped-def]
    """Take the lower median of sorted columns, or the NaN that one has at its end."""
    median, largest = windows[(count - 1) // 2], windows[count - 1]
    nan = np.iinfo(target.dtype).max
    for j in range(target.shape[0]):
        is_nan = nan_counts & (largest[j] == nan)
        target[j] = nan if is_nan else median[j]


@njit(nogil=True, cache=True)
def _take_mode(windows, scratch, count, target):  # type: ignore[no-untyped-def]
    """Take the mode of columns; only those that have two values are sorted.

    Most windows of labels have one value, and sorting is what takes long.
    """
    runs, mixed, places, found = scratch
    n = target.shape[0]
    first = windows[0]
    for j in range(n):
        target[j] = first[j]
        mixed[j] = False
    for k in range(1, count):
        values = windows[k]
        for j in range(n):
            mixed[j] |= values[j] != first[j]
    m = 0
    for j in range(n):
        places[m] = j
        m += mixed[j]
    if m == 0:
        return
    if m < n:  # those with two values move to the front
        for k in range(count):
            values = windows[k]
            for i in range(m):
                values[i] = values[places[i]]
    _sort(windows, count, m)
    _longest_runs(windows, runs, count, found[:m])
    for i in range(m):
        target[places[i]] = found[i]


@njit(nogil=True, cache=True)
def _sort(windows, count, n):  # type: ignore[no-untyped-def]
    """Sort the first values of each of `n` columns: merge exchange (Knuth, 5.2.2 M).

    Which values are compared does not depend on them, so that the columns are sorted
    side by side by vector instructions.
    """
    top = 1
    while top < count:
        top *= 2
    p = top // 2
    while p > 0:
        q = top // 2
        r = 0
        d = p
        while True:
            for i in range(count - d):
                if i & p == r:
                    low, high = windows[i], windows[i + d]
                    for j in range(n):
                        a, b = low[j], high[j]
                        low[j] = min(a, b)
                        high[j] = max(a, b)
            if q == p:
                break
            d = q - p
            q //= 2
            r = p
        p //= 2


@njit(nogil=True, cache=True)
def _longest_runs(windows, runs, count, target):  # type: ignore[no-untyped-def]
    """Take the value of the longest run of equals, the first of equal runs."""
    run, longest = runs
    n = target.shape[0]
    for j in range(n):
        target[j] = windows[0, j]
        run[j] = 1
        longest[j] = 1
    for k in range(1, count):
        before, values = windows[k - 1], windows[k]
        for j in range(n):
            length = run[j] + 1 if values[j] == before[j] else 1
            run[j] = length
            better = length > longest[j]
            longest[j] = length if better else longest[j]
            target[j] = values[j] if better else target[j]
