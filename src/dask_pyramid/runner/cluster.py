"""Units on the workers of a `distributed` cluster.

The scheduler knows of a few units for each thread, and forgets those that are done.
What comes back is a small outcome. The client's connection and the number of threads
are looked at every few seconds: a scheduler that is gone or silent ends the run,
workers that come or go change the size of the window.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dask_pyramid.runner.blocks import GivenBlocks
from dask_pyramid.runner.local import take
from dask_pyramid.runner.tasks import Outcome, pack_job
from dask_pyramid.runner.transient import is_transient
from dask_pyramid.sources.blocks import BlockReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from dask_pyramid.passes import Unit
    from dask_pyramid.units import Job

__all__ = ["Cluster"]

_log = logging.getLogger("dask_pyramid")

# Units in flight for each thread: one runs, one waits on the worker, the others on the
# scheduler. Blocks of a graph take memory from the moment they are asked for.
_PER_THREAD = 4
_PER_THREAD_OF_GRAPH = 2

_LARGE_GRAPH = "distributed.admin.large-graph-warning-threshold"

# Seconds: between looks at the scheduler, until it counts as gone, and how long a
# cluster may be without any worker.
_LOOK = 2.0
_SILENCE = 60.0
_WITHOUT_WORKERS = 600.0
_TICK = 0.5


class Cluster:
    """Workers of a cluster; blocks of a dask graph are computed and stay on them.

    Parameters
    ----------
    client : distributed.Client
        Synchronous, connected.
    job : Job
        Plan, source and target.
    graph : dask.array.Array or None
        The source, if it is a dask graph.
    """

    def __init__(self, client: Any, job: Job, graph: da.Array | None) -> None:
        from dask_pyramid.runner.plugin import JobPlugin, attempt_here

        self._client, self._task = client, attempt_here
        self._blocks = None
        if graph is not None:
            reader = BlockReader(graph)
            self._blocks = GivenBlocks(job.plan, reader, self._compute)
            job = replace(job, reader=reader.without_graph())
        self._per_process = job.plan.per_process
        self._name = f"dask-pyramid-{uuid4().hex}"
        self._count = itertools.count()
        self._done: SimpleQueue[Any] = SimpleQueue()
        # Was done, but the outcome went with its worker: no callback comes again.
        self._again: list[Any] = []
        self._flying: dict[Any, tuple[Any, int]] = {}
        self._pulse = _Pulse(client)
        client.register_plugin(JobPlugin(pack_job(job)), name=self._name)

    def capacity(self) -> int:
        """Return how many units to have in flight."""
        threads = sum(min(n, self._per_process) for n in self._pulse.threads())
        return threads * (_PER_THREAD if self._blocks is None else _PER_THREAD_OF_GRAPH)

    def submit(self, units: Sequence[Unit]) -> None:
        """Begin units."""
        options = {"name": self._name, "pure": False}
        if self._blocks is None:
            numbers = [unit.number for unit in units]
            keys = [self._key(number) for number in numbers]
            sent = self._client.map(self._task, numbers, key=keys, **options)
        else:
            sent = []
            for unit in units:
                indices, blocks = self._blocks.given(unit)
                options |= {"indices": indices, "key": self._key(unit.number)}
                sent.append(
                    self._client.submit(self._task, unit.number, *blocks, **options)
                )
        for unit, future in zip(units, sent, strict=True):
            self._flying[future.key] = future, unit.number
            future.add_done_callback(self._done.put)

    def _compute(self, blocks: list[Any]) -> Any:
        """Begin blocks; of an array in memory, the pixels of a unit travel with them.

        `distributed` would warn of a large graph, which is not one: it holds no more
        than the window, and a worker that dies costs nothing that cannot be made again.
        """
        import dask

        with dask.config.set(
            {"distributed.admin.large-graph-warning-threshold": "1TB"}
        ):
            return self._client.compute(blocks)

    def _key(self, number: int) -> tuple[str, int, int]:
        """Return a key that is never used again, also when a unit is."""
        return self._name, number, next(self._count)

    def wait(self, timeout: float) -> list[Outcome]:
        """Return outcomes, none if there are none within `timeout` seconds."""
        done = defaultdict(list)
        for future in take(self._done, min(timeout, _TICK)) + self._again:
            done[future.status].append(future)
        self._pulse.threads()
        if done["cancelled"]:
            raise self._pulse.lost("units were cancelled")
        self._again = done["pending"] + done["lost"]
        outcomes = self._failed(done["error"]) + self._gathered(done["finished"])
        for outcome in outcomes:
            if outcome.receipt is not None and self._blocks is not None:
                self._blocks.done(outcome.number)
        return outcomes

    def _failed(self, done: Sequence[Any]) -> list[Outcome]:
        """Return the outcomes of tasks that failed outside of a unit.

        Either `distributed` has given them up, or a block of the graph has failed.
        """
        from distributed import KilledWorker

        outcomes = []
        for future in done:
            _, number = self._flying.pop(future.key)
            error = future.exception()
            outcomes.append(
                Outcome(
                    number=number,
                    error=error,
                    lost=isinstance(error, KilledWorker),
                    transient=is_transient(error),
                )
            )
            if self._blocks is not None:
                self._blocks.failed(number)
        return outcomes

    def _gathered(self, done: Sequence[Any]) -> list[Outcome]:
        """Fetch outcomes in one go.

        If a worker died with one, that unit runs again, and all are looked at again.
        """
        if not done:
            return []
        gather = partial(self._client.gather, list(done), asynchronous=True)
        try:
            outcomes: list[Outcome] = self._client.sync(
                gather, callback_timeout=_SILENCE
            )
        except Exception:  # of any one of them, or of the connection
            self._again += done
            return []
        for future in done:
            del self._flying[future.key]
        return outcomes

    def stop(self, timeout: float) -> list[Outcome]:
        """Begin nothing more, wait for what runs, and return its outcomes."""
        outcomes: list[Outcome] = []
        deadline = time.monotonic() + timeout
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._withdraw()
            while self._flying and time.monotonic() < deadline:
                outcomes += self.wait(_TICK)
        return outcomes

    def close(self) -> None:
        """Give everything back."""
        self._flying.clear()
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._withdraw()

    def _withdraw(self) -> None:
        """Take the job from the workers: tasks that begin now do nothing."""
        name, self._name = self._name, ""
        if name:
            self._pulse.ask(self._client.scheduler.unregister_worker_plugin, name=name)


class _Pulse:
    """Whether the scheduler is there, and how many threads its workers have."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._address = client.scheduler.address
        self._threads: tuple[int, ...] = ()
        self._looked = 0.0
        self._crewed = time.monotonic()
        self._warned = False

    def threads(self) -> tuple[int, ...]:
        """Return the threads of each worker, as of some seconds ago.

        Raises
        ------
        ConnectionError
            If the scheduler is gone, or does not answer.
        TimeoutError
            If there has been no worker for a long time.
        """
        if self._client.status != "running":
            raise self.lost("the connection is closed")
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return self._threads
        found = tuple(self.ask(self._client.scheduler.ncores).values())
        self._looked = now
        if found:
            self._threads, self._crewed, self._warned = found, now, False
        elif now - self._crewed > _WITHOUT_WORKERS:
            raise TimeoutError(
                f"client must have workers, got none at {self._address} for "
                f"{_WITHOUT_WORKERS:.0f} s"
            )
        elif not self._warned:
            _log.warning("%s has no workers; waiting for some", self._address)
            self._warned = True
        return self._threads

    def ask(self, call: Any, **given: Any) -> Any:
        """Return what the scheduler answers."""
        if self._client.status != "running":
            raise self.lost("the connection is closed")
        try:
            return self._client.sync(call, callback_timeout=_SILENCE, **given)
        except (OSError, TimeoutError) as error:
            raise self.lost(str(error) or type(error).__name__) from error

    def lost(self, why: str) -> ConnectionError:
        """Return the error that ends a run whose scheduler is gone."""
        return ConnectionError(
            f"client must stay connected to its scheduler, got {self._address}: {why}"
        )
