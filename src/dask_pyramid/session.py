"""One writing of one target: lock it, begin or resume, run the units, publish.

A run stores its job before anything else and a receipt after each unit. So it can be
killed at any time: the next run finds the job, believes the receipts whose objects are
there, and does the rest. What a reader opens is complete or says that it is not.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dask_pyramid import runner
from dask_pyramid.attributes import group_attributes
from dask_pyramid.execution import Execution, run_left
from dask_pyramid.jobs import (
    StoredJob,
    check_unchanged,
    differences,
    reopen,
    reopen_mask,
)
from dask_pyramid.receipts import Books, can_read
from dask_pyramid.sameness import check_same_job
from dask_pyramid.stopping import raise_if_asked
from dask_pyramid.store import ledger, publication, targets
from dask_pyramid.store.locks import Lock
from dask_pyramid.units import Job

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from dask_pyramid.image import Image
    from dask_pyramid.masks import Mask
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.store.targets import Target

__all__ = [
    "Order",
    "check_complete",
    "complete",
    "finish",
    "prepare",
    "run_share",
    "write",
]

_log = logging.getLogger("dask_pyramid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be written where, checked."""

    image: Image
    """The source."""
    job: StoredJob
    """What is to be written of it."""
    target: Target
    """From `open_target`: empty, to be replaced, or with what a run has left."""
    mask: Mask | None = None
    """Which voxels count."""
    compressors: Any = None
    """As in zarr-python, or a name."""
    team: runner.Team
    """Who runs the units."""
    labels: Mapping[str, Image] = field(default_factory=dict)
    """Label images that are written after it, by name."""


def write(order: Order, execution: Execution) -> None:
    """Write a pyramid, or go on with writing it.

    Parameters
    ----------
    order : Order
        What is to be written.
    execution : Execution
        Where to run.

    Raises
    ------
    ValueError
        If what is there belongs to another job; the message says how they differ.
    OSError
        If the target is locked, a unit fails, or objects are missing in the end.
        Nothing is published then; mode ``"a"`` goes on with it.
    """
    with _locked(order.target, execution) as lock:
        job = _begin(order)
        books = ledger.load_books(order.target, job.plan, job.fingerprint)
        order = replace(order, job=job)
        _run(order, books, execution)
        _publish(order, books, lock)


def complete(order: Order, execution: Execution) -> None:
    """Write a pyramid, or check one that is complete and shall be kept.

    Raises
    ------
    ValueError, OSError
        As `write` and `check_complete`.
    """
    if order.target.state == "complete" and order.target.mode == "a":
        check_complete(order, execution)
    else:
        write(order, execution)


def prepare(order: Order, *, break_lock: bool = False) -> None:
    """Create a pyramid and store its plan, for others to run the units.

    Raises
    ------
    ValueError
        If other processes cannot open the source.
    """
    reopen_mask(order.job, reopen(order.job))
    with _locked(order.target, Execution(break_lock=break_lock)):
        _begin(order)


def run_share(
    target: Target,
    execution: Execution,
    *,
    share: tuple[int, int],
    numbers: Sequence[int] | None = None,
    limits: Mapping[str, Any],
) -> int:
    """Run units of a stored plan whose inputs are there.

    Parameters
    ----------
    target : Target
        A pyramid that `prepare` or an interrupted run has left.
    execution : Execution
        Where to run.
    share : (i, n)
        Units whose number is `i` modulo `n`.
    numbers : sequence of int, optional
        These units, in place of a share.
    limits : mapping
        `workers` and `memory_limit`, as for `runner.connect`.

    Returns
    -------
    int
        Units of the share that wait for those of others.
    """
    if target.state == "complete":
        raise FileExistsError(
            f"target must have units to be run, got {target}, which is complete"
        )
    order = _reordered(target, limits)
    plan = order.job.plan
    index, count = share
    mine: Sequence[int] = range(index, plan.n_tasks, count)
    if numbers is not None:
        mine = plan.units.checked(numbers)
    with _locked(target, execution, shared=True):
        targets.reopened(target)
        for sweep in range(len(plan.passes)):
            books = ledger.load_books(target, plan, order.job.fingerprint)
            ready = _ready(plan, books, sweep, mine)
            if ready:
                _run(order, books, execution, only=ready)
    return sum(not books.done[number] for number in mine)


def finish(target: Target, execution: Execution, *, limits: Mapping[str, Any]) -> None:
    """Publish a pyramid all of whose first pass is done; later passes are run here.

    One that is complete is left as it is.

    Raises
    ------
    OSError
        If units of the first pass are missing; the message names them.
    """
    if target.state == "complete" and ledger.read_job(target) is None:
        return  # finished before: there is nothing left to do
    order = _reordered(target, limits)
    plan = order.job.plan
    if target.state == "complete":
        check_complete(order, execution)  # killed after it was published
        return
    with _locked(target, execution) as lock:
        targets.reopened(target)
        books = ledger.load_books(target, plan, order.job.fingerprint)
        missing = books.missing(sweep=0)
        if missing:
            raise FileNotFoundError(
                f"all {plan.passes[0].n_units} units of the first pass must be "
                f"done to publish {target}, got none for {len(missing)}: "
                f"{', '.join(missing[:6])}{', ...' if len(missing) > 6 else ''}; run "
                "them with run_units (dask-pyramid units)"
            )
        _run(order, books, execution)
        _publish(order, books, lock)


