"""Blocks in, blocks out: no Dask, no files, no globals.

`reduce_block` makes a range of samples of the next level from exactly the voxels that
they need (`geometry.needed`), `resample_block` the same at any spacing
(`Sampling.needed`). There are three implementations with one meaning: `generic`,
`masked` (where not every voxel counts) and `interpolation` speak the array API and run
on NumPy, CuPy and strict arrays; the same with `compiled` are numba for host blocks
that are large enough to pay for the compiler; `fused` is CUDA for CuPy blocks. They
agree bit for bit, so the choice between them never shows in the result.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import on_gpu
from dask_pyramid.kernels import fused, generic, interpolation, masked
from dask_pyramid.kernels.masked import any_of_window
from dask_pyramid.sampling import pass_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.geometry import Span
    from dask_pyramid.methods import Reduction
    from dask_pyramid.sampling import Sampling

__all__ = [
    "any_of_window",
    "has_compiled",
    "load_compiled",
    "pays_to_compile",
    "reduce_block",
    "resample_axis",
    "resample_block",
    "resampling_type",
    "resampling_work",
]

# A fresh process takes 0.5 s to load numba and compiled code from its cache, and one
# without a cache 5 s to compile; the generic kernels do 64 Mi voxels in that time.
_COMPILE_VOXELS = 2**26
# Taps whose sum takes about as long as the rest of what is done for a sample.
_CHEAP_TAPS = 8

_ARITHMETIC = frozenset("BHIbhifd")
_ORDERED = frozenset("BHILQbhilqfd")
_COMPILED = {
    "filter": _ARITHMETIC,
    "mean": _ARITHMETIC,
    "min": _ORDERED,
    "max": _ORDERED,
    "mode": _ORDERED,
    "median": _ORDERED,
}
# The first voxel of a window is a slice; the first that counts is a loop.
_COMPILED_MASKED = {**_COMPILED, "first": _ORDERED}
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
    table = _COMPILED if reduction.ignore is None else _COMPILED_MASKED
    return (
        dtype.char in table.get(reduction.kernel, ())
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
    mask: Any = None,
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
    mask : array of bool, shape of `block`, optional
        Voxels that count, besides `reduction.ignore`, which must be given with it.
    compiled : bool
        Whether to use the numba kernels where there is one for this dtype and method.
    out : array, optional
        Memory for the samples on the device of `block`, rows contiguous; else new
        memory.

    Returns
    -------
    array, shape ``tuple(span.count for span in spans)``, dtype of `block`
        The samples, on the same device.

    Notes
    -----
    Integers: `mean` is exact and rounds half to even. Filters accumulate axis by axis
    in float32 for data of 8 and 16 bits and in float64 above, then round half to even.
    """
    if reduction.kernel == "any":
        return any_of_window(block, reduction.steps, spans)
    if reduction.samplers:
        return _resampled(
            block, reduction, spans, mask=mask, compiled=compiled, out=out
        )
    host = compiled and isinstance(block, np.ndarray)
    if host and has_compiled(block.dtype, reduction):
        if out is None:
            out = np.empty([span.count for span in spans], block.dtype)
        _reduce_compiled(block, reduction, spans, mask=mask, out=out)
        return out
    if on_gpu(block) and fused.has_kernel(block.dtype, reduction):
        return fused.reduce_block(block, reduction, spans, out=out)
    if reduction.ignore is None:
        samples = generic.reduce_block(block, reduction, spans)
    else:
        samples = masked.reduce_block(block, reduction, spans, mask=mask)
    if out is None:
        return samples
    out[...] = samples
    return out


def _resampled(
    block: Any,
    reduction: Reduction,
    spans: Sequence[Span],
    *,
    mask: Any,
    compiled: bool,
    out: np.ndarray[Any, Any] | None,
) -> Any:
    samplings = [
        sampler.sampling(span)
        for sampler, span in zip(reduction.samplers, spans, strict=True)
    ]
    # Windows are an upper bound of what is needed.
    cut = []
    for held, sampling, span in zip(
        reduction.needed(spans), samplings, spans, strict=True
    ):
        part = sampling.needed(span.first, span.stop)
        cut.append(slice(part.start - held.start, part.stop - held.start))

    def resample(array: Any, out: Any = None) -> Any:
        return resample_block(
            array[tuple(cut)], samplings, spans, compiled=compiled, out=out
        )

    if reduction.ignore is None:
        return resample(block, out)
    samples = masked.resampled(block, reduction, spans, resample=resample, mask=mask)
    if out is None:
        return samples
    out[...] = samples
    return out


def _reduce_compiled(
    block: Any, reduction: Reduction, spans: Sequence[Span], *, mask: Any, out: Any
) -> None:
    if reduction.ignore is None:
        from dask_pyramid.kernels import compiled

        compiled.reduce_block(block, reduction, spans, out=out)
    else:
        from dask_pyramid.kernels import compiled_masked

        compiled_masked.reduce_block(block, reduction, spans, mask=mask, out=out)


