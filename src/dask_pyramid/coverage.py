"""`Coverage`: which voxels of the planes that a unit holds are under the mask.

It goes along with the rolling buffers of the voxels: the mask of the level that is read
comes from `masks`, that of each further level is made of the one below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.geometry import Span, covered
from dask_pyramid.kernels import any_of_window
from dask_pyramid.rolling import Rolling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.image import Region
    from dask_pyramid.masks import Chain, Mask
    from dask_pyramid.passes import Part, Pass
    from dask_pyramid.schedule import Move

__all__ = ["Coverage"]


class Coverage:
    """Masks of the planes that are held.

    Parameters
    ----------
    mask : Mask
        The mask.
    chain : tuple of tuple of int or Fraction
        How the level that the unit reads is made of level 0.
    sweep : Pass
        The pass of the unit.
    needs : sequence of Part
        What the unit holds of each level at some time.
    shapes : sequence of sequence of int
        Extents of the buffers.
    """

    def __init__(
        self,
        mask: Mask,
        chain: Chain,
        *,
        sweep: Pass,
        needs: Sequence[Part],
        shapes: Sequence[Sequence[int]],
    ) -> None:
        self._mask, self._chain = mask, chain
        self._sweep, self._needs = sweep, needs
        axis = sweep.axis
        self._buffers = [
            Rolling(np.empty(shape, bool), axis, origin=(first for first, _ in need))
            for shape, need in zip(shapes, needs, strict=True)
        ]

    def read(self, move: Move, region: Region) -> np.ndarray[Any, Any]:
        """Read the mask of planes of the level that the unit reads; return it."""
        under = self._buffers[0].extend(move)
        under[...] = self._mask.read(region, self._chain)
        held: np.ndarray[Any, Any] = under
        return held

    def make(self, move: Move) -> None:
        """Make the mask of planes of a lane of that of the lane before."""
        level, below = self._sweep.levels[move.lane], self._sweep.levels[move.lane - 1]
        spans = [
            Span(first=first, stop=stop, size=size)
            for (first, stop), size in zip(
                self._needs[move.lane], below.shape, strict=True
            )
        ]
        axis = self._sweep.axis
        spans[axis] = Span(first=move.start, stop=move.stop, size=below.shape[axis])
        windows = covered(spans, level.steps)
        out = self._buffers[move.lane].extend(move)
        out[...] = any_of_window(self.part(move.lane - 1, windows), level.steps, spans)

    def part(self, lane: int, region: Sequence[slice]) -> np.ndarray[Any, Any]:
        """Return a view of the mask of voxels that are held."""
        held: np.ndarray[Any, Any] = self._buffers[lane].part(region)
        return held
