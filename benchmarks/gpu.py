"""What needs a GPU, in one run: parity, speed of kernels, transfers, stores, memory.

Parts run one after the other and each is added to the result at once. A part whose
packages are not there is left out and named: parity and kernels need CuPy, NumPy and
numba alone, transfers and what follows zarr and dask. Without a GPU nothing runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import gpu_parity
import gpu_speed
import gpu_stores
from suite.processes import FOLDER

PARTS = {
    "parity": gpu_parity.parity,
    "large": gpu_parity.large,
    "kernels": gpu_speed.kernels,
    "transfers": gpu_speed.transfers,
    "stores": gpu_stores.stores,
    "pipeline": gpu_stores.pipeline,
    "memory": gpu_stores.memory,
    "tests": gpu_parity.tests,
}


def found_gpu() -> str:
    """Return what the GPU is called; a LookupError says why there is none."""
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
    except ImportError as error:
        raise LookupError(f"no CuPy ({error})") from error
    except Exception as error:  # CuPy's own kind, known only where there is CuPy
        raise LookupError(str(error)) from error
    if not count:
        raise LookupError("the driver knows of none")
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return f"{properties['name'].decode()}, CuPy {cupy.__version__}"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--cases", type=int, default=600, help="drawn cases of parity")
    parser.add_argument("--shape", type=int, nargs=3, default=[1024, 1024, 1024])
    parser.add_argument("--large", type=int, nargs=3, default=[1300, 1301, 1303])
    parser.add_argument("--limits", type=float, nargs="+", default=[1, 4, 16])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--toy", action="store_true", help="64**3, 40 cases, once")
    options = parser.parse_args()
    if options.toy:
        options.shape, options.large, options.cases = [64] * 3, [65, 66, 67], 40
        options.limits, options.repeat = [0.5], 1
    return options


def main() -> int:
    """Run the parts that are asked for."""
    options = parse()
    try:
        name = found_gpu()
    except LookupError as reason:
        print(f"0 GPUs: {reason}; nothing was run")
        return 0
    cores = len(os.sched_getaffinity(0))
    machine = f"{name}; {cores} cores, {platform.processor() or platform.machine()}"
    result = {"machine": machine, "date": time.strftime("%Y-%m-%d"), "parts": {}}
    print(machine, flush=True)
    failed = False
    for part in options.parts:
        started = time.perf_counter()
        print(f"--- {part}", flush=True)
        try:
            figures = PARTS[part](options)
        except ImportError as error:
            figures = {"left out": str(error)}
            print(f"left out: {error}")
        except Exception as error:  # the parts that follow still have their say
            failed = True
            figures = {"failed": repr(error)}
            print(f"failed: {error!r}")
        failed |= bool(figures.get("wrong"))
        result["parts"][part] = figures
        print(f"({time.perf_counter() - started:.0f} s)", flush=True)
        if options.json:
            options.json.write_text(json.dumps(result, indent=1))
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