def _reordered(target: Target, limits: Mapping[str, Any]) -> Order:
    """Return the order of a stored plan, within the limits of this machine."""
    job = _stored(target)
    with runner.connect("threads", **limits) as team:
        job = replace(job, plan=job.plan.limited(team.crew))
        image = reopen(job)
        mask = reopen_mask(job, image)
        return Order(image=image, mask=mask, job=job, target=target, team=team)


def _locked(target: Target, execution: Execution, *, shared: bool = False) -> Lock:
    return Lock(
        target.open_for_lock(),
        str(target),
        shared=shared,
        break_lock=execution.break_lock,
    )


def _stored(target: Target) -> StoredJob:
    found = None if target.state == "empty" else ledger.read_job(target)
    if found is None:
        raise FileNotFoundError(
            f"a stored plan must be at {target}, got none; make one with "
            "prepare_pyramid (dask-pyramid plan IN STORE)"
        )
    return StoredJob.from_json(found)


def _begin(order: Order) -> StoredJob:
    """Create what is not there; return the job with the units that are stored."""
    job, target = order.job, targets.reopened(order.target)
    if target.state == "unfinished":
        found = _stored(target)
        _check_same(found, job, target)
        # A plan of today might cut units otherwise: other memory, other workers.
        plan = found.plan.limited(order.team.crew)
        _log.info("going on with %s", target)
        job = replace(found, plan=plan)
    else:
        job = replace(job, attributes=publication.foreign_attributes(target))
        if target.state == "empty":
            # What a run of another job has left must not be taken for one of this.
            publication.unpublish(target)
        ledger.put_job(target, job.to_json())
        publication.unpublish(target)
    if not publication.is_created(target):
        publication.wipe(target)
    publication.create(target, job.plan, order.compressors, attributes=job.attributes)
    return job


def _check_same(found: StoredJob, job: StoredJob, target: Target) -> None:
    if found.fingerprint != job.fingerprint:
        raise ValueError(
            f"mode 'a' must go on with the same job, got another one than {target} "
            f"was begun with: {differences(found.parameters, job.parameters)}; "
            "mode='w' starts again"
        )


def _run(
    order: Order,
    books: Books,
    execution: Execution,
    only: Container[int] | None = None,
) -> None:
    done = int(books.done.sum())
    if done:
        _log.info("%d of %d units are done already", done, order.job.plan.n_tasks)
    run_left(
        Job(
            plan=order.job.plan,
            reader=order.image.reader,
            target=order.target,
            fingerprint=order.job.fingerprint,
            mask=order.mask,
            labels=order.image.labels,
        ),
        books,
        execution,
        image=order.image,
        team=order.team,
        only=only,
        way_out="what is done is kept: mode='a' goes on with it",
    )


def _ready(
    plan: PyramidPlan, books: Books, sweep: int, mine: Container[int]
) -> set[int]:
    """Return the units of a share and pass that are to be done and can be."""
    sound = ledger.sound_objects(plan, books)
    return {
        unit.number
        for unit in plan.units.of_pass(sweep)
        if unit.number in mine
        and not books.done[unit.number]
        and can_read(plan, unit.number, sound)
    }


def _publish(order: Order, books: Books, lock: Lock) -> None:
    plan = order.job.plan
    raise_if_asked()
    check_unchanged(order.job, order.image, order.mask)
    lock.check()
    attributes = group_attributes(
        order.image,
        plan,
        order.job.parameters["codecs"],
        mask=order.mask,
        books=books,
    )
    kept = order.job.attributes
    publication.publish(order.target, plan, books, {**kept, **attributes})


def check_complete(order: Order, execution: Execution) -> None:
    """Check that a complete pyramid is what a job would write, and clean up after it.

    Raises
    ------
    ValueError
        If it is not; the message says how they differ.
    OSError
        If objects have been lost since.

    Warns
    -----
    UserWarning
        If the source is an array, whose values a finished pyramid does not know.
    """
    job, target = order.job, order.target
    record = check_same_job(order.image, job, target, mask=order.mask)
    journal = ledger.read_journal(target)
    if journal is not None and not journal.published:
        part = f" of region {journal.region!r}" if journal.region else ""
        raise ValueError(
            f"target must not be half changed to be complete, got {target}, where "
            f"{journal.verb}{part} was interrupted; run that again"
        )
    publication.check_counts(
        target,
        job.plan,
        [level.objects for level in record.levels],
        way="verify tells which are missing, mode='w' writes all anew",
    )
    if ledger.has_traces(target):  # of a run that was killed after it was published
        with _locked(target, execution):
            left = ledger.read_job(target)
            if left is not None and left.get("fingerprint") == job.fingerprint:
                ledger.clear_work(target)
    if record.source.get("kind") == "array":
        warnings.warn(
            f"{target} is complete; whether it holds this array is not checked",
            stacklevel=4,
        )
