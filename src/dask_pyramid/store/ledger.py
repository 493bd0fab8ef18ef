"""What a run leaves beside the levels until they are published: plan and receipts."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.checksums import crc32
from dask_pyramid.geometry import ceil_div
from dask_pyramid.journal import Journal
from dask_pyramid.receipts import (
    ABSENT,
    Books,
    Receipt,
    kept_objects,
    object_grid,
    valid_units,
)
from dask_pyramid.sources.zarr_arrays import open_zarr_array
from dask_pyramid.store import objects
from dask_pyramid.store.contents import JOB
from dask_pyramid.store.locks import LockedError
from dask_pyramid.store.writers import WORK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dask_pyramid.levels import Level
    from dask_pyramid.passes import Part
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.provenance import Tally
    from dask_pyramid.store.targets import Target

__all__ = [
    "check_current",
    "clear_receipts",
    "clear_traces",
    "clear_work",
    "has_traces",
    "load_books",
    "object_sizes",
    "object_sums",
    "put_job",
    "put_journal",
    "put_receipt",
    "read_job",
    "read_journal",
    "recount",
    "sound_objects",
    "uncount",
]

_log = logging.getLogger("dask_pyramid")

_RECEIPTS = f"{WORK}/receipts"
_JOURNAL = f"{WORK}/growth.json"


def put_job(target: Target, job: Mapping[str, Any]) -> None:
    """Store what a run is about, before anything else."""
    objects.put(target.open(), JOB, json.dumps(job, indent=1).encode())


def read_job(target: Target) -> dict[str, Any] | None:
    """Return what the run was about that was here, or None.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    found = objects.get(target.open(), JOB)
    if found is None:
        return None
    try:
        job = json.loads(found)
    except ValueError as error:
        raise ValueError(
            f"{JOB} must hold the plan of a run, got text that is no JSON in "
            f"{target}; start again with mode='w'"
        ) from error
    if not isinstance(job, dict):
        raise ValueError(
            f"{JOB} must hold an object, got {job!r:.100} in {target}; start again "
            "with mode='w'"
        )
    return job


def put_journal(target: Target, journal: Journal) -> None:
    """Store what a growth is about, before anything is changed."""
    content = json.dumps(journal.to_json(), indent=1).encode()
    objects.put(target.open(), _JOURNAL, content)
    objects.delete(target.open(), JOB)  # of a run that was killed after it published


