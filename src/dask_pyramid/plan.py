"""The plan of a pyramid: levels, layout, passes, units and what they will cost.

Pure numbers: nothing is read, and a plan prints, compares, hashes, pickles and
serialises. Whatever can be known to fail is refused here, before anything is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from dask_pyramid import superblocks
from dask_pyramid.cost import Budget, decoded_chunks, task_memory
from dask_pyramid.crew import Crew, Share, of_threads
from dask_pyramid.geometry import Reach, ceil_div
from dask_pyramid.image import Image, reads_directly
from dask_pyramid.kernels import pays_to_compile
from dask_pyramid.levels import Level, make_levels
from dask_pyramid.limits import RUNTIME_BYTES
from dask_pyramid.metadata import VERSIONS
from dask_pyramid.methods import Method, Reduction, Sigma, find_method
from dask_pyramid.passes import Part, Pass, PassLevel, Units
from dask_pyramid.sources import open_image
from dask_pyramid.strategy import Terms, choose_passes

__all__ = ["Level", "PyramidPlan", "find_image_method", "make_plan", "plan_pyramid"]


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
    workers: int
    """Units that run at a time, in all processes."""
    processes: int
    """Processes that run them."""
    per_process: int
    """Units that run at a time in one process, at most."""
    memory_limit: int
    """Bytes that all processes together may use."""

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
            (task_memory(sweep, self._budget(sweep)) for sweep in self.passes),
            default=0,
        )

    @property
    def peak_memory(self) -> int:
        """Bytes that all tasks at a time and the libraries hold at most."""
        return self.processes * RUNTIME_BYTES + self.workers * self.task_memory

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
                )
        least = share.processes * (RUNTIME_BYTES + self.task_memory)
        raise ValueError(
            f"memory_limit must be at least {least} bytes for the units of the stored "
            f"plan, got {crew.memory_limit}; give more memory, or start again with "
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

    def reduction(self, number: int) -> Reduction:
        """Return the reduction that makes a level from its parent."""
        return self.method.reduction(
            self.levels[number].steps, axes=self.axes, sigma=self.sigma
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

    def _budget(self, sweep: Pass) -> Budget:
        return Budget(
            itemsize=self.itemsize,
            chunks=self._chunks(sweep),
            task_memory=(self.memory_limit - self.processes * RUNTIME_BYTES)
            // self.workers,
            workers=self.workers,
            direct=sweep.stored or self.source_direct,
            read_once=not sweep.stored and self.source_graph,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a dict that `json.dumps` takes.

        Returns
        -------
        dict
            All fields, and the figures derived from them; `method` by name. Units are
            given by their passes.
        """
        record = asdict(self)
        record["method"] = self.method.name
        for level, entry in zip(self.levels, record["levels"], strict=True):
            entry["n_objects"] = level.n_objects
        for sweep, entry in zip(self.passes, record["passes"], strict=True):
            entry["grid"] = sweep.grid
            entry["n_units"] = sweep.n_units
        for name in (
            "n_tasks",
            "task_memory",
            "peak_memory",
            "bytes_read",
            "bytes_written",
            "n_objects",
            "decode_amplification",
        ):
            record[name] = getattr(self, name)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PyramidPlan:
        """Return the plan that `to_json` gave.

        Raises
        ------
        ValueError
            If it is not a plan, or its method is not one of `METHODS`.
        """
        try:
            known = {item.name: _tuples(record[item.name]) for item in fields(cls)}
            known["method"] = find_method(record["method"])
            known["levels"] = tuple(_restored(Level, e) for e in record["levels"])
            known["passes"] = tuple(
                _restored(
                    Pass, {**e, "levels": [_restored_member(m) for m in e["levels"]]}
                )
                for e in record["passes"]
            )
            return cls(**known)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(
                f"a stored plan must have all its fields, got one that this version "
                f"cannot read: {error!r}; start again with mode='w'"
            ) from error

    def __str__(self) -> str:
        from dask_pyramid.report import plan_text

        return plan_text(self)

    def _repr_html_(self) -> str:
        from dask_pyramid.report import plan_html

        return plan_html(self)


