"""What lies at a place: nothing, a pyramid, an unfinished one, or something else."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from dask_pyramid.metadata import parse_multiscales
from dask_pyramid.provenance import is_unfinished
from dask_pyramid.store import objects
from dask_pyramid.store.writers import WORK

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "JOB",
    "ROOT",
    "foreign_names",
    "has_job",
    "holds_array",
    "names_in",
    "read_attributes",
    "refuse_links",
    "state_of",
]

JOB = f"{WORK}/job.json"
"""Object that holds the stored plan of a run."""

ROOT = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata", WORK, ".DS_Store")
"""What may stand at the root of a pyramid beside its levels; the last is of macOS."""


def names_in(store: Any, folder: str = "") -> set[str]:
    """Return what lies in a folder of a store, by default at its root."""
    from zarr.core.sync import sync

    async def collect() -> set[str]:
        return {name.rstrip("/").split("/")[0] async for name in store.list_dir(folder)}

    return set(sync(collect()))


def _serves(name: str, labels: Collection[str]) -> bool:
    """Whether a folder is one of the label images, or what a replacement has left."""
    return name in labels or any(
        name in (f".{label}.replacement", f".{label}.replaced") for label in labels
    )


def state_of(store: Any) -> str:
    """Return "empty", "unfinished", "complete" or "foreign" for what is in a store."""
    if not names_in(store) - {WORK}:
        return "unfinished" if has_job(store) else "empty"
    attributes = read_attributes(store)
    ome = attributes.get("ome", {})
    if is_unfinished(attributes):
        return "unfinished"
    if "multiscales" in attributes or (
        isinstance(ome, Mapping) and "multiscales" in ome
    ):
        return "complete"
    return "unfinished" if has_job(store) else "foreign"


def has_job(store: Any) -> bool:
    """Return whether a run has left its plan, and is not finished."""
    return objects.get(store, JOB) is not None


def read_attributes(store: Any) -> dict[str, Any]:
    """Return the attributes of the group at the root; empty if there is none."""
    import zarr
    from zarr.errors import ContainsArrayError, GroupNotFoundError

    try:
        attributes = zarr.open_group(store, mode="r").attrs.asdict()
    except (
        GroupNotFoundError,
        ContainsArrayError,
        FileNotFoundError,
        NotADirectoryError,
        ValueError,
    ):
        return {}
    return dict(attributes)


def holds_array(store: Any) -> bool:
    """Return whether there is a Zarr array at the root."""
    import zarr
    from zarr.errors import ContainsArrayError

    try:
        zarr.open_group(store, mode="r")
    except ContainsArrayError:
        return True
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return False


def foreign_names(store: Any, labels: Collection[str] = ()) -> set[str]:
    """Return what lies in a pyramid beside its levels and metadata.

    Parameters
    ----------
    store : zarr store
        The pyramid.
    labels : collection of str
        Label images that go with it; `labels` is foreign if it holds any other.
    """
    names = {
        name
        for name in names_in(store) - set(ROOT)
        if not name.endswith(".partial")  # zarr's, which a kill has left
    }
    if labels and "labels" in names:
        others = names_in(store, "labels") - set(ROOT)
        if not {name for name in others if not _serves(name, labels)}:
            names.discard("labels")
    attributes = read_attributes(store)
    if "multiscales" not in attributes and "ome" not in attributes:
        return {name for name in names if not name.isdigit()}
    levels = parse_multiscales(attributes).datasets
    return names - {level.path.split("/")[0] for level in levels}


def refuse_links(path: Path) -> None:
    """Refuse what would lead a writer out of the target."""
    if not path.exists():
        return
    for entry in path.iterdir():
        if entry.is_symlink():
            raise ValueError(
                f"target must hold no symbolic links, got {str(entry)!r}, which leads "
                f"to {os.path.realpath(entry)!r}"
            )
