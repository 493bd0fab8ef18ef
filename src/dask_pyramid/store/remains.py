"""What a run that was stopped has left: nothing, work to go on with, or a pyramid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.store import ledger
from dask_pyramid.store.contents import state_of
from dask_pyramid.store.packing import package_of
from dask_pyramid.store.plates import read_plate
from dask_pyramid.store.replacement import beside
from dask_pyramid.store.targets import open_location
from dask_pyramid.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.store_options import StoreOptions

__all__ = ["Remains", "remains_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What was found at a place after a run."""

    complete: bool
    """Whether readers open a complete pyramid there."""
    begun: bool
    """Whether there is work that ``mode="a"``, or the same call, goes on with."""
    verb: str = ""
    """What has begun to change it in its place, as a journal names it."""


def remains_at(
    location: str, *, options: Mapping[str, Any] | StoreOptions | None = None
) -> Remains:
    """Look at a place after a run; nothing is changed.

    Parameters
    ----------
    location : path or URL
        What was written.
    options : dict or StoreOptions, optional
        How a URL is opened.

    Raises
    ------
    OSError, ValueError
        If it cannot be looked at.
    """
    package = package_of(location, "a")
    if package is not None:
        return Remains(complete=package.exists, begun=Path(package.folder).exists())
    target = open_location(location, options=options)
    state = state_of(open_store(target.location, options=target.options))
    if state == "foreign":
        # A plate is one as soon as it is listed, and before it is a mere folder.
        return Remains(complete=read_plate(target.open()) is not None, begun=True)
    if state != "complete":
        return Remains(complete=False, begun=state == "unfinished")
    journal = ledger.read_journal(target)
    if journal is not None and not journal.published:
        return Remains(complete=True, begun=True, verb=journal.verb)
    replaced = target.local and beside(target.location, "replacement").exists()
    return Remains(complete=True, begun=replaced)
