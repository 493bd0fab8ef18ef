"""A source is never modified: what is written lies apart from what is read."""

from __future__ import annotations

from bisect import bisect
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from dask_pyramid.locations import is_url
from dask_pyramid.store.contents import state_of
from dask_pyramid.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["refuse_arrays", "refuse_overlaps", "refuse_sources"]


def refuse_sources(target: str, sources: Sequence[str]) -> None:
    """Refuse a target in, at or around an image that is read.

    Parameters
    ----------
    target : str
        Real path or URL.
    sources : sequence of str
        As `Reader.locations`; of an array that is a level, all of its image counts.

    Raises
    ------
    ValueError
        If so.
    """
    refuse_arrays(target, [_whole_image(source) for source in sources])


def refuse_arrays(target: str, sources: Sequence[str]) -> None:
    """Refuse a target in, at or around what is read; beside it is well.

    Label images are made of the image that they go into.

    Raises
    ------
    ValueError
        If so.
    """
    for source in sources:
        here, there = target.rstrip("/") + "/", source.rstrip("/") + "/"
        if here == there:
            raise ValueError(
                f"target must not be the source, got {target!r} for both; "
                "a source is never modified"
            )
        if here.startswith(there) or there.startswith(here):
            inside, outside = (
                (target, source) if len(here) > len(there) else (source, target)
            )
            raise ValueError(
                f"target and source must lie apart, got {inside!r} inside {outside!r}; "
                "a source is never modified"
            )


def refuse_overlaps(targets: Sequence[str], sources: Sequence[str]) -> None:
    """Refuse targets of one call that overlap each other, or what is read for any.

    Parameters
    ----------
    targets, sources : sequence of str
        Real paths or URLs.

    Raises
    ------
    ValueError
        If so.
    """
    # What lies within a place follows it at once in the order of texts.
    ordered = sorted(f"{target.rstrip('/')}/" for target in targets)
    for outside, inside in pairwise(ordered):
        if inside.startswith(outside):
            raise ValueError(
                f"targets must be different and lie apart, got {outside[:-1]!r} and "
                f"{inside[:-1]!r}"
            )
    for source in sources:
        at = bisect(ordered, f"{source.rstrip('/')}/")
        for target in ordered[max(at - 1, 0) : at + 1]:
            refuse_arrays(target.rstrip("/"), [source])


def _whole_image(source: str) -> str:
    """Return the OME-Zarr image that a local array is a level of, else the array."""
    if is_url(source):
        return source
    folder = Path(source).parent
    while (folder / "zarr.json").exists() or (folder / ".zgroup").exists():
        if state_of(open_store(str(folder))) in ("complete", "unfinished"):
            return str(folder)
        folder = folder.parent
    return source
