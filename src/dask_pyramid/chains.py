"""Make the levels of a unit out of what was read: one after the other, on a backend.

The planes of each level lie in host memory, in a rolling buffer, from which they are
written. On a GPU a chain of levels is made in pieces: what a piece is made of goes up,
level after level is made of the one below, which is there already, and what was made
comes down. Nothing stays on the device, so that a unit that waits for a disk holds none
of its memory, and a piece that finds none is cut and tried again.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.coverage import Coverage
from dask_pyramid.device import namespace, on_gpu
from dask_pyramid.geometry import Span, needed
from dask_pyramid.kernels import reduce_block
from dask_pyramid.kernels.scratch import scratch_bytes
from dask_pyramid.levels import chain_of
from dask_pyramid.rolling import Rolling
from dask_pyramid.schedule import capacities
from dask_pyramid.tiles import UNCUT, boxes, pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.device import Backend
    from dask_pyramid.masks import Mask
    from dask_pyramid.methods import Reduction
    from dask_pyramid.passes import Part, Pass
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.schedule import Lane, Move

__all__ = ["Chains"]

_log = logging.getLogger("dask_pyramid")


class Chains:
    """The planes of a unit that are held, and how further ones are made.

    Parameters
    ----------
    plan : PyramidPlan
        The plan.
    sweep : Pass
        The pass of the unit.
    lanes : sequence of Lane
        The lanes of the unit.
    needs : sequence of Part
        What it holds of each level at some time.
    backend : Backend
        Where levels are made.
    mask : Mask, optional
        Which voxels count.
    """

    def __init__(
        self,
        plan: PyramidPlan,
        sweep: Pass,
        *,
        lanes: Sequence[Lane],
        needs: Sequence[Part],
        backend: Backend,
        mask: Mask | None = None,
    ) -> None:
        self._plan, self._sweep, self._backend = plan, sweep, backend
        self._lanes, self._needs = lanes, needs
        self._tile = plan.tile(sweep)
        shapes = self._shapes()
        self.buffers = self._buffers(shapes)
        self.coverage = None
        if mask is not None:
            chain = chain_of(plan.levels, sweep.levels[0].level)
            self.coverage = Coverage(
                mask, chain, sweep=sweep, needs=needs, shapes=shapes
            )

    def _shapes(self) -> list[list[int]]:
        """Return the extents of what is held of each level at a time."""
        held = capacities(self._lanes, slab=self._sweep.slab)
        shapes = []
        for planes, need in zip(held, self._needs, strict=True):
            shape = [stop - start for start, stop in need]
            shape[self._sweep.axis] = planes
            shapes.append(shape)
        return shapes

    def _buffers(self, shapes: Sequence[Sequence[int]]) -> list[Rolling]:
        axis = self._sweep.axis
        memory = self._backend.host_memory(shapes, np.dtype(self._plan.dtype))
        return [
            Rolling(data, axis, origin=(first for first, _ in need))
            for data, need in zip(memory, self._needs, strict=True)
        ]

    def make(self, chain: Sequence[Move]) -> None:
        """Reduce level after level, in pieces for which there is memory.

        Parameters
        ----------
        chain : sequence of Move
            Reductions that follow each other.

        Raises
        ------
        MemoryError
            If the smallest piece finds none.
        """
        for move in chain:
            self.buffers[move.lane].extend(move)
            if self.coverage is not None:
                self.coverage.make(move)
        waiting = list(pieces(chain, self._lanes, planes=self._tile.planes))
        while waiting:
            if self._fits(waiting[0]) or self._fits_once_freed(waiting[0]):
                del waiting[0]
            else:
                waiting = self._smaller(waiting)

    def _smaller(self, waiting: Sequence[Sequence[Move]]) -> list[tuple[Move, ...]]:
        """Return pieces that take about half the memory, from now on."""
        tile = self._tile.halved(most=max(m.stop - m.start for m in waiting[0]))
        if tile == self._tile:
            raise MemoryError(
                "gpu_memory_limit must leave room for a plane of each level of a unit, "
                "got a device that has none; free its memory, or use device='cpu'"
            )
        _log.info(
            "out of device memory; going on with %d planes at a time", tile.planes
        )
        self._tile = tile
        return [
            part
            for piece in waiting
            for part in pieces(piece, self._lanes, planes=tile.planes)
        ]

    def _fits_once_freed(self, piece: Sequence[Move]) -> bool:
        """Make a piece that found no memory after giving back what is in reserve."""
        self._backend.free()
        return self._fits(piece)

    def _fits(self, piece: Sequence[Move]) -> bool:
        """Make a piece; return whether there was memory for it.

        An error's traceback holds what it was raised over: it must be gone before
        memory can be freed.
        """
        try:
            with self._backend.turn():
                self._make_piece(piece)
        except self._backend.out_of_memory:
            return False
        return True

    def _make_piece(self, piece: Sequence[Move]) -> None:
        """Upload what a piece is made of, reduce it level by level, and download."""
        axis = self._sweep.axis
        planes = self._planes_below(piece[0])
        below = self._mirrored(piece[0].lane - 1, planes, known=planes.stop)
        for i, move in enumerate(piece):
            first = move.start
            for after in piece[i + 1 : i + 2]:
                first = min(first, self._planes_below(after).start)
            here = self._mirrored(move.lane, slice(first, move.stop), known=move.start)
            self._reduce(move, below, here)
            self._backend.download(
                here.planes(move.start, move.stop),
                self.buffers[move.lane].planes(move.start, move.stop),
                axis=axis,
            )
            below = here

    def _planes_below(self, move: Move) -> slice:
        """Return the planes of the lane before that a reduction needs."""
        lane, below = self._lanes[move.lane], self._lanes[move.lane - 1]
        planes = needed(
            move.start, move.stop, step=lane.step, reach=lane.reach, size=below.size
        )
        return slice(max(planes.start, below.need[0]), planes.stop)

    def _mirrored(self, lane: int, planes: slice, *, known: int) -> Rolling:
        """Return planes of a lane on the backend, filled up to plane `known`."""
        axis, held = self._sweep.axis, self.buffers[lane]
        memory = self._backend.mirror(held.planes(planes.start, planes.stop))
        origin = [first for first, _ in self._needs[lane]]
        origin[axis] = planes.start
        mirror = Rolling(memory, axis, origin=origin)
        if planes.start < known:
            self._backend.upload(
                held.planes(planes.start, known),
                mirror.planes(planes.start, known),
                axis=axis,
            )
        return mirror

    def _reduce(self, move: Move, below: Rolling, here: Rolling) -> None:
        level, size = self._sweep.levels[move.lane], self._sweep.levels[move.lane - 1]
        reduction = self._plan.reduction(level.level)
        spans = [
            Span(first=first, stop=last, size=n)
            for (first, last), n in zip(self._needs[move.lane], size.shape, strict=True)
        ]
        axis = self._sweep.axis
        spans[axis] = replace(spans[axis], first=move.start, stop=move.stop)
        out = here.planes(move.start, move.stop)
        for wanted in boxes(
            spans,
            steps=level.steps,
            reaches=level.reaches,
            most=self._most_voxels(reduction, out),
        ):
            part = tuple(
                slice(box.first - span.first, box.stop - span.first)
                for box, span in zip(wanted, spans, strict=True)
            )
            region = self._region(move.lane, wanted)
            block = below.part(region)
            reduce_block(
                block,
                reduction,
                wanted,
                mask=self._mask(move.lane, region, like=block),
                compiled=self._plan.compiled,
                out=out[part],
            )

    def _region(self, lane: int, wanted: Sequence[Span]) -> list[slice]:
        """Return what of the lane before `wanted` is made of."""
        level = self._sweep.levels[lane]
        return [
            needed(span.first, span.stop, step=step, reach=reach, size=span.size)
            for span, step, reach in zip(
                wanted, level.steps, level.reaches, strict=True
            )
        ]

    def _mask(self, lane: int, region: Sequence[slice], *, like: Any) -> Any:
        """Return which of these voxels count, where they are; None for all."""
        if self.coverage is None:
            return None
        xp = namespace(like)
        return xp.asarray(self.coverage.part(lane - 1, region), device=like.device)

    def _most_voxels(self, reduction: Reduction, out: Any) -> int:
        """Return of how many voxels to make samples at a time."""
        scratch = scratch_bytes(
            self._plan.dtype,
            reduction,
            compiled=self._plan.compiled,
            on_gpu=on_gpu(out),
        )
        return max(1, int(self._tile.kernel / scratch)) if scratch else UNCUT
