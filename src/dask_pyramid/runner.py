"""Submit units and wait: threads by default, a `distributed` client when given.

Units of a pass run in any order; a pass begins when the one before it is complete,
because it reads what that one wrote. No array travels between tasks, and no more units
are in flight than keep the workers busy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from dask_pyramid.kernels import load_compiled
from dask_pyramid.sources.blocks import BlockReader
from dask_pyramid.units import Job, run_unit

if TYPE_CHECKING:
    import dask.array as da

    from dask_pyramid.image import Image, Region
    from dask_pyramid.passes import Unit
    from dask_pyramid.receipts import Receipt

__all__ = ["Progress", "ProgressCallback", "connect", "portable", "run_units"]

# Units in flight for each worker: one runs, one waits.
_WINDOW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a pyramid has come; what a progress callback is given."""

    done: int
    """Units finished."""
    total: int
    """Units in all."""
    bytes_written: int
    """Bytes written so far, before compression."""
    seconds: float
    """Time since the start."""


ProgressCallback = Callable[[Progress], object]


class _Pool(Protocol):
    """What both kinds of workers can do."""

    def submit(self, job: Job, unit: Unit) -> Any: ...

    def wait(self, pending: set[Any]) -> set[Any]: ...

    def abandon(self, pending: set[Any]) -> None: ...


def run_units(
    job: Job,
    *,
    graph: da.Array | None = None,
    client: Any = None,
    progress: ProgressCallback | None = None,
    skip: Container[int] = frozenset(),
    on_receipt: Callable[[Receipt], object] = lambda _receipt: None,
) -> None:
    """Run all units of a plan.

    Parameters
    ----------
    job : Job
        Plan, source and target.
    graph : dask.array.Array, optional
        The source of the first pass, if it is a dask graph.
    client : distributed.Client, optional
        Where to run; by default `job.plan.workers` threads of this process.
    progress : callable, optional
        Called with a `Progress` in this thread after each unit.

    skip : container of int
        Numbers of units that are done already, or others'.
    on_receipt : callable
        Called with each receipt, in the order in which units finish.

    Raises
    ------
    Exception
        What the first unit that failed raised; a note names the unit and its region.
        Units that have begun are waited for, others are not started.
    """
    started = time.perf_counter()
    total = job.plan.n_tasks
    done = sum(number in skip for number in range(total))
    written = 0

    def report(receipt: Receipt) -> None:
        nonlocal written, done
        on_receipt(receipt)
        done += 1
        written += receipt.bytes
        if progress is not None:
            progress(
                Progress(
                    done=done,
                    total=total,
                    bytes_written=written,
                    seconds=time.perf_counter() - started,
                )
            )

    if client is None and job.plan.compiled:
        # While the first slabs are decoded, which takes no turn of the interpreter.
        threading.Thread(target=load_compiled, daemon=True).start()
    for number in range(len(job.plan.passes)):
        units = (
            unit for unit in job.plan.units.of_pass(number) if unit.number not in skip
        )
        source = None if number else graph
        if client is None:
            with _Threads(job.plan.workers, source) as threads:
                _drain(threads, job, units, job.plan.workers, report)
        else:
            _drain(_Cluster(client, source), job, units, job.plan.workers, report)


def _drain(
    pool: _Pool,
    job: Job,
    units: Iterable[Unit],
    workers: int,
    report: Callable[[Receipt], None],
) -> None:
    """Keep a window of units in flight until all are done or one has failed."""
    waiting: Iterator[Unit] = iter(units)
    pending: set[Any] = set()
    for unit in waiting:
        pending.add(pool.submit(job, unit))
        if len(pending) < _WINDOW * workers:
            continue
        pending = _collect(pool, pending, report)
    while pending:
        pending = _collect(pool, pending, report)


def _collect(
    pool: _Pool, pending: set[Any], report: Callable[[Receipt], None]
) -> set[Any]:
    try:
        done = pool.wait(pending)
        for future in done:
            report(future.result())
    except BaseException:
        pool.abandon(pending)
        raise
    return pending - done


