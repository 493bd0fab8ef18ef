"""HDF5: one dataset, by its path in the file; or Imaris, or BigDataViewer.

Axes are those of `axistags` (vigra, ilastik) or of the dimension labels, the voxel size
is that of `element_size_um` (ilastik, Fiji) or, without a unit, of the axistags.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import SPATIAL, STORAGE_ORDER
from dask_pyramid.sources.bigdataviewer import is_views, open_views
from dask_pyramid.sources.files import FileReader, only_array
from dask_pyramid.sources.hdf5_volumes import check_filters, open_hdf5_file
from dask_pyramid.sources.imaris import is_imaris, open_imaris
from dask_pyramid.sources.opened import Opened, SourceError

if TYPE_CHECKING:
    import h5py

__all__ = ["open_dataset", "open_hdf5"]


def open_hdf5(path: str, axes: tuple[str, ...] | None, *, part: str = "") -> Opened:
    """Open an HDF5 file.

    Parameters
    ----------
    path : str
        Path of the file.
    axes : tuple of str, optional
        Names that the caller gave.
    part : str
        Path of a dataset or of a group in the file, or a setup of BigDataViewer.

    Raises
    ------
    ValueError
        If there is no such dataset, or several to choose from.
    """
    with open_hdf5_file(path) as file:
        if is_imaris(file) and not part:
            return open_imaris(path)
        if is_views(file) and "/" not in part:
            return open_views(path, part)
        name = _dataset_name(file, path, part)
        dataset = file[name]
        check_filters(dataset)
        names = _axes(dataset)
        known = axes or names or tuple(STORAGE_ORDER[-dataset.ndim :])
        sizes = _element_size(dataset, [axis for axis in "zyx" if axis in known])
        scale = sizes or _resolutions(dataset)
    return Opened(
        pixels=FileReader(open_dataset, path, name, kept=False),
        axes=names,
        scale=scale,
        unit=dict.fromkeys(sizes, "micrometer"),
    )


def open_dataset(path: str, part: str) -> Any:
    """Return a dataset; it keeps its file open."""
    dataset = open_hdf5_file(path)[part]
    check_filters(dataset)
    return dataset


def _dataset_name(file: h5py.File, path: str, part: str) -> str:
    import h5py

    node = file.get(part or "/")
    if isinstance(node, h5py.Dataset):
        return part
    if node is None:
        raise SourceError(
            f"source must be a dataset of {path!r}, got {part!r}, which it does not "
            f"hold; it holds {sorted(file)[:8]!r}"
        )
    found: dict[str, Any] = {}

    def visit(name: str, held: Any) -> None:
        # An image has an extent along two axes at least.
        numbers = isinstance(held, h5py.Dataset) and held.dtype.kind in "biuf"
        if numbers and sum(n > 1 for n in held.shape) >= 2:
            found[f"{part}/{name}".strip("/")] = held.shape

    node.visititems(visit)
    return only_array(path, found)


def _axes(dataset: h5py.Dataset) -> tuple[str, ...] | None:
    keys = [str(tag.get("key", "")) for tag in _axistags(dataset)]
    labels = keys or [dimension.label for dimension in dataset.dims]
    names = tuple(label.lower() for label in labels)
    known = len(names) == dataset.ndim == len(set(names))
    return names if known and set(names) <= set(STORAGE_ORDER) else None


def _element_size(dataset: h5py.Dataset, spatial: list[str]) -> dict[str, float]:
    """Return spacings in micrometers."""
    sizes = [float(n) for n in np.ravel(dataset.attrs.get("element_size_um", ()))]
    return _positive(dict(zip(reversed(spatial), reversed(sizes), strict=False)))


def _resolutions(dataset: h5py.Dataset) -> dict[str, float]:
    """Return spacings in a unit that vigra's tags do not name."""
    tags = ((tag.get("key"), tag.get("resolution", 0)) for tag in _axistags(dataset))
    return _positive({str(key): float(n) for key, n in tags if key in SPATIAL})


def _positive(sizes: dict[str, float]) -> dict[str, float]:
    return {axis: n for axis, n in sizes.items() if 0 < n < float("inf")}


def _axistags(dataset: h5py.Dataset) -> list[dict[str, Any]]:
    try:
        axes = json.loads(dataset.attrs.get("axistags", "{}")).get("axes", [])
    except (ValueError, TypeError, AttributeError):
        return []
    return [tag for tag in axes if isinstance(tag, dict)]
