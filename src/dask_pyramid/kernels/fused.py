"""Fused kernels for blocks on a GPU; same results as `generic`, bit for bit.

Here is what is launched; the kernels themselves are the CUDA texts in ``cuda/``. They
are compiled when they are first needed, once for each data type, method and window
(CuPy keeps them on disk), never for a shape or a rank: blocks are seen as
(outer, z, y, x). Nothing is copied to the host, and nothing waits for the device.

Bytes decide. A sample of a 2x reduction in 3-D of uint16 moves 18 bytes, and its sums
need none but registers:

- Windows: a thread reads the rows of its windows in words of up to 16 bytes, eight
  2x2x2 windows of uint8 at once, all of them before the first is used.
- Filters: threads side by side along x own a column each, share every voxel of a strip
  of six samples along z, and march along y with three samples in flight. One sample of
  the default Gaussian costs about 48 products and sums, 13 loads that are cached or
  coalesced, and 32 bytes of shared memory. Of the voxels of a block of 128 columns, 3 %
  are read again by its neighbour along x, and a third by that along z, which runs at
  the same time and finds them in the cache of the card.
- Filters that are longer than that keeps in registers go axis by axis, decimating.

Every product and sum is rounded as on the CPU, without fused multiply-add: stored bytes
do not depend on the device. That costs twice the arithmetic, which the memory hides,
except for float32 and 32-bit filters on cards that are slow in double precision.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import compile_kernel
from dask_pyramid.geometry import Span, ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dask_pyramid.methods import AxisFilter, Reduction

__all__ = ["has_kernel", "reduce_block"]

_TYPES = {
    "b1": "unsigned char",
    "u1": "unsigned char",
    "u2": "unsigned short",
    "u4": "unsigned int",
    "u8": "unsigned long long",
    "i1": "signed char",
    "i2": "short",
    "i4": "int",
    "i8": "long long",
    "f4": "float",
    "f8": "double",
}
_ARITHMETIC = frozenset(_TYPES) - {"u8", "i8"}
_KERNELS = {
    "filter": _ARITHMETIC,
    "mean": _ARITHMETIC,
    "min": frozenset(_TYPES),
    "max": frozenset(_TYPES),
    "mode": frozenset(_TYPES) - {"f4", "f8"},
    "median": frozenset(_TYPES) - {"f4", "f8"},
}
# Values of windows that are sorted stay in registers.
_SORTED = 64
# Voxels of one window along x, and of one thread, which stay in registers.
_RUN = 16
# Sums of 16-bit integers fit into 32 bits.
_INT_WINDOW = 2**15

_FILTER_THREADS = 128
# Rows that a thread holds: more of them are read less often, fewer leave registers.
_PLANES = 16
_MOST_PLANES = 24
_MOST_STEP = 4
_MOST_AGES = 4
_MOST_TAPS_X = 64
# Samples along y that a thread makes, besides the rows that it needs to begin.
_CHUNK = 64

_WINDOW_THREADS = 256
_ROWS = 8
_WORD = 16
_INT = 2**31


def has_kernel(dtype: np.dtype[Any], reduction: Reduction) -> bool:
    """Return whether there is a fused kernel.

    Parameters
    ----------
    dtype : numpy.dtype
        Data type of the block.
    reduction : Reduction
        The reduction.
    """
    if not dtype.isnative or dtype.str[1:] not in _KERNELS.get(reduction.kernel, ()):
        return False
    if reduction.kernel == "filter":
        return True
    count = math.prod(reduction.steps)
    most = _SORTED if reduction.kernel in ("mode", "median") else _INT_WINDOW - 1
    inner = all(step == 1 for step in reduction.steps[:-3])
    return inner and count <= most and reduction.steps[-1] <= _RUN


def reduce_block(block: Any, reduction: Reduction, spans: Sequence[Span]) -> Any:
    """Reduce one block; see `dask_pyramid.kernels.reduce_block`."""
    xp = block.__array_namespace__()
    shape = tuple(span.count for span in spans)
    out = xp.empty(shape, dtype=block.dtype, device=block.device)
    if reduction.kernel != "filter":
        _reduce_windows(_rows(block, 3), _rows(out, 3), reduction)
    elif _fits_registers(reduction.filters):
        _filter_volume(block, out, reduction.filters, spans)
    else:
        _filter_axes(block, out, reduction.filters, spans)
    return out


# --- texts and launches ----------------------------------------------------------


@lru_cache
def _text(name: str) -> str:
    folder = Path(__file__).parent / "cuda"
    parts = (folder / "numbers.cuh", folder / f"{name}.cu")
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)


def _source(name: str, dtype: np.dtype[Any], constants: Mapping[str, object]) -> str:
    """Return the text of a kernel for one data type, with its constants."""
    defined: dict[str, object] = {"VALUE": _TYPES[dtype.str[1:]]}
    if dtype.kind == "b":
        defined |= {"KIND_BOOL": "", "HIGHEST": 1}
    elif dtype.kind == "f":
        defined |= {"KIND_FLOAT": ""}
    else:
        info = np.iinfo(dtype)
        # C knows no negative literals: the least of 64 bits is made of two.
        lowest = f"({info.min + 1}LL - 1)" if info.min else "0"
        highest = f"{info.max}{'U' if dtype.kind == 'u' else ''}LL"
        defined |= {"KIND_INTEGER": "", "LOWEST": lowest, "HIGHEST": highest}
    if _real(dtype) == np.float32:
        defined |= {"NARROW": ""}
    defined |= constants
    lines = (f"#define {key} {value}" for key, value in defined.items())
    return "\n".join((*lines, _text(name)))


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the data type of the sums, as on the CPU."""
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)