class _Threads:
    """Threads of this process."""

    def __init__(self, workers: int, graph: da.Array | None) -> None:
        self._pool = futures.ThreadPoolExecutor(workers, "dask-pyramid")
        self._blocks = None if graph is None else BlockReader(graph)

    def __enter__(self) -> _Threads:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, job: Job, unit: Unit) -> Any:
        if self._blocks is not None:
            job = replace(job, reader=self._blocks)
        return self._pool.submit(run_unit, job, unit)

    def wait(self, pending: set[Any]) -> set[Any]:
        return futures.wait(pending, return_when=futures.FIRST_COMPLETED).done

    def abandon(self, pending: set[Any]) -> None:
        for future in pending:
            future.cancel()
        futures.wait(pending)


class _Cluster:
    """Workers of a `distributed` cluster; blocks of a graph stay on them."""

    def __init__(self, client: Any, graph: da.Array | None) -> None:
        self._client = client
        self._blocks = None if graph is None else BlockReader(graph)
        self._made: dict[tuple[int, ...], Any] = {}
        self._left: dict[tuple[int, ...], int] = {}

    def submit(self, job: Job, unit: Unit) -> Any:
        if self._blocks is None:
            return self._client.submit(run_unit, job, unit, pure=False)
        region = _region(job, unit)
        indices = self._blocks.blocks_of(region)
        missing = [index for index in indices if index not in self._made]
        made = self._client.compute(self._blocks.lazy(missing))
        for index, block in zip(missing, made, strict=True):
            self._made[index] = block
            self._left[index] = self._blocks.size_of(index)
        future = self._client.submit(
            _run_with_blocks,
            replace(job, reader=self._blocks.without_graph()),
            unit,
            indices,
            *(self._made[index] for index in indices),
            pure=False,
        )
        for index in indices:
            # Every voxel is read once: a block that is used up is forgotten here, and
            # on the cluster once the units that were given it are done.
            self._left[index] -= self._blocks.overlap(index, region)
            if not self._left[index]:
                del self._made[index], self._left[index]
        return future

    def wait(self, pending: set[Any]) -> set[Any]:
        from distributed import wait

        return set(wait(list(pending), return_when="FIRST_COMPLETED").done)

    def abandon(self, pending: set[Any]) -> None:
        from distributed import wait

        # A task that runs cannot be stopped, and would go on to write after the error:
        # the window is small, all of it is waited for.
        wait(list(pending))


def _region(job: Job, unit: Unit) -> Region:
    """Return what a unit reads."""
    sweep = job.plan.passes[unit.sweep]
    return tuple(
        slice(*sweep.ranges(axis, i)[0][1]) for axis, i in enumerate(unit.index)
    )


def _run_with_blocks(
    job: Job, unit: Unit, indices: list[tuple[int, ...]], *blocks: Any
) -> Receipt:
    reader = job.reader
    assert isinstance(reader, BlockReader)  # made by _Cluster
    return run_unit(replace(job, reader=reader.filled(indices, blocks)), unit)


def connect(client: Any, memory_limit: Any) -> tuple[Any, int, Any]:
    """Return a client, its number of threads, and how much memory its workers have.

    Parameters
    ----------
    client : distributed.Client or str
        A client or the address of a scheduler.
    memory_limit : int, str or None
        What the user asked for; None takes half of what the workers have.

    Returns
    -------
    client : distributed.Client
        The client.
    threads : int
        Tasks that its workers run at a time.
    memory_limit : int or str or None
        Bytes for all workers.

    Raises
    ------
    ValueError
        If it has no workers.
    """
    from distributed import Client

    if isinstance(client, str):
        client = Client(client)
    if not isinstance(client, Client):
        raise TypeError(
            f"client must be a distributed.Client or an address, got {client!r}"
        )
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    threads = sum(worker["nthreads"] for worker in workers)
    if not threads:
        raise ValueError(
            "client must have workers, got none; wait for them with "
            "client.wait_for_workers(n)"
        )
    if memory_limit is None:
        memory = sum(worker["memory_limit"] or 0 for worker in workers)
        memory_limit = memory // 2 or None
    return client, int(threads), memory_limit


def portable(image: Image) -> Image:
    """Return an image whose pixels can travel: an array in memory becomes a graph.

    A reader of an array in memory would send all of it with every task.
    """
    if not getattr(image.reader, "in_memory", False):
        return image
    import dask.array as da

    assert image.reader is not None  # a graph is not in memory
    whole = tuple(slice(0, n) for n in image.shape)
    pixels = image.reader.read(whole)
    blocks = da.from_array(pixels, chunks=image.block_shape(), name=False)
    return replace(image, reader=None, graph=blocks)
