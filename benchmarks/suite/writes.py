"""Whole writes, as processes of their own, beside the floor that `floor.py` is."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import dask_pyramid as dp
from suite.images import CASES, Case, made
from suite.processes import FOLDER, SIZE, Run, in_turn, median, python

FLOOR = Path(__file__).with_name("floor.py")
TARGET = FOLDER / "out.zarr"
READY = FOLDER / "ready-made"
LIMIT = "2GiB"
_METHODS = ("mean", "gaussian", "mode", "nearest")


def options_of(case: Case) -> dict[str, Any]:
    """Return the keyword arguments that a case is planned with."""
    axes = None if case.kind == "zarr" and case.axes == "zyx" else case.axes
    return {**case.options, "axes": axes, "memory_limit": LIMIT, "workers": 2}


def planned(case: Case, method: str, **more: Any) -> dp.PyramidPlan:
    """Return the plan of a case."""
    options = options_of(case) | more
    image = dp.open_image(made(case), axes=options.pop("axes"))
    return dp.plan_pyramid(image, method=method, **options)


def layout_of(case: Case, plan: dp.PyramidPlan) -> str:
    """Return what the floor is told, so that it stores what we store."""
    levels = [
        {"shape": level.shape, "chunks": level.chunks, "shards": level.shards}
        for level in plan.levels
    ]
    order = [case.axes.index(axis) for axis in plan.axes]
    return json.dumps(
        {"levels": levels, "order": order, "format": 2 if plan.version == "0.4" else 3}
    )


def written(case: Case, method: str, **more: Any) -> Run:
    """Write a pyramid in a process of its own."""
    options = {**options_of(case), "method": method, "progress": False, **more}
    shutil.rmtree(TARGET, ignore_errors=True)
    return python(
        "-c",
        "import sys, json, dask_pyramid as dp; a = json.loads(sys.argv[1]); "
        "dp.write_pyramid(**a)",
        json.dumps({"image": str(made(case)), "target": str(TARGET), **options}),
    )


def ready_made(pyramid: Path) -> Path:
    """Keep the levels of a pyramid but the first, raw, for the floor to write."""
    shutil.rmtree(READY, ignore_errors=True)
    READY.mkdir(parents=True)
    for k, level in enumerate(dp.open_pyramid(pyramid).levels[1:], 1):
        raw = np.lib.format.open_memmap(
            READY / f"{k}.npy", mode="w+", dtype=level.dtype, shape=level.shape
        )
        level.store(raw, lock=False)
    return READY


def copied(case: Case, plan: dp.PyramidPlan, *, stored: bool = False) -> Run:
    """Run the floor in a process of its own; levels must be ready."""
    shutil.rmtree(TARGET, ignore_errors=True)
    only_read = ["--stored"] if stored else []
    layout = layout_of(case, plan)
    return python(FLOOR, made(case), TARGET, READY, layout, *only_read)


@cache
def measured(name: str, method: str) -> dict[str, list[Run]]:
    """Run the floor and a write in turn; once for all that is asked of them."""
    case = CASES[name].sized()
    plan = planned(case, method)
    written(case, method)
    ready_made(TARGET)
    runs = in_turn(
        {"floor": lambda: copied(case, plan), "ours": lambda: written(case, method)}
    )
    for folder in (TARGET, READY):
        shutil.rmtree(folder, ignore_errors=True)
    return runs


class Writes:
    """From a stored image to a pyramid, two threads, within 2 GiB."""

    params = (list(CASES), list(_METHODS))
    param_names = ("image", "method")
    timeout = 3600

    def setup(self, name: str, method: str) -> None:
        """Leave out what makes no sense, and make the image."""
        if method not in CASES[name].methods:
            raise NotImplementedError
        made(CASES[name].sized())

    def track_over_floor(self, name: str, method: str) -> float:
        """Time over that of the floor, in turn, medians."""
        runs = measured(name, method)
        return median(runs["ours"]) / median(runs["floor"])

    track_over_floor.unit = "floors"

    def track_cpu_over_floor(self, name: str, method: str) -> float:
        """Time of the processors over that of the floor: where machines are shared."""
        runs = measured(name, method)
        mine, floor = (median(runs[job], "cpu_seconds") for job in ("ours", "floor"))
        return mine / floor

    track_cpu_over_floor.unit = "floors"

    def track_seconds(self, name: str, method: str) -> float:
        """Of the whole process."""
        return median(measured(name, method)["ours"])

    def track_of_forecast(self, name: str, method: str) -> float:
        """Time of the processors over that of the cost model, start-up included."""
        spent = median(measured(name, method)["ours"], "cpu_seconds")
        plan = planned(CASES[name].sized(), method)
        return spent / dp.forecast(plan, cores=2, bandwidth="1 TB").core_seconds

    track_of_forecast.unit = "times"

    track_seconds.unit = "s"

    def track_floor(self, name: str, method: str) -> float:
        """Of the floor."""
        return median(measured(name, method)["floor"])

    track_floor.unit = "s"

    def track_peak(self, name: str, method: str) -> float:
        """Memory of the process."""
        return median(measured(name, method)["ours"], "peak_mib")

    track_peak.unit = "MiB"


class Units:
    """One unit in this process, the second one: what it costs once all is loaded."""

    params = (["volume", "slide", "series", "labels"], list(_METHODS))
    param_names = ("image", "method")
    timeout = 600
    number = 1
    repeat = 3 if SIZE != "toy" else 1

    def setup(self, name: str, method: str) -> None:
        """Create the pyramid, and run a unit."""
        case = CASES[name].sized()
        if method not in case.methods:
            raise NotImplementedError
        options = options_of(case) | {"method": method, "mode": "w"}
        shutil.rmtree(TARGET, ignore_errors=True)
        self.plan = dp.prepare_pyramid(made(case), TARGET, **options)
        self.unit = min(1, self.plan.passes[0].n_units - 1)
        dp.run_units(TARGET, units=[0], workers=1, progress=False)

    def teardown(self, *_: str) -> None:
        """Remove the pyramid."""
        shutil.rmtree(TARGET, ignore_errors=True)

    def time_unit(self, *_: str) -> None:
        """Read, reduce, encode, write."""
        receipts = TARGET / ".dask-pyramid" / "receipts"
        (receipts / f"{self.plan.units[self.unit].name}.json").unlink(missing_ok=True)
        dp.run_units(TARGET, units=[self.unit], workers=1, progress=False)


class AddLevels:
    """Levels of a level 0 that is stored already, beside reading it once."""

    params = (("mean", "gaussian"),)
    param_names = ("method",)
    timeout = 1800

    def setup(self, method: str) -> None:
        """Write level 0 alone."""
        self.case = CASES["volume"].sized()
        self.stored = FOLDER / "level-0.zarr"
        shutil.rmtree(self.stored, ignore_errors=True)
        options = options_of(self.case) | {"method": method, "progress": False}
        dp.write_pyramid(
            made(self.case), self.stored, **options | {"scale_factors": []}
        )

    def teardown(self, *_: str) -> None:
        """Remove it."""
        for folder in (self.stored, TARGET, READY):
            shutil.rmtree(folder, ignore_errors=True)

    def track_over_reading(self, method: str) -> float:
        """Time over that of reading level 0, in turn."""
        read = (
            "import sys, concurrent.futures as f, dask_pyramid as dp; "
            "i = dp.open_image(sys.argv[1]); n, h, w = i.shape; s = int(sys.argv[2]); "
            "r = lambda z: i.reader.read((slice(z, min(z + s, n)), slice(0, h), "
            "slice(0, w))).size; "
            "list(f.ThreadPoolExecutor(2).map(r, range(0, n, s)))"
        )
        runs = in_turn(
            {
                "read": lambda: python("-c", read, self.stored, self.case.chunks[0]),
                "add": lambda: self._added(method),
            }
        )
        return median(runs["add"]) / median(runs["read"])

    track_over_reading.unit = "times"

    def track_over_floor(self, method: str) -> float:
        """Time over that of reading level 0 and writing the others, ready-made."""
        plan = planned(self.case, method)
        self._added(method)
        ready_made(self.stored)
        runs = in_turn(
            {
                "floor": lambda: copied(self.case, plan, stored=True),
                "add": lambda: self._added(method),
            }
        )
        return median(runs["add"]) / median(runs["floor"])

    track_over_floor.unit = "floors"

    def _added(self, method: str) -> Run:
        return python(
            "-c",
            "import sys, dask_pyramid as dp; "
            "dp.add_levels(sys.argv[1], method=sys.argv[2], workers=2, progress=False, "
            "memory_limit='2GiB', replace=True)",
            self.stored,
            method,
        )
