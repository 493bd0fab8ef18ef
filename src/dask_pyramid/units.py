"""Run one unit: read, reduce, write, receipt. No scheduler, no shared state.

A unit follows the moves of `schedule.stream` with one rolling buffer for each level, in
host memory. Levels are made in `chains`, all arithmetic is in `kernels`, all files are
in `store`.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.budgets import CUT_BYTES, ENCODE_BYTES
from dask_pyramid.chains import Chains
from dask_pyramid.device import HOST
from dask_pyramid.geometry import ceil_div
from dask_pyramid.grey import Grey, lattice, measure
from dask_pyramid.idents import Ids, found_ids, merged
from dask_pyramid.image import DirectReader, Reader, Region
from dask_pyramid.receipts import Receipt, Written
from dask_pyramid.schedule import Move, stream
from dask_pyramid.store.ledger import check_current, put_receipt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dask_pyramid.device import Backend
    from dask_pyramid.masks import Mask
    from dask_pyramid.passes import Unit
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.store.targets import Target

__all__ = ["Job", "run_unit", "unit_region", "unit_text"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that the units of a pyramid have in common; small, and pickles."""

    plan: PyramidPlan
    """What is to be done."""
    reader: Reader | None
    """Where the pixels come from; None for a graph, until its blocks are known."""
    target: Target
    """Where the levels go."""
    fingerprint: str = ""
    """Which source, plan and codecs the receipts are for."""
    mask: Mask | None = None
    """Which voxels count; None: all but those that the plan says."""
    labels: bool = False
    """Whether the values are ids, which are gathered."""


def run_unit(job: Job, unit: Unit, backend: Backend = HOST) -> Receipt:
    """Read a unit, compute its levels and write whole storage objects.

    Parameters
    ----------
    job : Job
        Plan, source and target.
    unit : Unit
        Which unit.
    backend : Backend
        Where it is reduced; the bytes are the same.

    Returns
    -------
    Receipt
        What was written; it is in the store, too, after all objects of the unit.

    Raises
    ------
    OSError
        If the source cannot be read or the target not written; a note names the unit
        and its region.
    MemoryError
        If a device has no room for a single plane.

    Notes
    -----
    Running a unit twice, or two units at a time, is harmless: nobody else writes its
    objects, and the same unit gives the same bytes.
    """
    started = time.perf_counter()
    try:
        run = _Run(job, unit, backend)
        voxels = run.run()
        receipt = Receipt(
            number=unit.number,
            unit=unit.name,
            fingerprint=job.fingerprint,
            bytes=voxels * job.plan.itemsize,
            seconds=time.perf_counter() - started,
            written=tuple(run.written),
            grey=tuple(run.grey),
            channel=run.first_channel,
            ids=run.ids,
        )
        check_current(job.target, job.fingerprint)
        put_receipt(job.target, receipt)
    except Exception as error:
        error.add_note(unit_text(job.plan, unit))
        raise
    return receipt


def unit_text(plan: PyramidPlan, unit: Unit) -> str:
    """Return what an error says of a unit: its name and the region that it reads."""
    sweep = plan.passes[unit.sweep]
    spans = ", ".join(
        f"{axis} {part.start}:{part.stop}"
        for axis, part in zip(plan.axes, unit_region(plan, unit), strict=True)
    )
    return f"in unit {unit.name}, level {sweep.levels[0].level}, {spans}"


def unit_region(plan: PyramidPlan, unit: Unit) -> Region:
    """Return the voxels that a unit reads."""
    sweep = plan.passes[unit.sweep]
    return tuple(
        slice(*sweep.ranges(axis, i)[0][1]) for axis, i in enumerate(unit.index)
    )


