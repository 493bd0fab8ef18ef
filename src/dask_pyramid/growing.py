"""One growth of one store: lock it, begin or resume, run the units, publish.

The journal is put first. Then objects are written whole, each in its place; readers go
on with the metadata that they have. In the end the extents of the arrays are put,
coarsest first and level 0 last, then the attributes of the group in one put. Level 0
decides: as long as it has its old extent, the same call starts from the same voxels,
and a reader that counts voxels of level 0 finds each of them on all coarser levels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid import __version__, metadata, omero, runner
from dask_pyramid.amended import with_levels
from dask_pyramid.attributes import WINDOW, method_record
from dask_pyramid.plan import PyramidPlan
from dask_pyramid.progress import progress_callback
from dask_pyramid.provenance import KEY, LevelRecord, Provenance, Tally
from dask_pyramid.receipts import ABSENT, Books, object_grid
from dask_pyramid.store import ledger, objects, publication, targets
from dask_pyramid.store.locks import Lock
from dask_pyramid.store.writers import WORK
from dask_pyramid.units import Job

if TYPE_CHECKING:
    from dask_pyramid.existing import Existing
    from dask_pyramid.image import Image
    from dask_pyramid.journal import Journal
    from dask_pyramid.passes import Part
    from dask_pyramid.store.targets import Target
    from dask_pyramid.writing import Execution

__all__ = ["Growth", "base_records", "grow", "settle", "tidy"]

_log = logging.getLogger("dask_pyramid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What is to be written into a store that exists, checked."""

    journal: Journal
    """What it is about."""
    found: Journal | None
    """The journal of a growth that was killed, if there is one."""
    plan: PyramidPlan
    """Levels as they shall be; passes for what is to be written."""
    image: Image
    """What the first pass reads, if that does not read a stored level."""
    existing: Existing
    """What is stored."""
    target: Target
    """Where."""
    compressors: Any = None
    """Codecs of new levels, as in zarr-python, or a name."""
    client: Any = None
    """The client on which units run, or None."""


def grow(growth: Growth, execution: Execution) -> None:
    """Carry out a growth, or go on with one that was killed.

    Raises
    ------
    OSError
        If the store is locked or has changed since it was looked at, a unit fails, or
        objects are missing in the end. The same call goes on.
    """
    target = growth.target
    with Lock(
        target.open_for_lock(), str(target), break_lock=execution.break_lock
    ) as lock:
        _check_unchanged(growth)
        if _is_done(growth):
            ledger.clear_work(target)
            return
        growth, books = _begin(growth)
        _run(growth, books, execution)
        lock.check()
        _publish(growth, books)


def _is_done(growth: Growth) -> bool:
    """Whether this very growth was killed when nothing but cleaning up was left."""
    found = growth.found
    return (
        found is not None
        and found.published
        and found.fingerprint == growth.journal.fingerprint
    )


def _check_unchanged(growth: Growth) -> None:
    """Refuse a store that was written between the look at it and the lock."""
    attributes = targets.open_group(growth.target).attrs.asdict()
    journal = ledger.read_journal(growth.target)
    if journal != growth.found or attributes != growth.existing.attributes:
        raise OSError(
            f"target must not be written by others meanwhile, got {growth.target}, "
            "which was; run the same call again"
        )


def _begin(growth: Growth) -> tuple[Growth, Books]:
    """Put the journal, make room and create arrays; return what is done already."""
    target, journal, found = growth.target, growth.journal, growth.found
    resumes = found is not None and found.fingerprint == journal.fingerprint
    # Level 0 may have been written again after an update was killed.
    if not resumes or journal.verb == "update_pyramid":
        ledger.clear_receipts(target)
    if resumes and found is not None:
        _log.info("going on with %s of %s", journal.verb, target)
        growth = replace(growth, journal=found, plan=_stored_plan(growth, found))
    else:
        ledger.put_journal(target, journal)
    _remove(growth)
    publication.create_levels(target, growth.plan, growth.compressors)
    return growth, ledger.load_books(target, growth.plan, journal.fingerprint)


def _stored_plan(growth: Growth, found: Journal) -> PyramidPlan:
    """Return the plan whose units have receipts, within the limits of today."""
    plan = growth.plan
    try:
        stored = PyramidPlan.from_json(found.plan)
    except ValueError:  # a method of the user's own is not stored
        ledger.clear_receipts(growth.target)
        return plan
    return stored.limited(workers=plan.workers, memory_limit=plan.memory_limit)


