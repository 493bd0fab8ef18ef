"""Reduction kernels in the array API: NumPy, CuPy, array-api-strict.

Only samples that are kept are computed: every kernel is a sum, an extremum or a sort
over decimating slices of the block.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dask_pyramid.filters import AxisFilter
    from dask_pyramid.geometry import Span
    from dask_pyramid.methods import Reduction

__all__ = [
    "WINDOW_KERNELS",
    "accumulator",
    "by_window",
    "filtered",
    "fold",
    "from_accumulator",
    "half_even",
    "is_integral",
    "mirrored",
    "offsets",
    "one_of_equals",
    "reduce_block",
]


def reduce_block(block: Any, reduction: Reduction, spans: Sequence[Span]) -> Any:
    """Reduce one block; see `dask_pyramid.kernels.reduce_block`."""
    xp = namespace(block)
    if reduction.kernel == "filter":
        values = xp.astype(block, accumulator(block.dtype, xp))
        values = filtered(values, reduction.filters, spans, xp=xp)
        return from_accumulator(values, block.dtype, xp=xp)
    if reduction.kernel == "first":
        index = tuple(slice(None, None, step) for step in reduction.windows)
        return xp.asarray(block[index], copy=True)
    is_bool = xp.isdtype(block.dtype, "bool")
    values = xp.astype(block, xp.uint8) if is_bool else block
    kernel = WINDOW_KERNELS[reduction.kernel]
    reduced = by_window(
        spans,
        reduction.windows,
        lambda source, widths: kernel(values[source], widths, xp),
        like=values,
    )
    return xp.astype(reduced, block.dtype) if is_bool else reduced


def mirrored(start: int, stop: int, size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return positions ``[start, stop)`` mirrored into ``[0, size)``.

    The edge voxel is repeated, (d c b a | a b c d | d c b a): `scipy.ndimage` mode
    ``"reflect"``; axes shorter than the kernel are mirrored as often as it takes.

    Examples
    --------
    >>> mirrored(-3, 4, 2).tolist()
    [1, 1, 0, 0, 1, 1, 0]
    """
    positions = np.arange(start, stop, dtype=np.int64) % (2 * size)
    return np.minimum(positions, 2 * size - 1 - positions)


# --- filters ---------------------------------------------------------------------


def filtered(
    values: Any, filters: Sequence[AxisFilter], spans: Sequence[Span], *, xp: Any
) -> Any:
    """Filter floats axis after axis."""
    for axis, (filt, span) in enumerate(zip(filters, spans, strict=True)):
        if filt.step > 1:
            values = _filter_axis(values, filt, span, axis=axis, xp=xp)
    return values


def _filter_axis(
    values: Any, filt: AxisFilter, span: Span, *, axis: int, xp: Any
) -> Any:
    """Filter and decimate one axis; the last window may be narrower than the others."""
    width = span.last_width(filt.step)
    whole = span.count - (width < filt.step and filt.box)
    parts = []
    if whole:
        ranges = (span.first, span.first + whole)
        parts.append(
            _filter_range(
                values, filt, span, ranges=ranges, width=filt.step, axis=axis, xp=xp
            )
        )
    if whole < span.count:
        ranges = (span.stop - 1, span.stop)
        parts.append(
            _filter_range(
                values, filt, span, ranges=ranges, width=width, axis=axis, xp=xp
            )
        )
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=axis)


def _filter_range(
    values: Any,
    filt: AxisFilter,
    span: Span,
    *,
    ranges: tuple[int, int],
    width: int,
    axis: int,
    xp: Any,
) -> Any:
    first, stop = ranges
    taps = filt.taps(width)
    before, step = filt.reach.before, filt.step
    start = step * first - before
    end = step * (stop - 1) - before + len(taps)
    origin = max(0, step * span.first - before)
    padded = _padded(
        values, start, end, size=span.size, origin=origin, axis=axis, xp=xp
    )
    reach = step * (stop - 1 - first) + 1
    total = None
    for tap, weight in enumerate(taps):
        index = _along(axis, slice(tap, tap + reach, step), values.ndim)
        term = padded[index] * weight
        total = term if total is None else total + term
    return total


