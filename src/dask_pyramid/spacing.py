"""Which spacing and extent a resampling is asked for: numbers alone, nothing is read.

Four ways to say it, `scale`, `factor`, `shape` and `isotropic`, become one `Wanted` for
each axis.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dask_pyramid.axes import SPATIAL, normalise_unit, per_axis
from dask_pyramid.lengths import comparable

if TYPE_CHECKING:
    from dask_pyramid.image import Image

__all__ = ["Wanted", "spatial_entries", "wanted_spacing"]

# New samples for an old one, or the other way round: the largest step of a pyramid.
_MOST = 2**15
# What integers of stored formats count.
_MOST_VOXELS = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one axis shall become."""

    size: int
    """Number of samples."""
    a: float
    """Distance of two samples, in voxels of the image."""
    scale: float
    """The same in the unit of the axis, as it was asked for."""

    @property
    def b(self) -> float:
        """Position of sample 0: half a new voxel inside the first edge."""
        return (self.a - 1) / 2


def wanted_spacing(
    image: Image,
    *,
    scale: Any = None,
    factor: Any = None,
    shape: Any = None,
    isotropic: Any = None,
    zoom: float | None = None,
) -> tuple[Wanted, ...]:
    """Return what each axis shall become.

    Parameters
    ----------
    image : Image
        The image; only its axes, shape, scale and unit are looked at.
    scale, factor, shape, isotropic, zoom
        As for `dask_pyramid.resample`; one of the first four, or `shape` beside one.

    Returns
    -------
    tuple of Wanted
        One for each axis; t and c stay as they are.

    Raises
    ------
    ValueError
        If none or several are given, or one breaks a rule.
    """
    given = {
        "scale": scale,
        "factor": factor,
        "shape": shape,
        "isotropic": isotropic,
    }
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1 and set(named) not in ({"scale", "shape"}, {"factor", "shape"}):
        raise ValueError(
            "exactly one of scale, factor, shape and isotropic must be given, or shape "
            f"with scale or factor, got {', '.join(named) or 'none'}"
        )
    if zoom is not None and isotropic is None:
        raise ValueError(
            f"zoom must go with isotropic, got {zoom!r} with {named[0]}; give the "
            "factor, or isotropic='finest' or 'coarsest'"
        )
    if shape is not None and len(named) == 1:
        wanted = _of_shape(image, shape)
    elif factor is not None:
        wanted = _of_factor(image, factor)
    elif scale is not None:
        spacings = spatial_entries(scale, image.axes, name="scale")
        wanted = _of_scale(image, spacings, name="scale")
    else:
        spacings = _isotropic(image, isotropic, zoom)
        wanted = _of_scale(image, spacings, name="isotropic")
    if shape is not None and len(named) > 1:
        wanted = _cut(image, wanted, _sizes(image, shape))
    voxels = math.prod(want.size for want in wanted)
    if voxels > _MOST_VOXELS:
        raise ValueError(
            f"{named[0]} must make an image of at most 2**63 voxels, got "
            f"{given[named[0]]!r} for {voxels:.3g}"
        )
    return wanted


def spatial_entries(value: Any, axes: Sequence[str], *, name: str) -> tuple[Any, ...]:
    """Spread a value over the axes; None where nothing is said.

    Parameters
    ----------
    value : number, text, dict by axis or sequence
        One value for all spatial axes; a sequence has an entry for each axis, or for
        each spatial axis.
    axes : sequence of str
        Axes in storage order.
    name : str
        What to call `value` in a message.

    Returns
    -------
    tuple
        One entry for each axis.

    Raises
    ------
    ValueError
        If t or c is named, an axis is not there, or the length is wrong.

    Examples
    --------
    >>> spatial_entries(2, "czyx", name="factor")
    (None, 2, 2, 2)
    >>> spatial_entries((1, 2, 3), "czyx", name="factor")
    (None, 1, 2, 3)
    """
    space = [axis for axis in axes if axis in SPATIAL]
    if isinstance(value, str) or not isinstance(value, Iterable):
        value = dict.fromkeys(space, value)
    elif not isinstance(value, Mapping):
        value = tuple(value)
        if len(value) == len(space):
            value = dict(zip(space, value, strict=True))
    entries = per_axis(value, axes, name=name, default=None)
    for axis, entry in zip(axes, entries, strict=True):
        if axis not in SPATIAL and entry is not None:
            raise ValueError(
                f"{name} must leave axis {axis!r} alone, got {entry!r}; only z, y and "
                "x are resampled"
            )
    return entries


