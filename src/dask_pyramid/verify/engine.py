"""Run tasks that read, in threads or on a client; a few in flight at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dask_pyramid.limits import default_workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Engine", "Task", "VerifyCallback", "VerifyProgress"]

# In flight for each worker: one runs, one waits.
_WINDOW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyProgress:
    """How far a verification has come; what a progress callback is given."""

    done: int
    """Tasks finished."""
    total: int
    """Tasks known so far."""


VerifyCallback = Callable[[VerifyProgress], object]


class Task(Protocol):
    """Something to run."""

    def run(self) -> Any:
        """Run it."""


class Engine:
    """Runs tasks in the order given; at most a window of them at a time.

    Parameters
    ----------
    workers : int, optional
        Number of threads; by default the number of cores.
    client : distributed.Client, optional
        Runs the tasks instead.
    progress : callable, optional
        Called with a `VerifyProgress` after each task.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        client: Any = None,
        progress: VerifyCallback | None = None,
    ) -> None:
        self._client = client
        self._workers = workers or default_workers()
        self._progress = progress
        self._done = self._total = 0

    def run(self, tasks: Iterable[Any], total: int = 0) -> Iterator[Any]:
        """Yield the results as they come.

        Parameters
        ----------
        tasks : iterable of Task
            Made as they are needed.
        total : int
            How many there are, for the progress.
        """
        self._total += total
        if self._client is None:
            with futures.ThreadPoolExecutor(self._workers, "dask-pyramid") as pool:
                yield from self._drain(
                    tasks,
                    submit=lambda task: pool.submit(_run, task),
                    wait=lambda pending: (
                        futures.wait(pending, return_when=futures.FIRST_COMPLETED).done
                    ),
                )
        else:
            yield from self._drain(
                tasks,
                submit=lambda task: self._client.submit(_run, task, pure=False),
                wait=_wait_for_client,
            )

    def _drain(
        self,
        tasks: Iterable[Any],
        *,
        submit: Callable[[Any], Any],
        wait: Callable[[set[Any]], set[Any]],
    ) -> Iterator[Any]:
        pending: set[Any] = set()
        try:
            for task in tasks:
                pending.add(submit(task))
                if len(pending) >= _WINDOW * self._workers:
                    done = wait(pending)
                    pending -= done
                    yield from map(self._result, done)
            while pending:
                done = wait(pending)
                pending -= done
                yield from map(self._result, done)
        finally:
            for future in pending:
                future.cancel()

    def _result(self, future: Any) -> Any:
        result = future.result()
        self._done += 1
        if self._progress is not None:
            total = max(self._done, self._total)
            self._progress(VerifyProgress(done=self._done, total=total))
        return result


def _run(task: Task) -> Any:
    return task.run()


def _wait_for_client(pending: set[Any]) -> set[Any]:
    from distributed import wait

    return set(wait(list(pending), return_when="FIRST_COMPLETED").done)