class _Run:
    """The state of a unit while it runs: one rolling buffer for each level."""

    def __init__(self, job: Job, unit: Unit, backend: Backend) -> None:
        self.job, self.unit = job, unit
        self.sweep = sweep = job.plan.passes[unit.sweep]
        ranges = [sweep.ranges(axis, i) for axis, i in enumerate(unit.index)]
        self.owns = list(
            zip(*([own for own, _ in axis] for axis in ranges), strict=True)
        )
        self.needs = list(
            zip(*([need for _, need in axis] for axis in ranges), strict=True)
        )
        self.lanes = sweep.lanes(unit.index)
        self.written: list[Written] = []
        self.ids: Ids = ()
        self._prepare_grey()
        reader = job.reader
        if sweep.stored:
            reader = job.target.level_reader(job.plan.levels[sweep.levels[0].level])
        assert reader is not None  # the runner has put in the blocks of a graph
        self.reader: Reader = reader
        self.scratch = np.empty(0, job.plan.dtype)
        self.chains = Chains(
            job.plan,
            sweep,
            lanes=self.lanes,
            needs=self.needs,
            backend=backend,
            mask=job.mask,
        )
        self.buffers = self.chains.buffers

    def _prepare_grey(self) -> None:
        """Make room for the grey values of the channels of level 0 that are written."""
        axes = self.job.plan.axes
        level = self.sweep.levels[0]
        self.channel_axis = axes.index("c") if "c" in axes else None
        channels = (0, 1)
        if self.channel_axis is not None:
            channels = self.owns[0][self.channel_axis]
        self.first_channel = channels[0]
        makes = level.level == 0 and level.written
        measures = makes and not self.job.labels
        self.grey = [Grey() for _ in range(*channels)] if measures else []
        self.lattice = lattice(self.job.plan.levels[0].shape, axes)

    def run(self) -> int:
        """Follow the moves; return the number of voxels written."""
        moves = filter(self._matters, stream(self.lanes, slab=self.sweep.slab))
        voxels: int = 0
        for kind, group in itertools.groupby(moves, key=lambda move: move.kind):
            if kind == "reduce":
                self.chains.make(tuple(group))
            elif kind == "read":
                for move in group:
                    self._read(move)
            else:
                voxels += sum(map(self._write, group))
        return voxels

    def _matters(self, move: Move) -> bool:
        """Whether there is a voxel: windows of levels may differ along other axes."""
        boxes = self.owns if move.kind == "write" else self.needs
        return all(start < stop for start, stop in boxes[move.lane])

    def _box(self, boxes: Sequence[tuple[int, int]], start: int, stop: int) -> Region:
        """Return a region with the range along the axis of streaming replaced."""
        region = [slice(*box) for box in boxes]
        region[self.sweep.axis] = slice(start, stop)
        return tuple(region)

    def _read(self, move: Move) -> None:
        out = self.buffers[0].extend(move)
        region = self._box(self.needs[0], move.start, move.stop)
        under = None
        if self.chains.coverage is not None:
            under = self.chains.coverage.read(move, region)
            if not under.any():  # not even read
                out[...] = self.job.plan.fill
                return
        self._fill(region, out)
        if under is not None and not self.sweep.stored:
            np.copyto(out, np.asarray(self.job.plan.fill, out.dtype), where=~under)

    def _fill(self, region: Region, out: Array) -> None:
        """Read a region into the buffer itself if planes lie there one after the other.

        `zarrs` (0.2.3) holds all chunks of a call encoded that it decodes in part: of
        many, some at a time are read elsewhere and moved.
        """
        reader = self.reader
        if not isinstance(reader, DirectReader):
            out[...] = reader.read(region)
        elif out.flags.c_contiguous and _cut_bytes(region, reader) <= CUT_BYTES:
            reader.read_into(region, out)
        else:
            for part in _groups(region, reader.chunks, out.itemsize):
                room = self._room(tuple(p.stop - p.start for p in part))
                reader.read_into(part, room)
                out[_within(part, region)] = room

    def _write(self, move: Move) -> int:
        if not self.written:
            check_current(self.job.target, self.job.fingerprint)
        level = self.sweep.levels[move.lane]
        region = self._box(self.owns[move.lane], move.start, move.stop)
        values: Array = self.buffers[move.lane].part(region)
        writer = self.job.target.level_writer(self.job.plan.levels[level.level])
        if values.flags.c_contiguous:
            self.written.append(writer.write(region, values))
        else:
            for part in _groups(region, level.objects, values.itemsize):
                block = values[_within(part, region)]
                room = self._room(block.shape)
                room[...] = block
                self.written.append(writer.write(part, room))
        if level.level == 0:
            self._measure(values, region)
        return values.size

    def _measure(self, values: Array, region: Region) -> None:
        """Take in ids or grey values of a part of level 0, these by channel."""
        if self.job.labels:
            self.ids = merged(self.ids, found_ids(values))
            return
        for i, grey in enumerate(self.grey):
            at = list(region)
            part = [slice(None)] * len(region)
            if self.channel_axis is not None:
                channel = self.first_channel + i
                at[self.channel_axis] = slice(channel, channel + 1)
                part[self.channel_axis] = slice(i, i + 1)
            grey.add(measure(values[tuple(part)], tuple(at), self.lattice))

    def _room(self, shape: tuple[int, ...]) -> Array:
        """Return room for voxels in C order on their way in or out, until next time."""
        size = math.prod(shape)
        if self.scratch.size < size:
            self.scratch = np.empty(size, self.scratch.dtype)
        return self.scratch[:size].reshape(shape)


def _cut_bytes(region: Region, reader: Reader) -> int:
    """Return how large the chunks are, decoded, that a region holds in part."""
    touched = whole = 1
    for part, chunk in zip(region, reader.chunks, strict=True):
        touched *= ceil_div(part.stop, chunk) - part.start // chunk
        whole *= max(0, part.stop // chunk - ceil_div(part.start, chunk))
    return (touched - whole) * math.prod(reader.chunks) * reader.dtype.itemsize


def _within(part: Region, region: Region) -> Region:
    """Return where a part of a region lies in it."""
    return tuple(
        slice(p.start - r.start, p.stop - r.start)
        for p, r in zip(part, region, strict=True)
    )


def _groups(region: Region, objects: Sequence[int], itemsize: int) -> Iterator[Region]:
    """Cut a region between objects or chunks, into a few in a row if they are small."""
    counts = [1] * len(objects)
    for axis in reversed(range(len(objects))):
        room = ENCODE_BYTES // (math.prod(objects) * math.prod(counts) * itemsize)
        length = region[axis].stop - region[axis].start
        counts[axis] = max(1, min(room, ceil_div(length, objects[axis])))
    edges = [
        [
            slice(max(start, r.start), min(start + o * n, r.stop))
            for start in range(r.start // o * o, r.stop, o * n)
        ]
        for r, o, n in zip(region, objects, counts, strict=True)
    ]
    yield from itertools.product(*edges)