def plan_pyramid(
    image: Any,
    *,
    method: str | Method | None = None,
    sigma: Sigma = None,
    scale_factors: str | Sequence[int | Mapping[str, int]] = "auto",
    chunks: Any = None,
    shards: Any = None,
    version: str = "0.5",
    memory_limit: int | str | None = None,
    workers: int | None = None,
    crew: Crew | None = None,
) -> PyramidPlan:
    """Plan a pyramid; nothing is read.

    Parameters
    ----------
    image : Image, path, URL or array
        What `open_image` takes.
    method : str or Method, optional
        Out of `METHODS`; by default ``"mode"`` for labels and masks, ``"gaussian"`` for
        everything else.
    sigma : float, dict by axis or sequence, optional
        Standard deviation of the Gaussian for the axes that a step reduces, in voxels
        of the level that is reduced; by default from the step.
    scale_factors : "auto" or sequence of int or dict by axis
        Factors from level 0, increasing. ``"auto"`` halves the axes whose spacing is at
        most sqrt(2) times the finest, until the spatial part fits into one chunk.
    chunks : int, tuple, dict by axis, or list of these by level, optional
        Extent of a chunk in voxels; by default powers of two, 0.5 to 1 MiB.
    shards : int, tuple, dict by axis, list of these by level, False or None
        Extent of a shard in voxels; None chooses about 64 MiB, False means no shards.
    version : {"0.5", "0.4", "0.6"}
        Version of OME-Zarr.
    memory_limit : int or str, optional
        Bytes that the process may use (``"2 GiB"``); by default half of the machine's.
    workers : int, optional
        Units that run at a time; by default the number of cores.
    crew : Crew, optional
        Processes that run the units, in place of `memory_limit` and `workers`.

    Returns
    -------
    PyramidPlan
        Levels, layout, passes and cost.

    Raises
    ------
    ValueError
        If an argument breaks a rule, or not even one unit fits into `memory_limit`.

    Notes
    -----
    Cost: a few milliseconds, whatever the size of the image.

    Examples
    --------
    >>> import numpy as np
    >>> image = open_image(np.zeros((60, 300, 300), "uint16"))
    >>> [level.shape for level in plan_pyramid(image).levels]
    [(60, 300, 300), (30, 150, 150), (15, 75, 75), (8, 38, 38)]
    """
    image = open_image(image)
    record = find_image_method(image, method)
    _check_version(version, shards)
    if crew is None:
        crew = of_threads(workers, memory_limit)
    levels = make_levels(
        image,
        record,
        scale_factors=scale_factors,
        chunks=chunks,
        shards=False if version == "0.4" else shards,
    )
    return make_plan(
        image,
        levels,
        method=record,
        sigma=sigma,
        version=version,
        crew=crew,
    )


def make_plan(
    image: Image,
    levels: tuple[Level, ...],
    *,
    method: Method,
    sigma: Sigma,
    version: str,
    crew: Crew,
    parts: Sequence[Part] | None = None,
) -> PyramidPlan:
    """Return the plan of levels that are known.

    Parameters
    ----------
    image : Image
        Level 0.
    levels : tuple of Level
        All levels.
    method : Method
        How they are reduced.
    sigma, version, crew
        As for `plan_pyramid`.
    parts : sequence of Part, optional
        What of each level is to be written, whole objects; by default all.

    Returns
    -------
    PyramidPlan
        With passes that fit.

    Raises
    ------
    ValueError
        As `plan_pyramid`.
    """
    sigmas = spread_sigma(method, sigma, image.axes)
    reductions = [
        method.reduction(level.steps, axes=image.axes, sigma=sigmas) for level in levels
    ]
    passes, share = _fitting(image, levels, reductions, crew=crew, parts=parts)
    return PyramidPlan(
        axes=image.axes,
        unit=image.unit,
        dtype=image.dtype.name,
        method=method,
        sigma=sigmas,
        version=version,
        levels=levels,
        passes=passes,
        source_chunks=image.chunks,
        graph_tasks=_graph_tasks(image, levels, reductions),
        source_direct=reads_directly(image),
        source_graph=image.reader is None,
        workers=share.workers,
        processes=share.processes,
        per_process=share.per_process,
        memory_limit=crew.memory_limit,
    )


