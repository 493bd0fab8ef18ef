"""A stored pyramid -> an `Image` for each of its levels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dask_pyramid.axes import storage_permutation
from dask_pyramid.image import Image, Reader
from dask_pyramid.locations import is_url, local_path, public_url
from dask_pyramid.metadata import parse_multiscales
from dask_pyramid.multiscales import check_path, ome_of
from dask_pyramid.provenance import is_unfinished
from dask_pyramid.sources import is_tree, open_image
from dask_pyramid.sources.arrays import TransposedReader
from dask_pyramid.sources.formats import split_part
from dask_pyramid.sources.opened import unreadable
from dask_pyramid.sources.zarr_arrays import ZarrReader
from dask_pyramid.store_options import StoreOptions, parse_options
from dask_pyramid.stores import check_bucket, is_zip_store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import zarr

    from dask_pyramid.multiscales import Multiscales

__all__ = ["StoredPyramid", "open_stored", "stored_labels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPyramid:
    """What a store says of its pyramid."""

    levels: tuple[Image, ...]
    """An image for each level, level 0 first."""
    method: str | None
    """The `type` of the multiscales."""
    location: str
    """Path or URL; empty for a store object."""
    group: zarr.Group | None
    """The group of the image; None if it is no store."""


def open_stored(
    location: Any, *, storage_options: Mapping[str, Any] | StoreOptions | None = None
) -> StoredPyramid:
    """Open all levels of an OME-Zarr image; see `dask_pyramid.open_pyramid`."""
    if is_tree(location):
        return _open_tree(location)
    by_path = isinstance(location, str | os.PathLike)
    place = local_path(os.fspath(location)) if by_path else ""
    shown = public_url(place) if is_url(place) else place
    options = parse_options(storage_options, place)
    group = _group_at(place, options) if by_path else _group_in(location)
    attributes = group.attrs.asdict()
    if is_unfinished(attributes):
        raise ValueError(
            f"a pyramid must be complete, got {shown or group!r}, whose writing has "
            "not finished; run_units and then finish_pyramid (dask-pyramid units, "
            "then finish) go on with a plan that was stored, mode='a' with a run"
        )
    found = parse_multiscales(attributes)
    first = open_image(place, storage_options=options) if place else open_image(group)
    return StoredPyramid(
        levels=(first, *_coarser(first, found, group)),
        method=found.type,
        location=place or str(group.store),
        group=group,
    )


def _coarser(first: Image, found: Multiscales, group: zarr.Group) -> Iterator[Image]:
    """Yield the levels of a group above level 0."""
    order = storage_permutation([axis.lower() for axis in found.axes])
    for dataset in found.datasets[1:]:
        path = f"{group.path}/{dataset.path}".strip("/")
        reader: Reader = ZarrReader(group.store, path)
        if order != tuple(range(len(order))):
            reader = TransposedReader(reader, order)
        yield Image(
            axes=first.axes,
            scale=tuple(dataset.scale[i] for i in order),
            translation=tuple(dataset.translation[i] for i in order),
            unit=first.unit,
            reader=reader,
            name=first.name,
            omero=first.omero,
            labels=first.labels,
        )


def _group_at(place: str, options: StoreOptions) -> zarr.Group:
    """Return the group at a path or URL."""
    file, part = split_part(place)
    if not is_zip_store(file):  # no other file has groups
        file, part = place, ""
    return _open_group(open_store(file, options=options, hurried=True), part, place)


def _group_in(location: Any) -> zarr.Group:
    """Return a group, or that of a store."""
    import zarr

    if isinstance(location, zarr.Group):
        return location
    return _open_group(location, "", "")


def _open_group(store: Any, part: str, place: str) -> zarr.Group:
    """Return the group of a store below a path; `place` is what was asked for."""
    import zarr
    from zarr.errors import ContainsArrayError

    shown = (public_url(place) if is_url(place) else place) or store
    try:
        return zarr.open_group(store, path=part, mode="r")
    except ContainsArrayError as error:
        raise ValueError(
            f"a pyramid must be an OME-Zarr group, got the array {shown!r}; open the "
            "group that holds it"
        ) from error
    except FileNotFoundError as error:
        check_bucket(store)
        raise FileNotFoundError(
            f"a pyramid must be an OME-Zarr group, got {shown!r}, {_instead(place)}"
        ) from error
    except Exception as error:
        if is_url(place) and isinstance(error, OSError):
            raise
        raise unreadable(error, place or str(store)) from error


def _instead(place: str) -> str:
    """Return what is where no group is, and the way out."""
    if place and not is_url(place) and os.path.exists(place):
        return "which is something else; write_pyramid makes one of an image"
    return "where there is none; check the path"


def _open_tree(tree: Any) -> StoredPyramid:
    from dask_pyramid.sources.xarrays import levels_of_tree

    levels = [open_image(level) for level in levels_of_tree(tree)]
    if len({level.axes for level in levels}) > 1:
        raise ValueError(
            "levels must have the same axes, got "
            f"{', '.join(''.join(level.axes) for level in levels)}; open one of them"
        )
    return StoredPyramid(
        levels=tuple(levels),
        method=tree.attrs.get("method"),
        location="",
        group=None,
    )


def stored_labels(group: zarr.Group) -> dict[str, zarr.Group]:
    """Return the label images that an image lists, by name, and are there.

    Parameters
    ----------
    group : zarr.Group
        The image.
    """
    import zarr

    try:
        held = group.get("labels")
    except Exception as error:  # whatever zarr raises over damaged metadata
        raise unreadable(error, f"{group.store_path}/labels") from error
    if not isinstance(held, zarr.Group):
        return {}
    listed = ome_of(held.attrs.asdict()).get("labels")
    found = {}
    for name in listed if isinstance(listed, list) else []:
        check_path(name)
        node = held.get(name)
        if isinstance(node, zarr.Group):
            found[name] = node
    return found
