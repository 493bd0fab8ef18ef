"""Reductions over the voxels that count, in the array API; see `nodata`.

Window methods take the voxels of a window that count; `nearest` takes the first of
them. Filters are a normalised convolution: the sum of weighted values over the sum of
weights, both over what counts alone. A sample whose window holds no voxel that counts
is the fill value, however near others are.

A window whose step is no whole number holds each voxel that it touches.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import namespace
from dask_pyramid.geometry import Factor, Reach, Span, covered, needed
from dask_pyramid.kernels import generic
from dask_pyramid.kernels.generic import (
    fold,
    half_even,
    is_integral,
    offsets,
    one_of_equals,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dask_pyramid.methods import Reduction
    from dask_pyramid.nodata import Nodata

__all__ = ["any_of_window", "counting", "own_windows", "reduce_block", "resampled"]


# Less weight than this may come of the rounding of positions alone.
_LEAST_WEIGHT = 1e-6


def reduce_block(
    block: Any, reduction: Reduction, spans: Sequence[Span], *, mask: Any = None
) -> Any:
    """Reduce one block; see `dask_pyramid.kernels.reduce_block`."""
    assert reduction.ignore is not None  # or all voxels would count
    xp = namespace(block)
    is_bool = xp.isdtype(block.dtype, "bool")
    values = xp.astype(block, xp.uint8) if is_bool else block
    valid = counting(values, reduction.ignore, mask)
    own = valid[own_windows(reduction, spans)]
    found = any_of_window(own, reduction.steps, spans)
    if reduction.kernel == "filter":
        samples = _filtered(values, valid, reduction, spans, found=found)
        samples = generic.from_accumulator(samples, block.dtype, xp=xp)
    else:
        samples = _windowed(values, valid, reduction, spans)
        samples = xp.astype(samples, block.dtype)
    fill = bool(reduction.ignore.fill) if is_bool else reduction.ignore.fill
    return xp.where(found, samples, xp.full_like(samples, fill))


def counting(block: Any, ignore: Nodata, mask: Any) -> Any:
    """Return which voxels of a block count, bool; never a view of `mask`.

    Parameters
    ----------
    block : array
        The voxels; no bool.
    ignore : Nodata
        What does not count.
    mask : array of bool or None
        Which voxels are under the mask; None: all.
    """
    found = None if mask is None else mask
    for condition in (
        block != ignore.value if ignore.value is not None else None,
        block == block if ignore.nan else None,
    ):
        if condition is not None:
            found = condition if found is None else found & condition
    return found


def own_windows(reduction: Reduction, spans: Sequence[Span]) -> tuple[slice, ...]:
    """Return where in a block the windows lie, without what is beyond them."""
    where = []
    for held, own in zip(
        reduction.needed(spans), covered(spans, reduction.steps), strict=True
    ):
        where.append(slice(own.start - held.start, own.stop - held.start))
    return tuple(where)


def any_of_window(valid: Any, steps: Sequence[Factor], spans: Sequence[Span]) -> Any:
    """Return which windows hold a voxel that counts."""
    if all(isinstance(step, int) for step in steps):
        return generic.by_window(
            spans,
            [int(step) for step in steps],
            lambda source, widths: fold(valid[source], widths, lambda a, b: a | b),
            like=valid,
        )
    for axis, (step, span) in enumerate(zip(steps, spans, strict=True)):
        if step != 1:
            touched = (part for part, _ in _touched(valid, step, span, axis=axis))
            valid = functools.reduce(lambda a, b: a | b, touched)
    return valid


def _touched(
    block: Any, step: Factor, span: Span, *, axis: int
) -> Iterator[tuple[Any, Any]]:
    """Yield the first, the second, ... voxel that each window touches along an axis.

    And whether there is one: a window that touches fewer gives its last one again.
    """
    xp = namespace(block)
    windows = [
        needed(j, j + 1, step=step, reach=Reach(), size=span.size)
        for j in range(span.first, span.stop)
    ]
    starts = np.asarray([window.start for window in windows]) - windows[0].start
    widths = np.asarray([window.stop - window.start for window in windows])
    along = [1] * block.ndim
    along[axis] = -1
    for k in range(int(widths.max())):
        at = xp.asarray(starts + np.minimum(k, widths - 1), device=block.device)
        there = xp.asarray((k < widths).reshape(along), device=block.device)
        yield xp.take(block, at, axis=axis), there


def resampled(
    block: Any,
    reduction: Reduction,
    spans: Sequence[Span],
    *,
    resample: Callable[[Any], Any],
    mask: Any = None,
) -> Any:
    """Reduce one block by steps of which some are no whole numbers.

    Parameters
    ----------
    block, reduction, spans, mask
        As for `dask_pyramid.kernels.reduce_block`.
    resample : callable
        Resamples an array of the shape of `block`, as if all of it counted.

    Notes
    -----
    A normalised convolution, or the nearest voxel if that counts. Where none counts
    that has a weight, it is the mean of those of the window that do, or the first.
    """
    assert reduction.ignore is not None  # or all voxels would count
    xp = namespace(block)
    is_bool = xp.isdtype(block.dtype, "bool")
    values = xp.astype(block, xp.uint8) if is_bool else block
    valid = counting(values, reduction.ignore, mask)
    own = own_windows(reduction, spans)
    found = any_of_window(valid[own], reduction.steps, spans)
    fill = bool(reduction.ignore.fill) if is_bool else reduction.ignore.fill
    empty = xp.full_like(xp.astype(found, block.dtype), fill)
    if not xp.any(found):
        return empty
    windows = reduction.steps, spans
    if reduction.samplers[0].between == "nearest":
        samples, near = resample(values), resample(valid)
        if xp.any(found & ~near):
            first = _first_touched(values[own], valid[own], *windows)
            samples = xp.where(near, samples, first)
        samples = xp.astype(samples, block.dtype)
    else:
        real = xp.astype(values, generic.accumulator(values.dtype, xp))
        real = xp.where(valid, real, xp.zeros_like(real))
        weights = xp.astype(valid, real.dtype)
        total, weight = resample(real), resample(weights)
        near = weight > _LEAST_WEIGHT
        if xp.any(found & ~near):
            total = xp.where(near, total, _sum_touched(real[own], *windows))
            weight = xp.where(near, weight, _sum_touched(weights[own], *windows))
        samples = total / xp.where(found, weight, xp.ones_like(weight))
        samples = generic.from_accumulator(samples, block.dtype, xp=xp)
    return xp.where(found, samples, empty)


def _sum_touched(values: Any, steps: Sequence[Factor], spans: Sequence[Span]) -> Any:
    """Return the sum over each window."""
    xp = namespace(values)
    for axis, (step, span) in enumerate(zip(steps, spans, strict=True)):
        if step != 1:
            terms = (
                xp.where(there, part, xp.zeros_like(part))
                for part, there in _touched(values, step, span, axis=axis)
            )
            values = functools.reduce(lambda a, b: a + b, terms)
    return values


def _first_touched(
    values: Any, valid: Any, steps: Sequence[Factor], spans: Sequence[Span]
) -> Any:
    """Return the first voxel of each window that counts, in C order."""
    xp = namespace(values)
    for axis, (step, span) in reversed(list(enumerate(zip(steps, spans, strict=True)))):
        if step == 1:
            continue
        pairs = [
            (part, counts)
            for (part, _), (counts, _) in zip(
                _touched(values, step, span, axis=axis),
                _touched(valid, step, span, axis=axis),
                strict=True,
            )
        ]
        values, valid = pairs[0]
        for part, counts in pairs[1:]:
            values = xp.where(valid, values, part)
            valid = valid | counts
    return values


def _filtered(
    values: Any, valid: Any, reduction: Reduction, spans: Sequence[Span], *, found: Any
) -> Any:
    xp = namespace(values)
    dtype = generic.accumulator(values.dtype, xp)
    real = xp.astype(values, dtype)
    real = xp.where(valid, real, xp.zeros_like(real))
    total = generic.filtered(real, reduction.filters, spans, xp=xp)
    weight = xp.astype(valid, dtype)
    weight = generic.filtered(weight, reduction.filters, spans, xp=xp)
    return total / xp.where(found, weight, xp.ones_like(weight))


def _windowed(
    values: Any, valid: Any, reduction: Reduction, spans: Sequence[Span]
) -> Any:
    xp = namespace(values)
    kernel = _KERNELS[reduction.kernel]
    return generic.by_window(
        spans,
        reduction.windows,
        lambda source, widths: kernel(values[source], valid[source], widths, xp),
        like=values,
    )


def _number(valid: Any, widths: tuple[int, ...], xp: Any) -> Any:
    """Return how many voxels of each window count."""
    return fold(xp.astype(valid, xp.int32), widths, lambda a, b: a + b)


def _mean(block: Any, valid: Any, widths: tuple[int, ...], xp: Any) -> Any:
    def total(values: Any) -> Any:
        kept = xp.where(valid, values, xp.zeros_like(values))
        return fold(kept, widths, lambda a, b: a + b)

    number = _number(valid, widths, xp)
    number = xp.where(number == 0, xp.ones_like(number), number)
    if not is_integral(block.dtype, xp):
        mean = total(xp.astype(block, xp.float64)) / xp.astype(number, xp.float64)
        return xp.astype(mean, block.dtype)
    if xp.iinfo(block.dtype).bits < 64:
        count = xp.astype(number, xp.int64)
        whole = total(xp.astype(block, xp.int64))
        quotient = whole // count
        rounded = half_even(quotient, whole - quotient * count, count, xp)
        return xp.astype(rounded, block.dtype)
    # Sums of 64-bit integers overflow: add upper and lower halves separately.
    count = xp.astype(number, block.dtype)
    upper = block >> 32
    high = total(upper)
    quotient = high // count
    low = (high - quotient * count) * 2**32 + total(block - upper * 2**32)
    carry = low // count
    return half_even(quotient * 2**32 + carry, low - carry * count, count, xp)


def _extremum(name: str) -> Callable[..., Any]:
    def kernel(block: Any, valid: Any, widths: tuple[int, ...], xp: Any) -> Any:
        if is_integral(block.dtype, xp):
            info = xp.iinfo(block.dtype)
            worst = info.max if name == "min" else info.min
        else:
            worst = float("inf") if name == "min" else -float("inf")
        kept = xp.where(valid, block, xp.full_like(block, worst))
        return generic.WINDOW_KERNELS[name](kept, widths, xp)

    return kernel


def _first(block: Any, valid: Any, widths: tuple[int, ...], xp: Any) -> Any:
    """Return the first voxel of the window that counts, in C order."""
    pairs = list(zip(offsets(block, widths), offsets(valid, widths), strict=True))
    first = pairs[0][0]
    for values, counts in reversed(pairs):
        first = xp.where(counts, values, first)
    return first


def _sorted(block: Any, valid: Any, widths: tuple[int, ...], xp: Any) -> Any:
    """Return the values of each window, those that count first, in order."""
    is_integer = is_integral(block.dtype, xp)
    last = xp.iinfo(block.dtype).max if is_integer else float("nan")
    kept = xp.where(valid, one_of_equals(block, xp), xp.full_like(block, last))
    return xp.sort(xp.stack(list(offsets(kept, widths)), axis=0), axis=0)


def _median(block: Any, valid: Any, widths: tuple[int, ...], xp: Any) -> Any:
    """Return the lower median; a NaN that counts gives NaN, which sorts last."""
    values = _sorted(block, valid, widths, xp)
    number = _number(valid, widths, xp)
    middle = top = values[0, ...]
    for k in range(values.shape[0]):
        now = values[k, ...]
        middle = xp.where(k == (number - 1) // 2, now, middle)
        top = xp.where(k == number - 1, now, top)
    return xp.where(top != top, top, middle)


def _mode(block: Any, valid: Any, widths: tuple[int, ...], xp: Any) -> Any:
    """Return the most frequent value, the smallest of equals; NaN is one value."""
    values = _sorted(block, valid, widths, xp)
    number = _number(valid, widths, xp)
    best = values[0, ...]
    run = longest = xp.ones_like(number)
    for before, k in itertools.pairwise(range(values.shape[0])):
        now, last = values[k, ...], values[before, ...]
        same = (now == last) | ((now != now) & (last != last))
        run = xp.where(same, run + 1, xp.ones_like(run))
        better = (run > longest) & (k < number)
        best = xp.where(better, now, best)
        longest = xp.where(better, run, longest)
    return best


_KERNELS: dict[str, Callable[..., Any]] = {
    "mean": _mean,
    "min": _extremum("min"),
    "max": _extremum("max"),
    "first": _first,
    "median": _median,
    "mode": _mode,
}
