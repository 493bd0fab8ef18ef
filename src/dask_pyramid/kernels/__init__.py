"""Blocks in, blocks out: no Dask, no files, no globals.

`reduce_block` makes a range of samples of the next level from exactly the voxels that
they need (`geometry.needed`). There are three implementations with one meaning:
`generic` speaks the array API and runs on NumPy, CuPy and strict arrays; `compiled` is
numba for host blocks that are large enough to pay for the compiler; `fused` is CUDA for
CuPy blocks. They agree bit for bit, so the choice never shows in the result.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import on_gpu
from dask_pyramid.kernels import fused, generic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.geometry import Span
    from dask_pyramid.methods import Reduction

__all__ = ["has_compiled", "load_compiled", "pays_to_compile", "reduce_block"]

# A fresh process takes 0.5 s to load numba and compiled code from its cache, and one
# without a cache 5 s to compile; the generic kernels do 64 Mi voxels in that time.
_COMPILE_VOXELS = 2**26

_INTEGERS = frozenset("BHILQbhilq")
_ARITHMETIC = frozenset("BHIbhifd")
_COMPILED = {
    "filter": _ARITHMETIC,
    "mean": _ARITHMETIC,
    "min": _INTEGERS | frozenset("fd"),
    "max": _INTEGERS | frozenset("fd"),
    "mode": _INTEGERS,
    "median": _INTEGERS,
}
# Below this, window sums of 32-bit integers are exact in float64, and dividing them by
# the count cannot move a value onto a tie.
_FLOAT64_WINDOW = 2**19


def pays_to_compile(n_voxels: int) -> bool:
    """Return whether a job of this size is worth loading compiled kernels.

    Parameters
    ----------
    n_voxels : int
        Voxels that the whole job will read, not those of one block.

    Returns
    -------
    bool
        The choice is one of speed only; the result is the same.
    """
    return n_voxels >= _COMPILE_VOXELS


def has_compiled(dtype: np.dtype[Any], reduction: Reduction) -> bool:
    """Return whether there is a compiled kernel; numba is not imported to know it.

    Parameters
    ----------
    dtype : numpy.dtype
        Data type of the block.
    reduction : Reduction
        The reduction; outer axes (all but the last three) must have step 1.
    """
    return (
        dtype.char in _COMPILED.get(reduction.kernel, ())
        and dtype.isnative
        and len(reduction.steps) >= 2
        and all(step == 1 for step in reduction.steps[:-3])
        and math.prod(reduction.steps) < _FLOAT64_WINDOW
    )


def load_compiled() -> None:
    """Import the compiled kernels; takes half a second of one core in a new process."""
    from dask_pyramid.kernels import compiled  # noqa: F401  # imported for its effect


def reduce_block(
    block: Any,
    reduction: Reduction,
    spans: Sequence[Span],
    *,
    compiled: bool = False,
    out: np.ndarray[Any, Any] | None = None,
) -> Any:
    """Reduce one block.

    Parameters
    ----------
    block : array, shape (n_0, n_1, ...)
        The voxels that `spans` need, cut at the border of the image; not modified.
    reduction : Reduction
        Steps and filters, one for each axis.
    spans : sequence of Span
        Samples to make along each axis.
    compiled : bool
        Whether to use the numba kernels where there is one for this dtype and method.
    out : numpy.ndarray, optional
        Host memory for the samples, rows contiguous; else new memory on the device of
        `block`.

    Returns
    -------
    array, shape ``tuple(span.count for span in spans)``, dtype of `block`
        The samples, on the same device.

    Notes
    -----
    Integers: `mean` is exact and rounds half to even. Filters accumulate axis by axis
    in float32 for data of 8 and 16 bits and in float64 above, then round half to even.
    """
    host = compiled and isinstance(block, np.ndarray)
    if host and has_compiled(block.dtype, reduction):
        from dask_pyramid.kernels import compiled as fast

        if out is None:
            out = np.empty([span.count for span in spans], block.dtype)
        fast.reduce_block(block, reduction, spans, out=out)
        return out
    is_fused = on_gpu(block) and fused.has_kernel(block.dtype, reduction)
    samples = (fused if is_fused else generic).reduce_block(block, reduction, spans)
    if out is None:
        return samples
    out[...] = samples
    return out
