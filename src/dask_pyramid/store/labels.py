"""The `labels` group of an image: where a label image goes, and the list of them.

A label image is listed when it is complete: readers find it through the list.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dask_pyramid.credentials import address_of
from dask_pyramid.labelled import check_name
from dask_pyramid.store.apart import refuse_arrays
from dask_pyramid.store.contents import read_attributes, refuse_links
from dask_pyramid.store.locks import Lock, LockedError
from dask_pyramid.store.publication import consolidate_again
from dask_pyramid.store.targets import open_target
from dask_pyramid.stores import store_place, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.store.targets import Target

__all__ = ["list_label", "open_label"]

_GROUP = "labels"

# Putting a name into the list takes far less.
_WAITS, _WAIT_SECONDS = 60, 0.5


def open_label(
    image: Target, name: str, *, mode: str, sources: Sequence[str] = ()
) -> Target:
    """Check where a label image shall go; nothing is written.

    Parameters
    ----------
    image : Target
        Its image, from `inplace.open_existing`.
    name : str
        Its name.
    mode : {"w-", "a", "w"}
        As for `open_target`.
    sources : sequence of str
        Paths and URLs that are read. They may lie in the image, but not in the place
        of the label image.

    Raises
    ------
    FileExistsError, ValueError, OSError
        As `open_target`.
    """
    check_name(name)
    if image.store is not None:
        if mode == "w" and store_place(image.store) in sources:
            raise ValueError(
                "mode 'w' must not wipe what is read, got a source in the store of the "
                f"image, {image}; choose another name and mode 'w-'"
            )
        return open_target(within(image.store, f"{_GROUP}/{name}"), mode=mode)
    place = f"{image.location}/{_GROUP}/{name}"
    if image.local:
        refuse_links(Path(image.location, _GROUP))
        refuse_arrays(place, sources)
    else:
        refuse_arrays(address_of(place, image.options), sources)
    return open_target(place, mode=mode, options=image.options)


def list_label(image: Target, name: str, *, version: str) -> None:
    """Put a label image that is complete into the list of the group.

    Parameters
    ----------
    image : Target
        Its image.
    name : str
        Its name; one that is listed stays where it is.
    version : str
        Version of OME-Zarr of the image.

    Raises
    ------
    LockedError
        If others put names into the list all the time.
    """
    for attempt in range(_WAITS):
        try:
            with Lock(within(image.open(), _GROUP), f"{image}/{_GROUP}"):
                _put_name(image, name, version)
            break
        except LockedError:
            if attempt == _WAITS - 1:
                raise
            time.sleep(_WAIT_SECONDS)
    consolidate_again(image.open())


def _put_name(image: Target, name: str, version: str) -> None:
    import zarr

    store = within(image.open(), _GROUP)
    attributes = read_attributes(store)
    holder = attributes if version == "0.4" else attributes.get("ome")
    holder = holder if isinstance(holder, Mapping) else {}
    found = holder.get("labels")
    listed = found if isinstance(found, list) else []
    if name in listed:
        return
    # "The value of this key MUST be a JSON array of paths" (labels metadata, 0.4-0.6).
    wanted = {**holder, "labels": [*listed, name]}
    if version != "0.4":
        wanted = {"ome": {"version": version, **wanted}}
    group = zarr.open_group(
        store, mode="a", zarr_format=2 if version == "0.4" else 3, attributes={}
    )
    group.attrs.put({**attributes, **wanted})
