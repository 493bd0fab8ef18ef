"""The plan of a pyramid: levels, layout, passes, units and what they will cost.

Pure numbers: nothing is read, and a plan prints, compares, hashes, pickles and
serialises. `planning` makes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid import offload
from dask_pyramid.budgets import KERNEL_BYTES, Budget, task_memory
from dask_pyramid.cost import decoded_chunks
from dask_pyramid.geometry import ceil_div
from dask_pyramid.holdings import buffer_memory
from dask_pyramid.kernels import pays_to_compile
from dask_pyramid.kernels.scratch import holds_intermediates
from dask_pyramid.levels import Level
from dask_pyramid.limits import RUNTIME_BYTES, at_least, at_most
from dask_pyramid.passes import Pass, Units
from dask_pyramid.plan_json import plan_fields, plan_record
from dask_pyramid.tiles import UNCUT, Tile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dask_pyramid.crew import Crew, Offer
    from dask_pyramid.methods import Method, Reduction
    from dask_pyramid.nodata import Nodata

__all__ = ["Level", "PyramidPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidPlan:
    """What will be done, in numbers; made by `plan_pyramid`."""

    axes: tuple[str, ...]
    """Axes in storage order."""
    unit: tuple[str | None, ...]
    """Unit of each axis."""
    dtype: str
    """Data type of all levels."""
    method: Method
    """How levels are reduced."""
    sigma: tuple[float | None, ...] | None
    """Standard deviation asked for along each axis, in voxels of the parent level."""
    nodata: Nodata | None
    """Voxels that do not count; None: all count."""
    mask_memory: int
    """Bytes that reading the mask takes in a task; 0 without one."""
    version: str
    """Version of OME-Zarr."""
    levels: tuple[Level, ...]
    """All levels, level 0 first."""
    passes: tuple[Pass, ...]
    """The sweeps of the writer, in order."""
    source_chunks: tuple[int, ...]
    """Extent in voxels of what the source decodes together."""
    graph_tasks: tuple[int, ...]
    """Dask tasks that each level adds to the lazy graph. For an image that is a dask
    graph: without those of the image itself, and as if no block had to be cut."""
    source_direct: bool
    """Whether the source decodes into memory that it is given."""
    source_graph: bool
    """Whether the source is a dask graph, whose blocks are computed once."""
    source_working: int = 0
    """Bytes that reading the source holds beside its result, if more than a chunk."""
    workers: int
    """Units that run at a time, in all processes."""
    processes: int
    """Processes that run them."""
    per_process: int
    """Units that run at a time in one process, at most."""
    memory_limit: int
    """Bytes that all processes together may use."""
    source_on_gpu: bool = False
    """Whether the source is a dask graph whose blocks lie on a GPU."""
    gpu_memory: int = 0
    """Bytes of each GPU that one process may use; 0: levels are made on the host."""

    @property
    def units(self) -> Units:
        """The tasks of the writer; enumerated when asked for."""
        return Units(self.passes)

    @property
    def n_tasks(self) -> int:
        """Number of tasks of the writer."""
        return len(self.units)

    @property
    def itemsize(self) -> int:
        """Bytes of a voxel."""
        return np.dtype(self.dtype).itemsize

    @property
    def task_memory(self) -> int:
        """Bytes that one task holds at most."""
        return max(
            (task_memory(sweep, self.budget(sweep)) for sweep in self.passes),
            default=0,
        )

    @property
    def peak_memory(self) -> int:
        """Bytes that all tasks at a time and the libraries hold at most."""
        return self.processes * RUNTIME_BYTES + self.workers * self.task_memory

    @property
    def device(self) -> str:
        """Where levels are made: "cpu" or "gpu"; the bytes are the same."""
        return "gpu" if self.gpu_memory else "cpu"

    @property
    def gpu_places(self) -> int:
        """Units that are on a GPU at a time, of one process; 0 on the host."""
        return self._device_use()[0]

    @property
    def device_memory(self) -> int:
        """Bytes of each GPU that one process takes at most; 0 on the host."""
        return self._device_use()[1]

    def _device_use(self) -> tuple[int, int]:
        return offload.use(self)

    @property
    def buffer_memory(self) -> int:
        """Bytes of the rolling buffers of one task, which are part of its memory."""
        sizes = (buffer_memory(sweep, self.itemsize) for sweep in self.passes)
        return max(sizes, default=0)

    def tile(self, sweep: Pass) -> Tile:
        """Return how much a unit of a pass makes at a time."""
        if not self.gpu_memory:
            return Tile(planes=UNCUT, kernel=KERNEL_BYTES)
        return offload.tile(self, sweep)

    def offered(self, offer: Offer) -> PyramidPlan:
        """Return the same units on the device that was asked for.

        Parameters
        ----------
        offer : Offer
            What was asked for, and what there is; ``"auto"`` logs which it takes.

        Raises
        ------
        ValueError
            If not one unit fits.
        """
        memory = offload.taken(
            offer,
            self.reduction(1) if len(self.levels) > 1 else None,
            dtype=self.dtype,
            n_voxels=self.levels[0].size,
            workers=self.workers,
            on_gpu=self.source_on_gpu,
        )
        plan = replace(self, gpu_memory=memory)
        if plan.device_memory > memory:
            least = at_least(plan.device_memory)
            raise ValueError(
                f"gpu_memory_limit must give each process at least {least} for these "
                f"units, got {at_most(memory)}; or give a smaller memory_limit, or "
                "device='cpu'"
            )
        return plan

    def limited(self, crew: Crew) -> PyramidPlan:
        """Return the same units for another machine.

        Parameters
        ----------
        crew : Crew
            Who runs the units.

        Returns
        -------
        PyramidPlan
            With as many units at a time as there is memory for.

        Raises
        ------
        ValueError
            If not one unit fits.
        """
        if not self.passes:
            return self
        for share in crew.shares:
            if share.task_memory >= self.task_memory:
                return replace(
                    self,
                    workers=share.workers,
                    processes=share.processes,
                    per_process=share.per_process,
                    memory_limit=crew.memory_limit,
                ).offered(crew.offer)
        least = at_least(crew.limit_for(self.task_memory))
        raise ValueError(
            f"memory_limit must be at least {least} for the units of the stored plan, "
            f"got {at_most(crew.memory_limit)}; give more memory, or start again with "
            "mode='w'"
        )

    @property
    def bytes_read(self) -> int:
        """Bytes decoded, raw: every chunk as often as it is decoded."""
        total = 0
        for sweep in self.passes:
            decoded, needed = decoded_chunks(sweep, self._chunks(sweep))
            if self.source_graph and not sweep.stored:
                decoded = needed
            total += round(decoded) * math.prod(self._chunks(sweep)) * self.itemsize
        return total

    @property
    def bytes_written(self) -> int:
        """Bytes of all that is written, raw."""
        written = (level.size for sweep in self.passes for level in sweep.levels)
        return sum(written) * self.itemsize

    @property
    def n_objects(self) -> int:
        """Number of storage objects that are written."""
        return sum(level.n_objects for sweep in self.passes for level in sweep.levels)

    @property
    def decode_amplification(self) -> float:
        """Chunks of the source decoded for each chunk that it has."""
        if self.source_graph:
            return 1.0
        first = self.passes[0]
        decoded, total = decoded_chunks(first, self._chunks(first))
        return decoded / total

    @property
    def compiled(self) -> bool:
        """Whether the job is large enough for compiled kernels."""
        return pays_to_compile(self.levels[0].size)

    @property
    def fill(self) -> int | float:
        """What voxels are that are not stored."""
        return 0 if self.nodata is None else self.nodata.fill

    def reduction(self, number: int) -> Reduction:
        """Return the reduction that makes a level from its parent."""
        return self.method.reduction(
            self.levels[number].steps,
            axes=self.axes,
            sigma=self.sigma,
            ignore=self.nodata,
        )

    def boxes(self, number: int) -> Iterator[tuple[int, tuple[slice, ...]]]:
        """Yield the storage objects that a unit writes.

        Parameters
        ----------
        number : int
            The unit.

        Yields
        ------
        level : int
            Number of the level.
        box : tuple of slice
            Where in its grid of objects; never empty.
        """
        unit = self.units[number]
        sweep = self.passes[unit.sweep]
        ranges = [sweep.ranges(axis, i) for axis, i in enumerate(unit.index)]
        for position, member in enumerate(sweep.levels):
            own = [axis[position][0] for axis in ranges]
            if member.written and all(start < stop for start, stop in own):
                yield (
                    member.level,
                    tuple(
                        slice(start // extent, ceil_div(stop, extent))
                        for (start, stop), extent in zip(
                            own, member.objects, strict=True
                        )
                    ),
                )

    def _chunks(self, sweep: Pass) -> tuple[int, ...]:
        if sweep.stored:
            return self.levels[sweep.levels[0].level].chunks
        return self.source_chunks

    def budget(self, sweep: Pass) -> Budget:
        """Return what a pass may use."""
        return Budget(
            itemsize=self.itemsize,
            chunks=self._chunks(sweep),
            task_memory=(self.memory_limit - self.processes * RUNTIME_BYTES)
            // self.workers,
            workers=self.workers,
            direct=sweep.stored or self.source_direct,
            working=0 if sweep.stored else self.source_working,
            read_once=not sweep.stored and self.source_graph,
            mask=self.mask_memory,
            intermediates=holds_intermediates(
                self.dtype,
                map(self.reduction, range(1, len(self.levels))),
                n_voxels=self.levels[0].size,
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a dict that `json.dumps` takes.

        Returns
        -------
        dict
            All fields, and the figures derived from them; `method` by name. Units are
            given by their passes.
        """
        return plan_record(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PyramidPlan:
        """Return the plan that `to_json` gave.

        Raises
        ------
        ValueError
            If it is not a plan, or its method is not one of `METHODS`.
        """
        return cls(**plan_fields(cls, record))

    def __str__(self) -> str:
        from dask_pyramid.plan_report import plan_text

        return plan_text(self)

    def _repr_html_(self) -> str:
        from dask_pyramid.plan_report import plan_html

        return plan_html(self)
