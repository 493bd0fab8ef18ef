"""Fused filters: all axes in one pass, or axis by axis; see `fused`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import namespace
from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.kernels.launching import (
    in_rows,
    launch,
    record,
    source_of,
    strides_of,
    working_dtype,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dask_pyramid.filters import AxisFilter

__all__ = ["filter_block", "in_one_pass"]

_THREADS = 128
# Rows that a thread holds: more of them are read less often, fewer leave registers.
_PLANES = 16
_MOST_PLANES = 24
_MOST_STEP = 4
_MOST_AGES = 4
_MOST_TAPS_X = 64
# Samples along y that a thread makes, besides the rows that it needs to begin.
_CHUNK = 64

_AXIS_THREADS = 256
# More voxels than an int counts.
_FAR = 2**31


def filter_block(
    block: Any, out: Any, filters: Sequence[AxisFilter], spans: Sequence[Span]
) -> None:
    """Filter a block into C-contiguous memory on its device."""
    if in_one_pass(filters):
        _filter_volume(block, out, filters, spans)
    else:
        _filter_axes(block, out, filters, spans)


def in_one_pass(filters: Sequence[AxisFilter]) -> bool:
    """Return whether one pass over all axes keeps its sums in registers.

    Else they are held on the device between one axis and the next.
    """
    if any(f.step > 1 for f in filters[:-3]):
        return False
    first, second, x = _roles(filters)
    planes = first.step + len(_taps(first))  # of a strip of two samples
    return (
        planes <= _MOST_PLANES
        and max(f.step for f in (first, second, x)) <= _MOST_STEP
        and ceil_div(len(_taps(second)), second.step) <= _MOST_AGES
        and len(_taps(x)) <= _MOST_TAPS_X
    )


def _taps(filt: AxisFilter) -> tuple[float, ...]:
    return filt.taps(filt.step) if filt.step > 1 else (1.0,)


def _is_flat(filters: Sequence[AxisFilter]) -> bool:
    """Return whether z is not reduced: its planes are then images of their own."""
    return len(filters) < 3 or filters[-3].step == 1


def _roles(
    filters: Sequence[AxisFilter],
) -> tuple[AxisFilter, AxisFilter, AxisFilter]:
    """Return the filters of the strips, of the march and of the rows."""
    identity = type(filters[0])(step=1, gauss=(1.0,), box=True)
    y = filters[-2] if len(filters) > 1 else identity
    if _is_flat(filters):
        return y, identity, filters[-1]
    return filters[-3], y, filters[-1]


def _filter_volume(
    block: Any, out: Any, filters: Sequence[AxisFilter], spans: Sequence[Span]
) -> None:
    """Filter z, y and x in one pass; a plane is a strip of y that does not march."""
    if _is_flat(filters):
        block, out = in_rows(block, 2)[:, :, None], in_rows(out, 2)[:, :, None]
    else:
        block, out = in_rows(block, 3), in_rows(out, 3)
    roles = _roles(filters)
    one = Span(first=0, stop=1, size=1)
    y, x = (one, *spans)[-2:]
    spans3 = (y, one, x) if _is_flat(filters) else (spans[-3], y, x)
    strip = _strip(roles[0])
    tiles = _tiles(out.shape[1:], strip, roles[2])
    axes = [
        _axis(filt, span, n, dtype=working_dtype(block.dtype))
        for filt, span, n in zip(roles, spans3, block.shape[1:], strict=True)
    ]
    parameters = record(
        ("in", np.array(strides_of(block))),
        ("out", np.array(strides_of(out))),
        ("tiles", np.array(tiles)),
        ("chunk", _CHUNK),
        *((name, axis) for name, axis in zip("abx", axes, strict=True)),
    )
    launch(
        source_of("filter_volume", block.dtype, _constants(block, roles, strip)),
        "filter_volume",
        math.prod(tiles) * block.shape[0],
        threads=_THREADS,
        args=(block, out, parameters),
    )


def _strip(filt: AxisFilter) -> int:
    """Return how many samples a thread holds at a time along the axis of strips."""
    return max(2, min((_PLANES - len(_taps(filt))) // filt.step + 1, _PLANES // 2))


def _tiles(counts: Sequence[int], strip: int, x: AxisFilter) -> tuple[int, int, int]:
    """Return into how many tiles samples are cut: along rows, strips and the march."""
    width = min((_THREADS - len(_taps(x))) // x.step + 1, _THREADS // x.step)
    a_count, b_count, x_count = counts
    return (
        ceil_div(x_count, width),
        ceil_div(a_count, strip),
        ceil_div(b_count, _CHUNK),
    )


def _constants(
    block: Any, roles: Sequence[AxisFilter], strip: int
) -> dict[str, object]:
    """Return the numbers that are compiled into the kernel."""
    taps = [len(_taps(filt)) for filt in roles]
    constants: dict[str, object] = {
        **{f"STEP_{k}": f.step for k, f in zip("ABX", roles, strict=True)},
        **{f"TAPS_{k}": n for k, n in zip("ABX", taps, strict=True)},
        "STRIP": strip,
        "THREADS": _THREADS,
        "RESIDENT": 4 if block.dtype.itemsize <= 2 else 3,
    }
    planes = roles[0].step * (strip - 1) + taps[0]
    if planes * strides_of(block)[1] >= _FAR:
        constants["FAR"] = ""
    return constants


def _axis(filt: AxisFilter, span: Span, n: int, *, dtype: np.dtype[Any]) -> Any:
    """Return one axis of a filter as the struct ``Axis`` of the kernel."""
    full, last = _tables(filt, span, dtype)
    place = _place(filt, span, n)
    padded = np.zeros_like(full)
    padded[: len(last)] = last
    axis = record(*place, ("cut", len(last)), ("weights", full), ("last", padded))
    return axis[0]


def _tables(
    filt: AxisFilter, span: Span, dtype: np.dtype[Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the weights of a sample, and those of a last one that the border cuts."""
    width = span.last_width(filt.step)
    is_cut = filt.box and width < filt.step
    last = filt.taps(width) if is_cut else ()
    return np.asarray(_taps(filt), dtype), np.asarray(last, dtype)


