"""What a worker of a `distributed` cluster holds of a run, and the task that it runs.

The job goes to each worker once, as a plugin: to those that are there, and to those
that come later or come again before they are given work. So a task is a name and a
number, depends on nothing, and goes to whichever worker is free.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin, get_worker

from dask_pyramid import __version__
from dask_pyramid.runner.tasks import Outcome, Station
from dask_pyramid.sources.zarr_arrays import limit_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Worker

__all__ = ["JobPlugin", "attempt_here"]


class JobPlugin(WorkerPlugin):  # type: ignore[misc]  # distributed is not typed here
    """Hold a job on a worker.

    Parameters
    ----------
    packed : bytes
        From `pack_job`.
    """

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._version = __version__
        self.station: Station | None = None

    def setup(self, worker: Worker) -> None:
        """Unpack the job; called by the worker."""
        if self._version != __version__:
            raise RuntimeError(
                f"workers must have dask-pyramid {self._version} as the client has, "
                f"got {__version__} on {worker.address}"
            )
        if worker.nanny:  # so this process is the worker's alone
            limit_threads(worker.state.nthreads)
            if threading.current_thread() is threading.main_thread():
                # Ctrl-C in a terminal goes to all its processes; the client decides.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.station = Station(self._packed)


def attempt_here(
    number: int, *blocks: Any, name: str, indices: Sequence[Any] = ()
) -> Outcome:
    """Run a unit on this worker; nothing at all once the run has been stopped."""
    plugin = get_worker().plugins.get(name)
    if plugin is None:
        return Outcome(number=number)
    outcome: Outcome = plugin.station.attempt(number, indices, blocks)
    return outcome