def read_journal(target: Target) -> Journal | None:
    """Return the growth that has not come to its end here, or None.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    found = objects.get(target.open(), _JOURNAL)
    return None if found is None else Journal.from_json(json.loads(found))


def clear_receipts(target: Target) -> None:
    """Remove all receipts: what they say does not count any more."""
    objects.delete_all(target.open(), _RECEIPTS)


def check_current(target: Target, fingerprint: str) -> None:
    """Raise an error if the job that a unit belongs to is no longer what is written.

    Units outlive the process that has sent them to a cluster; whoever starts again with
    other parameters must not find their objects among the new ones.

    Raises
    ------
    LockedError
        If another job has begun.
    FileNotFoundError
        If nothing is left of it, as somebody has finished or removed it.
    """
    found = objects.get(target.open(), JOB)
    if found is None and fingerprint and not has_traces(target):
        raise FileNotFoundError(
            f"target must stay while it is written, got {target}, which somebody has "
            "finished or removed; this unit was not written"
        )
    if found is not None and fingerprint and fingerprint.encode() not in found:
        raise LockedError(
            f"target must be written by one job, got {target}, which somebody has "
            "begun again; this unit was not written"
        )


def put_receipt(target: Target, receipt: Receipt) -> None:
    """Store the receipt of a unit, after its objects."""
    content = json.dumps(receipt.to_json(), separators=(",", ":")).encode()
    objects.put(target.open(), f"{_RECEIPTS}/{receipt.unit}.json", content)


def _receipts(target: Target, fingerprint: str, n_tasks: int) -> Iterator[Receipt]:
    store = target.open()
    keys = [key for key, _ in objects.list_sizes(store, _RECEIPTS)]
    # What does not end so has been left half written by a kill.
    whole = [key for key in keys if key.endswith(".json")]
    for key, found in objects.get_all(store, whole):
        try:
            receipt = Receipt.from_json(json.loads(found or b""))
        except ValueError as error:
            _log.warning("the receipt %s of %s is void: %s", key, target, error)
            continue
        if receipt.fingerprint == fingerprint and 0 <= receipt.number < n_tasks:
            yield receipt


def load_books(target: Target, plan: PyramidPlan, fingerprint: str) -> Books:
    """Return what the receipts say that is done, and is still there.

    Parameters
    ----------
    target : Target
        A pyramid that a run has left, or that several write.
    plan : PyramidPlan
        Its stored plan.
    fingerprint : str
        Which receipts count.

    Returns
    -------
    Books
        A unit whose objects are missing or of another size is not done, nor is what
        was computed from them.

    Notes
    -----
    Cost: a request for each receipt, and one for each 1000 objects.
    """
    books = Books(plan)
    receipts = list(_receipts(target, fingerprint, plan.n_tasks))
    sizes = [object_sizes(target, plan, k) for k in range(len(plan.levels))]
    for receipt in valid_units(plan, receipts, sizes):
        books.add(receipt)
    return books


def sound_objects(plan: PyramidPlan, books: Books) -> list[np.ndarray[Any, Any]]:
    """Return, for each level, which objects are there: made, or not to be made."""
    sound = kept_objects(plan)
    for number in np.flatnonzero(books.done):
        for level, box in plan.boxes(int(number)):
            sound[level][box] = True
    return sound


def object_sizes(
    target: Target, plan: PyramidPlan, number: int
) -> np.ndarray[Any, Any]:
    """Return the bytes of each object of a level, `ABSENT` where there is none.

    Returns
    -------
    numpy.ndarray of int64
        In the shape of the grid of objects.
    """
    path = plan.levels[number].path
    grid = object_grid(plan, number)
    sizes = np.full(grid, ABSENT, np.int64)
    for key, size in objects.list_sizes(target.open(), path):
        # "c/0/1" and "0/1", or with dots, as the array's metadata have it.
        parts = key.removeprefix(f"{path}/").replace(".", "/").split("/")
        parts = parts[1:] if parts[0] == "c" else parts
        if len(parts) == len(grid) and all(part.isdecimal() for part in parts):
            index = tuple(map(int, parts))
            if all(i < n for i, n in zip(index, grid, strict=True)):
                sizes[index] = size
    return sizes


def object_sums(
    target: Target, level: Level, part: Part, *, grid: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Yield position, bytes and CRC-32C of the stored objects in a part of a level.

    Parameters
    ----------
    target : Target
        The store.
    level : Level
        The level.
    part : Part
        Whole objects, in voxels.
    grid : sequence of int
        Number of objects along each axis; none beyond is looked at.

    Notes
    -----
    Cost: each object is read, and not decoded.
    """
    ranges = [
        range(start // extent, min(n, ceil_div(stop, extent)))
        for (start, stop), extent, n in zip(part, level.objects, grid, strict=True)
    ]
    if not all(ranges):
        return
    store = target.open()
    encode = open_zarr_array(store, level.path).metadata.encode_chunk_key
    for index in itertools.product(*ranges):
        content = objects.get(store, f"{level.path}/{encode(index)}")
        if content is not None:
            yield index, len(content), crc32(content)


def recount(target: Target, plan: PyramidPlan, region: Part, tally: Tally) -> None:
    """Correct the tally of level 0, a region of which somebody has written.

    Notes
    -----
    Cost: the objects whose checksums are summed with one of the region are read, which
    are those of the region alone in a level of at most 1024 objects.
    """
    level = plan.levels[0]
    part = _cleared(level, region, tally)
    for index, size, crc in object_sums(target, level, part, grid=tally.grid):
        tally.add(index, size=size, crc32=crc)
    _listed(object_sizes(target, plan, 0), tally)


def uncount(
    target: Target, plan: PyramidPlan, number: int, region: Part, tally: Tally
) -> None:
    """Take the objects of a region out of the tally of a level, whatever is there now.

    Parameters
    ----------
    target : Target
        The store.
    plan : PyramidPlan
        Its levels.
    number : int
        The level.
    region : Part
        Whole objects, in voxels.
    tally : Tally
        What the record counts; changed.

    Notes
    -----
    Objects of the region may be missing or damaged. Cost: as for `recount`; nothing is
    read of a level of at most 1024 objects.
    """
    level = plan.levels[number]
    own = tuple(
        slice(start // o, ceil_div(stop, o))
        for (start, stop), o in zip(region, level.objects, strict=True)
    )
    sizes = object_sizes(target, plan, number)
    sizes[own] = ABSENT
    part = _cleared(level, region, tally)
    if max(tally.group) > 1:
        for index, size, crc in object_sums(target, level, part, grid=tally.grid):
            if sizes[index] != ABSENT:
                tally.add(index, size=size, crc32=crc)
    _listed(sizes, tally)
    if max(tally.group) == 1:  # what is missing elsewhere stays missing
        tally.objects = int(np.count_nonzero(tally.sums))


def _cleared(level: Level, region: Part, tally: Tally) -> Part:
    """Set the sums to zero that a region has a share in; return what they count."""
    box = [
        (start // o // g, ceil_div(ceil_div(stop, o), g))
        for (start, stop), o, g in zip(region, level.objects, tally.group, strict=True)
    ]
    tally.sums[tuple(slice(*groups) for groups in box)] = 0
    return tuple(
        (first * g * o, last * g * o)
        for (first, last), o, g in zip(box, level.objects, tally.group, strict=True)
    )


def _listed(sizes: np.ndarray[Any, Any], tally: Tally) -> None:
    """Set number and bytes of the objects of a tally to those of a listing."""
    stored = sizes[sizes != ABSENT]
    tally.objects, tally.bytes = len(stored), int(stored.sum())


def has_traces(target: Target) -> bool:
    """Return whether anything is left beside the levels, were it an empty folder."""
    if target.local:
        return Path(target.root, WORK).exists()
    return any(True for _ in objects.list_sizes(target.open(), WORK))


def clear_work(target: Target) -> None:
    """Remove all that a run has left beside the levels, but its lock."""
    clear_traces(target)
    objects.delete(target.open(), JOB)
    objects.delete(target.open(), _JOURNAL)


def clear_traces(target: Target) -> None:
    """Remove receipts and what kills have left, but the plan and the lock."""
    store = target.open()
    if target.local:
        root = Path(target.root)
        for entry in (root / WORK).glob("*"):
            if entry.is_dir() and entry.name != "leases":
                shutil.rmtree(entry, ignore_errors=True)
        for pattern in ("*.partial", "*/*.partial"):  # zarr's, of metadata
            for partial in root.glob(pattern):
                partial.unlink(missing_ok=True)
    else:
        objects.delete_all(store, _RECEIPTS)