def resample_block(
    block: Any,
    samplings: Sequence[Sampling],
    spans: Sequence[Span],
    *,
    compiled: bool = False,
    out: np.ndarray[Any, Any] | None = None,
) -> Any:
    """Resample one block.

    Parameters
    ----------
    block : array, shape (n_0, n_1, ...)
        Along each axis the voxels ``sampling.needed(span.first, span.stop)``; not
        modified.
    samplings : sequence of Sampling
        One for each axis.
    spans : sequence of Span
        Samples to make along each axis.
    compiled : bool
        Whether to use the numba kernels where there is one for this dtype.
    out : numpy.ndarray, optional
        Host memory for the samples, rows contiguous; else new memory on the device of
        `block`.

    Returns
    -------
    array, shape ``tuple(span.count for span in spans)``, dtype of `block`
        The samples, on the same device.

    Raises
    ------
    ValueError
        If the block has not the shape that the samples need.

    Notes
    -----
    One pass for each axis that is resampled, those that shrink most first. Sums in
    float32 for data of 8 and 16 bits and in float64 above; integers are rounded once,
    half to even, and cut to their range. Where each sample is one voxel, values pass
    through no float.
    """
    needs = [s.needed(p.first, p.stop) for s, p in zip(samplings, spans, strict=True)]
    shape = tuple(need.stop - need.start for need in needs)
    if tuple(block.shape) != shape:
        raise ValueError(f"block must have the shape {shape}, got {block.shape}")
    axes = pass_order(tuple(samplings))
    if axes and compiled and isinstance(block, np.ndarray):
        samples = _pass_by_pass(block, samplings, spans, axes=axes, out=out)
    else:
        samples = interpolation.resample_block(block, samplings, spans)
    if out is None or samples is out:
        return samples
    out[...] = samples
    return out


def _pass_by_pass(
    block: np.ndarray[Any, Any],
    samplings: Sequence[Sampling],
    spans: Sequence[Span],
    *,
    axes: Sequence[int],
    out: np.ndarray[Any, Any] | None,
) -> np.ndarray[Any, Any]:
    """Resample a host block by compiled passes; only the last one rounds."""
    dtype, real = block.dtype, resampling_type(block.dtype, samplings)
    for axis in axes:
        shape = [*block.shape]
        shape[axis] = spans[axis].count
        last = axis == axes[-1]
        target = out if last else None
        if target is None:
            target = np.empty(shape, dtype if last else real)
        resample_axis(
            block,
            samplings[axis],
            spans[axis],
            axis=axis,
            real=real,
            out=target,
            compiled=True,
        )
        block = target
    return block


def resampling_work(samplings: Sequence[Sampling]) -> int:
    """Return what a whole resampling is like, in voxels for `pays_to_compile`.

    Parameters
    ----------
    samplings : sequence of Sampling
        One for each axis.

    Returns
    -------
    int
        Voxels, of which long filters make more.

    Examples
    --------
    >>> from dask_pyramid.sampling import Sampling
    >>> [resampling_work([Sampling(size_in=50, size_out=100, a=0.5, b=-0.25, order=n)])
    ...  for n in (1, 3)]
    [100, 450]
    """
    taps = [s.n_taps / max(1.0, s.a) for s in samplings if not s.identity]
    voxels = math.prod(max(s.size_in, s.size_out) for s in samplings)
    return int(voxels * max([1.0, *(n / _CHEAP_TAPS for n in taps)]))


def resampling_type(
    dtype: np.dtype[Any], samplings: Sequence[Sampling]
) -> np.dtype[Any]:
    """Return the type of what lies between two passes of `resample_axis`.

    Parameters
    ----------
    dtype : numpy.dtype
        Data type of the voxels.
    samplings : sequence of Sampling
        One for each axis.

    Returns
    -------
    numpy.dtype
        The voxels' own where each sample is one voxel, else that in which sums go.
    """
    axes = pass_order(tuple(samplings))
    if all(samplings[axis].gather for axis in axes):
        return dtype
    real: np.dtype[Any] = np.dtype(generic.accumulator(dtype, np))
    return real


def resample_axis(
    block: np.ndarray[Any, Any],
    sampling: Sampling,
    span: Span,
    *,
    axis: int,
    real: np.dtype[Any],
    out: np.ndarray[Any, Any],
    compiled: bool = False,
) -> None:
    """Resample one axis of a host block: one pass of `resample_block`.

    Parameters
    ----------
    block : numpy.ndarray
        Along `axis` the voxels that are needed; all there is along the others.
    sampling : Sampling
        Of `axis`.
    span : Span
        Samples to make.
    axis : int
        Which axis.
    real : numpy.dtype
        From `resampling_type`.
    out : numpy.ndarray
        Takes the samples: as they are if of type `real`, else rounded.
    compiled : bool
        Whether to use the numba kernels where there is one.
    """
    if real.kind != "f" or (sampling.gather and out.dtype == block.dtype):
        index = interpolation.tap_table(sampling, span)[0][:, 0]
        # Straight into `out`: "raise" would check, and copy, first.
        np.take(block, index, axis=axis, out=out, mode="clip")
    elif compiled and {block.dtype.char, out.dtype.char} <= _ARITHMETIC:
        from dask_pyramid.kernels import compiled_interpolation as fast

        fast.resample_axis(block, sampling, span, axis=axis, real=real, out=out)
    else:
        values = block.astype(real, copy=False)
        sums = interpolation.weigh(values, sampling, span, axis=axis)
        out[...] = generic.from_accumulator(sums, out.dtype, xp=np)
