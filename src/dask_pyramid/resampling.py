"""Any spacing, up or down: the public verb. The arithmetic is in `sampling`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from dask_pyramid.filters import check_sigma
from dask_pyramid.methods import Method, find_method
from dask_pyramid.sampling import BOUNDARIES, Sampling, check_order, check_way
from dask_pyramid.sources import open_image
from dask_pyramid.sources.resampled import resampled_image
from dask_pyramid.spacing import spatial_entries, wanted_spacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.image import Image
    from dask_pyramid.spacing import Wanted

__all__ = ["resample"]

ByAxis = float | str | dict[str, Any] | tuple[Any, ...] | list[Any]


def resample(
    image: Any,
    *,
    scale: ByAxis | None = None,
    factor: float | Mapping[str, float] | Sequence[float] | None = None,
    shape: Mapping[str, int] | Sequence[int] | None = None,
    isotropic: Literal["finest", "coarsest"] | float | str | None = None,
    zoom: float | None = None,
    order: int | None = None,
    anti_aliasing: bool | None = None,
    sigma: float | Mapping[str, float] | Sequence[float | None] | None = None,
    method: str | Method | None = None,
    boundary: str = "reflect",
) -> Image:
    """Return an image at another spacing, lazily.

    One of `scale`, `factor`, `shape` and `isotropic` says which. Axes t and c stay as
    they are.

    Parameters
    ----------
    image : Image, path, URL or array
        What `open_image` takes. A label image is one that says so: an OME-Zarr label
        image, or ``open_image(ids, labels=True)``; values are not looked at.
    scale : number, text, dict by axis or sequence, optional
        Spacing wanted: numbers in the image's unit, or texts with a unit
        (``"500 nm"``). One value is for all spatial axes; a sequence has one for each
        axis, or for each spatial axis.
    factor : float, dict by axis or sequence, optional
        New samples for each old one: 0.5 halves, 2 doubles the number, as in
        scikit-image.
    shape : dict by axis or sequence of int, optional
        Extent wanted; voxels become so large that they cover the same. With `scale` or
        `factor`, which say how large they are, whether extents round up or down.
    isotropic : {"finest", "coarsest"}, number or text, optional
        One spacing for all spatial axes: the finest or coarsest there is, or this one.
    zoom : float, optional
        With `isotropic`: so many samples where there was one; by default 1.
    order : int, optional
        Order of the spline, 0 to 5, as in `scipy.ndimage`; by default 1, and 0 for
        label images (see `image`) and bools.
    anti_aliasing : bool, optional
        Whether a Gaussian goes first along axes that shrink; by default for all but
        labels, masks and order 0.
    sigma : float, dict by axis or sequence, optional
        Standard deviation of the Gaussian in voxels of the image; a number is for all
        axes that shrink. By default ``(1 / factor - 1) / 2``; 1 / factor / 4 is used,
        too.
    method : {"nearest", "mean", "gaussian"} or None
        What axes that shrink are made by, in place of Gaussian and spline; `order` is
        then for those that grow.
        ``"nearest"``: one voxel each, decimation by any factor. ``"mean"``: local mean
        over the new voxel, parts of voxels weighed as such. ``"gaussian"``: Gaussian
        (`sigma`, by default 1 / factor / 4), then that mean, as in pyramids.
    boundary : {"reflect", "mirror", "nearest"}
        How the image goes on beyond its border, as in `scipy.ndimage`.

    Returns
    -------
    Image
        Same dtype, with its spacing and place: the samples begin half a new voxel
        inside the first edge. If `image` can be read by region the result can, too, and
        `write_pyramid` writes it through units; a dask graph stays one.

    Raises
    ------
    ValueError
        If none or too many of the four are given, an argument breaks a rule, or labels
        would be averaged.

    Notes
    -----
    The length of an axis is ``round(n * factor)``, half to even, at least 1. The
    spacing asked for is kept exactly; `shape` alone gives n / m.

    A sample is a weighted sum of voxels around it, the same whatever the chunks. It
    equals `scipy.ndimage.map_coordinates` on the whole array to 1e-8 of the range, for
    float64; others differ by the rounding of their sums, integers by one at ties. Axes
    of up to 5 voxels differ more, for which SciPy's own spline filter is approximate.
    The Gaussian is not rounded before the spline. Sums go in float32 for data of 8 and
    16 bits, in float64 above; integers are rounded once, half to even, and cut to their
    range, which orders above 1 overshoot. Order 0 copies values; half way between two
    voxels it takes the one behind.

    How large it gets is known before anything is read: ``resample(...).nbytes``, and
    `plan_pyramid` of it.

    All voxels count: NaN makes NaN of all that it reaches, which for orders 2 to 5 are
    the samples within 13 to 35 voxels along each axis, and a value for nothing measured
    is one as any other. To leave voxels out, reduce by whole factors with
    `downsample`, or by any with ``write_pyramid(scale_factors=[2.5], nodata=0)``.

    Whole factors with extents that round up: `downsample` with `order`.

    Examples
    --------
    >>> import numpy as np
    >>> stack = open_image(np.zeros((86, 396, 393), "uint8"), unit="um",
    ...                    scale=(1, 0.202, 0.202))
    >>> resample(stack, isotropic="coarsest").shape
    (86, 80, 79)
    >>> fine = resample(stack, isotropic="coarsest", zoom=2)
    >>> fine.shape, fine.scale, fine.nbytes
    ((172, 160, 159), (0.5, 0.5, 0.5), 4375680)
    """
    opened = open_image(image)
    wanted = wanted_spacing(
        opened, scale=scale, factor=factor, shape=shape, isotropic=isotropic, zoom=zoom
    )
    way = _way(
        opened,
        order=order,
        anti_aliasing=anti_aliasing,
        sigma=sigma,
        method=None if method is None else find_method(method),
        grows=any(want.a < 1 for want in wanted),
    )
    if boundary not in BOUNDARIES:
        raise ValueError(
            f"boundary must be one of {', '.join(BOUNDARIES)}, got {boundary!r}"
        )
    sigmas = spatial_entries(sigma, opened.axes, name="sigma")
    samplings = tuple(
        _sampling(
            n,
            want,
            way=way,
            # A number is for the axes that shrink, a dict for those that it names.
            sigma=s if want.a > 1 or isinstance(sigma, Iterable) else None,
            boundary=boundary,
        )
        for n, want, s in zip(opened.shape, wanted, sigmas, strict=True)
    )
    made = resampled_image(opened, samplings)
    # As they were asked for, not to the last bit of a product.
    return replace(made, scale=tuple(want.scale for want in wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How samples are made."""

    order: int
    """Of the spline."""
    box: bool = False
    """Whether axes that shrink are made by a mean."""
    slope: float | None = None
    """Sigma of axes that shrink is ``slope * (1 / factor - origin)``; None: none."""
    origin: int = 0
    """See `slope`."""


