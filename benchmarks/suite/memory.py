"""Peak memory of whole processes, against the limit and what the plan says."""

from __future__ import annotations

import shutil
from functools import cache

from suite.images import Case, made
from suite.processes import MIB, SIZE, Run, python
from suite.writes import TARGET, planned, written

# GiB of the image; the pattern compresses to almost nothing.
_SHAPES = {1: (512, 1024, 1024), 4: (2048, 1024, 1024), 16: (2048, 2048, 2048)}
_CHUNK = 128 if SIZE != "toy" else 8


@cache
def _measured(gib: int, method: str, limit: str) -> tuple[Run, float]:
    """Return a write, and what its plan has predicted, in MiB."""
    case = Case(
        axes="zyx",
        shape=_SHAPES[gib],
        chunks=(_CHUNK,) * 3,
        content="pattern",
        options={"chunks": _CHUNK, "shards": False},
    ).sized()
    made(case)
    run = written(case, method, memory_limit=limit)
    shutil.rmtree(TARGET, ignore_errors=True)
    return run, planned(case, method, memory_limit=limit).peak_memory / MIB


class Memory:
    """A write on two threads."""

    params = (list(_SHAPES), ["mean", "gaussian"], ["512MiB", "2GiB"])
    param_names = ("GiB", "method", "memory_limit")
    timeout = 3600

    def track_peak(self, gib: int, method: str, limit: str) -> float:
        """As the kernel counts it."""
        return _measured(gib, method, limit)[0].peak_mib

    track_peak.unit = "MiB"

    def track_predicted(self, gib: int, method: str, limit: str) -> float:
        """What the plan says."""
        return _measured(gib, method, limit)[1]

    track_predicted.unit = "MiB"

    def track_of_predicted(self, gib: int, method: str, limit: str) -> float:
        """The one over the other."""
        run, predicted = _measured(gib, method, limit)
        return run.peak_mib / predicted

    track_of_predicted.unit = "times"


class Interpreter:
    """What there is before anything is done."""

    def track_peak(self) -> float:
        """With NumPy and this package imported."""
        code = "import dask_pyramid, numpy, time; time.sleep(0.2)"
        return python("-c", code).peak_mib

    track_peak.unit = "MiB"
