"""A source at another spacing: read by region, resampled on the way.

What is asked for is made in tiles, so that memory is bounded whatever the spacings. A
tile is resampled axis after axis, and what an axis needs is made in pieces of whole
chunks of the source: a tile decodes each of its chunks once.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.geometry import Span
from dask_pyramid.graph import resample_array
from dask_pyramid.image import DirectReader
from dask_pyramid.kernels import (
    pays_to_compile,
    resample_axis,
    resampling_type,
    resampling_work,
)
from dask_pyramid.sampling import Sampling, pass_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dask_pyramid.image import Image, Reader, Region

__all__ = ["ResampledReader", "resampled_image", "samplings_from_json"]

Array = np.ndarray[Any, Any]

# What a tile may hold beside its samples: some dozen chunks of a source.
_WORKING_BYTES = 2**26
# What is read in one go at least.
_PIECE_VOXELS = 2**18
# A chunk that has grown need not be made in one go: its source is small beside it.
_CHUNK_VOXELS = 2**21
# What chunks grow to, as sums, where they are small beside what their samples reach.
_SUMS_BYTES = 2**25
# Taps from which on that is worth it: a spline of order 2 has as many.
_LONG_FILTER = 24


class ResampledReader:
    """Read another reader at another spacing.

    Parameters
    ----------
    source : Reader
        What is read.
    samplings : sequence of Sampling
        One for each axis.
    """

    def __init__(self, source: Reader, samplings: Sequence[Sampling]) -> None:
        self.source = source
        self.samplings = tuple(samplings)
        self._order = pass_order(self.samplings)
        self._real = resampling_type(source.dtype, self.samplings)
        self._compiled = pays_to_compile(resampling_work(self.samplings))
        self._pieces = _whole_chunks(source)

    def __repr__(self) -> str:
        return f"ResampledReader({self.source!r}, shape={self.shape})"

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self.source, samplings_to_json(self.samplings)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        return tuple(s.size_out for s in self.samplings)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type in native byte order."""
        return self.source.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent of what a chunk of the source becomes, or of a part that is enough."""
        made = [
            min(s.size_out, max(1, round(chunk / s.a)))
            for chunk, s in zip(self.source.chunks, self.samplings, strict=True)
        ]
        most = max(_CHUNK_VOXELS, math.prod(self.source.chunks))
        while math.prod(made) > most:
            # Only axes that grow make more of a chunk than there was.
            growth = [m / c for m, c in zip(made, self.source.chunks, strict=True)]
            axis = growth.index(max(growth))
            made[axis] = -(-made[axis] // 2)
        return self._beyond_halo(made)

    def _beyond_halo(self, made: list[int]) -> tuple[int, ...]:
        """Return a chunk, doubled where it is small beside what its samples reach.

        Each part of an axis is read with the reach of its filter: parts of two samples
        are twenty times the work where a filter has 40 taps.
        """
        while 2 * math.prod(made) * self._real.itemsize <= _SUMS_BYTES:
            halo = [
                s.n_taps / (n * s.a)
                if n < s.size_out and s.n_taps >= _LONG_FILTER
                else 0.0
                for n, s in zip(made, self.samplings, strict=True)
            ]
            axis = halo.index(max(halo))
            if halo[axis] < 1:
                break
            made[axis] = min(2 * made[axis], self.samplings[axis].size_out)
        return tuple(made)

    @property
    def locations(self) -> tuple[str, ...]:
        """Real paths or URLs that are read."""
        return self.source.locations

    @property
    def in_memory(self) -> bool:
        """Whether the pixels of the source lie in this process."""
        return bool(getattr(self.source, "in_memory", False))

    @property
    def part(self) -> str:
        """Which array of a file is read; empty if that is not asked."""
        return str(getattr(self.source, "part", ""))

    @property
    def resampling(self) -> list[Any]:
        """What tells this resampling from others, step by step, JSON values."""
        below = getattr(self.source, "resampling", None) or []
        return [*below, samplings_to_json(self.samplings)]

    @property
    def working_bytes(self) -> int:
        """What a read holds beside its result at most, with a chunk being decoded."""
        chunk = math.prod(self.source.chunks) * self.dtype.itemsize
        inner = int(getattr(self.source, "working_bytes", 0))
        return _WORKING_BYTES + max(inner, chunk * 5 // 2)

    def read(self, region: Region) -> Array:
        """Return the samples of `region`, C-contiguous."""
        out = np.empty([part.stop - part.start for part in region], self.dtype)
        self.read_into(region, out)
        return out

    def read_into(self, region: Region, out: Array) -> None:
        """Fill `out` with the samples of `region`, tile by tile."""
        for tile in self._tiles(region):
            inner = tuple(
                slice(t.start - r.start, t.stop - r.start)
                for t, r in zip(tile, region, strict=True)
            )
            self._make(tile, out[inner], passes=len(self._order))

    def _make(self, region: Region, out: Array, *, passes: int) -> None:
        """Fill `out` with `region`, resampled along the axes of the first passes."""
        if passes == 0:
            if isinstance(self.source, DirectReader) and out.flags.c_contiguous:
                self.source.read_into(region, out)
            else:
                out[...] = self.source.read(region)
            return
        axis = self._order[passes - 1]
        sampling, part = self.samplings[axis], region[axis]
        need = sampling.needed(part.start, part.stop)
        shape = list(out.shape)
        shape[axis] = need.stop - need.start
        below = np.empty(shape, self._real if passes > 1 else self.dtype)
        # The last axes are cut into pieces for the first one, which is read whole.
        length = self._pieces[axis] if passes > 1 else shape[axis]
        for piece in _pieces(need, length):
            at = slice(piece.start - need.start, piece.stop - need.start)
            self._make(
                (*region[:axis], piece, *region[axis + 1 :]),
                below[(slice(None),) * axis + (at,)],
                passes=passes - 1,
            )
        span = Span(first=part.start, stop=part.stop, size=sampling.size_in)
        resample_axis(
            below,
            sampling,
            span,
            axis=axis,
            real=self._real,
            out=out,
            compiled=self._compiled,
        )

    def _tiles(self, region: Region) -> Iterator[Region]:
        """Cut a region into tiles that need no more than the working memory."""
        size = [part.stop - part.start for part in region]
        while self._bytes(size) > _WORKING_BYTES and max(size) > 1:
            # The axis along which most chunks are read loses least by being cut; what
            # parts share of a filter's reach is made twice.
            costs = [
                n * s.a / max(chunk, s.n_taps) if n > 1 else 0.0
                for n, s, chunk in zip(
                    size, self.samplings, self.source.chunks, strict=True
                )
            ]
            axis = costs.index(max(costs))
            size[axis] = -(-size[axis] // 2)
        pieces = (_pieces(part, n) for part, n in zip(region, size, strict=True))
        yield from itertools.product(*pieces)

    def _bytes(self, size: Sequence[int]) -> int:
        """Return what `_make` holds for a tile at most, beside its samples."""
        extent, real = list(size), self._real.itemsize
        # A pass writes aside where its place is not contiguous; one that is not
        # compiled has its terms and sums, too.
        aside = real if self._compiled else 4 * real
        total = math.prod(extent) * aside
        for passes, axis in reversed(list(enumerate(self._order))):
            sampling = self.samplings[axis]
            need = math.ceil(extent[axis] * sampling.a) + sampling.n_taps + 1
            extent[axis] = min(sampling.size_in, need)
            total += math.prod(extent) * (real if passes else self.dtype.itemsize)
            if passes:
                extent[axis] = min(extent[axis], self._pieces[axis])
                total += math.prod(extent) * aside
        return total + math.prod(extent) * self.dtype.itemsize


def _whole_chunks(source: Reader) -> tuple[int, ...]:
    """Return extents of whole chunks that are worth a call, where chunks are small."""
    extent = [min(c, n) for c, n in zip(source.chunks, source.shape, strict=True)]
    while math.prod(extent) < _PIECE_VOXELS:
        growing = [i for i, n in enumerate(source.shape) if extent[i] < n]
        if not growing:
            break
        extent[min(growing, key=lambda i: extent[i])] *= 2
    return tuple(extent)


def _pieces(whole: slice, length: int) -> list[slice]:
    """Cut a range at multiples of a length."""
    first = whole.start // length * length
    edges = [*range(first + length, whole.stop, length), whole.stop]
    return [
        slice(max(whole.start, start), stop)
        for start, stop in itertools.pairwise([first, *edges])
    ]


def resampled_image(image: Image, samplings: Sequence[Sampling]) -> Image:
    """Return an image at another spacing; nothing is read.

    Parameters
    ----------
    image : Image
        With a reader, or a dask graph, which stays one.
    samplings : sequence of Sampling
        One for each axis.

    Returns
    -------
    Image
        The samples, with their spacing and place.
    """
    reader, graph = image.reader, image.graph
    if reader is not None:
        reader = ResampledReader(reader, samplings)
    if graph is not None:
        graph = resample_array(graph, samplings, first_axis=image.first_spatial)
    origin = None
    if image.origin is not None:
        steps = [*image.origin.get("resampling", ()), samplings_to_json(samplings)]
        origin = {**image.origin, "resampling": steps}
    return replace(
        image,
        reader=reader,
        graph=graph,
        origin=origin,
        scale=tuple(step * s.a for step, s in zip(image.scale, samplings, strict=True)),
        translation=tuple(
            start + step * s.b
            for start, step, s in zip(
                image.translation, image.scale, samplings, strict=True
            )
        ),
    )


def samplings_to_json(samplings: Sequence[Sampling]) -> dict[str, Any]:
    """Return JSON values that tell one resampling from another.

    By number of axis; an axis that stays as it is is left out.
    """
    return {str(i): asdict(s) for i, s in enumerate(samplings) if not s.identity}


def samplings_from_json(
    record: Mapping[str, Any], shape: Sequence[int]
) -> tuple[Sampling, ...]:
    """Return the samplings that `samplings_to_json` gave, for an image of `shape`."""
    kept = ({"size_in": n, "size_out": n, "a": 1.0, "b": 0.0} for n in shape)
    return tuple(
        Sampling(**record.get(str(axis), same)) for axis, same in enumerate(kept)
    )
