"""One step of downsampling, of arrays in memory and of dask arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dask_pyramid import graph
from dask_pyramid.device import on_gpu
from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.image import check_dtype
from dask_pyramid.kernels import pays_to_compile, reduce_block
from dask_pyramid.methods import Method, find_method
from dask_pyramid.nodata import Nodata

__all__ = ["downsample"]


def downsample(
    array: Any,
    factors: int | Sequence[int],
    method: str | Method = "mean",
    *,
    sigma: float | Sequence[float] | None = None,
    nodata: float | None = None,
    skip_nan: bool = False,
) -> Any:
    """Reduce an array by whole factors, one step.

    Parameters
    ----------
    array : NumPy, CuPy or dask array
        Any number of dimensions; bool, integer or float.
    factors : int or sequence of int
        Window along each axis; an int is that of all axes, 1 leaves an axis alone.
    method : str or Method
        Out of `METHODS`.
    sigma : float or sequence of float, optional
        Standard deviation of the Gaussian in voxels.
    nodata : int or float, optional
        A value that does not count: samples are made of the others, and are `nodata`
        where there are none. NaN is the same as `skip_nan`.
    skip_nan : bool
        Whether NaN does not count.

    Returns
    -------
    array, shape ``ceil(n / factor)``
        Same kind and dtype as `array`; lazy if that is a dask array.

    Raises
    ------
    ValueError
        If a factor is not a positive whole number, or their number is wrong, or the
        dtype cannot hold `nodata` or NaN.
    TypeError
        If the dtype has no pyramid.

    Examples
    --------
    >>> downsample(np.array([0, 1, 1, 1, 5], "uint8"), 2)
    array([0, 1, 5], dtype=uint8)
    >>> downsample(np.array([0, 4, 6, 8, 0], "uint8"), 2, nodata=0)
    array([4, 7, 0], dtype=uint8)
    """
    known = hasattr(array, "dask") or hasattr(array, "__array_namespace__")
    if not known and not on_gpu(array):
        raise TypeError(
            f"array must be a NumPy, CuPy or dask array, got {type(array).__name__}"
        )
    dtype = np.dtype(str(array.dtype).rpartition(".")[2])
    check_dtype(dtype)
    record = find_method(method)
    steps = list(factors) if isinstance(factors, Iterable) else [factors] * array.ndim
    if len(steps) != array.ndim:
        raise ValueError(
            f"factors must have one entry for each of {array.ndim} axes, "
            f"got {factors!r}"
        )
    if any(isinstance(f, bool) or int(f) != f or f < 1 for f in steps):
        raise ValueError(
            f"factors must be whole numbers of at least 1, got {factors!r}"
        )
    names = [str(i) for i in range(array.ndim)]
    reduction = record.reduction(
        [int(f) for f in steps],
        axes=names,
        sigma=sigma,
        ignore=Nodata.parse(nodata, skip_nan, dtype),
    )
    compiled = pays_to_compile(math.prod(array.shape))
    if hasattr(array, "dask"):
        return graph.reduce_array(array, reduction, compiled=compiled)
    spans = [
        Span(first=0, stop=ceil_div(n, f), size=n)
        for n, f in zip(array.shape, reduction.steps, strict=True)
    ]
    return reduce_block(array, reduction, spans, compiled=compiled)
