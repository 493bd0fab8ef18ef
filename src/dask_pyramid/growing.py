"""One growth of one store: lock it, begin or resume, run the units, publish.

The journal is put first. Then objects are written whole, each in its place; readers go
on with the metadata that they have. In the end the extents of the arrays are put,
coarsest first and level 0 last, then the attributes of the group in one put. Level 0
decides: as long as it has its old extent, the same call starts from the same voxels,
and a reader that counts voxels of level 0 finds each of them on all coarser levels.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dask_pyramid.accounts import all_tallies, final_attributes, first_attributes
from dask_pyramid.execution import run_left
from dask_pyramid.intents import Growth, Site, look
from dask_pyramid.plan import PyramidPlan
from dask_pyramid.receipts import ABSENT, Books
from dask_pyramid.stopping import raise_if_asked
from dask_pyramid.store import ledger, objects, publication, targets
from dask_pyramid.store.locks import Lock
from dask_pyramid.store.writers import WORK
from dask_pyramid.units import Job

if TYPE_CHECKING:
    from dask_pyramid.execution import Execution
    from dask_pyramid.journal import Journal
    from dask_pyramid.provenance import Tally
    from dask_pyramid.store.targets import Target

__all__ = ["grow", "settle", "tidy"]

_log = logging.getLogger("dask_pyramid")


def grow(growth: Growth, execution: Execution) -> None:
    """Carry out a growth, or go on with one that was killed.

    Raises
    ------
    OSError
        If the store is locked or has changed since it was looked at, a unit fails, or
        objects are missing in the end. The same call goes on.
    """
    target = growth.site.target
    with Lock(
        target.open_for_lock(), str(target), break_lock=execution.break_lock
    ) as lock:
        raise_if_asked()  # while it was planned
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
    found = growth.site.found
    return (
        found is not None
        and found.published
        and found.fingerprint == growth.journal.fingerprint
    )


def _check_unchanged(growth: Growth) -> None:
    """Refuse a store that was written between the look at it and the lock."""
    site = growth.site
    attributes = targets.open_group(site.target).attrs.asdict()
    journal = ledger.read_journal(site.target)
    if journal != site.found or attributes != site.existing.attributes:
        raise OSError(
            f"target must not be written by others meanwhile, got {site.target}, "
            "which was; run the same call again"
        )


def _begin(growth: Growth) -> tuple[Growth, Books]:
    """Put the journal, make room and create arrays; return what is done already."""
    target, journal, found = growth.site.target, growth.journal, growth.site.found
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
        ledger.clear_receipts(growth.site.target)
        return plan
    return plan if growth.team is None else stored.limited(growth.team.crew)


def _remove(growth: Growth) -> None:
    """Take levels that are to be made anew from the readers, then from the store."""
    journal, existing = growth.journal, growth.site.existing
    if not journal.remove:
        return
    if existing.published:
        attributes = first_attributes(existing)
        publication.put_attributes(growth.site.target, attributes)
    publication.remove_levels(growth.site.target, journal.remove)
    ledger.put_journal(growth.site.target, replace(journal, remove=()))


def _run(growth: Growth, books: Books, execution: Execution) -> None:
    run_left(
        Job(
            plan=growth.plan,
            reader=growth.image.reader,
            target=growth.site.target,
            fingerprint=growth.journal.fingerprint,
            mask=growth.mask,
            labels=growth.image.labels,
        ),
        books,
        execution,
        image=growth.image,
        team=growth.team,
        way_out="readers see what they saw; the same call goes on",
    )


def settle(site: Site, *, break_lock: bool) -> Site:
    """End a growth whose levels are all there; little or nothing of it is left.

    Returns
    -------
    Site
        The store afterwards.

    Raises
    ------
    OSError
        If an object is missing.
    """
    target, found = site.target, site.found
    assert found is not None  # there is something to end
    with Lock(target.open_for_lock(), str(target), break_lock=break_lock) as lock:
        if found.published:
            ledger.clear_work(target)
            return look(target)
        plan = PyramidPlan.from_json(found.plan)
        growth = Growth(site=site, journal=found, plan=plan, image=site.existing.image)
        books = ledger.load_books(target, plan, found.fingerprint)
        if not books.complete:
            raise OSError(
                f"{target} must hold all that an interrupted {found.verb} has written "
                f"to be ended, got nothing for units {', '.join(books.missing())}; "
                "run that call again"
            )
        lock.check()
        _publish(growth, books)
        return look(target)


def tidy(target: Target, *, break_lock: bool) -> None:
    """Remove what a call that was killed at its very end has left."""
    if next(objects.list_sizes(target.open(), WORK), None) is not None:
        with Lock(target.open_for_lock(), str(target), break_lock=break_lock):
            ledger.clear_work(target)


def _publish(growth: Growth, books: Books) -> None:
    """Put the extents, coarsest first, then the attributes; remove what is left."""
    target, plan = growth.site.target, growth.plan
    tallies = all_tallies(growth, books)
    # A region that is written again may leave others that are missing.
    whole = growth.journal.verb != "write_pyramid"
    for level, tally in zip(plan.levels, tallies, strict=True):
        if whole and tally is not None:
            _check_objects(target, plan, level.number, tally)
    for level in reversed(plan.levels):
        publication.put_extent(target, level)
    publication.put_attributes(target, final_attributes(growth, tallies, books))
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
