"""What a cluster costs: beside threads on an image, and for each of many units.

The units of the second kind read zeros and store nothing, so that what is left is the
client, the scheduler and the way of a unit through them.
"""

from __future__ import annotations

import gc
import shutil
import statistics
import time
from functools import cache
from typing import Any

import psutil
from distributed import Client, LocalCluster, SchedulerPlugin

import dask_pyramid as dp
from dask_pyramid import runner
from dask_pyramid.receipts import Books
from dask_pyramid.units import Job
from suite.images import CASES, made
from suite.processes import FOLDER, MIB, REPEAT, SIZE
from suite.scenes import Nothing, Nowhere
from suite.writes import options_of

_COUNTS = {"full": (1000, 20000, 100000), "small": (1000, 5000)}.get(SIZE, (20, 40))


class Peak(SchedulerPlugin):
    """The most tasks that a scheduler knows at a time."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler, self.tasks = scheduler, 0

    def transition(self, key: Any, start: str, finish: str, *args, **kwargs) -> None:
        """Look at each change."""
        self.tasks = max(self.tasks, len(self._scheduler.tasks))


def cluster() -> LocalCluster:
    """Return two worker processes of one thread each."""
    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")


class Processes:
    """Two worker processes of one thread, beside two threads of one process."""

    timeout = 3600

    def setup(self) -> None:
        """Make the image."""
        self.case = CASES["volume"].sized()
        made(self.case)

    def track_over_threads(self) -> float:
        """Time over that of threads, whole runs in turn, medians."""
        target = FOLDER / "out.zarr"
        options = options_of(self.case) | {"method": "gaussian", "progress": False}
        workers = options.pop("workers")
        seconds: dict[str, list[float]] = {"threads": [], "cluster": []}
        with cluster() as crowd, Client(crowd, set_as_default=False) as client:
            jobs = {"threads": {"workers": workers}, "cluster": {"client": client}}
            for turn in range(REPEAT + (SIZE != "toy")):
                for name, who in jobs.items():
                    shutil.rmtree(target, ignore_errors=True)
                    started = time.perf_counter()
                    dp.write_pyramid(made(self.case), target, **who, **options)
                    if turn or SIZE == "toy":
                        seconds[name].append(time.perf_counter() - started)
        shutil.rmtree(target, ignore_errors=True)
        return statistics.median(seconds["cluster"]) / statistics.median(
            seconds["threads"]
        )

    track_over_threads.unit = "times"


def null_job(count: int) -> Job:
    """Return a job of so many units that do no I/O: one for each time point."""
    image = dp.Image(
        axes=("t", "y", "x"),
        scale=(1.0,) * 3,
        translation=(0.0,) * 3,
        unit=(None,) * 3,
        reader=Nothing((count, 8, 8), "uint16", (1, 8, 8)),
    )
    plan = dp.plan_pyramid(
        image,
        method="mean",
        scale_factors=[{"y": 2, "x": 2}],
        chunks=8,
        shards=False,
        memory_limit="2GiB",
        workers=2,
    )
    return Job(plan=plan, reader=image.reader, target=Nowhere())


@cache
def _measured(count: int) -> dict[str, float]:
    me = psutil.Process()
    with (
        cluster() as crowd,
        Client(crowd, set_as_default=False) as client,
        runner.connect(client) as team,
    ):
        runner.run_units(null_job(20), client=team)  # warms up
        gc.collect()
        peak, before = Peak(crowd.scheduler), me.memory_info().rss
        crowd.scheduler.add_plugin(peak, name="peak")
        job = null_job(count)
        books = Books(job.plan)
        started, spent = time.perf_counter(), me.cpu_times()
        runner.run_units(job, client=team, on_receipt=books.add)
        seconds, after = time.perf_counter() - started, me.cpu_times()
        gc.collect()
    assert books.done.all()
    used = after.user + after.system - spent.user - spent.system
    return {
        "wall": 1000 * seconds / job.plan.n_tasks,
        "cpu": 1000 * used / job.plan.n_tasks,
        "memory": (me.memory_info().rss - before) / MIB,
        "tasks": peak.tasks,
    }


class ManyUnits:
    """Units without I/O on two worker processes; client and scheduler are one process.

    An image of as many units as there are on paper: 10 TB have some thousand.
    """

    params = (_COUNTS,)
    param_names = ("units",)
    timeout = 3600

    def track_milliseconds(self, count: int) -> float:
        """For each unit, from end to end."""
        return _measured(count)["wall"]

    def track_processor(self, count: int) -> float:
        """Of client and scheduler, for each unit: what bounds a large cluster."""
        return _measured(count)["cpu"]

    def track_memory(self, count: int) -> float:
        """What client and scheduler have grown by, the books of the run included."""
        return _measured(count)["memory"]

    def track_tasks_known(self, count: int) -> float:
        """The most that the scheduler knows at a time."""
        return _measured(count)["tasks"]

    track_milliseconds.unit = "ms"
    track_processor.unit = "ms"
    track_memory.unit = "MiB"
    track_tasks_known.unit = "tasks"
