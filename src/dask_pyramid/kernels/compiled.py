"""Reduction kernels in numba for host blocks; same results as `generic`, bit for bit.

Blocks are seen as (outer, z, y, x) with step 1 on the outer axes. Every kernel works on
whole rows along x, so that the inner loops are contiguous and vectorise, and keeps its
intermediates small enough for the cache. No reassociation of float sums is allowed (no
``fastmath``): each sample is summed in the order that `generic` uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view

from dask_pyramid.filters import AxisFilter
from dask_pyramid.geometry import Span
from dask_pyramid.kernels.compiled_windows import as_line, window_volume
from dask_pyramid.kernels.generic import mirrored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.methods import Reduction

__all__ = [
    "filter_volume",
    "in_three",
    "reduce_block",
    "volumes",
    "working_dtype",
]

Array = np.ndarray[Any, Any]

# Input planes under one tile of rows: they are read from memory once, then from cache.
_TILE_BYTES = 2**19
_IDENTITY = AxisFilter(step=1, gauss=(1.0,), box=True)


def reduce_block(
    block: Array, reduction: Reduction, spans: Sequence[Span], *, out: Array
) -> None:
    """Reduce one block into `out`; see `dask_pyramid.kernels.reduce_block`."""
    filters, steps, spans3 = in_three(reduction, spans)
    for volume, target in zip(volumes(block), volumes(out), strict=True):
        if reduction.kernel == "filter":
            dtype = working_dtype(volume.dtype)
            filter_volume(volume, target, filters, spans3, dtype=dtype)
        else:
            window_volume(volume, target, reduction.kernel, steps)


def in_three(
    reduction: Reduction, spans: Sequence[Span]
) -> tuple[tuple[AxisFilter, ...], tuple[int, ...], tuple[Span, ...]]:
    """Return filters, steps and spans of the last three axes."""
    missing = max(0, 3 - len(spans))
    unit = Span(first=0, stop=1, size=1)
    return (
        (_IDENTITY,) * missing + reduction.filters[-3:],
        (1,) * missing + reduction.windows[-3:],
        (unit,) * missing + tuple(spans)[-3:],
    )


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of the sums of filters, as `generic` has it."""
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)


def volumes(block: Array) -> list[Array]:
    """Return (z, y, x) views of a block, rows contiguous."""
    # `as_line` counts elements from the first voxel on: no stride may lead before it,
    # or into the middle of an element.
    ahead = all(s >= 0 and s % block.itemsize == 0 for s in block.strides)
    if block.strides[-1] != block.itemsize or not ahead:
        block = np.ascontiguousarray(block)
    if block.ndim < 3:
        block = block[None]
    return [block[index] for index in np.ndindex(*block.shape[:-3])]


