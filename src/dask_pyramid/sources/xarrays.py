"""xarray's arrays -> `Opened`: dimensions are axes, coordinates are spacing and place.

Coordinates must be evenly spaced and increase: pixels are never moved or turned here.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import STORAGE_ORDER, default_axes, normalise_unit
from dask_pyramid.sources.arrays import ArrayReader
from dask_pyramid.sources.opened import Opened, SourceError

if TYPE_CHECKING:
    import xarray

__all__ = ["SPACING", "levels_of_tree", "open_data_array"]

SPACING = "spacing"
"""Attribute of a coordinate: its step, which one value alone does not tell."""

_NAMES = {"time": "t", "channel": "c"}

# Positions may lie beside even ones by this part of a step: coordinates are often
# floats of 32 bits. Steps say less: they may drift little by little.
_UNEVEN = 0.1


def open_data_array(
    source: xarray.DataArray, axes: tuple[str, ...] | None = None
) -> Opened:
    """Open a `DataArray`; what lies in a file stays there.

    Parameters
    ----------
    source : xarray.DataArray
        Dimensions t, c, z, y, x (or time, channel, capitals) or, in the order of the
        dimensions, `axes`.
    axes : tuple of str, optional
        Names that the caller gave.

    Raises
    ------
    ValueError
        If coordinates of an axis are not evenly spaced, or decrease.
    TypeError
        If it holds something else than NumPy or dask arrays.
    """
    found = tuple(_NAMES.get(str(d).lower(), str(d).lower()) for d in source.dims)
    known = set(found) <= set(STORAGE_ORDER) and len(set(found)) == len(found)
    names = axes or (found if known else None)
    scale: dict[str, float] = {}
    translation: dict[str, float] = {}
    unit: dict[str, str | None] = {}
    pairs = zip(names or default_axes(source.ndim), source.dims, strict=False)
    for axis, dimension in pairs:
        if axis == "c" or dimension not in source.coords:
            continue
        coordinate = source.coords[dimension]
        step, first, word = _line(coordinate, str(dimension))
        scale[axis], translation[axis] = step, first
        with suppress(ValueError):
            unit[axis] = normalise_unit(word, axis)
    channels = _channels(source, names or ())
    return Opened(
        pixels=_pixels(source),
        axes=names,
        scale=scale,
        translation=translation,
        unit=unit,
        name=None if source.name is None else str(source.name),
        omero={"channels": channels} if channels else None,
        labels=source.attrs.get("labels") is True,
    )


def levels_of_tree(tree: xarray.DataTree) -> list[xarray.DataArray]:
    """Return the levels of a multiscale image, the largest first.

    Parameters
    ----------
    tree : xarray.DataTree
        A node for each level, with one array of pixels each, as `Pyramid.to_datatree`
        and multiscale-spatial-image make it (``scale0/image``).

    Raises
    ------
    ValueError
        If a node holds several images, none does, or they are not levels of one.
    """
    found = []
    for node in (tree, *tree.children.values()):
        # What has two dimensions of space is an image; others may describe it.
        images = [
            array
            for array in node.data_vars.values()
            if len({"y", "x"} & {str(d).lower() for d in array.dims}) == 2
        ]
        if len(images) > 1:
            raise SourceError(
                f"a level must hold one image, got {[str(a.name) for a in images]!r} "
                f"in {node.path!r}; open one of them, such as "
                f"tree[{node.path!r}][{str(images[0].name)!r}]"
            )
        found += images
    if not found:
        raise SourceError(
            "source must be a tree of levels, such as scale0/image, got one of "
            f"{sorted(tree.children)!r} without an image; open the subtree that is one"
        )
    levels = sorted(found, key=lambda array: array.size, reverse=True)
    _check_levels(levels, tree)
    name = tree.attrs.get("name", tree.name)
    return [level.rename(name or level.name) for level in levels]


def _check_levels(levels: list[xarray.DataArray], tree: xarray.DataTree) -> None:
    """Refuse images that are not one image at several sizes."""
    kinds = {(array.name, array.dims, array.dtype) for array in levels}
    extents = ((a.shape, b.shape) for a, b in pairwise(levels))
    if len(kinds) > 1 or any(
        m > n for large, small in extents for n, m in zip(large, small, strict=True)
    ):
        shown = [f"{a.name} {dict(a.sizes)} {a.dtype}" for a in levels[:4]]
        raise SourceError(
            "levels of a tree must be one image at decreasing sizes, got "
            f"{', '.join(shown)} in {sorted(tree.children)!r}; open the array that is "
            "meant, such as tree['scale0/image']"
        )


def _pixels(source: xarray.DataArray) -> Any:
    if source.chunks is None and not source.variable._in_memory:
        source = source.chunk("auto")  # of a file that is read when asked for
    data = source.data
    if isinstance(data, np.ndarray):
        return ArrayReader(data)
    if source.chunks is not None:
        return data
    raise TypeError(
        "source must hold NumPy or dask arrays, got a DataArray of "
        f"{type(data).__name__}; wrap them by source.chunk()"
    )


def _line(coordinate: xarray.DataArray, name: str) -> tuple[float, float, str]:
    """Return step, first value and unit of a coordinate."""
    values = np.asarray(coordinate.values)
    word = str(coordinate.attrs.get("units", coordinate.attrs.get("unit", "")))
    if values.dtype.kind in "mM":
        start = values[0] if values.dtype.kind == "M" else np.timedelta64(0)
        values, word = (values - start) / np.timedelta64(1, "s"), "s"
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise SourceError(
            f"coordinates must be numbers along one dimension, got {values.dtype} for "
            f"{name!r}; drop them with source.drop_vars({name!r})"
        )
    values = values.astype(float)
    if len(values) < 2:
        return float(coordinate.attrs.get(SPACING, 1.0)), float(values[0]), word
    # A dozen digits are the decimal that was meant: 0.1 * 3 is not 0.3.
    step = float(f"{(values[-1] - values[0]) / (len(values) - 1):.12g}")
    steps = np.diff(values)
    even = values[0] + step * np.arange(len(values))
    if not ((steps > 0).all() and (np.abs(values - even) <= _UNEVEN * step).all()):
        raise SourceError(
            f"coordinates must be evenly spaced and increase, got steps from "
            f"{steps.min():g} to {steps.max():g} for {name!r}; sort or interpolate "
            f"them (source.sortby, source.interp), or drop them with "
            f"source.drop_vars({name!r})"
        )
    return step, float(values[0]), word


def _channels(source: xarray.DataArray, names: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the names of channels, if coordinates say more than their numbers."""
    if "c" not in names:
        return []
    dimension = source.dims[names.index("c")]
    if dimension not in source.coords:
        return []
    values = np.asarray(source.coords[dimension].values)
    if values.dtype.kind in "iuf" and (values == np.arange(len(values))).all():
        return []
    return [{"label": str(value)} for value in values]
