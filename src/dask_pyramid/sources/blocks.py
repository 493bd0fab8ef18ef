"""A dask graph read by region: every block is computed once and then forgotten."""

from __future__ import annotations

import itertools
import math
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import on_gpu, to_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from dask_pyramid.image import Region

__all__ = ["BlockReader", "is_persisted"]

Index = tuple[int, ...]


class BlockReader:
    """Read a dask array by region, each voxel once.

    A block is computed when the first of its voxels is asked for, together with the
    others of that region, and dropped when its last voxel has been read. Regions that
    are read must not overlap; `plan` sees to that.

    Parameters
    ----------
    graph : dask.array.Array
        The array; NumPy or CuPy blocks. The task that makes a CuPy block moves it to
        the host, so that a GPU holds no more of them than are being made.
    scheduler : str
        Which of dask's own schedulers computes blocks; threads serve all readers.
    """

    def __init__(self, graph: da.Array, scheduler: str = "threads") -> None:
        self._graph: da.Array | None = _on_host(graph)
        self._bounds = [
            [0, *itertools.accumulate(sizes)] for sizes in map(tuple, graph.chunks)
        ]
        self.shape = tuple(int(n) for n in graph.shape)
        self.dtype = np.dtype(graph.dtype).newbyteorder("=")
        self.chunks = tuple(max(sizes) for sizes in graph.chunks)
        self.locations: tuple[str, ...] = ()
        # Blocks that were persisted lie on a cluster: only its client can fetch them.
        self._scheduler = None if is_persisted(graph) else scheduler
        self._blocks: dict[Index, Future[Any]] = {}
        self._left: dict[Index, int] = {}
        self._lock = threading.Lock()
        self._pool: Any = None

    def __getstate__(self) -> dict[str, Any]:
        own: dict[str, Any] = {"_lock": None, "_blocks": {}, "_left": {}, "_pool": None}
        return {**self.__dict__, **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def without_graph(self) -> BlockReader:
        """Return a reader that knows the blocks' borders but cannot compute them."""
        reader = BlockReader.__new__(BlockReader)
        reader.__setstate__({**self.__getstate__(), "_graph": None})
        return reader

    def filled(self, indices: Sequence[Index], blocks: Sequence[Any]) -> BlockReader:
        """Return a reader over blocks that are computed already."""
        reader = self.without_graph()
        for index, block in zip(indices, blocks, strict=True):
            future: Future[Any] = Future()
            future.set_result(to_host(block))
            reader._blocks[index] = future
            reader._left[index] = reader.size_of(index)
        return reader

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`, computing blocks that are not there yet."""
        indices = self.blocks_of(region)
        futures = self._ensure(indices)
        out = np.empty([r.stop - r.start for r in region], self.dtype)
        for index, future in zip(indices, futures, strict=True):
            block = future.result()
            inner, outer = [], []
            for r, bounds, i in zip(region, self._bounds, index, strict=True):
                start, stop = max(r.start, bounds[i]), min(r.stop, bounds[i + 1])
                inner.append(slice(start - bounds[i], stop - bounds[i]))
                outer.append(slice(start - r.start, stop - r.start))
            out[tuple(outer)] = block[tuple(inner)]
            self._used(index, self.overlap(index, region))
        return out

    def blocks_of(self, region: Region) -> list[Index]:
        """Return the blocks that a region touches."""
        touched = [
            [
                i
                for i in range(
                    max(0, int(np.searchsorted(bounds, r.start, side="right")) - 1),
                    int(np.searchsorted(bounds, r.stop, side="left")),
                )
                if bounds[i] < bounds[i + 1]
            ]
            for r, bounds in zip(region, self._bounds, strict=True)
        ]
        return list(itertools.product(*touched))

    def lazy(self, indices: Sequence[Index]) -> list[Any]:
        """Return blocks as dask arrays; computed together, they share what they use."""
        assert self._graph is not None  # only the process that has the graph asks
        return [self._graph.blocks[index] for index in indices]

    def size_of(self, index: Index) -> int:
        """Return the number of voxels of a block."""
        return math.prod(
            bounds[i + 1] - bounds[i]
            for bounds, i in zip(self._bounds, index, strict=True)
        )

    def overlap(self, index: Index, region: Region) -> int:
        """Return the number of voxels of a block that lie in a region."""
        return math.prod(
            min(r.stop, bounds[i + 1]) - max(r.start, bounds[i])
            for r, bounds, i in zip(region, self._bounds, index, strict=True)
        )

    def compute(self, blocks: Sequence[Any]) -> tuple[Any, ...]:
        """Return the values of lazy blocks."""
        import dask

        how = {"scheduler": self._scheduler}
        if self._scheduler == "threads":
            how["pool"] = self._threads()
        values: tuple[Any, ...] = dask.compute(*blocks, **how)
        return values

    def _threads(self) -> Any:
        """Return the threads that make blocks, whoever reads them.

        Left to itself, dask gives each thread that computes as many threads again.
        """
        import dask
        from dask.system import CPU_COUNT

        with self._lock:
            if self._pool is None:
                number = dask.config.get("num_workers", None) or CPU_COUNT
                self._pool = dask.config.get("pool", None) or ThreadPoolExecutor(number)
        return self._pool

    def _ensure(self, indices: Sequence[Index]) -> list[Future[Any]]:
        """Compute what is missing in one go; others wait for what is on its way."""
        with self._lock:
            missing = [index for index in indices if index not in self._blocks]
            for index in missing:
                self._blocks[index] = Future()
                self._left[index] = self.size_of(index)
            futures = [self._blocks[index] for index in indices]
        if missing:
            self._fill([self._blocks[index] for index in missing], missing)
        return futures

    def _fill(self, futures: Sequence[Future[Any]], missing: Sequence[Index]) -> None:
        try:
            blocks = self.compute(self.lazy(missing))
        except BaseException as error:
            with self._lock:  # who comes later shall try again
                for index in missing:
                    self._blocks.pop(index, None)
                    self._left.pop(index, None)
            for future in futures:
                future.set_exception(error)
            raise
        for future, block in zip(futures, blocks, strict=True):
            future.set_result(to_host(block))

    def _used(self, index: Index, voxels: int) -> None:
        with self._lock:
            if index not in self._left:
                return  # given up already: a unit that was tried again has read twice
            self._left[index] -= voxels
            if self._left[index] <= 0:
                del self._blocks[index], self._left[index]


def _on_host(graph: da.Array) -> da.Array:
    """Return the same blocks on the host; of others, no block is looked at."""
    if not on_gpu(graph._meta):
        return graph
    meta = np.empty((0,) * graph.ndim, graph.dtype)
    return graph.map_blocks(to_host, dtype=graph.dtype, meta=meta)


def is_persisted(graph: da.Array) -> bool:
    """Whether blocks of a graph lie in the memory of a cluster already."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    layers = graph.dask.layers.values()
    firsts = (
        next(iter(layer.values()), None)
        for layer in layers
        if type(layer).__name__ == "MaterializedLayer"
    )
    return any(
        isinstance(getattr(first, "value", first), distributed.Future)
        for first in firsts
    )
