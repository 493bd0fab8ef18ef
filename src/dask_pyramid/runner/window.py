"""Keep a window of units in flight until all are done or one has failed for good.

A unit that fails in a way that may pass comes back after a while; the others go on. A
unit whose process died is run again alone, when all others are done: if the process
dies once more, it was this unit, and not one that ran beside it. After a failure
nothing more is begun, and what runs is waited for, so that nothing is written after it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

from dask_pyramid.runner.transient import delay
from dask_pyramid.stopping import raise_if_asked
from dask_pyramid.units import unit_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dask_pyramid.passes import Unit
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.runner.tally import Tally
    from dask_pyramid.runner.tasks import Outcome

__all__ = ["Pool", "Window"]

_log = logging.getLogger("dask_pyramid")

# Seconds: how long units that run are waited for after a failure; how long a pool may
# sleep before it is asked whether it still works.
_PATIENCE = 600.0
_TICK = 1.0


class Pool(Protocol):
    """What all kinds of workers can do."""

    def capacity(self) -> int:
        """Return how many units to have in flight."""

    def submit(self, units: Sequence[Unit]) -> None:
        """Begin units."""

    def wait(self, timeout: float) -> Sequence[Outcome]:
        """Return outcomes, none if there are none within `timeout` seconds."""

    def stop(self, timeout: float) -> Sequence[Outcome]:
        """Begin nothing more, wait for what runs, and return its outcomes."""

    def close(self) -> None:
        """Give everything back."""


class _Traceback(Exception):  # noqa: N818  # shown as the cause of an error, not caught
    """Where an error was raised in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Window:
    """Units of one pass in flight.

    Parameters
    ----------
    pool : Pool
        Who runs them.
    plan : PyramidPlan
        Names their regions in errors.
    retries : int
        How often a unit is tried again after an error that may pass.
    tally : Tally
        Told of each unit that is done.
    """

    def __init__(
        self, pool: Pool, plan: PyramidPlan, *, retries: int, tally: Tally
    ) -> None:
        self._pool, self._plan = pool, plan
        self._retries, self._tally = retries, tally
        self._flying: dict[int, Unit] = {}
        self._failures: Counter[int] = Counter()
        self._later: list[tuple[float, int, Unit]] = []
        self._suspects: deque[Unit] = deque()
        self._alone: Unit | None = None

    def run(self, units: Iterable[Unit]) -> None:
        """Run units until all are done.

        Raises
        ------
        Exception
            What the first unit that failed for good raised, or the pool; a note names
            the unit and its region.
        """
        waiting = iter(units)
        try:
            while self._feed(waiting):
                for outcome in self._wait():
                    self._take(outcome)
                raise_if_asked()
        except BaseException:
            for outcome in self._pool.stop(_PATIENCE):
                if outcome.receipt is not None:
                    self._tally.finished(outcome.receipt)
            raise

    def _feed(self, waiting: Iterable[Unit]) -> bool:
        """Begin what there is room for; return whether anything is left to wait for."""
        if self._alone is not None:
            return True
        room = self._pool.capacity() - len(self._flying)
        batch: list[Unit] = []
        while self._later and self._later[0][0] <= time.monotonic():
            batch.append(heapq.heappop(self._later)[-1])
        batch += itertools.islice(waiting, max(0, room - len(batch)))
        if not (batch or self._flying or self._later) and self._suspects:
            self._alone = self._suspects.popleft()
            batch = [self._alone]
        self._flying |= {unit.number: unit for unit in batch}
        if batch:
            self._pool.submit(batch)
        return bool(self._flying or self._later)

    def _wait(self) -> Sequence[Outcome]:
        pause = _TICK
        if self._later:
            pause = min(pause, max(0.0, self._later[0][0] - time.monotonic()))
        if self._flying:
            return self._pool.wait(pause)
        time.sleep(pause)
        return ()

    def _take(self, outcome: Outcome) -> None:
        unit = self._flying.pop(outcome.number)
        alone, self._alone = unit is self._alone, None
        if outcome.receipt is not None:
            self._failures.pop(unit.number, None)
            if _log.isEnabledFor(logging.DEBUG):  # a text for each unit
                _log.debug("done %s", self._name(unit))
            self._tally.finished(outcome.receipt)
            return
        assert outcome.error is not None  # a pool that was not stopped gives one
        if outcome.lost and not alone:
            _log.warning("a process died that ran units, one %s", self._name(unit))
            self._suspects.append(unit)
            return
        self._failures[unit.number] += 1
        failures = self._failures[unit.number]
        if outcome.transient and failures <= self._retries:
            pause = delay(failures)
            _log.warning(
                "%s (%s); trying again in %.1f s",
                outcome.error,
                self._name(unit),
                pause,
            )
            due = time.monotonic() + pause
            heapq.heappush(self._later, (due, unit.number, unit))
            self._tally.retried()
            return
        raise self._final(unit, outcome)

    def _name(self, unit: Unit) -> str:
        return unit_text(self._plan, unit)

    def _final(self, unit: Unit, outcome: Outcome) -> BaseException:
        """Return the error that ends the run, with all that is known of it."""
        error = outcome.error
        assert error is not None  # asked for failures only
        if outcome.lost:
            error = RuntimeError(
                "worker must survive a unit, got one that died each time it ran this "
                "one; it may need more memory than there is: give a memory_limit"
            )
        if self._name(unit) not in getattr(error, "__notes__", ()):
            error.add_note(self._name(unit))
        if outcome.trace:
            error.__cause__ = _Traceback(outcome.trace)
        return error
