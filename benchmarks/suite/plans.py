"""What plans and lazy graphs say, exactly, and how long it takes to make them.

Nothing is read or written, and no figure depends on the machine but those of time: the
test suite holds them against ``exact.json``.
"""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np

import dask_pyramid as dp
from suite.images import CASES
from suite.processes import MIB
from suite.scenes import Nothing
from suite.writes import LIMIT

# Axes, extent, type, chunks; then memory and workers.
PLANNED: dict[str, dict[str, Any]] = {
    **{
        name: {
            "axes": case.axes,
            "shape": case.shape,
            "dtype": case.dtype,
            "chunk": case.chunks,
            "options": case.options,
            "labels": case.content == "ids",
        }
        for name, case in CASES.items()
    },
    "10 TB": {
        "axes": "zyx",
        "shape": (10000, 50000, 10000),
        "dtype": "uint16",
        "chunk": (128,) * 3,
        "options": {"memory_limit": "64GiB", "workers": 16},
    },
    "1 PB": {
        "axes": "zyx",
        "shape": (50000, 100000, 100000),
        "dtype": "uint16",
        "chunk": (128,) * 3,
        "options": {"memory_limit": "4TiB", "workers": 1024},
    },
}


def image_of(name: str) -> dp.Image:
    """Return an image that is only a shape."""
    wanted = PLANNED[name]
    axes = wanted["axes"]
    order = [axes.index(a) for a in "tczyx" if a in axes]
    shape, chunks = (tuple(wanted[key][i] for i in order) for key in ("shape", "chunk"))
    n = len(shape)
    return dp.Image(
        axes=tuple(axes[i] for i in order),
        scale=(1.0,) * n,
        translation=(0.0,) * n,
        unit=(None,) * n,
        reader=Nothing(shape, wanted["dtype"], chunks),
        labels=wanted.get("labels", False),
    )


def plan_of(name: str, method: str, **more: Any) -> dp.PyramidPlan:
    """Return the plan of a case, within the same memory everywhere."""
    options = {"memory_limit": LIMIT, "workers": 2, **PLANNED[name]["options"], **more}
    return dp.plan_pyramid(image_of(name), method=method, **options)


class Plans:
    """Plans of the images of `images`, and of what nobody can copy."""

    params = (list(PLANNED), ["mean", "gaussian", "mode"])
    param_names = ("image", "method")

    def setup(self, name: str, method: str) -> None:
        """Leave out what makes no sense."""
        if PLANNED[name].get("labels", False) != (method == "mode"):
            raise NotImplementedError
        self.plan = plan_of(name, method)

    def time_plan(self, name: str, method: str) -> None:
        """With all that is printed of it."""
        str(plan_of(name, method))

    def track_tasks(self, *_: str) -> int:
        """Of the writer."""
        return self.plan.n_tasks

    def track_graph_tasks(self, *_: str) -> int:
        """Of the lazy graph."""
        return sum(self.plan.graph_tasks)

    def track_bytes_read(self, *_: str) -> int:
        """Raw, each chunk as often as it is decoded."""
        return self.plan.bytes_read

    def track_bytes_written(self, *_: str) -> int:
        """Raw."""
        return self.plan.bytes_written

    def track_objects(self, *_: str) -> int:
        """That are stored."""
        return self.plan.n_objects

    def track_decoded(self, *_: str) -> float:
        """Chunks of the source decoded for each that it has."""
        return round(self.plan.decode_amplification, 4)

    def track_peak(self, *_: str) -> float:
        """Memory that is predicted."""
        return round(self.plan.peak_memory / MIB, 1)

    track_tasks.unit = "tasks"
    track_graph_tasks.unit = "tasks"
    track_bytes_read.unit = "bytes"
    track_bytes_written.unit = "bytes"
    track_objects.unit = "objects"
    track_decoded.unit = "times"
    track_peak.unit = "MiB"


class Petabyte:
    """A plan of 1 PB."""

    params = (("mean", "gaussian"),)
    param_names = ("method",)

    def time_plan(self, method: str) -> None:
        """All of it, with its figures."""
        str(plan_of("1 PB", method))

    def track_memory(self, method: str) -> float:
        """The most that Python holds meanwhile."""
        tracemalloc.start()
        try:
            str(plan_of("1 PB", method))
            return tracemalloc.get_traced_memory()[1] / MIB
        finally:
            tracemalloc.stop()

    track_memory.unit = "MiB"

    def track_enumerating(self, method: str) -> float:
        """A million of its units, in the order in which they run."""
        from dask_pyramid.runner.order import nearby

        plan = plan_of("1 PB", method)
        sweep = plan.passes[0]
        started, count = time.perf_counter(), 0
        for index in nearby(sweep.grid, sweep.axis):
            plan.units.at(0, index)
            count += 1
            if count == 10**4:
                break
        return (time.perf_counter() - started) / count * 10**6

    track_enumerating.unit = "us for each"


class Graphs:
    """The lazy graph of an image in memory: how large it is, and how long it takes."""

    params = (("mean", "gaussian"),)
    param_names = ("method",)

    def setup(self, method: str) -> None:
        """Take 16 GiB that are only a shape."""
        self.image = dp.Image(
            axes=("z", "y", "x"),
            scale=(1.0,) * 3,
            translation=(0.0,) * 3,
            unit=(None,) * 3,
            reader=Nothing((2048, 2048, 2048), "uint16", (128,) * 3),
        )

    def time_build(self, method: str) -> None:
        """All levels, lazily."""
        dp.build_pyramid(self.image, method=method)

    def track_tasks(self, method: str) -> int:
        """Of all levels together, in the graph as dask has it."""
        levels = dp.build_pyramid(self.image, method=method).levels
        return len(dict(levels[-1].__dask_graph__()))

    track_tasks.unit = "tasks"

    def time_compute(self, method: str) -> None:
        """Level 1 of a block in memory, by threads of dask."""
        values = np.zeros((64, 256, 256), "uint16")
        dp.build_pyramid(values, method=method).levels[-1].compute()
