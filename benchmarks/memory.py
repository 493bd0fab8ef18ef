"""Peak memory of a process against its limit, and for a volume eight times larger.

Prints the peak of the process (the kernel's own count), the limit, what the plan said,
and the peak of an interpreter that only imports the package.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import dask_pyramid as dp
from dask_pyramid.limits import parse_memory
from timing import FOLDER, python
from volumes import make_volume


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="of the smaller cube")
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--limits", nargs="+", default=["512MiB", "1GiB", "2GiB"])
    parser.add_argument("--methods", nargs="+", default=["mean", "gaussian"])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--toy", action="store_true", help="32**3 and 64**3, one limit")
    options = parser.parse_args()
    if options.toy:
        options.size, options.chunk, options.limits = 32, 32, ["512MiB"]
    target = options.folder / "out.zarr"
    base = python("-c", "import dask_pyramid, numpy").peak_mib
    print(f"interpreter with numpy and dask_pyramid imported: {base:.0f} MiB")
    for limit in options.limits:
        for method in options.methods:
            peaks = []
            for factor in (1, 2):
                size = options.size * factor
                source = options.folder / f"{size}x{size}x{size}-{options.chunk}.zarr"
                make_volume(source, (size,) * 3, options.chunk)
                shutil.rmtree(target, ignore_errors=True)
                run = python(
                    *("-m", "dask_pyramid.cli", "write", source, target),
                    *("--method", method, "--memory-limit", limit, "--workers", 2),
                    "--no-progress",
                )
                plan = dp.plan_pyramid(
                    source, method=method, memory_limit=limit, workers=2
                )
                peaks.append(run.peak_mib)
                used = run.peak_mib / (parse_memory(limit) / 2**20 + base)
                print(
                    f"{limit:>8} {method:>9} {size:5d}**3  peak {run.peak_mib:6.0f} MiB"
                    f"  predicted {plan.peak_memory / 2**20:6.0f}"
                    f"  {used:5.0%} of limit and interpreter"
                )
            print(f"{'':>18} eight times the voxels: {peaks[1] / peaks[0]:.2f}")
    shutil.rmtree(target, ignore_errors=True)


if __name__ == "__main__":
    main()
