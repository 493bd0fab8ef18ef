"""Units in processes of this machine, one thread each.

Processes are spawned, never forked: a fork would copy locks that other threads hold. So
a script must not start the work when it is imported, and is told so if it does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from dask_pyramid.runner.blocks import GivenBlocks
from dask_pyramid.runner.local import take
from dask_pyramid.runner.tasks import Outcome, Station, pack_job
from dask_pyramid.runner.transient import is_transient
from dask_pyramid.sources.blocks import BlockReader
from dask_pyramid.sources.zarr_arrays import limit_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from dask_pyramid.passes import Unit
    from dask_pyramid.units import Job

__all__ = ["Processes", "refuse_unguarded"]

# Units in flight for each process: one runs, one waits.
_PER_PROCESS = 2

_GUARD = (
    "a script that uses client='processes' must do so under "
    "`if __name__ == '__main__':`, because each process imports the script"
)

# Of a worker process: set when it starts.
_stations: list[Station] = []


def refuse_unguarded() -> None:
    """Raise if this process is being started by another one, which imports the script.

    Raises
    ------
    RuntimeError
        Says how to guard the script. Nothing is written before.
    """
    # What `multiprocessing` itself looks at before it starts a process.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(_GUARD)


class Processes:
    """Processes of this machine; the blocks of a dask graph are computed here."""

    def __init__(self, job: Job, graph: da.Array | None) -> None:
        self._workers = job.plan.workers
        self._blocks = None
        if graph is not None:
            reader = BlockReader(graph)
            self._blocks = GivenBlocks(job.plan, reader, reader.compute)
            job = replace(job, reader=reader.without_graph())
        self._packed = pack_job(job)
        self._done: SimpleQueue[futures.Future[Outcome]] = SimpleQueue()
        self._flying: dict[futures.Future[Outcome], int] = {}
        self._failed: list[Outcome] = []
        self._pool = self._start()

    def _start(self) -> futures.ProcessPoolExecutor:
        pool = futures.ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self._packed,),
        )
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"processes must be able to start, got one that ended at once; {_GUARD}"
            ) from error
        return pool

    def capacity(self) -> int:
        """Return how many units to have in flight."""
        # Blocks of a graph wait in the memory of this process.
        return self._workers * (_PER_PROCESS if self._blocks is None else 1)

    def submit(self, units: Sequence[Unit]) -> None:
        """Begin units."""
        for unit in units:
            try:
                given = () if self._blocks is None else self._blocks.given(unit)
            except Exception as error:  # whatever the graph raises
                transient = is_transient(error)
                self._failed.append(
                    Outcome(number=unit.number, error=error, transient=transient)
                )
                continue
            future = self._send(unit.number, given)
            self._flying[future] = unit.number
            future.add_done_callback(self._done.put)

    def _send(self, number: int, given: Sequence[Any]) -> futures.Future[Outcome]:
        try:
            return self._pool.submit(_attempt, number, *given)
        except BrokenProcessPool:
            self._pool.shutdown()
            self._pool = self._start()
            return self._pool.submit(_attempt, number, *given)

    def wait(self, timeout: float) -> list[Outcome]:
        """Return outcomes, none if there are none within `timeout` seconds."""
        failed, self._failed = self._failed, []
        done = take(self._done, 0 if failed else timeout)
        return failed + [
            self._outcome(future, self._flying.pop(future))
            for future in done
            if not future.cancelled()
        ]

    def _outcome(self, future: futures.Future[Outcome], number: int) -> Outcome:
        try:
            outcome = future.result()
        except BrokenProcessPool as error:
            return Outcome(number=number, error=error, lost=True)
        if outcome.receipt is not None and self._blocks is not None:
            self._blocks.done(number)
        return outcome

    def stop(self, timeout: float) -> list[Outcome]:
        """Begin nothing more, wait for what runs, and return its outcomes."""
        for future in self._flying:
            future.cancel()
        futures.wait(self._flying, timeout)
        return self.wait(0)

    def close(self) -> None:
        """Give everything back."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _begin(packed: bytes) -> None:
    """Prepare a worker process: it leaves Ctrl-C to its parent, and dies with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_threads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _stations.append(Station(packed, place=os.getpid()))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker process
    parent.join()
    os._exit(1)


def _attempt(
    number: int, indices: Sequence[tuple[int, ...]] = (), blocks: Sequence[Any] = ()
) -> Outcome:
    return _stations[0].attempt(number, indices, blocks)
