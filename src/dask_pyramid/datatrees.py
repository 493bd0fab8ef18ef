"""A pyramid as an xarray `DataTree`: a node for each level, with coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.sources.xarrays import SPACING

if TYPE_CHECKING:
    import xarray

    from dask_pyramid.pyramid import Pyramid

__all__ = ["to_tree"]


def to_tree(pyramid: Pyramid) -> xarray.DataTree:
    """Return all levels; see `Pyramid.to_datatree`."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError(
            "to_datatree() needs xarray, which is not installed; "
            "pip install 'dask-pyramid[xarray]'"
        ) from error
    tree = xarray.DataTree(name=pyramid.name)
    tree.attrs = {"name": pyramid.name, **_said(pyramid)}
    for number, level in enumerate(pyramid.levels):
        array = xarray.DataArray(
            level,
            dims=pyramid.axes,
            coords=dict(_coordinates(pyramid, number)),
            attrs=_said(pyramid),
        )
        tree[f"scale{number}"] = xarray.DataTree(array.to_dataset(name="image"))
    return tree


def _said(pyramid: Pyramid) -> dict[str, Any]:
    """Return what the pixels are: by what method they were made, whether ids."""
    method = {"method": pyramid.method} if pyramid.method else {}
    return method | ({"labels": True} if pyramid.image.labels else {})


def _coordinates(pyramid: Pyramid, number: int) -> Any:
    extents = zip(
        pyramid.axes,
        pyramid.levels[number].shape,
        pyramid.scale[number],
        pyramid.translation[number],
        pyramid.unit,
        strict=True,
    )
    for axis, extent, step, first, unit in extents:
        if axis == "c":
            names = _channel_names(pyramid)
            if len(set(names)) == extent:
                yield axis, (axis, names)
            continue
        values = first + step * np.arange(extent)
        attributes = {SPACING: step} | ({"units": unit} if unit else {})
        yield axis, (axis, values, attributes)


def _channel_names(pyramid: Pyramid) -> list[str]:
    channels = (pyramid.image.omero or {}).get("channels", ())
    names = [channel.get("label") for channel in channels]
    return [str(name) for name in names] if all(names) else []