def _place(filt: AxisFilter, span: Span, n: int) -> Iterator[tuple[str, int]]:
    """Return where the block and the taps of its samples begin."""
    before = filt.reach.before if filt.step > 1 else 0
    start = filt.step * span.first - before
    yield "size", span.size
    yield "origin", max(0, start)
    yield "extent", n
    yield "start", start
    yield "count", span.count


def _filter_axes(
    block: Any, out: Any, filters: Sequence[AxisFilter], spans: Sequence[Span]
) -> None:
    """Filter axis after axis; sums stay on the device in between."""
    xp = namespace(block)
    values = xp.ascontiguousarray(block)
    reduced = [axis for axis, filt in enumerate(filters) if filt.step > 1]
    real = working_dtype(block.dtype)
    for axis in reduced:
        target = out
        if axis != reduced[-1]:
            shape = list(values.shape)
            shape[axis] = spans[axis].count
            target = xp.empty(tuple(shape), dtype=real, device=block.device)
        ends = {"FROM_VALUE": axis == reduced[0], "TO_VALUE": axis == reduced[-1]}
        constants = {name: "" for name, here in ends.items() if here}
        _filter_axis(
            values,
            target,
            (filters[axis], spans[axis]),
            axis=axis,
            source=source_of(
                "filter_axis",
                block.dtype,
                {"THREADS": _AXIS_THREADS, **constants},
            ),
        )
        values = target


def _filter_axis(
    values: Any, target: Any, made: tuple[AxisFilter, Span], *, axis: int, source: str
) -> None:
    filt, span = made
    xp = namespace(values)
    real = np.dtype(np.float32 if "#define NARROW" in source else np.float64)
    full, last = _tables(filt, span, real)
    inner = math.prod(values.shape[axis + 1 :])
    outer = math.prod(values.shape[:axis])
    tiles = ceil_div(span.count if inner == 1 else inner, _AXIS_THREADS)
    line = record(
        *_place(filt, span, values.shape[axis]),
        ("step", filt.step),
        ("taps", len(full)),
        ("cut", len(last)),
        ("inner", inner),
        ("tiles", tiles),
    )
    tables = [xp.asarray(table, device=values.device) for table in (full, last)]
    launch(
        source,
        "filter_axis",
        tiles * outer * (1 if inner == 1 else span.count),
        threads=_AXIS_THREADS,
        args=(values, target, *tables, line),
    )
