"""Submit units and wait: on threads, processes, a cluster, or in the calling thread.

Units of a pass run in any order; a pass begins when the one before it is complete,
because it reads what that one wrote. No array travels between tasks, and no more units
are in flight than keep the workers busy, however many there are.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from dask_pyramid.axes import first_spatial
from dask_pyramid.configuration import configured
from dask_pyramid.kernels import load_compiled
from dask_pyramid.runner.local import Synchronous, Threads
from dask_pyramid.runner.order import nearby
from dask_pyramid.runner.tally import Progress, ProgressCallback, Tally
from dask_pyramid.runner.team import Team, connect, portable
from dask_pyramid.runner.window import Pool, Window
from dask_pyramid.tables import bytes_text

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    import dask.array as da

    from dask_pyramid.receipts import Receipt
    from dask_pyramid.units import Job

__all__ = ["Progress", "ProgressCallback", "Team", "connect", "portable", "run_units"]

_log = logging.getLogger("dask_pyramid")


def run_units(
    job: Job,
    *,
    graph: da.Array | None = None,
    client: Team | None = None,
    progress: ProgressCallback | None = None,
    skip: Container[int] = (),
    only: Container[int] | None = None,
    on_receipt: Callable[[Receipt], object] | None = None,
    retries: int | None = None,
) -> None:
    """Run all units of a plan.

    Parameters
    ----------
    job : Job
        Plan, source and target.
    graph : dask.array.Array, optional
        The source of the first pass, if it is a dask graph.
    client : Team, optional
        Who runs the units, from `connect`; by default threads of this process.
    progress : callable, optional
        Called with a `Progress` in this thread, at the start and after each unit.
    skip : container of int
        Numbers of units that are done already.
    only : container of int, optional
        Numbers of the units to be run, of which those that are done are skipped; all
        others are left to others. By default all.
    on_receipt : callable, optional
        Called with the `Receipt` of each unit in this thread, in the order in which
        they finish; nothing is kept here.
    retries : int, optional
        How often a unit is tried again after an error that may pass; by default what
        the configuration says.

    Raises
    ------
    Exception
        What the first unit that failed for good raised; notes name the unit and its
        region, and say how much is done. Units that have begun are waited for, others
        are not started.
    ConnectionError
        If the scheduler of the client is gone.
    """
    plan, retries = job.plan, configured("retries", retries)
    _log_run(job, client)
    tally = Tally(plan, skip=skip, only=only, on_receipt=on_receipt, progress=progress)
    tally.report()
    if tally.ended:
        return
    pool = _pool(job, graph, client)
    try:
        for number, sweep in enumerate(plan.passes):
            order = nearby(sweep.grid, sweep.axis, first=first_spatial(plan.axes))
            units = (plan.units.at(number, index) for index in order)
            left = (
                unit
                for unit in units
                if (only is None or unit.number in only) and unit.number not in skip
            )
            Window(pool, plan, retries=retries, tally=tally).run(left)
    except Exception as error:
        error.add_note(f"{tally.done} of {tally.total} units are done")
        raise
    finally:
        pool.close()


def _log_run(job: Job, team: Team | None) -> None:
    plan = job.plan
    places = () if job.reader is None else job.reader.locations
    _log.info("source: %s", ", ".join(places[:2]) or "an array")
    _log.info(
        "method %s, %d levels, %d units in %d passes",
        plan.method.name,
        len(plan.levels),
        plan.n_tasks,
        len(plan.passes),
    )
    _log.info(
        "run by %s: %d workers, %s of %s",
        "threads" if team is None else team.kind,
        plan.workers,
        bytes_text(plan.peak_memory),
        bytes_text(plan.memory_limit),
    )


def _pool(job: Job, graph: da.Array | None, team: Team | None) -> Pool:
    kind = "threads" if team is None else team.kind
    if kind == "client":
        from dask_pyramid.runner.cluster import Cluster

        assert team is not None  # or it would be threads
        return Cluster(team.client, job, graph)
    if kind == "processes":
        from dask_pyramid.runner.processes import Processes

        return Processes(job, graph)
    if job.plan.compiled:
        # While the first slabs are decoded, which takes no turn of the interpreter.
        threading.Thread(target=load_compiled, daemon=True).start()
    return Synchronous(job, graph) if kind == "synchronous" else Threads(job, graph)
