"""How far a run has come: counts, and what a progress callback is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dask_pyramid.receipts import Receipt

__all__ = ["Progress", "ProgressCallback", "Tally"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a pyramid has come; what a progress callback is given."""

    done: int
    """Units finished, now or in an earlier run."""
    total: int
    """Units in all."""
    bytes_written: int
    """Bytes written so far by this run, before compression."""
    seconds: float
    """Time since the start."""
    retried: int = 0
    """How often a unit was tried again after an error that may pass."""


ProgressCallback = Callable[[Progress], object]


class Tally:
    """Count what is done, hand receipts on and report progress.

    Parameters
    ----------
    total : int
        Units in all.
    done : int
        Units that were done before.
    on_receipt : callable, optional
        Called with each receipt.
    progress : callable, optional
        Called with a `Progress` after each unit.
    """

    def __init__(
        self,
        total: int,
        *,
        done: int = 0,
        on_receipt: Callable[[Receipt], object] | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self.total, self.done = total, done
        self._retried = self._written = 0
        self._on_receipt, self._progress = on_receipt, progress
        self._started = time.perf_counter()
        if done:
            self._report()

    def finished(self, receipt: Receipt) -> None:
        """Count a unit."""
        self.done += 1
        self._written += receipt.bytes
        if self._on_receipt is not None:
            self._on_receipt(receipt)
        self._report()

    def retried(self) -> None:
        """Count a unit that is tried again."""
        self._retried += 1

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(
                Progress(
                    done=self.done,
                    total=self.total,
                    bytes_written=self._written,
                    seconds=time.perf_counter() - self._started,
                    retried=self._retried,
                )
            )