def _remove(growth: Growth) -> None:
    """Take levels that are to be made anew from the readers, then from the store."""
    journal, existing = growth.journal, growth.existing
    if not journal.remove:
        return
    if existing.published:
        attributes = with_levels(
            existing.attributes,
            [_dataset(existing.levels[0])],
            version=existing.version,
            kept=1,
        )
        record = existing.provenance
        if record is not None:
            attributes[KEY] = replace(record, levels=record.levels[:1]).to_json()
        publication.put_attributes(growth.target, attributes)
    publication.remove_levels(growth.target, journal.remove)
    ledger.put_journal(growth.target, replace(journal, remove=()))


def _run(growth: Growth, books: Books, execution: Execution) -> None:
    plan = growth.plan
    task = Job(
        plan=plan,
        reader=growth.image.reader,
        target=growth.target,
        fingerprint=growth.journal.fingerprint,
    )
    with progress_callback(execution.progress, plan.n_tasks) as callback:
        try:
            runner.run_units(
                task,
                graph=growth.image.graph,
                client=growth.client,
                progress=callback,
                skip=set(map(int, books.done.nonzero()[0])),
                on_receipt=books.add,
            )
        finally:
            targets.release(growth.target)


def settle(
    target: Target, existing: Existing, found: Journal, *, break_lock: bool
) -> None:
    """End a growth whose levels are all there, but whose attributes are not.

    Raises
    ------
    OSError
        If an object is missing.
    """
    with Lock(target.open_for_lock(), str(target), break_lock=break_lock) as lock:
        if found.published:
            ledger.clear_work(target)
            return
        plan = PyramidPlan.from_json(found.plan)
        growth = Growth(
            journal=found,
            found=found,
            plan=plan,
            image=existing.image,
            existing=existing,
            target=target,
        )
        books = ledger.load_books(target, plan, found.fingerprint)
        if not books.complete:
            raise OSError(
                f"{target} must hold all that an interrupted {found.verb} has written "
                f"to be finished, got nothing for units {', '.join(books.missing())}; "
                "run that call again"
            )
        lock.check()
        _publish(growth, books)


def tidy(target: Target, *, break_lock: bool) -> None:
    """Remove what a call that was killed at its very end has left."""
    if next(objects.list_sizes(target.open(), WORK), None) is not None:
        with Lock(target.open_for_lock(), str(target), break_lock=break_lock):
            ledger.clear_work(target)


def _publish(growth: Growth, books: Books) -> None:
    """Put the extents, coarsest first, then the attributes; remove what is left."""
    target, plan = growth.target, growth.plan
    tallies = _tallies(growth, books)
    for level, tally in zip(plan.levels, tallies, strict=True):
        if tally is not None:
            _check_objects(target, plan, level.number, tally)
    for level in reversed(plan.levels):
        publication.put_extent(target, level)
    publication.put_attributes(target, _attributes(growth, tallies, books))
    ledger.put_journal(target, replace(growth.journal, published=True))
    ledger.clear_work(target)


def _check_objects(
    target: Target, plan: PyramidPlan, number: int, tally: Tally
) -> None:
    sizes = ledger.object_sizes(target, plan, number)
    found = int(np.count_nonzero(sizes != ABSENT))
    if found != tally.objects:
        raise OSError(
            f"level {plan.levels[number].path!r} of {target} must hold "
            f"{tally.objects} objects, got {found}; nothing is published, the same "
            "call makes what is missing"
        )


def base_records(
    target: Target, existing: Existing, plan: PyramidPlan
) -> tuple[LevelRecord | None, ...]:
    """Return the records of all levels without the objects that are to be written.

    Parameters
    ----------
    target : Target
        The store.
    existing : Existing
        What is stored, with its record.
    plan : PyramidPlan
        What is to be written.

    Returns
    -------
    tuple of LevelRecord or None
        None for each level if the store has no record of all that stays.

    Notes
    -----
    Cost: what will be replaced is read once, undecoded.
    """
    record = existing.provenance
    stored = {level.path for level in existing.levels}
    levels = () if record is None else record.levels
    known = {level.path: level for level in levels if level.path in stored}
    if set(known) != stored:
        return (None,) * len(plan.levels)
    records = []
    for level, part in zip(plan.levels, _written_parts(plan), strict=True):
        tally = Tally(object_grid(plan, level.number))
        if level.path in known:
            before = known[level.path]
            tally = before.tally().extended(tally.grid)
            for index, size, crc32c in ledger.object_sums(
                target, level, part, grid=before.grid
            ):
                tally.remove(index, size=size, crc32c=crc32c)
        records.append(
            LevelRecord.counted_from(
                tally,
                path=level.path,
                factors=level.factors,
                steps=level.steps,
                parent=level.parent,
            )
        )
    return tuple(records)