def _launch(source: str, name: str, n_blocks: int, *, threads: int, args: Any) -> None:
    if n_blocks >= _INT:
        raise ValueError(
            f"block must be cut into fewer than 2**31 pieces, got {n_blocks}; make it "
            "smaller"
        )
    compile_kernel(source, name)((n_blocks,), (threads,), args)


def _record(*fields: tuple[str, Any]) -> np.ndarray[Any, Any]:
    """Return a C struct of int64, nested structs and arrays, to be passed by value."""
    described = []
    for name, value in fields:
        array = np.asarray(value, np.int64 if isinstance(value, int) else None)
        described.append((name, array.dtype, array.shape))
    record = np.zeros(1, np.dtype(described, align=True))
    for name, value in fields:
        record[name] = value
    return record


def _rows(block: Any, n_axes: int) -> Any:
    """Return a block as (outer, ...) with `n_axes` inner axes, its rows contiguous."""
    ahead = all(s >= 0 and s % block.itemsize == 0 for s in block.strides)
    if not ahead or block.strides[-1] != block.itemsize:
        block = block.__array_namespace__().ascontiguousarray(block)
    missing = n_axes - block.ndim
    if missing > 0:
        return block[(None,) * (missing + 1)]
    return block.reshape((-1, *block.shape[-n_axes:]))