def _padded(
    values: Any, start: int, end: int, *, size: int, origin: int, axis: int, xp: Any
) -> Any:
    """Return voxels ``[start, end)`` of an axis of `size`, mirrored at its borders."""
    inside = slice(max(start, 0) - origin, min(end, size) - origin)
    parts = [values[_along(axis, inside, values.ndim)]]
    for low, high in ((start, min(0, end)), (max(size, start), end)):
        if low < high:
            index = xp.asarray(mirrored(low, high, size) - origin, device=values.device)
            border = xp.take(values, index, axis=axis)
            parts = [border, *parts] if low < 0 else [*parts, border]
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=axis)


def accumulator(dtype: Any, xp: Any) -> Any:
    """Return the float type in which filters sum voxels of a data type."""
    return xp.float32 if _bits(dtype, xp) <= 16 else xp.float64


def from_accumulator(values: Any, dtype: Any, *, xp: Any) -> Any:
    """Return sums as voxels: integers rounded half to even and cut to their range."""
    if xp.isdtype(dtype, "bool"):
        return xp.round(values) > 0
    if is_integral(dtype, xp):
        return _to_integer(values, dtype, xp=xp)
    return xp.astype(values, dtype)


def _to_integer(values: Any, dtype: Any, *, xp: Any) -> Any:
    """Round half to even and cut to the range, which splines overshoot."""
    rounded = xp.round(values)
    info = xp.iinfo(dtype)
    if info.bits < 64:
        return xp.astype(xp.clip(rounded, float(info.min), float(info.max)), dtype)
    # float(2**64 - 1) is 2**64, which no uint64 holds: cut below, then saturate.
    limit = float(info.max)
    safe = xp.where(rounded >= limit, xp.zeros_like(rounded), rounded)
    safe = xp.clip(safe, float(info.min), limit)
    top = xp.full_like(xp.astype(safe, dtype), int(info.max))
    return xp.where(rounded >= limit, top, xp.astype(safe, dtype))


# --- windows ---------------------------------------------------------------------


def by_window(
    spans: Sequence[Span],
    steps: Sequence[int],
    reduce: Callable[[tuple[slice, ...], tuple[int, ...]], Any],
    *,
    like: Any,
) -> Any:
    """Reduce the windows that are whole, then those cut by the border of the image.

    `reduce` is given a part of the block and the extent of the windows there.
    """
    pieces = [
        list(_pieces(span, step)) for span, step in zip(spans, steps, strict=True)
    ]
    if all(len(piece) == 1 for piece in pieces):
        whole = (slice(None),) * len(pieces)
        return reduce(whole, tuple(piece[0][2] for piece in pieces))
    shape = tuple(span.count for span in spans)
    xp = namespace(like)
    out = xp.empty(shape, dtype=like.dtype, device=like.device)
    for piece in itertools.product(*pieces):
        samples, source, widths = zip(*piece, strict=True)
        out[samples] = reduce(source, widths)
    return out


def _pieces(span: Span, step: int) -> Iterator[tuple[slice, slice, int]]:
    """Yield (samples, voxels, width) for the whole windows and for the cut one."""
    width = span.last_width(step)
    whole = span.count - (width < step)
    if whole:
        yield slice(0, whole), slice(0, whole * step), step
    if width < step:
        yield slice(whole, None), slice(whole * step, None), width


def offsets(block: Any, widths: Sequence[int]) -> Iterator[Any]:
    """Yield the voxels at each offset in the window, as arrays of one shape."""
    for offset in itertools.product(*(range(width) for width in widths)):
        yield block[
            tuple(slice(o, None, w) for o, w in zip(offset, widths, strict=True))
        ]


def fold(block: Any, widths: tuple[int, ...], join: Callable[[Any, Any], Any]) -> Any:
    """Fold windows: first over all axes but the last, in C order, then over that.

    The order is part of the meaning: float sums depend on it, and the compiled kernels,
    which add whole rows, keep it too.
    """
    for part in ((*widths[:-1], 1), (*(1,) * (len(widths) - 1), widths[-1])):
        total = None
        for term in offsets(block, part):
            total = term if total is None else join(total, term)
        block = total
    return block