def _written_parts(plan: PyramidPlan) -> list[Part]:
    """Return what is written of each level."""
    parts: list[Part] = [((0, 0),) * len(level.shape) for level in plan.levels]
    for sweep in plan.passes:
        for level in sweep.levels:
            if level.written:
                parts[level.level] = level.part
    return parts


def _tallies(growth: Growth, books: Books) -> list[Tally | None]:
    """Return what is stored of each level; None where nobody has counted it."""
    new = len(growth.journal.before)
    tallies: list[Tally | None] = []
    for number, record in enumerate(growth.journal.records):
        tally = None
        if record is not None:
            tally = record.tally()
            tally.include(books.tallies[number])
        elif number >= new:
            tally = books.tallies[number]
        tallies.append(tally)
    region = growth.journal.region
    if region is not None and tallies[0] is not None:
        # The user has written level 0: only what is there now tells its checksums.
        ledger.recount(growth.target, growth.plan, region, tallies[0])
    return tallies


def _attributes(
    growth: Growth, tallies: Sequence[Tally | None], books: Books
) -> dict[str, Any]:
    existing, plan = growth.existing, growth.plan
    datasets = [_dataset(level) for level in plan.levels]
    if existing.published:
        attributes = with_levels(
            existing.attributes,
            datasets,
            version=plan.version,
            kept=len(growth.journal.before),
            about=_about(growth),
        )
    else:
        attributes = {**existing.attributes, **_fresh(growth, datasets)}
    _extend_channels(attributes, growth, books)
    record = existing.provenance
    attributes.pop(KEY, None)
    if record is not None and None not in tallies:
        attributes[KEY] = _provenance(record, plan, tallies).to_json()
    return attributes


def _dataset(level: Any) -> metadata.Dataset:
    return metadata.Dataset(
        path=level.path, scale=level.scale, translation=level.translation
    )


def _about(growth: Growth) -> dict[str, Any] | None:
    """Return `type` and `metadata` if all coarser levels were made here."""
    plan, n_kept = growth.plan, len(growth.journal.before)
    if len(plan.levels) == n_kept:
        return None  # nothing is said anew
    if n_kept > 1 and growth.existing.method is None:
        return None  # some are of another tool
    return {"type": plan.method.name, "metadata": method_record(plan)}


def _fresh(growth: Growth, datasets: Sequence[metadata.Dataset]) -> dict[str, Any]:
    """Return the metadata of a group that had none."""
    image, plan = growth.existing.image, growth.plan
    coloured = "c" in image.axes and not image.labels and image.dtype.kind != "b"
    n_channels = image.shape[image.axes.index("c")] if coloured else 1
    return metadata.build_attributes(
        metadata.Multiscales(
            version=plan.version,
            axes=plan.axes,
            unit=plan.unit,
            datasets=tuple(datasets),
            name=image.name,
            type=plan.method.name,
            metadata=method_record(plan),
            omero=omero.default_omero(image.dtype, n_channels) if coloured else None,
        )
    )


def _extend_channels(attributes: dict[str, Any], growth: Growth, books: Books) -> None:
    """Add the rendering of channels that are new, where there is one of the others."""
    plan, image = growth.plan, growth.existing.image
    holder = attributes.get("ome", attributes)
    rendering = holder.get("omero")
    if "c" not in plan.axes or not isinstance(rendering, Mapping):
        return
    channels = rendering.get("channels")
    before = growth.journal.before[0][plan.axes.index("c")]
    if not isinstance(channels, list) or len(channels) != before:
        return
    made = omero.default_omero(
        np.dtype(image.dtype),
        len(books.grey),
        window=[grey.window(*WINDOW) for grey in books.grey],
    )
    holder["omero"] = {
        **rendering,
        "channels": [*channels, *made["channels"][before:]],
    }


def _provenance(
    record: Provenance, plan: PyramidPlan, tallies: Sequence[Tally | None]
) -> Provenance:
    return replace(
        record,
        version=__version__,
        method=plan.method.name,
        sigma=plan.sigma,
        levels=tuple(
            LevelRecord.counted_from(
                tally,
                path=level.path,
                factors=level.factors,
                steps=level.steps,
                parent=level.parent,
            )
            for level, tally in zip(plan.levels, tallies, strict=True)
            if tally is not None
        ),
    )
