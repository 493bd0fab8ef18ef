"""How often chunks are decoded, counted while all units run."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import dask_pyramid as dp
from dask_pyramid import runner
from dask_pyramid.units import Job
from suite.processes import SIZE
from suite.scenes import Nothing, Nowhere

if TYPE_CHECKING:
    import numpy as np

    from dask_pyramid.image import Region

_SIDE = 1024 if SIZE != "toy" else 64


class _Counting(Nothing):
    """Zeros, and how often each chunk of them was asked for."""

    def __init__(
        self, shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...]
    ) -> None:
        super().__init__(shape, dtype, chunks)
        self.times: Counter[tuple[int, ...]] = Counter()
        self._lock = threading.Lock()

    def read_into(self, region: Region, out: np.ndarray) -> None:
        """Count the chunks under a region."""
        grid = [
            range(part.start // n, -(-part.stop // n))
            for part, n in zip(region, self.chunks, strict=True)
        ]
        out[...] = 0
        with self._lock:
            self.times.update(itertools.product(*grid))


@cache
def _counted(method: str, chunk: int) -> tuple[float, float]:
    """Return chunks decoded for each there is, counted and planned."""
    reader = _Counting((_SIDE,) * 3, "uint16", (chunk,) * 3)
    image = dp.Image(
        axes=("z", "y", "x"),
        scale=(1.0,) * 3,
        translation=(0.0,) * 3,
        unit=(None,) * 3,
        reader=reader,
    )
    plan = dp.plan_pyramid(
        image,
        method=method,
        chunks=chunk,
        shards=False,
        memory_limit="2GiB",
        workers=2,
    )
    runner.run_units(Job(plan=plan, reader=reader, target=Nowhere()))
    return reader.times.total() / len(reader.times), plan.decode_amplification


class Decoding:
    """1024**3 uint16 within 2 GiB, two threads; nothing is stored."""

    params = (("mean", "gaussian"), (64, 128))
    param_names = ("method", "chunk")
    timeout = 600

    def track_counted(self, method: str, chunk: int) -> float:
        """Chunks decoded for each that is needed."""
        return _counted(method, min(chunk, _SIDE // 4))[0]

    def track_planned(self, method: str, chunk: int) -> float:
        """What the plan says of it."""
        return _counted(method, min(chunk, _SIDE // 4))[1]

    track_counted.unit = "times"
    track_planned.unit = "times"
