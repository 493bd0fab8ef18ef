"""Start-up: importing, the first use with nothing compiled, and the second.

The first use writes the example image in a process that finds no compiled code; a large
image is written twice, to show what compiling costs once and loading afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path

from timing import FOLDER, python
from volumes import make_volume

EXAMPLE = Path(__file__).parents[1] / "examples" / "data" / "nuclei.tif"


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--toy", action="store_true", help="once, no large image")
    options = parser.parse_args()
    if options.toy:
        options.repeat = 1

    def seconds(code: str) -> float:
        runs = [python("-c", code).seconds for _ in range(options.repeat)]
        return statistics.median(runs)

    dask = seconds("import dask.array")
    both = seconds("import dask.array, dask_pyramid")
    print(f"import dask.array {dask:.2f} s, with dask_pyramid {both - dask:+.2f} s")
    print(f"import dask_pyramid alone {seconds('import dask_pyramid'):.2f} s")
    jobs = {"60x256x256": EXAMPLE}
    if not options.toy:
        jobs["256x1024x1024"] = options.folder / "256x1024x1024-128.zarr"
        make_volume(jobs["256x1024x1024"], (256, 1024, 1024))
    options.folder.mkdir(parents=True, exist_ok=True)
    cache = options.folder / "numba-cache"
    target = options.folder / "out.zarr"
    for name, source in jobs.items():
        shutil.rmtree(cache, ignore_errors=True)
        for use in ("first", "second"):
            shutil.rmtree(target, ignore_errors=True)
            run = python(
                *("-m", "dask_pyramid.cli", "write", source, target, "--no-progress"),
                environment={"NUMBA_CACHE_DIR": str(cache)},
            )
            print(f"{name}, {use} use: {run.seconds:.2f} s")
    shutil.rmtree(target, ignore_errors=True)


if __name__ == "__main__":
    main()
