"""On paper: how long terabytes take on given cores and bandwidth."""

from __future__ import annotations

import dask_pyramid as dp
from suite.plans import plan_of

# Cores, and bytes per second between them and the stores.
MACHINES = {
    "16 cores, 1 GB/s": (16, 1e9),
    "128 cores, 10 GB/s": (128, 1e10),
    "1024 cores, 100 GB/s": (1024, 1e11),
}


class Forecasts:
    """Of the cost model; compression 2."""

    params = (("10 TB", "1 PB"), ("mean", "gaussian"), tuple(MACHINES))
    param_names = ("image", "method", "machine")

    def setup(self, name: str, method: str, machine: str) -> None:
        """Plan for the machine: 4 GiB for each core."""
        cores, bandwidth = MACHINES[machine]
        plan = plan_of(name, method, workers=cores, memory_limit=cores * 2**32)
        self.plan = plan
        self.found = dp.forecast(plan, cores=cores, bandwidth=bandwidth)

    def track_hours(self, *_: str) -> float:
        """From begin to end."""
        return self.found.seconds / 3600

    def track_core_hours(self, *_: str) -> float:
        """Of all cores."""
        return self.found.core_seconds / 3600

    def track_units(self, *_: str) -> int:
        """Tasks of the writer."""
        return self.plan.n_tasks

    def track_objects(self, *_: str) -> int:
        """That are stored."""
        return self.found.n_objects

    def track_puts(self, *_: str) -> int:
        """Requests that write."""
        return self.found.n_puts

    track_hours.unit = "h"
    track_core_hours.unit = "h"
    track_units.unit = "units"
    track_objects.unit = "objects"
    track_puts.unit = "puts"
