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
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import namespace
from dask_pyramid.geometry import ceil_div
from dask_pyramid.kernels.fused_filters import filter_block
from dask_pyramid.kernels.launching import (
    TYPES,
    alignment,
    in_rows,
    launch,
    record,
    source_of,
    strides_of,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.geometry import Span
    from dask_pyramid.methods import Reduction

__all__ = ["has_kernel", "reduce_block"]

_ARITHMETIC = frozenset(TYPES) - {"u8", "i8"}
_KERNELS = {
    "filter": _ARITHMETIC,
    "mean": _ARITHMETIC,
    "min": frozenset(TYPES),
    "max": frozenset(TYPES),
    "mode": frozenset(TYPES) - {"f4", "f8"},
    "median": frozenset(TYPES) - {"f4", "f8"},
}
# Values of windows that are sorted stay in registers.
_SORTED = 64
# Voxels of one window along x, and of one thread, which stay in registers.
_RUN = 16
# Sums of 16-bit integers fit into 32 bits.
_INT_WINDOW = 2**15

_THREADS = 256
_ROWS = 8


def has_kernel(dtype: np.dtype[Any], reduction: Reduction) -> bool:
    """Return whether there is a fused kernel.

    Parameters
    ----------
    dtype : numpy.dtype
        Data type of the block.
    reduction : Reduction
        The reduction.
    """
    known = _KERNELS.get(reduction.kernel, ())
    if (
        reduction.ignore is not None
        or not dtype.isnative
        or type_name(dtype) not in known
    ):
        return False
    if reduction.kernel == "filter":
        return True
    count = math.prod(reduction.steps)
    most = _SORTED if reduction.kernel in ("mode", "median") else _INT_WINDOW - 1
    inner = all(step == 1 for step in reduction.steps[:-3])
    return inner and count <= most and reduction.steps[-1] <= _RUN


def reduce_block(
    block: Any, reduction: Reduction, spans: Sequence[Span], *, out: Any = None
) -> Any:
    """Reduce one block; see `dask_pyramid.kernels.reduce_block`."""
    samples = out
    if out is None or not out.flags.c_contiguous:
        shape = tuple(span.count for span in spans)
        xp = namespace(block)
        samples = xp.empty(shape, dtype=block.dtype, device=block.device)
    if reduction.kernel != "filter":
        _reduce_windows(in_rows(block, 3), in_rows(samples, 3), reduction)
    else:
        filter_block(block, samples, reduction.filters, spans)
    if out is None or out is samples:
        return samples
    out[...] = samples
    return out


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
        "READ": math.gcd(alignment(block), x * samples * size),
        "WRITE": math.gcd(alignment(out), samples * size),
        "ROWS": _ROWS,
        "THREADS": _THREADS,
        "RESIDENT": 2 if sort else 4,
    }
    if sort:
        pairs = _exchanges(z * y * x)
        constants["NETWORK"] = " ".join(f"EXCHANGE({i}, {j})" for i, j in pairs)
    x_tiles = ceil_div(out.shape[3], _THREADS // _ROWS * samples)
    y_tiles = ceil_div(out.shape[2], _ROWS)
    windows = record(
        ("in", np.array(strides_of(block))),
        ("out", np.array(strides_of(out))),
        ("extent", np.array((nz, ny, nx))),
        ("count", np.array(out.shape[1:])),
        ("x_tiles", x_tiles),
        ("y_tiles", y_tiles),
    )
    launch(
        source_of("window", block.dtype, constants),
        "reduce_windows",
        x_tiles * y_tiles * out.shape[1] * out.shape[0],
        threads=_THREADS,
        args=(block, out, windows),
    )


def _samples(block: Any, steps: Sequence[int], *, sort: bool) -> int:
    """Return the samples of a thread, a power of two: as many as one word holds."""
    window = steps[-1] * block.itemsize
    samples = 1
    while 2 * samples * window <= alignment(block):
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
