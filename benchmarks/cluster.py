"""A cluster against threads on the same volume, and what thousands of units cost.

First the time of `write_pyramid` on two worker processes of one thread and on two
threads, in turn, in one run. Then one process holds client and scheduler while it runs
ever more tiny units: its memory, the most tasks that the scheduler knew at a time, and
the time for each unit.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import time
from pathlib import Path

import psutil
from distributed import Client, LocalCluster, SchedulerPlugin

import dask_pyramid as dp
from timing import FOLDER
from volumes import make_volume


class Peak(SchedulerPlugin):
    """The most tasks that a scheduler knows at a time."""

    def __init__(self, scheduler) -> None:
        self._scheduler, self.tasks = scheduler, 0

    def transition(self, key, start, finish, *args, **kwargs) -> None:
        """Look at each change."""
        self.tasks = max(self.tasks, len(self._scheduler.tasks))


def compare(folder: Path, shape: tuple[int, ...], chunk: int, repeat: int) -> None:
    """Print the time on a cluster over that on threads, whole runs in turn."""
    source, target = (
        folder / f"{'x'.join(map(str, shape))}-{chunk}.zarr",
        folder / "out",
    )
    make_volume(source, shape, chunk)
    options = {"method": "gaussian", "chunks": chunk, "mode": "w", "progress": False}
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as crowd,
        Client(crowd, set_as_default=False) as client,
    ):
        seconds = {"threads": [], "cluster": []}
        for _ in range(repeat + 1):  # the first round warms up and is not counted
            for name, who in (
                ("threads", {"workers": 2}),
                ("cluster", {"client": client}),
            ):
                shutil.rmtree(target, ignore_errors=True)
                started = time.perf_counter()
                dp.write_pyramid(source, target, **who, **options)
                seconds[name].append(time.perf_counter() - started)
    shutil.rmtree(target, ignore_errors=True)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    ratio = medians["cluster"] / medians["threads"]
    print(
        f"{'x'.join(map(str, shape))}: two threads {medians['threads']:.2f} s, two "
        f"worker processes {medians['cluster']:.2f} s, {ratio:.2f} times"
    )


def flat(folder: Path, counts: list[int]) -> None:
    """Print memory of client and scheduler, tasks known and time for each unit."""
    target = folder / "units"
    me = psutil.Process()
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as crowd,
        Client(crowd, set_as_default=False) as client,
    ):
        for count in [counts[0], *counts]:  # the first warms up
            source = folder / f"rows-{count}.zarr"
            _rows(source, count)
            shutil.rmtree(target, ignore_errors=True)
            peak = Peak(crowd.scheduler)
            crowd.scheduler.add_plugin(peak, name=f"peak-{count}")
            started = time.perf_counter()
            done = _write(source, target, client)
            seconds = time.perf_counter() - started
            crowd.scheduler.remove_plugin(f"peak-{count}")
            gc.collect()
            print(
                f"{done:6d} units: {me.memory_info().rss / 2**20:4.0f} MiB (client and "
                f"scheduler), at most {peak.tasks} tasks known, "
                f"{len(crowd.scheduler.tasks)} left, {1000 * seconds / done:.1f} ms "
                "for each unit"
            )
    shutil.rmtree(target, ignore_errors=True)


def _rows(path: Path, count: int) -> None:
    """Make `count` time points of one tiny chunk each; each is one unit."""
    import zarr

    if not path.exists():
        zarr.create_array(
            path, shape=(count, 8, 8), chunks=(1, 8, 8), dtype="uint8", fill_value=1
        )


def _write(source: Path, target: Path, client: Client) -> int:
    states = []

    def keep(progress: dp.Progress) -> None:
        states[:] = [progress]

    dp.write_pyramid(
        source,
        target,
        axes="tyx",
        chunks=8,
        shards=False,
        scale_factors=[{"y": 2, "x": 2}],
        method="mean",
        client=client,
        mode="w",
        progress=keep,
    )
    return states[0].done


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=[512, 1024, 1024])
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 20000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--toy", action="store_true", help="64**3; 20 and 40 units")
    options = parser.parse_args()
    if options.toy:
        options.shape, options.chunk, options.repeat = [64, 64, 64], 32, 1
        options.counts = [20, 40]
    options.folder.mkdir(parents=True, exist_ok=True)
    compare(options.folder, tuple(options.shape), options.chunk, options.repeat)
    flat(options.folder, options.counts)


if __name__ == "__main__":
    main()