def _sizes(image: Image, shape: Any) -> tuple[int | None, ...]:
    """Return the extents that are asked for; None along axes that are not named."""
    if not isinstance(shape, Iterable) or isinstance(shape, str):
        raise ValueError(
            f"shape must be a dict by axis or a sequence, got {shape!r}; "
            "{'y': 512, 'x': 512} leaves z alone"
        )
    if not isinstance(shape, Mapping):
        shape = tuple(shape)
        if len(shape) == image.ndim:  # t and c may be given as they are
            shape = {
                axis: size
                for axis, size, n in zip(image.axes, shape, image.shape, strict=True)
                if axis in SPATIAL or size != n
            }
    sizes = spatial_entries(shape, image.axes, name="shape")
    for size in sizes:
        whole = isinstance(size, int) and not isinstance(size, bool)
        if size is not None and not (whole and size >= 1):
            raise ValueError(
                f"shape must hold whole numbers of at least 1, got {size!r}"
            )
    return sizes


def _of_shape(image: Image, shape: Any) -> tuple[Wanted, ...]:
    sizes = _sizes(image, shape)
    found = []
    for axis, size, n, scale in zip(
        image.axes, sizes, image.shape, image.scale, strict=True
    ):
        size = n if size is None else size
        _check_step(size, n, given=size, name="shape", axis=axis)
        found.append(Wanted(size=size, a=n / size, scale=scale * (n / size)))
    return tuple(found)


def _cut(
    image: Image, spaced: Sequence[Wanted], sizes: Sequence[int | None]
) -> tuple[Wanted, ...]:
    """Return spacings with extents that were asked for, if both may go together."""
    found = []
    for axis, n, space, size in zip(
        image.axes, image.shape, spaced, sizes, strict=True
    ):
        exact = n / space.a
        wanted = space.size if size is None else size
        if not exact - 1 < wanted < exact + 1:
            raise ValueError(
                "shape must be what the spacing gives, rounded up or down, got "
                f"{wanted} for {exact:g} along {axis!r}; leave out one of both"
            )
        found.append(replace(space, size=wanted))
    return tuple(found)


def _of_factor(image: Image, factor: Any) -> tuple[Wanted, ...]:
    found = []
    entries = spatial_entries(factor, image.axes, name="factor")
    for axis, entry, n, scale in zip(
        image.axes, entries, image.shape, image.scale, strict=True
    ):
        number = 1.0 if entry is None else _positive(entry, "factor")
        _check_step(number, 1, given=entry, name="factor", axis=axis)
        a = 1 / number
        found.append(Wanted(size=_length(n * number), a=a, scale=scale * a))
    return tuple(found)


def _of_scale(
    image: Image, spacings: Sequence[Any], *, name: str
) -> tuple[Wanted, ...]:
    found = []
    for axis, entry, n, old, unit in zip(
        image.axes, spacings, image.shape, image.scale, image.unit, strict=True
    ):
        new = old
        if isinstance(entry, str):
            if unit is None:
                raise ValueError(
                    f"{name} must be a number where the image has no unit, got "
                    f"{entry!r} for axis {axis!r}; give unit= to open_image"
                )
            new = _positive(_length_in(entry, unit), name)
        elif entry is not None:
            new = _positive(entry, name)
        _check_step(old, new, given=entry, name=name, axis=axis)
        found.append(Wanted(size=_length(n * old / new), a=new / old, scale=new))
    return tuple(found)