def _restored(kind: type[Any], entry: Mapping[str, Any]) -> Any:
    """Return a frozen value from its JSON; what is derived is left out."""
    return kind(**{item.name: _tuples(entry[item.name]) for item in fields(kind)})


def _restored_member(entry: Mapping[str, Any]) -> PassLevel:
    reaches = tuple(Reach(**reach) for reach in entry["reaches"])
    member: PassLevel = _restored(PassLevel, {**entry, "reaches": reaches})
    return member


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def find_image_method(image: Image, method: str | Method | None) -> Method:
    """Return the record of a method, by default that for the kind of image.

    Raises
    ------
    ValueError
        If there is no such method, or it invents values of labels.
    """
    if method is None:
        method = "mode" if image.labels or image.dtype.kind == "b" else "gaussian"
    record = find_method(method)
    if image.labels and not record.labels:
        raise ValueError(
            f"method must keep label values for a label image, got {record.name!r}; "
            "use 'mode' or 'nearest'"
        )
    return record


def _check_version(version: str, shards: Any) -> None:
    if version not in VERSIONS:
        raise ValueError(
            f"version must be one of {', '.join(VERSIONS)}, got {version!r}"
        )
    if version == "0.4" and shards not in (None, False):
        raise ValueError(
            f"shards must be None or False for version 0.4, got {shards!r}; "
            "Zarr v2 has no shards, use version 0.5"
        )


def spread_sigma(
    method: Method, sigma: Any, axes: tuple[str, ...]
) -> tuple[float | None, ...] | None:
    """Check sigma against a step that reduces every axis; keep what was asked for."""
    if sigma is None:
        return None
    filters = method.reduction((2,) * len(axes), axes=axes, sigma=sigma).filters
    assert filters
    if isinstance(sigma, Mapping):
        return tuple(None if a not in sigma else float(sigma[a]) for a in axes)
    if isinstance(sigma, Iterable):
        return tuple(None if s is None else float(s) for s in sigma)
    return (float(sigma),) * len(axes)


def _fitting(
    image: Image,
    levels: Sequence[Level],
    reductions: Sequence[Reduction],
    *,
    crew: Crew,
    parts: Sequence[Part] | None,
) -> tuple[tuple[Pass, ...], Share]:
    """Return passes that fit, for as many units at a time as there is memory for."""
    for share in crew.shares:
        terms = Terms(
            source=Budget(
                itemsize=image.dtype.itemsize,
                chunks=image.chunks,
                task_memory=share.task_memory,
                workers=share.workers,
                direct=reads_directly(image),
                read_once=image.reader is None,
            ),
            stream_axis=image.stream_axis,
            parts=parts,
        )
        passes, memory = choose_passes(levels, reductions, terms)
        if passes is not None:
            return passes, share
    least = share.processes * (RUNTIME_BYTES + memory)
    raise ValueError(
        f"memory_limit must be at least {least} bytes for this layout"
        f"{f' on {share.processes} workers' if share.processes > 1 else ''}, got "
        f"{crew.memory_limit}; or ask for smaller shards or chunks"
    )


def _graph_tasks(
    image: Image, levels: Sequence[Level], reductions: Sequence[Reduction]
) -> tuple[int, ...]:
    blocks = [image.blocks]
    counts = [math.prod(map(len, blocks[0])) if image.reader is not None else 0]
    for level, reduction in zip(levels[1:], reductions[1:], strict=True):
        assert level.parent is not None  # only level 0 has none
        below = blocks[level.parent]
        above = superblocks.merged(
            below, level.steps, reduction.reaches, first_axis=image.stream_axis
        )
        counts.append(superblocks.tasks(below, above, reduction.reaches))
        blocks.append(superblocks.reduced(above, level.steps))
    return tuple(counts)
