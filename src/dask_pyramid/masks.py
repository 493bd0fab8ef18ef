"""`Mask`: which voxels of an image count, at every level, read by region.

A mask has the spatial axes and the extents of a level; whatever is not zero is under
it. A voxel of a coarser level is under the mask if a voxel of its window is, so that no
level can lose a part of the mask; one of a finer level if the voxel that it lies in is.
Levels of the mask are not stored: they are made of the mask where they are needed.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import SPATIAL
from dask_pyramid.factors import exact, is_whole
from dask_pyramid.geometry import Factor, Span, ceil_div, covered
from dask_pyramid.image import Image
from dask_pyramid.kernels import any_of_window
from dask_pyramid.sources import open_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dask_pyramid.image import Region
    from dask_pyramid.levels import Level
    from dask_pyramid.store_options import StoreOptions

__all__ = ["READ_BYTES", "Mask", "open_mask"]

READ_BYTES = 2**24
"""Bytes of a mask that are read at a time."""

Chain = tuple[tuple[Factor, ...], ...]
"""Steps of a level from its parent, of that from its own, and so on to level 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """Which voxels of an image count; made by `open_mask`, and pickles."""

    image: Image
    """The mask, with fewer axes than what it masks, or an extent of 1 along some."""
    axes: tuple[str, ...]
    """Axes of the image that is masked."""
    shape: tuple[int, ...] = field(repr=False)
    """Extent of its level 0."""
    factors: tuple[int, ...]
    """Voxels of level 0 for each voxel of the mask, for each axis of the image."""

    def among(
        self, shapes: Sequence[Sequence[int]], factors: Sequence[Sequence[Factor]]
    ) -> Mask:
        """Return the mask of an image with these levels, of which it has one's extents.

        Parameters
        ----------
        shapes, factors : sequence of sequence
            Extent of each level, and voxels of level 0 for each of its voxels.

        Raises
        ------
        ValueError
            If it has the extents of none, or of several but not of level 0.
        """
        own = dict(zip(self.image.axes, self.image.shape, strict=True))
        fitting = [
            number
            for number, shape in enumerate(shapes)
            if all(
                n == own[axis]
                for axis, n in zip(self.axes, shape, strict=True)
                if axis in SPATIAL
            )
        ]
        if fitting[:1] == [0]:
            return replace(self, factors=(1,) * len(self.axes))
        if len(fitting) == 1 and is_whole(factors[fitting[0]]):
            return replace(self, factors=tuple(map(int, factors[fitting[0]])))
        raise ValueError(
            "mask must have the spatial extents of level 0, or of one coarser level "
            f"of whole factors, {', '.join(map(str, shapes))} along "
            f"{''.join(self.axes)}, got {self.image.shape!r} along "
            f"{''.join(self.image.axes)}; it may lack t and c, or have one of them"
        )

    def of_levels(self, levels: Sequence[Level]) -> Mask:
        """Return the same for the levels of a plan."""
        shapes, factors = [e.shape for e in levels], [e.factors for e in levels]
        return self.among(shapes, factors)

    def read(self, region: Region, chain: Chain) -> np.ndarray[Any, Any]:
        """Return which voxels of a part of a level are under the mask.

        Parameters
        ----------
        region : tuple of slice
            Voxels of the level, for each axis of the image.
        chain : tuple of tuple of int or Fraction
            How the level is made of level 0: `levels.chain_of` of it.

        Returns
        -------
        numpy.ndarray of bool, of the region's shape
            Read-only where an axis is one that the mask has not.
        """
        own = tuple(
            part if n > 1 else slice(0, 1)
            for part, n in zip(self._own(region), self.image.shape, strict=True)
        )
        ways = self._ways(chain)
        total = [math.prod(along) for along in zip(*ways, strict=True)]
        found = np.empty([part.stop - part.start for part in own], bool)
        for part in _pieces(own, total, READ_BYTES // self.image.dtype.itemsize):
            inner = tuple(
                slice(p.start - o.start, p.stop - o.start)
                for p, o in zip(part, own, strict=True)
            )
            found[inner] = self._reduced(part, ways)
        lacking = [i for i, axis in enumerate(self.axes) if axis not in self.image.axes]
        wanted = [part.stop - part.start for part in region]
        return np.broadcast_to(np.expand_dims(found, lacking), wanted)

    def _own(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the entries of the axes that the mask has."""
        pairs = zip(self.axes, values, strict=True)
        return tuple(value for axis, value in pairs if axis in self.image.axes)

    def _ways(self, chain: Chain) -> Chain:
        """Return the steps from the mask to a level, as few as have the same windows.

        A whole number of windows is a window; only below a step that is no whole number
        are windows rounded to voxels. Steps from a mask that is coarser than the level
        are below 1.
        """
        ways: list[tuple[Factor, ...]] = [(1,) * len(self.axes)]
        for steps in chain:
            if is_whole(ways[-1]):
                pairs = zip(ways.pop(), steps, strict=True)
                ways.append(tuple(above * step for above, step in pairs))
            else:
                ways.append(steps)
        pairs = zip(ways[-1], self.factors, strict=True)
        ways[-1] = tuple(exact(Fraction(step) / factor) for step, factor in pairs)
        return tuple(self._own(steps) for steps in ways)

    def _reduced(self, region: Region, ways: Chain) -> np.ndarray[Any, Any]:
        if not ways:
            return np.asarray(self._voxels(region) != 0)
        steps, sizes = ways[0], self.image.shape
        for each in reversed(ways[1:]):
            sizes = tuple(map(ceil_div, sizes, each))
        spans = [
            Span(first=part.start, stop=part.stop, size=size)
            for part, size in zip(region, sizes, strict=True)
        ]
        below = covered(spans, steps)
        return np.asarray(any_of_window(self._reduced(below, ways[1:]), steps, spans))

    def _voxels(self, region: Region) -> Any:
        if self.image.reader is not None:
            return self.image.reader.read(region)
        assert self.image.graph is not None  # by construction: one of the two is there
        # In the thread that asks: it is one of many already.
        return np.asarray(self.image.graph[region].compute(scheduler="synchronous"))

    @property
    def memory(self) -> int:
        """Bytes that reading takes: a piece as it comes, and a decoded chunk."""
        chunk = math.prod(self.image.chunks) * self.image.dtype.itemsize
        return 2 * READ_BYTES + chunk * 5 // 2


def _pieces(
    region: Region, steps: Sequence[Any], most: int
) -> Iterator[tuple[slice, ...]]:
    """Cut a part of a level so that a piece is made of at most so many voxels."""
    extents = [part.stop - part.start for part in region]
    for axis in range(len(extents)):
        while math.prod(extents) * math.prod(steps) > most and extents[axis] > 1:
            extents[axis] = ceil_div(extents[axis], 2)
    yield from itertools.product(
        *(
            [
                slice(start, min(start + extent, part.stop))
                for start in range(part.start, part.stop, extent)
            ]
            for part, extent in zip(region, extents, strict=True)
        )
    )


def open_mask(
    mask: Any,
    *,
    axes: tuple[str, ...],
    shape: tuple[int, ...],
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Mask | None:
    """Open a mask for an image; nothing is read.

    Parameters
    ----------
    mask : Mask, or what `open_image` takes, or None
        Whatever is not zero is under the mask. An array has the axes of the image, or
        its spatial ones.
    axes, shape : tuple
        Of what is masked.
    storage_options : dict or StoreOptions, optional
        How to open a URL.

    Returns
    -------
    Mask or None
        None for None. It is taken for one of level 0: `Mask.among` tells.

    Raises
    ------
    ValueError
        If the mask has not the axes of the image.
    """
    if mask is None or isinstance(mask, Mask):
        return mask
    names = None
    if hasattr(mask, "ndim") and not isinstance(mask, Image):
        spatial = tuple(axis for axis in axes if axis in SPATIAL)
        names = {len(axes): axes, len(spatial): spatial}.get(mask.ndim)
    opened = open_image(mask, names, storage_options=storage_options)
    extents = dict(zip(axes, shape, strict=True))
    own = dict(zip(opened.axes, opened.shape, strict=True))
    fits = all(
        axis in own if axis in SPATIAL else own.get(axis) in (n, 1, None)
        for axis, n in extents.items()
    )
    if not fits or set(own) - set(extents):
        raise ValueError(
            f"mask must have the spatial axes of the image, {shape!r} along "
            f"{''.join(axes)}, got {opened.shape!r} along {''.join(opened.axes)}; it "
            "may lack t and c, or have one of them"
        )
    return Mask(image=opened, axes=axes, shape=shape, factors=(1,) * len(axes))
