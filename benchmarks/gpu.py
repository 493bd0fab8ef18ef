"""What needs a GPU, in one run: parity, speed of kernels, transfers, stores, memory.

Parts run one after the other, what matters most first; after each, text and figures are
written to the folder of results, so that a run that is stopped leaves what it has done.
A part whose packages are not there, or for which no time is left, is left out and
named: parity and kernels need CuPy, NumPy and numba alone, stores and what follows zarr
and dask. Without a GPU nothing runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpu_parity
import gpu_speed
import gpu_stores
from suite.processes import FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = {
    "parity": gpu_parity.parity,
    "large": gpu_parity.large,
    "kernels": gpu_speed.kernels,
    "transfers": gpu_speed.transfers,
    "memory": gpu_stores.memory,
    "pipeline": gpu_stores.pipeline,
    "stores": gpu_stores.stores,
    "tests": gpu_parity.tests,
}
# Seconds without which a part is not begun: it would leave nothing.
_LEAST = 15


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


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=9, help="for all parts")
    parser.add_argument("--cases", type=int, default=600, help="drawn cases of parity")
    parser.add_argument("--processes", type=int, default=min(12, cores))
    parser.add_argument("--shape", type=int, nargs=3, default=[1024, 1024, 1024])
    parser.add_argument("--large", type=int, nargs=3, default=[1300, 1301, 1303])
    dtypes = ["uint16", "uint8", "float32"]
    parser.add_argument("--dtypes", nargs="+", default=dtypes, help="of kernels")
    parser.add_argument("--limits", type=float, nargs="+", default=[1, 4, 16])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--results", type=Path, default=None, help="folder of results")
    parser.add_argument("--toy", action="store_true", help="64**3, 40 cases, once")
    options = parser.parse_args(arguments)
    if options.toy:
        options.shape, options.large, options.cases = [64] * 3, [65, 66, 67], 40
        options.limits, options.repeat, options.processes = [0.5], 1, 1
    options.deadline = time.monotonic() + 60 * options.minutes
    return options


class Told(io.TextIOBase):
    """What is printed, and kept."""

    def __init__(self) -> None:
        self._out, self.text = sys.stdout, ""

    def write(self, text: str) -> int:
        """Print and keep."""
        self.text += text
        self._out.write(text)
        self._out.flush()
        return len(text)


def run_part(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run a part; what goes wrong is said, and the parts that follow have their say."""
    if options.deadline - time.monotonic() < _LEAST:
        print("left out: no time is left")
        return {"left out": "no time is left"}
    try:
        return PARTS[part](options)
    except ImportError as error:
        print(f"left out: {error}")
        return {"left out": str(error)}
    except Exception as error:
        print(f"failed: {error!r}")
        return {"failed": repr(error), "trace": traceback.format_exc()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; 1 if one failed or found something wrong."""
    options = parse(arguments)
    try:
        name = found_gpu()
    except LookupError as reason:
        print(f"0 GPUs: {reason}; nothing was run")
        return 0
    cores = len(os.sched_getaffinity(0))
    machine = f"{name}; {cores} cores, {platform.processor() or platform.machine()}"
    date = time.strftime("%Y-%m-%d")
    parts: dict[str, Any] = {}
    told = Told()
    with contextlib.redirect_stdout(told):
        print(f"{date}, {machine}, Python {platform.python_version()}")
        for part in options.parts:
            started = time.monotonic()
            print(f"--- {part}")
            parts[part] = run_part(part, options)
            print(f"({time.monotonic() - started:.0f} s)")
            if options.results:
                options.results.mkdir(parents=True, exist_ok=True)
                figures = {"machine": machine, "date": date, "parts": parts}
                stem = options.results / f"{date}-gpu"
                stem.with_suffix(".txt").write_text(told.text)
                stem.with_suffix(".json").write_text(json.dumps(figures, indent=1))
    return concluded(parts)


def concluded(parts: dict[str, Any]) -> int:
    """Say which parts are not as they should be; 1 if there are any."""
    bad = [part for part, found in parts.items() if {"failed", "wrong"} & set(found)]
    out = [part for part, found in parts.items() if "left out" in found]
    print(
        f"left out: {', '.join(out) or 'nothing'}; wrong: {', '.join(bad) or 'nothing'}"
    )
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main())
