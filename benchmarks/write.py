"""Whole processes in turn: the floor, then each method on the same volume.

One process each, in turn, two threads, chunks of 128, levels 2 to 16; prints the median
and the ratio to the floor.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from timing import FOLDER, median, python
from volumes import make_volume

HERE = Path(__file__).parent


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=[1024, 1024, 1024])
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--shards", type=int, default=None, help="cubic; default none")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["mean", "gaussian"])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--toy", action="store_true", help="64**3, chunks of 32, once")
    options = parser.parse_args()
    if options.toy:
        options.shape, options.chunk, options.repeat = [64, 64, 64], 32, 1
    name = "x".join(map(str, options.shape)) + f"-{options.chunk}.zarr"
    source = options.folder / name
    make_volume(source, tuple(options.shape), options.chunk)
    target = options.folder / "out.zarr"
    levels = 1 if options.toy else 4
    factors = ",".join(str(2 ** (k + 1)) for k in range(levels))
    floor = [HERE / "floor.py", source, target, "--levels", levels]
    ours = ["-m", "dask_pyramid.cli", "write", source, target, "--workers", 2]
    ours += ["--factors", factors, "--chunks", options.chunk, "--no-progress"]
    if options.shards:
        floor += ["--shards", options.shards]
    ours += ["--shards", options.shards or "none"]
    jobs = {"floor": floor}
    jobs |= {method: [*ours, "--method", method] for method in options.methods}
    runs = {job: [] for job in jobs}
    for _ in range(options.repeat + 1):  # the first round warms up and is not counted
        for job, command in jobs.items():
            shutil.rmtree(target, ignore_errors=True)
            runs[job].append(python(*command))
    shutil.rmtree(target, ignore_errors=True)
    figures = {job: median(times[1:]) for job, times in runs.items()}
    print(f"{name}, median of {options.repeat}, whole process, two threads")
    for job, seconds in figures.items():
        peak = median(runs[job][1:], "peak_mib")
        ratio = seconds / figures["floor"]
        print(f"{job:>16}  {seconds:7.2f} s  {ratio:5.2f} x floor  {peak:6.0f} MiB")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
