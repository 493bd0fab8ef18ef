"""Run commands as whole processes, and report time and peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SIZE = os.environ.get("DASK_PYRAMID_BENCHMARK_SIZE", "full")
"""Which images: `full`, `small` or `toy`."""
FOLDER = Path(
    os.environ.get("DASK_PYRAMID_BENCHMARK_FOLDER")
    or Path(tempfile.gettempdir()) / "dask-pyramid-benchmarks"
)
"""Where images are made and kept, and results written."""
REPEAT = {"full": 3, "small": 3}.get(SIZE, 1)
"""How often a whole process runs."""
MIB = 2**20

_LOOK = 0.02


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished process."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    """Of the process itself, as the kernel has it."""
    tree_mib: float
    """Of the process and all its children together."""


def python(
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    interpreter: str = sys.executable,
) -> Run:
    """Run Python with arguments and return what it took; raises if it fails."""
    # Whoever uses a package has its bytecode.
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [interpreter, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        env={**inherited, **(environment or {})},
    )
    watch = _Watch(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    watch.end()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Run(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mib=watch.peak / MIB,
        tree_mib=max(watch.peak, watch.tree) / MIB,
    )


class _Watch:
    """The most memory that a process takes, and it and its children together.

    It looks every 20 ms. What the kernel says at the end would not do: for it the peak
    of a process begins with that of the one that has started it.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._status = Path(f"/proc/{pid}/status")
        self.peak = self.tree = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(_LOOK):
            try:
                family = [self._process, *self._process.children(recursive=True)]
                sizes = [member.memory_info().rss for member in family]
                self.tree = max(self.tree, sum(sizes))
                self.peak = max(self.peak, sizes[0], self._highest())
            except (psutil.NoSuchProcess, OSError):
                continue

    def _highest(self) -> int:
        """Return the highest that the process has had, where the kernel tells it."""
        if not self._status.exists():
            return 0
        lines = self._status.read_text().splitlines()
        found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        return 1024 * int(found[0]) if found else 0

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()


def median(runs: Sequence[Run], field: str = "seconds") -> float:
    """Return the median of one field."""
    return statistics.median(getattr(run, field) for run in runs)


def in_turn(jobs: Mapping[str, Callable[[], Run]]) -> dict[str, list[Run]]:
    """Run jobs in turn, so that what else the machine does meets all of them.

    The first round warms up and is not counted, but for the toys.
    """
    runs: dict[str, list[Run]] = {name: [] for name in jobs}
    for turn in range(REPEAT + (SIZE != "toy")):
        for name, job in jobs.items():
            run = job()
            if turn or SIZE == "toy":
                runs[name].append(run)
    return runs


def rate(calls: Sequence[Callable[[], object]], *, voxels: int) -> list[float]:
    """Return the best rate of each of some calls, in Mvoxel/s of one core, in turn.

    Time is that of the processor: calls must stay in one thread.
    """
    best = [float("inf")] * len(calls)
    for turn in range(4 if SIZE != "toy" else 2):
        for i, call in enumerate(calls):
            started = time.process_time()
            call()
            if turn:  # the first warms up
                best[i] = min(best[i], time.process_time() - started)
    return [voxels / max(seconds, 1e-9) / 1e6 for seconds in best]
