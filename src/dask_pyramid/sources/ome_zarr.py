"""Zarr nodes -> `Opened`: bare arrays, OME-Zarr images, and groups that hold one image.

Plates, wells and groups of several images are refused, with the paths to choose from.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Any, cast

from dask_pyramid.axes import STORAGE_ORDER
from dask_pyramid.locations import is_url, local_path, public_url
from dask_pyramid.metadata import parse_multiscales
from dask_pyramid.multiscales import Multiscales, check_path, listed_paths, ome_of
from dask_pyramid.sources.opened import Opened, unreadable
from dask_pyramid.sources.zarr_arrays import ZarrReader
from dask_pyramid.stores import check_bucket, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    import zarr

    from dask_pyramid.store_options import StoreOptions

__all__ = ["open_array_node", "open_group_node", "open_zarr"]

_MARKS = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(folder: str) -> bool:
    """Whether a local folder holds the metadata of a Zarr node."""
    return any(os.path.isfile(os.path.join(folder, mark)) for mark in _MARKS)


def open_zarr(
    location: str,
    axes: tuple[str, ...] | None,
    *,
    part: str = "",
    options: StoreOptions | None = None,
) -> Opened:
    """Open a path or URL of a Zarr array or group.

    Parameters
    ----------
    location : str
        Path or URL.
    axes : tuple of str, optional
        Names that the caller gave; they allow names the package does not know.
    part : str
        Path of the node below it, which in a zipped file is no path of its own.
    options : StoreOptions, optional
        How to open a URL.

    Raises
    ------
    FileNotFoundError
        If there is no Zarr node.
    PermissionError
        If the store refuses the credentials, or there are none.
    OSError
        If the store does not answer.
    ValueError
        If the metadata cannot be read, or the group is not one image.
    """
    import zarr

    place = public_url(location) if is_url(location) else os.path.join(location, part)
    store = open_store(location, options=options, hurried=True)
    try:
        node = zarr.open(store, path=part, mode="r")
    except FileNotFoundError as error:
        check_bucket(store)
        raise FileNotFoundError(
            f"source must be a Zarr array or group, got {place!r}, which holds no "
            "zarr.json, .zarray or .zgroup; check the path"
        ) from error
    except Exception as error:
        if is_url(location) and isinstance(error, OSError):
            raise
        raise unreadable(error, location) from error
    if isinstance(node, zarr.Array):
        return open_array_node(node, axes, location=location)
    return open_group_node(node, axes, location=location)


def open_array_node(
    array: zarr.Array[Any],
    axes: tuple[str, ...] | None = None,
    *,
    location: str | None = None,
) -> Opened:
    """Open a bare array; its dimension names are its axes if all of them are known."""
    names: Any = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")  # xarray's, in v2
    found = tuple(str(name).lower() for name in names or ())
    known = len(set(found)) == len(found) and set(found) <= set(STORAGE_ORDER)
    path = array.path
    return Opened(
        pixels=_reader(array, path),
        axes=axes or (found if found and known else None),
        name=_stem(path or location or str(getattr(array.store, "root", ""))),
    )


def open_group_node(
    group: zarr.Group,
    axes: tuple[str, ...] | None = None,
    *,
    location: str | None = None,
) -> Opened:
    """Open level 0 of the one image that a group is or holds."""
    attributes = group.attrs.asdict()
    if not _has_image(attributes):
        try:
            group = _only_image(group, location)
        except (OSError, ValueError, TypeError):
            raise
        except Exception as error:
            raise unreadable(error, _place(group, location)) from error
        attributes = group.attrs.asdict()
    found = parse_multiscales(attributes)
    level = found.datasets[0]
    path = posixpath.join(group.path, level.path)
    try:
        reader = _reader(group, path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"datasets must be arrays, got {level.path!r}, which is not in "
            f"{_place(group, location)!r}; the image is incomplete"
        ) from error
    names = _axes(found, axes)
    if len(names) != len(reader.shape):
        raise ValueError(
            f"axes must name all {len(reader.shape)} dimensions of the array, got "
            f"{names!r} in {_place(group, location)!r}; name them with axes="
        )
    return Opened(
        pixels=reader,
        axes=names,
        scale=dict(zip(names, level.scale, strict=True)),
        translation=dict(zip(names, level.translation, strict=True)),
        unit=dict(zip(names, found.unit, strict=True)),
        name=found.name or _stem(_place(group, location)),
        omero=found.omero,
        labels=found.image_label is not None and reader.dtype.kind in "iu",
        image_label=_said_of_ids(found.image_label),
    )


def _said_of_ids(found: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what holds of the ids wherever they are: the source is a place."""
    if found is None:
        return None
    return {key: value for key, value in found.items() if key != "source"}


def _axes(found: Multiscales, axes: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the names of the file, or those given if the file's are not known."""
    names = tuple(name.lower() for name in found.axes)
    if set(names) <= set(STORAGE_ORDER):
        return names
    if axes is not None and len(axes) == len(names):
        return axes
    raise ValueError(
        f"axes of the image must be out of t, c, z, y, x, got {found.axes!r}; name "
        f"them with axes=, such as axes={STORAGE_ORDER[-len(names) :]!r}"
    )


def _reader(node: zarr.Array[Any] | zarr.Group, path: str) -> ZarrReader:
    return ZarrReader(node.store, path)


def _has_image(attributes: Mapping[str, Any]) -> bool:
    return "multiscales" in ome_of(attributes)


def _only_image(group: zarr.Group, location: str | None) -> zarr.Group:
    """Return the one image within a group, as bioformats2raw and others write it."""
    ome = ome_of(group.attrs.asdict())
    place = _place(group, location)
    if "plate" in ome or "well" in ome:
        kind = "plate" if "plate" in ome else "well"
        listed = listed_paths(ome[kind], "wells" if kind == "plate" else "images")
        paths = [path for path, _ in listed[:8] if path is not None]
        raise ValueError(
            f"source must be one image, got a {kind}, {place!r}; open a field of view "
            f"in one of {paths!r}"
        )
    names = _children(group, ome)
    if isinstance(ome.get("labels"), list):
        names = [str(name) for name in ome["labels"]]
        for name in names:
            check_path(name)
    images = [name for name in names if _is_image(group, name)]
    if len(images) == 1:
        return cast("zarr.Group", group[images[0]])
    if images:
        raise ValueError(
            f"source must be one image, got {place!r}, which holds the images "
            f"{images!r}; open one of them, such as {place}/{images[0]}"
        )
    raise ValueError(
        f"source must be an OME-Zarr image, got the group {place!r} without "
        f"'multiscales'; it holds {names[:8]!r}: open the path of an array"
    )


def _children(group: zarr.Group, ome: Mapping[str, Any]) -> list[str]:
    from obstore.exceptions import BaseError

    try:
        return sorted(group.keys())
    except (BaseError, OSError):
        # A plain web server cannot list. "images ... named by consecutive integers"
        # (bioformats2raw.layout, 0.4 to 0.6).
        return ["0"] if "bioformats2raw.layout" in ome else []


def _is_image(group: zarr.Group, name: str) -> bool:
    node = group.get(name)
    return node is not None and _has_image(node.attrs.asdict())


def _place(group: zarr.Group, location: str | None) -> str:
    root = location or str(getattr(group.store, "root", "") or group.store)
    root = public_url(root) if is_url(root) else local_path(root)
    return posixpath.join(root, group.path) if group.path else root


def _stem(place: str) -> str | None:
    stem = posixpath.basename(place.replace("\\", "/").rstrip("/"))
    for suffix in (".zarr", ".ome"):
        stem = stem.removesuffix(suffix)
    return stem or None