_MEANS = {
    "mean": _Way(order=1, box=True),
    "gaussian": _Way(order=1, box=True, slope=0.25),
}


def _way(
    image: Image,
    *,
    order: int | None,
    anti_aliasing: bool | None,
    sigma: Any,
    method: Method | None,
    grows: bool,
) -> _Way:
    """Return how samples are made; refuse what would average labels."""
    discrete = image.labels or image.dtype.kind == "b"
    if order is not None:
        check_order(order)
    if method is not None:
        way = _of_method(method, order=order, anti_aliasing=anti_aliasing, grows=grows)
    else:
        number = (0 if discrete else 1) if order is None else order
        smooth = (
            (number > 0 or sigma is not None)
            if anti_aliasing is None
            else anti_aliasing
        )
        way = _Way(order=number, slope=0.5 if smooth else None, origin=1)
    check_way(
        sigma=sigma,
        smooth=way.slope is not None,
        averages=way.order > 0 or way.box,
        labels=image.labels,
    )
    return way


def _of_method(
    method: Method, *, order: int | None, anti_aliasing: bool | None, grows: bool
) -> _Way:
    if anti_aliasing is not None:
        raise ValueError(
            f"anti_aliasing must not be given with a method, got {anti_aliasing!r} "
            f"with {method.name!r}"
        )
    if method.name == "nearest":
        if order:
            raise ValueError(f"order must be 0 for method 'nearest', got {order!r}")
        return _Way(order=0)
    if method.name not in _MEANS:
        raise ValueError(
            "method must be 'nearest', 'mean' or 'gaussian', got "
            f"{method.name!r}, which is made of whole windows; resample by a whole "
            "factor with downsample, or write it with write_pyramid"
        )
    if order is not None and not grows:
        raise ValueError(
            f"order must not be given with a method where no axis grows, got {order!r} "
            f"with {method.name!r}, which takes the place of the spline; leave out one "
            "of both"
        )
    way = _MEANS[method.name]
    return way if order is None else replace(way, order=order)


def _sampling(
    size: int, want: Wanted, *, way: _Way, sigma: float | None, boundary: str
) -> Sampling:
    shrinks = want.a > 1
    width = 0.0
    if sigma is not None and way.slope is not None:
        width = float(sigma)
        check_sigma(width, want.a, given=sigma)
    elif shrinks and way.slope is not None:
        width = way.slope * (want.a - way.origin)
    return Sampling(
        size_in=size,
        size_out=want.size,
        a=want.a,
        b=want.b,
        order=way.order,
        box=way.box and shrinks,
        sigma=width,
        boundary=boundary,
    )
