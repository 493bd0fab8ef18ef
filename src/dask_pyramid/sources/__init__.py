"""Each kind of input -> `Image`; a file for each format, nothing read but metadata."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import (
    default_axes,
    parse_axes,
    parse_units,
    per_axis,
    storage_permutation,
)
from dask_pyramid.image import Image, Reader
from dask_pyramid.locations import is_url, local_path, public_url
from dask_pyramid.sources.arrays import ArrayReader, TransposedReader
from dask_pyramid.sources.opened import Opened
from dask_pyramid.store_options import StoreOptions, parse_options
from dask_pyramid.stores import is_zip_store

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_tree", "open_image"]

ByAxis = Mapping[str, float] | Sequence[float]


def open_image(
    source: Any,
    axes: str | Iterable[str] | None = None,
    scale: ByAxis | None = None,
    translation: ByAxis | None = None,
    unit: str | Mapping[str, str | None] | Sequence[str | None] | None = None,
    name: str | None = None,
    *,
    labels: bool | None = None,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Image:
    """Open an image of any kind; pixels are read when they are asked for.

    Parameters
    ----------
    source : path, URL, array or Image
        A Zarr array or OME-Zarr image (path, s3, gs, az, http, https or file URL,
        `zarr.Array`, `zarr.Group`); a file or folder of any of `formats.FORMATS` (TIFF,
        HDF5, Imaris, N5, NIfTI, MRC, ...), and an image in it as if it were a folder
        (``"a.h5/raw"``); a folder or glob pattern of planes; a NumPy or dask array with
        2 to 5 dimensions; an xarray `DataArray` with evenly spaced coordinates, or a
        `DataTree`, of which level 0; or an `Image`.
    axes : str or iterable of str, optional
        Names of the input's dimensions out of t, c, z, y, x, in any order. By default
        what the source says, else the last of t, c, z, y, x.
    scale : dict by axis or sequence, optional
        Spacing of voxel centres in `unit`; a sequence is in the order of the input's
        axes. By default what the source says, else 1.
    translation : dict by axis or sequence, optional
        World position of the centre of voxel 0 in `unit`, given as `scale`; else 0.
    unit : str, dict by axis or sequence, optional
        Unit of the spatial axes, or by axis; else none.
    name : str, optional
        What viewers call the image.
    labels : bool, optional
        Whether the values are ids, which are never averaged: `write_pyramid` and
        `downsample` take the mode, `resample` copies. By default so for an OME-Zarr
        label image, which says so (`image-label`), and for nothing else: values are
        not looked at, and integers of a TIFF or an array are taken for intensities.
        Bools are masks, which are treated alike in any case.
    storage_options : dict or StoreOptions, optional
        How to open a URL: ``endpoint``, ``anonymous``, ``region``, keys, and the other
        names of `StoreOptions`. What is left out comes from the environment.

    Returns
    -------
    Image
        In storage order t, c, z, y, x. What is given wins over what the source says.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If the source cannot be read, is not one image, or an argument does not fit.
    ImportError
        If the format needs an extra that is not installed; the text names it.
    TypeError
        If `source` or its data type is of a kind that has no pyramid, or ids are not
        integers.
    PermissionError
        If a store refuses the credentials, or there are none.

    Examples
    --------
    >>> image = open_image(np.zeros((64, 48, 3), "uint8"), axes="yxc",
    ...                    scale={"y": 0.5, "x": 0.25}, unit="um")
    >>> image.axes, image.shape, image.scale
    (('c', 'y', 'x'), (3, 64, 48), (1.0, 0.5, 0.25))
    >>> open_image(np.zeros((64, 48), "uint32"), labels=True).labels
    True
    """
    given = None if axes is None else tuple(str(axis).lower() for axis in axes)
    opened = _open(source, given, storage_options)
    ndim = len(opened.pixels.shape)
    names = parse_axes(given or opened.axes, ndim)
    order = storage_permutation(names)
    spacing = _numbers(scale, opened.scale, names, "scale", 1.0)
    offset = _numbers(translation, opened.translation, names, "translation", 0.0)
    units = _units(unit, opened.unit, names)
    pixels = _in_storage_order(opened.pixels, order)
    is_reader = isinstance(pixels, Reader)
    return Image(
        axes=tuple(names[i] for i in order),
        scale=tuple(spacing[i] for i in order),
        translation=tuple(offset[i] for i in order),
        unit=tuple(units[i] for i in order),
        reader=pixels if is_reader else None,
        graph=None if is_reader else pixels,
        name=name or opened.name or "image",
        omero=opened.omero,
        labels=_are_ids(labels, opened),
        image_label=opened.image_label,
        origin=_origin(source, given, storage_options),
    )


def _origin(
    source: Any,
    axes: tuple[str, ...] | None,
    storage_options: Mapping[str, Any] | StoreOptions | None,
) -> Mapping[str, Any] | None:
    """Return by what another process opens the source; None if it cannot."""
    if isinstance(source, Image):
        return source.origin if axes is None else None
    if not isinstance(source, str | os.PathLike):
        return None
    place = local_path(os.fspath(source))
    if not is_url(place):
        return {"location": os.path.abspath(place), "axes": axes}
    if public_url(place) != place.rstrip("/"):
        return None  # a secret in a URL is not written down
    options = parse_options(storage_options, place).public()
    return {"location": place, "axes": axes, "storage_options": options}


def _numbers(
    given: ByAxis | None,
    found: Mapping[str, float],
    axes: tuple[str, ...],
    name: str,
    default: float,
) -> tuple[float, ...]:
    entries = per_axis(given, axes, name=name, default=None)
    known = (found.get(axis, default) for axis in axes)
    pairs = zip(entries, known, strict=True)
    return tuple(float(k if entry is None else entry) for entry, k in pairs)


def _units(
    given: str | Mapping[str, str | None] | Sequence[str | None] | None,
    found: Mapping[str, str | None],
    axes: tuple[str, ...],
) -> tuple[str | None, ...]:
    entries = parse_units(given, axes)
    pairs = zip(entries, axes, strict=True)
    return tuple(found.get(axis) if entry is None else entry for entry, axis in pairs)


def _are_ids(given: bool | None, opened: Opened) -> bool:
    """Return whether values are ids; bools need not say so."""
    dtype = np.dtype(opened.pixels.dtype)
    if given and dtype.kind not in "biu":
        raise TypeError(
            f"labels must be False for {dtype}, got {given!r}; ids are integers, "
            "convert whole numbers with astype('uint32')"
        )
    return opened.labels if given is None else bool(given) and dtype.kind != "b"


def _in_storage_order(pixels: Any, order: tuple[int, ...]) -> Any:
    if order == tuple(range(len(order))):
        return pixels
    if isinstance(pixels, Reader):
        return TransposedReader(pixels, order)
    return pixels.transpose(order)


def _open(
    source: Any,
    axes: tuple[str, ...] | None,
    storage_options: Mapping[str, Any] | StoreOptions | None,
) -> Opened:
    if isinstance(source, str | os.PathLike):
        location = local_path(os.fspath(source))
        options = parse_options(storage_options, location)
        return _open_location(location, axes, options)
    if storage_options is not None:
        raise ValueError(
            "storage_options must go with a URL, got "
            f"{type(source).__name__} as source; leave them out"
        )
    if isinstance(source, Image):
        return _reopened(source)
    if isinstance(source, np.ma.MaskedArray):
        raise TypeError(
            "source must be a plain array, got a masked one; say what masked voxels "
            "are with source.filled(value)"
        )
    if isinstance(source, np.ndarray):
        default_axes(source.ndim)
        return Opened(pixels=ArrayReader(source))
    return _open_foreign(source, axes)


def _open_foreign(source: Any, axes: tuple[str, ...] | None) -> Opened:
    """Open an array of another package, which has been imported by whoever made it."""
    if isinstance(source, _loaded("dask.array", "Array")):
        return Opened(pixels=_known_chunks(source))
    if isinstance(source, _loaded("zarr", "Array")):
        from dask_pyramid.sources.ome_zarr import open_array_node

        return open_array_node(source, axes)
    if isinstance(source, _loaded("zarr", "Group")):
        from dask_pyramid.sources.ome_zarr import open_group_node

        return open_group_node(source, axes)
    if is_tree(source) or isinstance(source, _loaded("xarray", "DataArray")):
        from dask_pyramid.sources.xarrays import levels_of_tree, open_data_array

        array = levels_of_tree(source)[0] if is_tree(source) else source
        return open_data_array(array, axes)
    raise TypeError(
        "source must be a path, a URL, a NumPy, dask, xarray or zarr array, a zarr "
        f"group or an Image, got {type(source).__name__}; wrap other arrays by "
        "dask.array.from_array"
    )


def _loaded(module: str, kind: str) -> Any:
    """Return a class of a module that is imported already, else a class of nothing."""
    return getattr(sys.modules.get(module), kind, ())


def is_tree(source: Any) -> bool:
    """Whether something is an xarray `DataTree`."""
    return isinstance(source, _loaded("xarray", "DataTree"))


def _reopened(image: Image) -> Opened:
    pixels = image.graph if image.reader is None else image.reader
    assert pixels is not None  # by construction: one of the two is there
    return Opened(
        pixels=pixels,
        axes=image.axes,
        scale=dict(zip(image.axes, image.scale, strict=True)),
        translation=dict(zip(image.axes, image.translation, strict=True)),
        unit=dict(zip(image.axes, image.unit, strict=True)),
        name=image.name,
        omero=image.omero,
        labels=image.labels,
        image_label=image.image_label,
    )


def _known_chunks(array: Any) -> Any:
    if any(extent != extent for extent in array.shape):
        raise ValueError(
            f"source must have a known shape, got {array.shape!r}; call "
            "compute_chunk_sizes() on the dask array first"
        )
    return array


def _open_location(
    source: str, axes: tuple[str, ...] | None, options: StoreOptions
) -> Opened:
    from dask_pyramid.sources.formats import find_format, open_file, split_part
    from dask_pyramid.sources.ome_zarr import is_zarr, open_zarr
    from dask_pyramid.sources.planes import is_pattern, open_folder, open_pattern

    if is_url(source):
        return open_zarr(source, axes, options=options)
    if is_pattern(source):
        return open_pattern(source, axes)
    path = Path(source)
    if path.is_dir():
        if path.suffix == ".zarr" or is_zarr(source):
            return open_zarr(source, axes)
        return (open_file if find_format(source) else open_folder)(source, axes)
    file, part = split_part(source)
    if is_zip_store(file) and os.path.isfile(file):
        return open_zarr(file, axes, part=part)
    if not os.path.exists(file):
        raise FileNotFoundError(
            f"source must exist, got {source!r}; check the path (relative to "
            f"{str(Path.cwd())!r})"
        )
    return open_file(file, axes, part=part)
