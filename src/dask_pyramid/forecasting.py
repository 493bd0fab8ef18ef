"""How long a plan takes on given cores and bandwidth, and what a store is asked for.

Numbers only, by the cost model by which the plan was chosen. It knows nothing of a
machine: it takes cores as fast as the one on which it was measured, and tells orders of
magnitude and what limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dask_pyramid.cost import core_seconds, decoded_chunks
from dask_pyramid.limits import parse_bytes
from dask_pyramid.tables import bytes_text

if TYPE_CHECKING:
    from dask_pyramid.plan import PyramidPlan

__all__ = ["Forecast", "forecast"]

# Puts beside objects and receipts: group, labels, job, lock, its removal, publication.
_PUTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a plan takes; made by `forecast`."""

    core_seconds: float
    """Seconds of one core that all units take."""
    seconds: float
    """Seconds from begin to end."""
    limited_by: str
    """What most of the time waits for: "cores" or "bandwidth"."""
    bytes_moved: int
    """Bytes read and written, compressed."""
    n_objects: int
    """Storage objects at the end, if none of them is empty."""
    n_puts: int
    """Requests that write: objects, receipts and metadata."""

    def __str__(self) -> str:
        return (
            f"{_time_text(self.seconds)}, limited by {self.limited_by}; "
            f"{self.core_seconds / 3600:.4g} core hours, "
            f"{bytes_text(self.bytes_moved)} moved, {self.n_puts} puts"
        )


def forecast(
    plan: PyramidPlan,
    *,
    cores: int,
    bandwidth: int | float | str,
    compression: float = 2.0,
) -> Forecast:
    """Forecast how long a plan takes; nothing is read.

    Parameters
    ----------
    plan : PyramidPlan
        From `plan_pyramid`, for as many workers and as much memory as there will be.
    cores : int
        Units that run at a time.
    bandwidth : int, float or str
        Bytes per second between all workers and the stores, read and written together
        (``"10 GB"``).
    compression : float
        Raw bytes over stored bytes.

    Returns
    -------
    Forecast
        Pass after pass, each as long as its cores or its bytes take, whichever is
        longer.

    Raises
    ------
    ValueError
        If `cores`, `bandwidth` or `compression` is not positive.

    Notes
    -----
    Measured on a core of 2.6 GHz that runs two units, for each of them, with Blosc zstd
    level 3: 0.6 GB/s decoded, 0.2 GB/s encoded, 3 GB/s reduced. Other codecs, other
    content and slow disks change it by factors.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_pyramid import open_image, plan_pyramid
    >>> plan = plan_pyramid(open_image(np.zeros((512, 512, 512), "uint16")), workers=2)
    >>> print(forecast(plan, cores=2, bandwidth="1 GB").limited_by)
    cores
    """
    rate = float(parse_bytes(bandwidth, name="bandwidth"))
    for name, value in (
        ("cores", cores),
        ("bandwidth", rate),
        ("compression", compression),
    ):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")
    work = moved = seconds = waiting = 0.0
    for sweep in plan.passes:
        budget = plan.budget(sweep)
        decoded, needed = decoded_chunks(sweep, budget.chunks)
        read = (needed if budget.read_once else decoded) * math.prod(budget.chunks)
        written = sum(level.size for level in sweep.levels if level.written)
        n_bytes = (read + written) * plan.itemsize / compression
        one = core_seconds(sweep, replace(budget, workers=1))
        busy = core_seconds(sweep, replace(budget, workers=int(cores)))
        work, moved = work + one, moved + n_bytes
        waiting += max(0.0, n_bytes / rate - busy)
        seconds += max(busy, n_bytes / rate)
    return Forecast(
        core_seconds=work,
        seconds=seconds,
        limited_by="bandwidth" if 2 * waiting > seconds else "cores",
        bytes_moved=round(moved),
        n_objects=plan.n_objects,
        n_puts=plan.n_objects + plan.n_tasks + len(plan.levels) + _PUTS,
    )


def _time_text(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
