"""Units in this process: in the calling thread, or in threads beside it."""

from __future__ import annotations

import time
from collections import deque
from concurrent import futures
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from dask_pyramid.runner.tasks import Outcome, attempt, open_backend
from dask_pyramid.sources.blocks import BlockReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from dask_pyramid.passes import Unit
    from dask_pyramid.units import Job

__all__ = ["Synchronous", "Threads", "take"]

# Units in flight for each thread: one runs, one waits.
_PER_THREAD = 2


class Synchronous:
    """The calling thread, one unit after the other: for debuggers and profilers."""

    def __init__(self, job: Job, graph: da.Array | None) -> None:
        if graph is not None:
            job = replace(job, reader=BlockReader(graph, scheduler="synchronous"))
        self._job = job
        self._backend = open_backend(job.plan)
        self._waiting: deque[Unit] = deque()

    def capacity(self) -> int:
        """Return how many units to have in flight."""
        return 1

    def submit(self, units: Sequence[Unit]) -> None:
        """Begin units."""
        self._waiting.extend(units)

    def wait(self, timeout: float) -> list[Outcome]:
        """Return outcomes, none if there are none within `timeout` seconds."""
        return [attempt(self._job, self._waiting.popleft(), self._backend)]

    def stop(self, timeout: float) -> list[Outcome]:
        """Begin nothing more, wait for what runs, and return its outcomes."""
        self._waiting.clear()
        return []

    def close(self) -> None:
        """Give everything back."""
        self._backend.free()


class Threads:
    """Threads of this process."""

    def __init__(self, job: Job, graph: da.Array | None) -> None:
        if graph is not None:
            job = replace(job, reader=BlockReader(graph))
        self._job = job
        self._backend = open_backend(job.plan)
        self._pool = futures.ThreadPoolExecutor(job.plan.workers, "dask-pyramid")
        self._done: SimpleQueue[futures.Future[Outcome]] = SimpleQueue()
        self._flying: set[futures.Future[Outcome]] = set()

    def capacity(self) -> int:
        """Return how many units to have in flight."""
        return _PER_THREAD * self._job.plan.workers

    def submit(self, units: Sequence[Unit]) -> None:
        """Begin units."""
        for unit in units:
            future = self._pool.submit(attempt, self._job, unit, self._backend)
            self._flying.add(future)
            future.add_done_callback(self._done.put)

    def wait(self, timeout: float) -> list[Outcome]:
        """Return outcomes, none if there are none within `timeout` seconds."""
        done = take(self._done, timeout)
        self._flying.difference_update(done)
        return [future.result() for future in done if not future.cancelled()]

    def stop(self, timeout: float) -> list[Outcome]:
        """Begin nothing more, wait for what runs, and return its outcomes."""
        for future in self._flying:
            future.cancel()
        futures.wait(self._flying, timeout)
        return self.wait(0)

    def close(self) -> None:
        """Give everything back."""
        self._pool.shutdown(wait=not self._flying, cancel_futures=True)
        self._backend.free()


def take(queue: SimpleQueue[Any], timeout: float) -> list[Any]:
    """Return all that is in a queue, after waiting for the first of it."""
    found: list[Any] = []
    deadline = time.monotonic() + timeout
    while True:
        try:
            wait = 0.0 if found else max(0.0, deadline - time.monotonic())
            found.append(queue.get(timeout=wait) if wait else queue.get_nowait())
        except Empty:
            return found