def _isotropic(image: Image, isotropic: Any, zoom: float | None) -> tuple[Any, ...]:
    """Return the spacing of isotropic voxels, for each axis in its own unit."""
    space = [i for i, axis in enumerate(image.axes) if axis in SPATIAL]
    units = {image.unit[i] for i in space}
    if None in units and len(units) > 1:
        raise ValueError(
            "isotropic must know the unit of all spatial axes or of none, got "
            f"{image.unit!r}; give unit= to open_image"
        )
    # What one unit of each axis is, so that axes can be compared.
    size = comparable((1.0,) * image.ndim, image.unit, image.axes)
    spacing = [image.scale[i] * size[i] for i in space]
    zoomed = 1.0 if zoom is None else _positive(zoom, "zoom")
    if isotropic in ("finest", "coarsest"):
        chosen = spacing.index((min if isotropic == "finest" else max)(spacing))
        wanted: Any = image.scale[space[chosen]] / zoomed
        home = space[chosen]
    elif isinstance(isotropic, str):
        if not any(letter.isdigit() for letter in isotropic):
            raise ValueError(
                "isotropic must be 'finest', 'coarsest' or a spacing, a number or a "
                f"text such as '0.5 um', got {isotropic!r}"
            )
        if zoomed != 1:
            raise ValueError(
                f"zoom must go with a spacing that is a number, got {isotropic!r}"
            )
        return tuple(isotropic if i in space else None for i in range(image.ndim))
    else:
        if len(units) > 1:
            raise ValueError(
                f"isotropic must have a unit where axes differ in theirs, got "
                f"{isotropic!r} for {image.unit!r}; write '0.5 um'"
            )
        wanted, home = _positive(isotropic, "isotropic") / zoomed, space[0]
    found: list[Any] = [None] * image.ndim
    for i in space:
        same = image.unit[i] == image.unit[home]
        found[i] = wanted if same else float(f"{wanted * size[home] / size[i]:.15g}")
    return tuple(found)


def _length_in(text: str, unit: str) -> float:
    """Return a length with its unit as a number in another unit.

    Parameters
    ----------
    text : str
        A number and a unit of length: ``"500 nm"``, ``"0.5um"``.
    unit : str
        UDUNITS word of the unit wanted.

    Returns
    -------
    float
        To 15 digits, for 500 nm are half a micrometre and not a hair more.

    Raises
    ------
    ValueError
        If the text is no length.

    Examples
    --------
    >>> _length_in("500 nm", "micrometer")
    0.5
    """
    match = re.fullmatch(r"\s*([-+0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(\D+?)\s*", text)
    try:
        number = float(match[1]) if match else math.nan
    except ValueError:
        number = math.nan
    if match is None or math.isnan(number):
        raise ValueError(
            f"a length must be a number with a unit such as '0.5 um', got {text!r}"
        )
    given = normalise_unit(match[2], "x")
    # In metres, both of them.
    (length_m,) = comparable((number,), (given,), "x")
    (unit_m,) = comparable((1.0,), (unit,), "x")
    return float(f"{length_m / unit_m:.15g}")


def _check_step(
    samples: float, voxels: float, *, given: Any, name: str, axis: str
) -> None:
    """Refuse what no image is resampled by, before its taps and objects are counted."""
    if samples > voxels * _MOST or voxels > samples * _MOST:
        raise ValueError(
            f"{name} must make at most {_MOST} samples of a voxel, and one of at most "
            f"{_MOST}, got {given!r} for axis {axis!r}"
        )


def _length(samples: float) -> int:
    """Return a number of samples: half to even, at least one."""
    return max(1, round(samples))


def _positive(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be positive, got {value!r}")
    return number
