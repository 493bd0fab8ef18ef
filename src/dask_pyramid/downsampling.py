"""One step of downsampling by whole factors: of arrays, dask arrays and images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid import graph
from dask_pyramid.axes import SPATIAL, per_axis
from dask_pyramid.device import namespace, on_gpu
from dask_pyramid.filters import check_sigma
from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.image import Image, check_dtype
from dask_pyramid.kernels import pays_to_compile, reduce_block, resample_block
from dask_pyramid.methods import Method, Reduction, find_method
from dask_pyramid.nodata import Nodata
from dask_pyramid.planning import check_keeps_labels
from dask_pyramid.sampling import AxisSampler, Sampling, check_order, check_way
from dask_pyramid.sources import open_image
from dask_pyramid.sources.resampled import resampled_image

if TYPE_CHECKING:
    from dask_pyramid.sampling import Between

__all__ = ["downsample"]


def downsample(
    array: Any,
    factors: int | Mapping[str, int] | Sequence[int],
    method: str | Method = "mean",
    *,
    order: int | None = None,
    anti_aliasing: bool | None = None,
    sigma: float | Sequence[float] | None = None,
    nodata: float | None = None,
    skip_nan: bool = False,
    mask: Any = None,
) -> Any:
    """Reduce an array or an image by whole factors, one step.

    Parameters
    ----------
    array : NumPy, CuPy or dask array, Image, path or URL
        Any number of dimensions; bool, integer or float.
    factors : int or sequence of int, or dict by axis for an image
        Window along each axis; an int is that of all axes (of an image, of the spatial
        ones), 1 leaves an axis alone.
    method : str or Method
        Out of `METHODS`. A label image has ``"mode"`` in place of ``"mean"``.
    order : int, optional
        In place of `method`: a spline of this order, 0 to 5, at the centre of each
        window, as in `resample`.
    anti_aliasing : bool, optional
        With `order`: whether a Gaussian goes first along axes that shrink; by default
        for all but labels, masks and order 0.
    sigma : float or sequence of float, optional
        Standard deviation of the Gaussian in voxels.
    nodata : int or float, optional
        A value that does not count: samples are made of the others, and are `nodata`
        where there are none. NaN is the same as `skip_nan`.
    skip_nan : bool
        Whether NaN does not count.
    mask : array, optional
        What is zero there does not count: an array of the shape of `array`, or of that
        of the result, where it stands for whole windows.

    Returns
    -------
    array, shape ``ceil(n / factor)``
        Same kind and dtype as `array`. Lazy if that is a dask array: its chunks are
        merged to about 2**24 voxels first, so the result has fewer ones. For an image,
        path or URL a lazy `Image` with its spacing and place.

    Raises
    ------
    ValueError
        If a factor is not a positive whole number, or their number is wrong, or the
        dtype cannot hold `nodata` or NaN, or the mask has another shape, or a spline of
        an order above 1 is asked for where voxels may not count.
    TypeError
        If the dtype has no pyramid.

    Notes
    -----
    An image that is reduced with `order` can be read by region, if it could before, and
    so is written through units, as any other: ``write_pyramid(downsample("a.zarr", 2,
    order=3), "b.zarr", scale_factors=[], chunks=64)``.

    Examples
    --------
    >>> downsample(np.array([0, 1, 1, 1, 5], "uint8"), 2)
    array([0, 1, 5], dtype=uint8)
    >>> downsample(np.array([0, 4, 6, 8, 0], "uint8"), 2, nodata=0)
    array([4, 7, 0], dtype=uint8)
    >>> downsample(np.array([0, 4, 6, 8, 9], "uint8"), 2, mask=np.array([1, 0, 1]))
    array([2, 0, 9], dtype=uint8)
    """
    record = find_method(method)
    image = None
    if isinstance(array, Image | str | os.PathLike):
        image = open_image(array)
        factors = _of_image(factors, image.axes)
    elif not (_is_array(array) or on_gpu(array)):
        raise TypeError(
            f"array must be a NumPy, CuPy or dask array, got {type(array).__name__}"
        )
    source = array if image is None else image
    dtype = np.dtype(str(source.dtype).rpartition(".")[2])
    check_dtype(dtype)
    way = _Way(
        steps=_steps(factors, len(source.shape)),
        method=record,
        order=order,
        anti_aliasing=anti_aliasing,
        sigma=sigma,
        ignore=Nodata.parse(nodata, skip_nan, dtype, masked=mask is not None),
        discrete=dtype.kind == "b" or (image is not None and image.labels),
        ids=image is not None and image.labels,
    )
    under = None if mask is None else _fitted(mask, source.shape, way.steps)
    if image is None:
        return _reduced(array, way, under)
    return _reduced_image(image, way, under)


def _is_array(array: Any) -> bool:
    return hasattr(array, "dask") or hasattr(array, "__array_namespace__")


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How an array is reduced, checked."""

    steps: tuple[int, ...]
    """Window along each axis."""
    method: Method
    """What was asked for."""
    order: int | None
    """Of the spline; None: the method."""
    anti_aliasing: bool | None
    """As it was given."""
    sigma: Any
    """As it was given."""
    ignore: Nodata | None
    """Voxels that do not count."""
    discrete: bool
    """Whether values are ids or bools."""
    ids: bool
    """Whether they must not be averaged."""

    def __post_init__(self) -> None:
        if self.order is None:
            if self.anti_aliasing is not None:
                raise ValueError(
                    "anti_aliasing must go with order, got "
                    f"{self.anti_aliasing!r} without one; methods have their own"
                )
            if self.ids:
                check_keeps_labels(self.record)
            return
        check_order(self.order)
        if self.method.name != "mean":
            raise ValueError(
                f"order must go without a method, got {self.order!r} with "
                f"{self.method.name!r}"
            )
        check_way(
            sigma=self.sigma,
            smooth=self.smooth,
            averages=self.order > 0,
            labels=self.ids,
        )
        if self.ignore is not None and self.order > 1:
            raise ValueError(
                f"order must be 0 or 1 where voxels may not count, got {self.order!r}: "
                "splines of higher orders have weights below zero"
            )

    @property
    def record(self) -> Method:
        """The method, safe for labels."""
        if self.ids and self.method.name == "mean":
            return find_method("mode")
        return self.method

    @property
    def smooth(self) -> bool:
        """Whether a Gaussian goes before the spline."""
        if self.anti_aliasing is None:
            return bool(self.order) and not self.discrete
        return self.anti_aliasing

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Standard deviation of that Gaussian along each axis."""
        if not self.smooth:
            return (0.0,) * len(self.steps)
        given = self.sigma
        if not isinstance(given, Iterable):
            given = (given,) * len(self.steps)
        names = [str(i) for i in range(len(self.steps))]
        entries = per_axis(given, names, name="sigma", default=None)
        found = tuple(
            ((step - 1) / 2 if entry is None else float(entry)) * (step > 1)
            for step, entry in zip(self.steps, entries, strict=True)
        )
        for sigma, step in zip(found, self.steps, strict=True):
            check_sigma(sigma, step, given=self.sigma)
        return found

    @property
    def offsets(self) -> tuple[float, ...]:
        """Where a sample sits, in voxels from the first of its window."""
        if self.order is None:
            return self.record.offsets(self.steps)
        return tuple((step - 1) / 2 for step in self.steps)

    def reduction(self) -> Reduction:
        """Return the reduction, for a method or where voxels may not count."""
        if self.order is None:
            return self.record.reduction(
                self.steps,
                axes=[str(i) for i in range(len(self.steps))],
                sigma=self.sigma,
                ignore=self.ignore,
            )
        between: Between = "linear" if self.order else "nearest"
        return Reduction(
            kernel="sample",
            steps=self.steps,
            filters=(),
            ignore=self.ignore,
            samplers=tuple(
                AxisSampler(step=step, between=between, sigma=sigma)
                for step, sigma in zip(self.steps, self.sigmas, strict=True)
            ),
        )

    def samplings(self, shape: Sequence[int]) -> tuple[Sampling, ...] | None:
        """Return how each axis is resampled; None where `reduction` says it."""
        if self.order is None or self.ignore is not None:
            return None
        return tuple(
            Sampling(
                size_in=n,
                size_out=ceil_div(n, step),
                a=float(step),
                b=offset,
                order=self.order,
                sigma=sigma,
                boundary="reflect" if self.order else "nearest",
            )
            for n, step, offset, sigma in zip(
                shape, self.steps, self.offsets, self.sigmas, strict=True
            )
        )


def _of_image(factors: Any, axes: tuple[str, ...]) -> Any:
    """Return factors for all axes of an image: a number is for those of space."""
    space = [axis for axis in axes if axis in SPATIAL]
    if not isinstance(factors, Iterable):
        factors = dict.fromkeys(space, factors)
    elif not isinstance(factors, Mapping) and len(list(factors)) == len(space):
        factors = dict(zip(space, factors, strict=True))
    entries = per_axis(factors, axes, name="factors", default=1)
    for axis, entry in zip(axes, entries, strict=True):
        if axis not in SPATIAL and entry != 1:
            raise ValueError(
                f"factors must leave axis {axis!r} of an image alone, got {entry!r}; "
                "only z, y and x are reduced"
            )
    return entries


def _steps(factors: Any, ndim: int) -> tuple[int, ...]:
    steps = list(factors) if isinstance(factors, Iterable) else [factors] * ndim
    if len(steps) != ndim:
        raise ValueError(
            f"factors must have one entry for each of {ndim} axes, got {factors!r}"
        )
    if any(isinstance(f, bool) or int(f) != f or f < 1 for f in steps):
        raise ValueError(
            f"factors must be whole numbers of at least 1, got {factors!r}"
        )
    return tuple(map(int, steps))


def _fitted(mask: Any, shape: Sequence[int], steps: Sequence[int]) -> Any:
    """Return which voxels are under a mask of the shape of the array or the result."""
    if isinstance(mask, str | os.PathLike | Image):
        opened = open_image(mask)
        mask = opened.data
    if not (_is_array(mask) or on_gpu(mask)):
        raise TypeError(
            "mask must be a NumPy, CuPy or dask array, an Image, a path or a URL, got "
            f"{type(mask).__name__}"
        )
    found, made = tuple(mask.shape), tuple(map(ceil_div, shape, steps))
    under = mask != 0
    if found == tuple(shape):
        return under
    if found != made:
        raise ValueError(
            f"mask must have the shape of the array, {tuple(shape)!r}, or of the "
            f"result, {made!r}, got {found!r}"
        )
    for axis, step in enumerate(steps):
        if step > 1 and hasattr(under, "dask"):
            under = under.repeat(step, axis)
        elif step > 1:
            under = namespace(under).repeat(under, step, axis=axis)
    return under[tuple(slice(0, n) for n in shape)]


def _reduced(array: Any, way: _Way, under: Any) -> Any:
    """Return an array reduced, of the same kind."""
    compiled = pays_to_compile(math.prod(array.shape))
    samplings = way.samplings(array.shape)
    if hasattr(array, "dask"):
        if samplings is not None:
            return graph.resample_array(array, samplings)
        if under is not None:
            under = graph.in_blocks_of(under, array)
        reduction = way.reduction()
        return graph.reduce_array(array, reduction, compiled=compiled, mask=under)
    spans = [
        Span(first=0, stop=ceil_div(n, step), size=n)
        for n, step in zip(array.shape, way.steps, strict=True)
    ]
    if samplings is not None:
        needs = (s.needed(0, s.size_out) for s in samplings)
        return resample_block(array[tuple(needs)], samplings, spans, compiled=compiled)
    if under is not None and hasattr(under, "dask"):
        under = under.compute()
    reduction = way.reduction()
    return reduce_block(array, reduction, spans, mask=under, compiled=compiled)


def _reduced_image(image: Image, way: _Way, under: Any) -> Image:
    """Return an image reduced, lazily, with its spacing and place."""
    samplings = way.samplings(image.shape)
    if samplings is not None:
        return resampled_image(image, samplings)
    return replace(
        image,
        reader=None,
        graph=_reduced(image.data, way, under),
        origin=None,
        scale=tuple(s * f for s, f in zip(image.scale, way.steps, strict=True)),
        translation=tuple(
            start + spacing * offset
            for start, spacing, offset in zip(
                image.translation, image.scale, way.offsets, strict=True
            )
        ),
    )