def filter_volume(
    volume: Array,
    out: Array,
    filters: Sequence[AxisFilter],
    spans: Sequence[Span],
    *,
    dtype: np.dtype[Any],
) -> None:
    """Filter a volume with sums of `dtype`, rounded if `out` is of integers."""
    z, y, x = (
        _tap_table(filt, span, dtype) for filt, span in zip(filters, spans, strict=True)
    )
    flat, plane, row = as_line(volume)
    nx = volume.shape[2]
    step = filters[2].step
    rows = int((y[0].max(axis=1) - y[0].min(axis=1)).max()) + 1
    bytes_per_sample = nx * volume.itemsize * z[0].shape[1] * filters[1].step
    _filter_kernel(
        flat,
        (plane, row),
        out,
        (z, y, x),
        (
            np.empty(rows * nx, dtype),
            np.empty(nx, dtype),
            np.empty(step * (nx // step + 1), dtype),
            np.empty(out.shape[2], dtype),
        ),
        (
            step,
            *_regular(filters[2], spans[2]),
            max(16, _TILE_BYTES // bytes_per_sample),
        ),
        out.dtype.kind != "f",
    )


def _tap_table(
    filt: AxisFilter, span: Span, dtype: np.dtype[Any]
) -> tuple[Array, Array, Array]:
    """Return, for each sample, where its taps lie in the block, their weights, number.

    The last window may be cut by the border; its row is padded with weights that are
    never used and positions that lie in the block.
    """
    full = filt.taps(filt.step)
    start = filt.step * span.first - filt.reach.before
    # Each position once: a sample has as many of them as it has taps.
    line = mirrored(start, start + filt.step * (span.count - 1) + len(full), span.size)
    line -= max(0, start)
    index = sliding_window_view(line, len(full))[:: filt.step].copy()
    weights = np.tile(np.asarray(full, dtype), (span.count, 1))
    counts = np.full(span.count, len(full), np.int64)
    last = filt.taps(span.last_width(filt.step))
    weights[-1, : len(last)] = last
    counts[-1] = len(last)
    index[-1, len(last) :] = index[-1, len(last) - 1]
    return index, weights, counts


def _regular(filt: AxisFilter, span: Span) -> tuple[int, int]:
    """Return the samples whose taps all lie inside the axis, as a range."""
    before, n_taps = filt.reach.before, len(filt.taps(filt.step))
    low = -(-before // filt.step)
    high = (span.size - n_taps + before) // filt.step + 1
    first = min(max(low, span.first), span.stop)
    stop = max(first, min(high, span.stop))
    return first - span.first, stop - span.first


@njit(nogil=True, cache=True, inline="always")
def _weigh(source, offsets, weights, count, total, n):  # type: ignore[no-untyped-def]
    """Sum `count` weighted rows of `source` into `total`, tap after tap."""
    # Numba would otherwise promote float32 times uint16 to float64.
    real = total.dtype.type
    if count < 3:
        w = weights[0]
        a = source[offsets[0] : offsets[0] + n]
        for i in range(n):
            total[i] = w * real(a[i])
        tap = 1
    else:
        w, w1, w2 = weights[0], weights[1], weights[2]
        a = source[offsets[0] : offsets[0] + n]
        b = source[offsets[1] : offsets[1] + n]
        c = source[offsets[2] : offsets[2] + n]
        for i in range(n):
            total[i] = w * real(a[i]) + w1 * real(b[i]) + w2 * real(c[i])
        tap = 3
    while tap + 3 <= count:
        w, w1, w2 = weights[tap], weights[tap + 1], weights[tap + 2]
        a = source[offsets[tap] : offsets[tap] + n]
        b = source[offsets[tap + 1] : offsets[tap + 1] + n]
        c = source[offsets[tap + 2] : offsets[tap + 2] + n]
        for i in range(n):
            total[i] = total[i] + w * real(a[i]) + w1 * real(b[i]) + w2 * real(c[i])
        tap += 3
    while tap < count:
        w = weights[tap]
        a = source[offsets[tap] : offsets[tap] + n]
        for i in range(n):
            total[i] = total[i] + w * real(a[i])
        tap += 1


@njit(nogil=True, cache=True)
def _filter_kernel(flat, strides, out, tables, work, numbers, integral):  # type: ignore[no-untyped-def]
    """Filter a volume: z into a ring of rows, y into one row, x into the samples."""
    plane, row = strides
    (zi, zw, zn), (yi, yw, yn), (xi, xw, xn) = tables
    ring, line, phases, samples = work
    step, x_first, x_stop, tile = numbers
    nx = line.size
    rows = ring.size // nx
    length = phases.size // step
    n_regular = x_stop - x_first
    offsets = np.empty(max(zi.shape[1], yi.shape[1], xi.shape[1]), np.int64)
    for y0 in range(0, out.shape[1], tile):
        y1 = min(y0 + tile, out.shape[1])
        for z in range(out.shape[0]):
            ready = yi[y0].min()
            for y in range(y0, y1):
                # Without taps along z its weight is 1: no ring, but rows of the input.
                top = yi[y].max() if zi.shape[1] > 1 else ready - 1
                while ready <= top:
                    for t in range(zn[z]):
                        offsets[t] = zi[z, t] * plane + ready * row
                    slot = (ready % rows) * nx
                    _weigh(flat, offsets, zw[z], zn[z], ring[slot : slot + nx], nx)
                    ready += 1
                if zi.shape[1] > 1:
                    for t in range(yn[y]):
                        offsets[t] = (yi[y, t] % rows) * nx
                    _weigh(ring, offsets, yw[y], yn[y], line, nx)
                else:
                    for t in range(yn[y]):
                        offsets[t] = zi[z, 0] * plane + yi[y, t] * row
                    _weigh(flat, offsets, yw[y], yn[y], line, nx)
                if n_regular:
                    if step == 2:
                        pairs = line[: nx // 2 * 2].reshape(nx // 2, 2)
                        even, odd = phases[:length], phases[length:]
                        for i in range(nx // 2):
                            even[i] = pairs[i, 0]
                            odd[i] = pairs[i, 1]
                    else:
                        grid = line[: nx // step * step].reshape(nx // step, step)
                        for k in range(step):
                            phase = phases[k * length : k * length + nx // step]
                            for i in range(nx // step):
                                phase[i] = grid[i, k]
                    for i in range(nx // step * step, nx):
                        phases[(i % step) * length + i // step] = line[i]
                    for t in range(xn[x_first]):
                        p = xi[x_first, t]
                        offsets[t] = (p % step) * length + p // step
                    regular = samples[x_first:x_stop]
                    _weigh(
                        phases, offsets, xw[x_first], xn[x_first], regular, n_regular
                    )
                for border in range(out.shape[2] - n_regular):
                    x = border if border < x_first else border + n_regular
                    value = xw[x, 0] * line[xi[x, 0]]
                    for t in range(1, xn[x]):
                        value += xw[x, t] * line[xi[x, t]]
                    samples[x] = value
                target = out[z, y]
                if integral:
                    for x in range(samples.size):
                        target[x] = np.rint(samples[x])
                else:
                    for x in range(samples.size):
                        target[x] = samples[x]
