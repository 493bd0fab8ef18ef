"""Start-up: importing, the first use with nothing compiled, and the second."""

from __future__ import annotations

import shutil
import statistics
from functools import cache
from pathlib import Path

from suite.images import CASES, made
from suite.processes import FOLDER, REPEAT, python
from suite.writes import TARGET

_EXAMPLE = Path(__file__).parents[2] / "examples" / "data" / "nuclei.tif"


def seconds(code: str) -> float:
    """Return the median time of a process."""
    return statistics.median(python("-c", code).seconds for _ in range(2 * REPEAT - 1))


class Import:
    """What importing adds to what is imported anyway."""

    def track_over_dask(self) -> float:
        """Beside `dask.array`."""
        both = seconds("import dask.array, dask_pyramid")
        return both - seconds("import dask.array")

    def track_alone(self) -> float:
        """Beside the bare interpreter."""
        return seconds("import dask_pyramid") - seconds("pass")

    track_over_dask.unit = "s"
    track_alone.unit = "s"


@cache
def _uses(name: str) -> tuple[float, float]:
    """Return the times of a first and a second use; one cache for both."""
    source = _EXAMPLE if name == "example" else made(CASES[name].sized())
    cached, times = FOLDER / "numba-cache", []
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(cached, ignore_errors=True)
    for _ in range(2):
        shutil.rmtree(TARGET, ignore_errors=True)
        run = python(
            *("-m", "dask_pyramid.cli", "write", source, TARGET, "--no-progress"),
            environment={"NUMBA_CACHE_DIR": str(cached)},
        )
        times.append(run.seconds)
    shutil.rmtree(TARGET, ignore_errors=True)
    return times[0], times[1]


class FirstUse:
    """The command in a process that finds no compiled code; then once more."""

    params = (("example", "tomogram"),)
    param_names = ("image",)
    timeout = 600

    def track_first(self, name: str) -> float:
        """Nothing is compiled yet."""
        return _uses(name)[0]

    def track_second(self, name: str) -> float:
        """All that is needed is."""
        return _uses(name)[1]

    track_first.unit = "s"
    track_second.unit = "s"
