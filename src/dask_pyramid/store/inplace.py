"""Stores whose image grows in place: checked before anything is written.

What is not there, is unfinished or is read as a source is refused.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.credentials import address_of
from dask_pyramid.locations import is_url, local_path, refuse_unwritable
from dask_pyramid.provenance import is_unfinished
from dask_pyramid.store import objects
from dask_pyramid.store.apart import refuse_sources
from dask_pyramid.store.contents import read_attributes, refuse_links
from dask_pyramid.store.replacement import settle
from dask_pyramid.store.targets import Target, store_target
from dask_pyramid.store_options import StoreOptions
from dask_pyramid.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["open_existing"]


def open_existing(
    target: Any,
    *,
    sources: Sequence[str] = (),
    options: StoreOptions | None = None,
) -> Target:
    """Check a store whose image shall grow in place; nothing is written.

    Parameters
    ----------
    target : path, URL or zarr store
        What is there already.
    sources : sequence of str
        Paths and URLs of what shall be read beside it.
    options : StoreOptions, optional
        How to open a URL.

    Returns
    -------
    Target
        The target.

    Raises
    ------
    FileNotFoundError
        If there is no Zarr group.
    ValueError
        If it lies in, at or around a source, holds symbolic links, cannot be written,
        or has not been finished.
    """
    place = _existing_place(target, sources, options or StoreOptions())
    store = place.store
    if store is None:
        store = open_store(place.location, options=place.options, hurried=True)
    if not any(objects.get(store, name) for name in ("zarr.json", ".zgroup")):
        raise FileNotFoundError(
            f"store must be a Zarr group that is there, got {place}, where there is "
            "none; check the path"
        )
    if is_unfinished(read_attributes(store)):
        raise ValueError(
            f"target must be complete to grow, got {place}, whose writing has not "
            "finished; write_pyramid with mode='a' goes on with it"
        )
    return replace(place, state="complete")


def _existing_place(
    target: Any, sources: Sequence[str], options: StoreOptions
) -> Target:
    from zarr.storage import LocalStore

    if isinstance(target, LocalStore):
        target = target.root
    if not isinstance(target, str | os.PathLike):
        return store_target(target, sources)
    text = local_path(os.fspath(target))
    refuse_unwritable(text)
    if is_url(text):
        refuse_sources(address_of(text, options), sources)
        return Target(location=text.rstrip("/"), options=options)
    location = os.path.realpath(text)
    refuse_sources(location, sources)
    settle(Path(location))
    refuse_links(Path(location))
    return Target(location=location)
