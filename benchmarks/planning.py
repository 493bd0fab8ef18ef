"""How long a plan takes, and how many tasks it says; nothing is read or written."""

from __future__ import annotations

import argparse
import time

import numpy as np

import dask_pyramid as dp


class Nothing:
    """A volume that is only a shape: to plan needs no more."""

    locations = ()

    def __init__(self, shape: tuple[int, ...], dtype: str, chunk: int) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.chunks = (chunk,) * len(shape)

    def read(self, region: object) -> np.ndarray:
        """Refuse: a plan reads nothing."""
        raise RuntimeError(f"a plan must not read, got {region!r}")


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=[20000, 50000, 10000])
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--toy", action="store_true", help="the same, it is quick")
    options = parser.parse_args()
    for dtype in ("uint8", "uint16"):
        for method in ("mean", "gaussian"):
            image = dp.Image(
                axes=("z", "y", "x"),
                scale=(1.0,) * 3,
                translation=(0.0,) * 3,
                unit=("micrometer",) * 3,
                reader=Nothing(tuple(options.shape), dtype, options.chunk),
            )
            started = time.perf_counter()
            plan = dp.plan_pyramid(image, method=method)
            seconds = time.perf_counter() - started
            print(
                f"{options.shape} {dtype} {method}: {seconds:.2f} s, "
                f"{plan.n_tasks} tasks to write, {sum(plan.graph_tasks)} in the graph, "
                f"{plan.n_objects} objects, decoded "
                f"{plan.decode_amplification:.2f} times"
            )


if __name__ == "__main__":
    main()
