"""What runs where the units run: one attempt at a unit, and what it came to.

An attempt raises nothing: its outcome says whether it may be tried again, because only
here the error still knows what it was raised from.
"""

from __future__ import annotations

import pickle
import threading
import traceback
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dask_pyramid import device
from dask_pyramid.runner.transient import is_transient
from dask_pyramid.sources.blocks import BlockReader
from dask_pyramid.units import Job, run_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.device import Backend
    from dask_pyramid.passes import Unit
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.receipts import Receipt

__all__ = ["Outcome", "Station", "attempt", "open_backend", "pack_job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one attempt; small, and pickles."""

    number: int
    """Number of the unit."""
    receipt: Receipt | None = None
    """What was done, if it went well."""
    error: BaseException | None = None
    """Why it failed."""
    trace: str = ""
    """Where it failed, if that was in another process."""
    transient: bool = False
    """Whether the error may pass."""
    lost: bool = False
    """Whether the process died that ran the unit, or others beside it."""


def open_backend(plan: PyramidPlan, *, place: int | None = None) -> Backend:
    """Return where the levels of a plan are made in this process.

    Parameters
    ----------
    plan : PyramidPlan
        The plan.
    place : int, optional
        Number of this process among those that share the GPUs it sees: it takes one of
        them. By default it takes all.

    Raises
    ------
    NoGpuError
        If the plan is for a GPU and there is none.
    """
    if not plan.gpu_memory:
        return device.HOST
    count = len(device.CupyBackend.gpus())
    return device.CupyBackend(
        limit=plan.gpu_memory,
        places=plan.gpu_places,
        host_bytes=plan.buffer_memory,
        devices=range(count) if place is None else [place % count],
    )


def attempt(job: Job, unit: Unit, backend: Backend = device.HOST) -> Outcome:
    """Run a unit in this process."""
    try:
        return Outcome(number=unit.number, receipt=run_unit(job, unit, backend))
    except Exception as error:
        transient = is_transient(error)
        return Outcome(number=unit.number, error=error, transient=transient)


class Station:
    """What a worker process keeps of a run: the job, and how many units at a time.

    Parameters
    ----------
    packed : bytes
        From `pack_job`.
    place : int
        As for `open_backend`.
    """

    def __init__(self, packed: bytes, *, place: int = 0) -> None:
        self._job: Job = pickle.loads(zlib.decompress(packed))
        self._place = place
        self._opening = threading.Lock()
        self._backend: Backend | None = None
        self._room = threading.BoundedSemaphore(self._job.plan.per_process)

    def attempt(
        self,
        number: int,
        indices: Sequence[tuple[int, ...]] = (),
        blocks: Sequence[Any] = (),
    ) -> Outcome:
        """Run a unit; of a dask graph, on blocks that are computed already."""
        job = self._job
        unit = job.plan.units[number]
        with self._room:
            if isinstance(job.reader, BlockReader) and not unit.sweep:
                job = replace(job, reader=job.reader.filled(indices, blocks))
            outcome = self._attempt(job, unit)
        return outcome if outcome.error is None else _portable(outcome)

    def _attempt(self, job: Job, unit: Unit) -> Outcome:
        """Run a unit; the first one opens the device, which takes a while."""
        try:
            with self._opening:
                if self._backend is None:
                    self._backend = open_backend(job.plan, place=self._place)
        except device.NoGpuError as error:
            return Outcome(number=unit.number, error=error)
        return attempt(job, unit, self._backend)


def _portable(outcome: Outcome) -> Outcome:
    """Return an outcome whose error survives pickling, with its traceback as text."""
    error = outcome.error
    assert error is not None  # asked for failures only
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its own methods raise
        notes = getattr(error, "__notes__", ())
        error = RuntimeError(f"{type(error).__name__}: {error}")
        for note in notes:
            error.add_note(note)
    return replace(outcome, error=error, trace=trace)


def pack_job(job: Job) -> bytes:
    """Return a job for `Station`; sent once to each process, not with every unit.

    Raises
    ------
    TypeError
        If the source, the method or the target cannot be pickled.
    """
    import cloudpickle

    try:
        return zlib.compress(cloudpickle.dumps(job))
    except Exception as error:  # whatever its own methods raise
        raise TypeError(
            f"source, method and target must pickle to reach other processes, got "
            f"{type(error).__name__}: {error}; client='threads' needs no pickling"
        ) from error