def _mean(block: Any, widths: tuple[int, ...], xp: Any) -> Any:
    count = int(np.prod(widths))
    if not is_integral(block.dtype, xp):
        double = xp.astype(block, xp.float64)
        total = fold(double, widths, lambda a, b: a + b)
        return xp.astype(total / count, block.dtype)
    if xp.iinfo(block.dtype).bits == 64:
        # Sums of 64-bit integers overflow: add quotients and remainders separately.
        whole = block // count
        quotient = fold(whole, widths, lambda a, b: a + b)
        rest = fold(block - whole * count, widths, lambda a, b: a + b)
        carry = rest // count
        return half_even(quotient + carry, rest - carry * count, count, xp)
    total = fold(xp.astype(block, xp.int64), widths, lambda a, b: a + b)
    quotient = total // count
    rounded = half_even(quotient, total - quotient * count, count, xp)
    return xp.astype(rounded, block.dtype)


def half_even(quotient: Any, rest: Any, count: int, xp: Any) -> Any:
    """Round ``quotient + rest / count`` to the nearest integer, ties to even."""
    twice = rest + rest
    up = (twice > count) | ((twice == count) & (quotient % 2 == 1))
    return quotient + xp.astype(up, quotient.dtype)


def _minimum(block: Any, widths: tuple[int, ...], xp: Any) -> Any:
    def smaller(a: Any, b: Any) -> Any:
        return xp.where((b < a) | (b != b), b, a)

    return xp.asarray(fold(block, widths, smaller), copy=True)


def _maximum(block: Any, widths: tuple[int, ...], xp: Any) -> Any:
    def larger(a: Any, b: Any) -> Any:
        return xp.where((b > a) | (b != b), b, a)

    return xp.asarray(fold(block, widths, larger), copy=True)


def one_of_equals(block: Any, xp: Any) -> Any:
    """Return values that have the same bits where they sort alike: 0 for -0, one NaN.

    Which of them comes first is up to the sorting, and would be up to the device.
    """
    if not xp.isdtype(block.dtype, "real floating"):
        return block
    return xp.where(block != block, xp.full_like(block, float("nan")), block + 0)


def _sorted(block: Any, widths: tuple[int, ...], xp: Any) -> Any:
    block = one_of_equals(block, xp)
    stacked = xp.stack(list(offsets(block, widths)), axis=0)
    return xp.sort(stacked, axis=0)


def _median(block: Any, widths: tuple[int, ...], xp: Any) -> Any:
    """Return the lower median; a window with a NaN gives NaN, which sorts last."""
    values = _sorted(block, widths, xp)
    middle = values[(values.shape[0] - 1) // 2, ...]
    last = values[-1, ...]
    return xp.where(last != last, last, middle)


def _mode(block: Any, widths: tuple[int, ...], xp: Any) -> Any:
    """Return the most frequent value, the smallest of equals; NaN is one value."""
    values = _sorted(block, widths, xp)
    best = values[0, ...]
    run = xp.ones(best.shape, dtype=xp.int32, device=block.device)
    longest = run
    for k in range(1, values.shape[0]):
        now, before = values[k, ...], values[k - 1, ...]
        same = (now == before) | ((now != now) & (before != before))
        run = xp.where(same, run + 1, xp.ones_like(run))
        best = xp.where(run > longest, now, best)
        longest = xp.where(run > longest, run, longest)
    return xp.asarray(best, copy=True)


WINDOW_KERNELS: dict[str, Callable[[Any, tuple[int, ...], Any], Any]] = {
    "mean": _mean,
    "min": _minimum,
    "max": _maximum,
    "median": _median,
    "mode": _mode,
}


# --- small change ----------------------------------------------------------------


def is_integral(dtype: Any, xp: Any) -> bool:
    """Whether a data type is one of integers."""
    return bool(xp.isdtype(dtype, "integral"))


def _bits(dtype: Any, xp: Any) -> int:
    if xp.isdtype(dtype, "bool"):
        return 8
    info = xp.iinfo if is_integral(dtype, xp) else xp.finfo
    return int(info(dtype).bits)


def _along(axis: int, index: slice, ndim: int) -> tuple[slice, ...]:
    return tuple(index if i == axis else slice(None) for i in range(ndim))
