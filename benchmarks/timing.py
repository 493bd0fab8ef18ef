"""Run commands as whole processes, in turn, and report time and peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = Path(tempfile.gettempdir()) / "dask-pyramid-benchmarks"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished process."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def python(*arguments: object, environment: Mapping[str, str] | None = None) -> Run:
    """Run this Python with arguments and return what it took; raises if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Run(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
    )


def median(runs: Sequence[Run], field: str = "seconds") -> float:
    """Return the median of one field."""
    return statistics.median(getattr(run, field) for run in runs)
