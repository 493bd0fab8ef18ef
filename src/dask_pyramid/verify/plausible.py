"""Whether a level looks like the level below, where its method is not known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.verify.content import read_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.image import Region
    from dask_pyramid.sources.zarr_arrays import ZarrReader

__all__ = ["Likeness", "Resemblance"]

_CHANCE = 4.0
"""Correlation of noise is below this over the root of the number of voxels."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How much a box resembles the local mean of the level below."""

    level: int
    """Place of the level."""
    correlations: tuple[float, ...] = ()
    """For each of the offsets asked for; empty where a block is constant."""
    by_chance: float = 1.0
    """What unrelated blocks of this size would not exceed."""


@dataclass(frozen=True, kw_only=True)
class Resemblance:
    """A box, and offsets at which the level below may have been sampled."""

    level: int
    """Place of the level."""
    reader: ZarrReader
    """Reads it."""
    region: Region
    """Voxels of the box."""
    parent: ZarrReader
    """Reads the level below."""
    ratios: tuple[float, ...]
    """Spacing over that of the level below."""
    offsets: tuple[tuple[float, ...], ...]
    """Where sample 0 sits, in voxels of the level below; one for each guess."""

    def run(self) -> Likeness:
        """Read and correlate."""
        region = self._needed()
        try:
            stored = read_box(self.reader, self.region).astype(np.float64)
            block = read_box(self.parent, region).astype(np.float64)
        except OSError:
            return Likeness(level=self.level)
        found = [
            _correlation(stored, self._mean(block, region, offset))
            for offset in self.offsets
        ]
        if any(value is None for value in found):
            return Likeness(level=self.level)
        return Likeness(
            level=self.level,
            correlations=tuple(float(value or 0) for value in found),
            by_chance=min(0.3, _CHANCE / math.sqrt(stored.size)),
        )

    def _needed(self) -> Region:
        """Return the voxels of the level below, with room for all offsets."""
        parts = []
        for part, a, n in zip(self.region, self.ratios, self.parent.shape, strict=True):
            start = min(max(0, int(a * part.start - 2 * a) - 1), n - 1)
            stop = max(start + 1, min(n, math.ceil(a * part.stop + 2 * a) + 1))
            parts.append(slice(start, stop))
        return tuple(parts)

    def _mean(self, block: Any, region: Region, offset: Sequence[float]) -> Any:
        for axis, (part, at) in enumerate(zip(self.region, offset, strict=True)):
            a = self.ratios[axis]
            centre = a * np.arange(part.start, part.stop) + at + 0.5
            start = region[axis].start
            half = max(a, 1) / 2
            block = _windows(block, centre - half - start, centre + half - start, axis)
        return block


def _windows(block: Any, starts: Any, stops: Any, axis: int) -> Any:
    """Return means over windows whose ends lie anywhere, voxel i being [i, i + 1)."""
    n = block.shape[axis]
    starts = np.clip(starts, 0, n - 1e-6)
    stops = np.clip(stops, starts + 1e-6, n)
    zero = np.zeros_like(np.take(block, [0], axis=axis))
    sums = np.concatenate([zero, np.cumsum(block, axis=axis)], axis=axis)

    def below(at: Any) -> Any:
        whole = np.minimum(at.astype(int), n - 1)
        shape = [1] * block.ndim
        shape[axis] = -1
        rest = (at - whole).reshape(shape)
        low = np.take(sums, whole, axis=axis)
        return low + rest * (np.take(sums, whole + 1, axis=axis) - low)

    shape = [1] * block.ndim
    shape[axis] = -1
    return (below(stops) - below(starts)) / (stops - starts).reshape(shape)


def _correlation(a: Any, b: Any) -> float | None:
    use = np.isfinite(a) & np.isfinite(b)
    a, b = a[use], b[use]
    if a.size < 8 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / math.sqrt((a @ a) * (b @ b)))
