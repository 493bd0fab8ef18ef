"""Create a pyramid, unpublished, and publish it: the metadata last, in one put."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.compression import find_codecs
from dask_pyramid.provenance import KEY, unfinished
from dask_pyramid.receipts import ABSENT, Books
from dask_pyramid.store import objects
from dask_pyramid.store.contents import read_attributes
from dask_pyramid.store.ledger import clear_traces, clear_work, object_sizes
from dask_pyramid.store.replacement import swap
from dask_pyramid.store.writers import with_shape
from dask_pyramid.stores import open_store

if TYPE_CHECKING:
    from dask_pyramid.levels import Level
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.store.targets import Target

__all__ = [
    "check_counts",
    "codecs_json",
    "consolidate_again",
    "create",
    "create_levels",
    "foreign_attributes",
    "is_created",
    "publish",
    "put_attributes",
    "put_extent",
    "remove_levels",
    "unpublish",
    "wipe",
]

_GROUP = ("zarr.json", ".zgroup")
_METADATA = (*_GROUP, ".zattrs", ".zmetadata")

# Attributes that a pyramid's writer owns; all others are somebody else's and stay.
_OURS = ("multiscales", "omero", "image-label", "ome", KEY)


def codecs_json(plan: PyramidPlan, compressors: Any) -> Any:
    """Return the codecs of level 0 as zarr writes them, by a rehearsal in memory.

    Parameters
    ----------
    plan : PyramidPlan
        Levels and layout.
    compressors : object
        As in zarr-python, or a name out of ``"blosc"``, ``"zstd"``, ``"lz4"``,
        ``"gzip"``, ``"none"``; None is Blosc (zstd, level 3, byte shuffle), for Zarr v3
        followed by crc32c.

    Raises
    ------
    ValueError
        If a codec or a layout is one that zarr refuses.
    """
    import zarr
    from zarr.storage import MemoryStore

    rehearsal = zarr.create_group(MemoryStore(), zarr_format=_format(plan))
    codecs = find_codecs(compressors, plan.version)
    try:
        _fill(rehearsal, plan, codecs)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"compressors must be a name or codecs that zarr takes for version "
            f"{plan.version}, got {compressors!r}: {error}"
        ) from error
    written = rehearsal[plan.levels[0].path].metadata.to_dict()
    return {
        key: _plain(written[key])
        for key in ("codecs", "compressor", "filters")
        if key in written
    }


def _plain(value: Any) -> Any:
    """Return what zarr keeps as codecs as JSON values."""
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    if hasattr(value, "get_config"):
        return _plain(value.get_config())
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def create(
    target: Target,
    plan: PyramidPlan,
    compressors: Any = None,
    *,
    attributes: Mapping[str, Any],
) -> None:
    """Create the group, marked as unfinished, and the arrays that are not there yet.

    Parameters
    ----------
    target : Target
        From `open_target`.
    plan : PyramidPlan
        Levels and layout.
    compressors : object
        As for `codecs_json`.
    attributes : mapping
        Attributes of others, which the group shall keep.
    """
    import zarr

    if target.local:
        Path(target.root).mkdir(parents=True, exist_ok=True)
    group = zarr.open_group(
        target.open(),
        mode="a",
        zarr_format=_format(plan),
        attributes={**attributes, **unfinished()},
    )
    _fill(group, plan, find_codecs(compressors, plan.version))


def _format(plan: PyramidPlan) -> Any:
    return 2 if plan.version == "0.4" else 3


def _fill(
    group: Any, plan: PyramidPlan, codecs: Any, *, skip: Sequence[Level] = ()
) -> None:
    for level in plan.levels:
        if level in skip:
            continue
        if level.path in group:
            attributes = f"{level.path}/.zattrs"
            if plan.version == "0.4" and objects.get(group.store, attributes) is None:
                # Its second object, before which a kill may have come.
                objects.put(group.store, attributes, b"{}")
            continue
        layout: dict[str, Any] = {"dimension_names": list(plan.axes)}
        if plan.version == "0.4":
            # "the dimension separator MUST be '/'" (OME-Zarr 0.4, images)
            layout = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        group.create_array(
            level.path,
            shape=level.shape,
            dtype=plan.dtype,
            chunks=level.chunks,
            shards=level.shards,
            compressors=codecs,
            fill_value=plan.fill,
            **layout,
        )


def create_levels(target: Target, plan: PyramidPlan, compressors: Any = None) -> None:
    """Create the arrays of a complete image that are not there yet.

    Parameters
    ----------
    target : Target
        From `inplace.open_existing`.
    plan : PyramidPlan
        Levels and layout.
    compressors : object
        As for `codecs_json`.
    """
    import zarr

    group = zarr.open_group(target.open(), mode="r+", use_consolidated=False)
    codecs = find_codecs(compressors, plan.version)
    _fill(group, plan, codecs, skip=plan.levels[:1])  # level 0 is never written


def remove_levels(target: Target, paths: Sequence[str]) -> None:
    """Remove arrays that no attributes name any more."""
    for path in paths:
        objects.delete_all(target.open(), path)


def put_extent(target: Target, level: Level) -> None:
    """Give an array the extent of the plan, in one put; nothing if it has it."""
    store = target.open()
    for name in ("zarr.json", ".zarray"):
        key = f"{level.path}/{name}"
        found = objects.get(store, key)
        if found is not None:
            wanted = with_shape(found, level.shape)
            if wanted != found:
                objects.put(store, key, wanted)


def put_attributes(target: Target, attributes: Mapping[str, Any]) -> None:
    """Replace the attributes of the group, in one put.

    Metadata that were consolidated, which would hide what is new, are made again.
    """
    import zarr

    store = target.open()
    # Putting attributes leaves out what was consolidated.
    consolidated = _is_consolidated(store)
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.attrs.put(dict(attributes))
    if consolidated:
        _consolidate(store)


def consolidate_again(store: Any) -> None:
    """Make the metadata of a group anew that were consolidated; else do nothing."""
    if _is_consolidated(store):
        _consolidate(store)


def _is_consolidated(store: Any) -> bool:
    import zarr

    group = zarr.open_group(store, mode="r")
    return group.metadata.consolidated_metadata is not None


def _consolidate(store: Any) -> None:
    import zarr

    with warnings.catch_warnings():  # "not part in the Zarr format 3", as it was
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(store)


def foreign_attributes(target: Target) -> dict[str, Any]:
    """Return the attributes that are not ours of what is at the target."""
    store = open_store(target.location) if target.local else target.open()
    return {
        key: value for key, value in read_attributes(store).items() if key not in _OURS
    }


def is_created(target: Target) -> bool:
    """Return whether there is a group: what was there before it is wiped."""
    store = target.open()
    return any(objects.get(store, name) is not None for name in _GROUP)


def unpublish(target: Target) -> None:
    """Remove the metadata of the group: what is left is no pyramid."""
    if not target.local or Path(target.root).exists():
        for name in _METADATA:
            objects.delete(target.open(), name)


def wipe(target: Target) -> None:
    """Remove what is at the place that is written, but for the plan and the lock.

    `open_target` has made sure that it is a pyramid and nothing else. The metadata go
    first: as long as there is no group, a run that was killed here wipes again.
    """
    unpublish(target)
    clear_traces(target)
    if target.local:
        root = Path(target.root)
        for entry in root.glob("*"):
            if entry.is_dir() and not entry.name.startswith("."):
                shutil.rmtree(entry)
        return
    store = target.open()
    roots = {key.split("/")[0] for key, _ in objects.list_sizes(store, "")}
    for name in roots:
        if not name.startswith("."):
            objects.delete_all(store, name)


def check_counts(
    target: Target, plan: PyramidPlan, wanted: Sequence[int], *, way: str
) -> None:
    """Raise `OSError` if a level holds more or fewer objects than wanted.

    Parameters
    ----------
    target : Target
        The pyramid.
    plan : PyramidPlan
        Its levels.
    wanted : sequence of int
        Number of objects of each level.
    way : str
        The way out, for the message.
    """
    for number, count in enumerate(wanted):
        found = int(np.count_nonzero(object_sizes(target, plan, number) != ABSENT))
        if found != count:
            raise OSError(
                f"level {number} of {target} must hold {count} objects, got {found}; "
                f"{way}"
            )


def publish(
    target: Target, plan: PyramidPlan, books: Books, attributes: Mapping[str, Any]
) -> None:
    """Count the objects, write the metadata in one put, and remove what is left.

    Parameters
    ----------
    target : Target
        A pyramid whose units are all done.
    plan : PyramidPlan
        Its levels.
    books : Books
        What they have stored.
    attributes : mapping
        Attributes of the group; they replace the mark.

    Raises
    ------
    OSError
        If objects are missing; nothing is published then.
    """
    import zarr

    wanted = [tally.objects for tally in books.tallies]
    check_counts(
        target, plan, wanted, way="nothing is published, mode='a' makes what is missing"
    )
    if target.replaces and target.labels:
        # They go with the old image, and before the new one takes its place.
        shutil.rmtree(Path(target.location, "labels"), ignore_errors=True)
    group = zarr.open_group(target.open(), mode="r+")
    group.attrs.put({**foreign_attributes(target), **attributes})
    clear_work(target)
    if target.replaces:
        swap(Path(target.root), Path(target.location))
