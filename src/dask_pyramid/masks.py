"""`Mask`: which voxels of an image count, at every level, read by region.

A mask has the spatial axes and extents of level 0; whatever is not zero is under it.
A voxel of a level is under the mask if a voxel of its window is, so that no level can
lose a part of the mask. Levels of the mask are not stored: they are made of level 0 of
the mask where they are needed.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import SPATIAL
from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.image import Image
from dask_pyramid.kernels import any_of_window
from dask_pyramid.sources import open_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import dask.array as da

    from dask_pyramid.image import Region
    from dask_pyramid.store_options import StoreOptions

__all__ = ["READ_BYTES", "Mask", "open_mask"]

READ_BYTES = 2**24
"""Bytes of level 0 of a mask that are read at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """Which voxels of an image count; made by `open_mask`, and pickles."""

    image: Image
    """The mask, with fewer axes than what it masks, or an extent of 1 along some."""
    axes: tuple[str, ...]
    """Axes of the image that is masked."""
    shape: tuple[int, ...] = field(repr=False)
    """Extent of its level 0."""

    def read(self, region: Region, factors: Sequence[int]) -> np.ndarray[Any, Any]:
        """Return which voxels of a part of a level are under the mask.

        Parameters
        ----------
        region : tuple of slice
            Voxels of the level, for each axis of the image.
        factors : sequence of int
            Voxels of level 0 for each of its voxels.

        Returns
        -------
        numpy.ndarray of bool, of the region's shape
            Read-only where an axis is one that the mask has not.
        """
        own, steps = self._own(region), self._own(factors)
        own = tuple(
            part if n > 1 else slice(0, 1)
            for part, n in zip(own, self.image.shape, strict=True)
        )
        found = np.empty([part.stop - part.start for part in own], bool)
        for part in _pieces(own, steps, READ_BYTES // self.image.dtype.itemsize):
            inner = tuple(
                slice(p.start - o.start, p.stop - o.start)
                for p, o in zip(part, own, strict=True)
            )
            found[inner] = self._reduced(part, steps)
        lacking = [i for i, axis in enumerate(self.axes) if axis not in self.image.axes]
        wanted = [part.stop - part.start for part in region]
        return np.broadcast_to(np.expand_dims(found, lacking), wanted)

    def _own(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the entries of the axes that the mask has."""
        pairs = zip(self.axes, values, strict=True)
        return tuple(value for axis, value in pairs if axis in self.image.axes)

    def _reduced(self, region: Region, steps: Sequence[int]) -> np.ndarray[Any, Any]:
        spans = [
            Span(first=part.start, stop=part.stop, size=n)
            for part, n in zip(region, self.image.shape, strict=True)
        ]
        below = tuple(
            slice(span.first * step, min(span.stop * step, span.size))
            for span, step in zip(spans, steps, strict=True)
        )
        under = self._voxels(below) != 0
        return np.asarray(any_of_window(under, steps, spans))

    def _voxels(self, region: Region) -> np.ndarray[Any, Any]:
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

    def lazy(self, chunks: Any) -> da.Array:
        """Return level 0 of the mask as a dask array of the masked image's shape.

        Parameters
        ----------
        chunks : tuple of tuple of int
            Extents of its blocks.
        """
        under = self.image.data != 0
        missing = tuple(
            slice(None) if axis in self.image.axes else None for axis in self.axes
        )
        ones = under[missing]
        own = tuple(
            sizes if n > 1 else (1,)
            for sizes, n in zip(chunks, ones.shape, strict=True)
        )
        ones = ones.rechunk(own)
        for axis, (sizes, n) in enumerate(zip(chunks, ones.shape, strict=True)):
            if n == 1 and sum(sizes) > 1:
                ones = ones.repeat(sum(sizes), axis).rechunk({axis: sizes})
        spread: da.Array = ones
        return spread


def _pieces(
    region: Region, steps: Sequence[int], most: int
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
        None for None.

    Raises
    ------
    ValueError
        If the mask has not the spatial extents of level 0 of the image.
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
        own.get(axis) in ((n,) if axis in SPATIAL else (n, 1, None))
        for axis, n in extents.items()
    )
    if not fits or set(own) - set(extents):
        raise ValueError(
            f"mask must have the spatial extents of level 0, "
            f"{shape!r} along {''.join(axes)}, got {opened.shape!r} along "
            f"{''.join(opened.axes)}; it may lack t and c, or have one of them, and a "
            "coarser mask must be resampled to level 0 first"
        )
    return Mask(image=opened, axes=axes, shape=shape)
