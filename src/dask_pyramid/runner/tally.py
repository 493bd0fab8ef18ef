"""How far a run has come: counts, and what a progress callback is given."""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.receipts import Receipt

__all__ = ["Progress", "ProgressCallback", "Tally"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a pyramid has come; what a progress callback is given.

    Examples
    --------
    >>> state = Progress(done=3, total=9, resumed=2, voxels=8000, bytes_written=16000,
    ...                  seconds=2.0, seconds_left=12.0)
    >>> state.voxels_per_second
    4000.0
    """

    done: int
    """Units finished, now or in an earlier run."""
    total: int
    """Units in all."""
    resumed: int = 0
    """Units that were finished when this run began."""
    voxels: int
    """Voxels written so far by this run, of all levels."""
    bytes_written: int
    """Bytes of these, before compression."""
    seconds: float
    """Time since the start of this run."""
    seconds_left: float | None = None
    """Time that the rest will take at the speed of this run; None: not known yet."""
    retried: int = 0
    """How often a unit was tried again after an error that may pass."""

    @property
    def voxels_per_second(self) -> float:
        """Speed of this run."""
        return self.voxels / self.seconds if self.seconds else 0.0


ProgressCallback = Callable[[Progress], object]


class Tally:
    """Count what is done, hand receipts on and report progress.

    Parameters
    ----------
    plan : PyramidPlan
        Whose units are run.
    skip : container of int
        Numbers of units that were done before.
    only : container of int, optional
        Numbers of the units that are to be done; all others are not counted.
    on_receipt : callable, optional
        Called with each receipt.
    progress : callable, optional
        Called with a `Progress` at the start and after each unit.
    """

    def __init__(
        self,
        plan: PyramidPlan,
        *,
        skip: Container[int] = (),
        only: Container[int] | None = None,
        on_receipt: Callable[[Receipt], object] | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self._plan = plan
        # Units of a pass cost about the same, those of another pass do not.
        self._costs = [math.prod(sweep.read_extent) for sweep in plan.passes]
        self._offsets = plan.units.offsets()
        self.total = self.done = 0
        self._done_cost = self._left_cost = 0
        for number in range(plan.n_tasks):
            if only is None or number in only:
                done = number in skip
                self.total += 1
                self.done += done
                self._left_cost += 0 if done else self._cost(number)
        self._resumed = self.done
        self._retried = self._voxels = 0
        self._on_receipt, self._progress = on_receipt, progress
        self._started = time.perf_counter()

    @property
    def ended(self) -> bool:
        """Whether nothing is left to be done."""
        return self.done == self.total

    def finished(self, receipt: Receipt) -> None:
        """Count a unit."""
        self.done += 1
        self._voxels += receipt.bytes // self._plan.itemsize
        cost = self._cost(receipt.number)
        self._done_cost += cost
        self._left_cost -= cost
        if self._on_receipt is not None:
            self._on_receipt(receipt)
        self.report()

    def _cost(self, number: int) -> int:
        """Return what a unit costs, as voxels that it reads."""
        return self._costs[bisect.bisect_right(self._offsets, number) - 1]

    def retried(self) -> None:
        """Count a unit that is tried again."""
        self._retried += 1

    def report(self) -> None:
        """Tell the callback how far the run has come."""
        if self._progress is not None:
            seconds = time.perf_counter() - self._started
            self._progress(
                Progress(
                    done=self.done,
                    total=self.total,
                    resumed=self._resumed,
                    voxels=self._voxels,
                    bytes_written=self._voxels * self._plan.itemsize,
                    seconds=seconds,
                    seconds_left=self._left(seconds),
                    retried=self._retried,
                )
            )

    def _left(self, seconds: float) -> float | None:
        if self.ended:
            return 0.0
        # Before each worker has ended a unit, most of what was done is not counted.
        if self.done - self._resumed < self._plan.workers:
            return None
        return seconds * self._left_cost / self._done_cost