def _strides(block: Any) -> tuple[int, ...]:
    """Return the strides of all axes but the last, in voxels."""
    return tuple(stride // block.itemsize for stride in block.strides[:-1])


def _alignment(block: Any) -> int:
    """Return the bytes of the largest word that begins with each row."""
    described = getattr(block, "__cuda_array_interface__", None)
    address = (described or block.__array_interface__)["data"][0]
    steps = [s for s, n in zip(block.strides, block.shape, strict=True) if n > 1]
    return math.gcd(_WORD, address, *steps[: len(steps) - (block.shape[-1] > 1)])


# --- windows ---------------------------------------------------------------------


def _reduce_windows(block: Any, out: Any, reduction: Reduction) -> None:
    nz, ny, nx = block.shape[1:]
    steps = (1, 1, *reduction.steps)[-3:]
    # A window that is all there is of an axis is not a cut one.
    z, y, x = (min(step, n) for step, n in zip(steps, block.shape[1:], strict=True))
    sort = reduction.kernel in ("mode", "median")
    samples = _samples(block, (z, y, x), sort=sort)
    size = block.itemsize
    constants: dict[str, object] = {
        f"WINDOW_{reduction.kernel.upper()}": "",
        "STEP_Z": z,
        "STEP_Y": y,
        "STEP_X": x,
        "SAMPLES": samples,
        "READ": math.gcd(_alignment(block), x * samples * size),
        "WRITE": math.gcd(_alignment(out), samples * size),
        "ROWS": _ROWS,
        "THREADS": _WINDOW_THREADS,
        "RESIDENT": 2 if sort else 4,
    }
    if sort:
        pairs = _exchanges(z * y * x)
        constants["NETWORK"] = " ".join(f"EXCHANGE({i}, {j})" for i, j in pairs)
    x_tiles = ceil_div(out.shape[3], _WINDOW_THREADS // _ROWS * samples)
    y_tiles = ceil_div(out.shape[2], _ROWS)
    windows = _record(
        ("in", np.array(_strides(block))),
        ("out", np.array(_strides(out))),
        ("extent", np.array((nz, ny, nx))),
        ("count", np.array(out.shape[1:])),
        ("x_tiles", x_tiles),
        ("y_tiles", y_tiles),
    )
    _launch(
        _source("window", block.dtype, constants),
        "reduce_windows",
        x_tiles * y_tiles * out.shape[1] * out.shape[0],
        threads=_WINDOW_THREADS,
        args=(block, out, windows),
    )


def _samples(block: Any, steps: Sequence[int], *, sort: bool) -> int:
    """Return the samples of a thread, a power of two: as many as one word holds."""
    window = steps[-1] * block.itemsize
    samples = 1
    while 2 * samples * window <= _alignment(block):
        samples *= 2
    if sort:
        return min(samples, max(1, _RUN // math.prod(steps)))
    return samples


@lru_cache
def _exchanges(count: int) -> tuple[tuple[int, int], ...]:
    """Return the exchanges that sort `count` values: merge exchange (Knuth, 5.2.2 M).

    Examples
    --------
    >>> _exchanges(4)
    ((0, 2), (1, 3), (0, 1), (2, 3), (1, 2))
    """
    pairs = []
    top = 1 << max(0, count - 1).bit_length()
    p = top // 2
    while p:
        q, r, d = top // 2, 0, p
        while True:
            pairs += [(i, i + d) for i in range(count - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    return tuple(pairs)


# --- filters ---------------------------------------------------------------------


def _fits_registers(filters: Sequence[AxisFilter]) -> bool:
    """Return whether one pass over all axes keeps its sums in registers."""
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
        block, out = _rows(block, 2)[:, :, None], _rows(out, 2)[:, :, None]
    else:
        block, out = _rows(block, 3), _rows(out, 3)
    roles = _roles(filters)
    one = Span(first=0, stop=1, size=1)
    y, x = (one, *spans)[-2:]
    spans3 = (y, one, x) if _is_flat(filters) else (spans[-3], y, x)
    taps = [len(_taps(filt)) for filt in roles]
    strip = max(2, min((_PLANES - taps[0]) // roles[0].step + 1, _PLANES // 2))
    constants: dict[str, object] = {
        **{f"STEP_{k}": f.step for k, f in zip("ABX", roles, strict=True)},
        **{f"TAPS_{k}": n for k, n in zip("ABX", taps, strict=True)},
        "STRIP": strip,
        "THREADS": _FILTER_THREADS,
        "RESIDENT": 5 if block.dtype.itemsize <= 2 else 3,
    }
    planes = roles[0].step * (strip - 1) + taps[0]
    if planes * _strides(block)[1] >= _INT:
        constants["FAR"] = ""
    width = (_FILTER_THREADS - taps[2]) // roles[2].step + 1
    width = min(width, _FILTER_THREADS // roles[2].step)
    a_count, b_count, x_count = out.shape[1:]
    tiles = (
        ceil_div(x_count, width),
        ceil_div(a_count, strip),
        ceil_div(b_count, _CHUNK),
    )
    axes = [
        _axis(filt, span, n, dtype=_real(block.dtype))
        for filt, span, n in zip(roles, spans3, block.shape[1:], strict=True)
    ]
    parameters = _record(
        ("in", np.array(_strides(block))),
        ("out", np.array(_strides(out))),
        ("tiles", np.array(tiles)),
        ("chunk", _CHUNK),
        *((name, axis) for name, axis in zip("abx", axes, strict=True)),
    )
    _launch(
        _source("filter_volume", block.dtype, constants),
        "filter_volume",
        math.prod(tiles) * block.shape[0],
        threads=_FILTER_THREADS,
        args=(block, out, parameters),
    )


def _axis(filt: AxisFilter, span: Span, n: int, *, dtype: np.dtype[Any]) -> Any:
    """Return one axis of a filter as the struct ``Axis`` of the kernel."""
    full, last = _tables(filt, span, dtype)
    place = _place(filt, span, n)
    padded = np.zeros_like(full)
    padded[: len(last)] = last
    record = _record(*place, ("cut", len(last)), ("weights", full), ("last", padded))
    return record[0]


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
    xp = block.__array_namespace__()
    values = xp.ascontiguousarray(block)
    reduced = [axis for axis, filt in enumerate(filters) if filt.step > 1]
    real = _real(block.dtype)
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
            source=_source(
                "filter_axis",
                block.dtype,
                {"THREADS": _WINDOW_THREADS, **constants},
            ),
        )
        values = target


def _filter_axis(
    values: Any, target: Any, made: tuple[AxisFilter, Span], *, axis: int, source: str
) -> None:
    filt, span = made
    xp = values.__array_namespace__()
    real = np.dtype(np.float32 if "#define NARROW" in source else np.float64)
    full, last = _tables(filt, span, real)
    inner = math.prod(values.shape[axis + 1 :])
    outer = math.prod(values.shape[:axis])
    tiles = ceil_div(span.count if inner == 1 else inner, _WINDOW_THREADS)
    line = _record(
        *_place(filt, span, values.shape[axis]),
        ("step", filt.step),
        ("taps", len(full)),
        ("cut", len(last)),
        ("inner", inner),
        ("tiles", tiles),
    )
    tables = [xp.asarray(table, device=values.device) for table in (full, last)]
    _launch(
        source,
        "filter_axis",
        tiles * outer * (1 if inner == 1 else span.count),
        threads=_WINDOW_THREADS,
        args=(values, target, *tables, line),
    )
