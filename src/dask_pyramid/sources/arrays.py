"""Arrays in memory, readers of readers, and readers as dask arrays."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from dask_pyramid.sources.opened import native

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from dask_pyramid.image import Reader, Region

__all__ = [
    "ArrayReader",
    "ExpandedReader",
    "JoinedReader",
    "MaskReader",
    "TransposedReader",
    "join_graphs",
    "reader_to_dask",
]


class ArrayReader:
    """Read an array in memory; views are copied, so that nothing can change it.

    Pickling it sends the whole array: on a cluster, put large data into a store first.

    Parameters
    ----------
    array : numpy.ndarray
        Any strides, any byte order.
    """

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array
        # The content is not hashed: that would read all of it to plan a graph.
        self._token = uuid4().hex

    def __repr__(self) -> str:
        return f"ArrayReader(shape={self.shape}, dtype={self.dtype})"

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self._token

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        return tuple(int(n) for n in self._array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type in native byte order."""
        return native(self._array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """One voxel: nothing has to be decoded together."""
        return (1,) * self._array.ndim

    @property
    def in_memory(self) -> bool:
        """Whether the pixels lie in this process: always."""
        return True

    @property
    def locations(self) -> tuple[str, ...]:
        """Nowhere, or the file of a memory map."""
        file = getattr(self._array, "filename", None)
        return () if file is None else (str(file),)

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return a copy of the voxels of `region`, C-contiguous."""
        return np.array(self._array[region], dtype=self.dtype, order="C", subok=False)


class _Wrapper:
    """What is the same of a reader and of one that shows its voxels otherwise."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type in native byte order."""
        return self._reader.dtype

    @property
    def locations(self) -> tuple[str, ...]:
        """Real paths or URLs that are read."""
        return self._reader.locations

    @property
    def in_memory(self) -> bool:
        """Whether the pixels lie in this process."""
        return bool(getattr(self._reader, "in_memory", False))

    @property
    def working_bytes(self) -> int:
        """What a read holds beside its result, if more than a chunk."""
        return int(getattr(self._reader, "working_bytes", 0))

    @property
    def part(self) -> str:
        """Which array of a file is read; empty if that is not asked."""
        return str(getattr(self._reader, "part", ""))

    @property
    def resampling(self) -> Any:
        """How the source is resampled; None if it is not."""
        return getattr(self._reader, "resampling", None)


class TransposedReader(_Wrapper):
    """Read another reader with its axes in another order.

    Parameters
    ----------
    reader : Reader
        What is read.
    permutation : sequence of int
        Axis `i` of this reader is axis ``permutation[i]`` of the other.
    """

    def __init__(self, reader: Reader, permutation: Sequence[int]) -> None:
        super().__init__(reader)
        self._permutation = tuple(permutation)
        self._inverse = tuple(int(i) for i in np.argsort(self._permutation))

    def __repr__(self) -> str:
        return f"TransposedReader({self._reader!r}, {self._permutation})"

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self._reader, self._permutation

    def _permuted(self, values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(values[axis] for axis in self._permutation)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        return self._permuted(self._reader.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent in voxels of what is decoded together."""
        return self._permuted(self._reader.chunks)

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`, as a view of the block that was read."""
        block = self._reader.read(tuple(region[axis] for axis in self._inverse))
        return block.transpose(self._permutation)


class ExpandedReader(_Wrapper):
    """Read another reader with one axis more, of extent 1.

    Parameters
    ----------
    reader : Reader
        What is read.
    axis : int
        Position of the new axis.
    """

    def __init__(self, reader: Reader, axis: int) -> None:
        super().__init__(reader)
        self._axis = axis

    def __repr__(self) -> str:
        return f"ExpandedReader({self._reader!r}, {self._axis})"

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self._reader, self._axis

    def _with_one(self, values: tuple[int, ...]) -> tuple[int, ...]:
        return (*values[: self._axis], 1, *values[self._axis :])

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        return self._with_one(self._reader.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent in voxels of what is decoded together."""
        return self._with_one(self._reader.chunks)

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`."""
        inner = (*region[: self._axis], *region[self._axis + 1 :])
        return np.expand_dims(self._reader.read(inner), self._axis)


class MaskReader(_Wrapper):
    """Read another reader of bools as 0 and 1 of uint8.

    Parameters
    ----------
    reader : Reader
        What is read.
    """

    def __repr__(self) -> str:
        return f"MaskReader({self._reader!r})"

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self._reader

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        return self._reader.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent in voxels of what is decoded together."""
        return self._reader.chunks

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`, as a view of the block that was read."""
        return self._reader.read(region).view(np.uint8)


class JoinedReader:
    """Read two readers as one, the second behind the first along an axis.

    Parameters
    ----------
    first, second : Reader
        What is read; equal in dtype and in all other extents.
    axis : int
        Axis along which they are joined.
    """

    def __init__(self, first: Reader, second: Reader, *, axis: int) -> None:
        self._parts = (first, second)
        self._axis = axis
        self._border = first.shape[axis]

    def __repr__(self) -> str:
        return f"JoinedReader({self._parts!r}, axis={self._axis})"

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self._parts, self._axis

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        first, second = (list(part.shape) for part in self._parts)
        first[self._axis] += second[self._axis]
        return tuple(first)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type in native byte order."""
        return self._parts[0].dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent in voxels of what is decoded together in the second part."""
        return self._parts[1].chunks

    @property
    def locations(self) -> tuple[str, ...]:
        """Real paths or URLs that are read."""
        return self._parts[0].locations + self._parts[1].locations

    @property
    def in_memory(self) -> bool:
        """Whether pixels lie in this process."""
        return any(getattr(part, "in_memory", False) for part in self._parts)

    @property
    def working_bytes(self) -> int:
        """What a read holds beside its result, if more than a chunk."""
        return max(getattr(part, "working_bytes", 0) for part in self._parts)

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`, out of one part or joined of both."""
        wanted = region[self._axis]
        if wanted.stop <= self._border:
            return self._parts[0].read(region)
        behind = self._part(region, max(wanted.start, self._border), wanted.stop)
        second = self._parts[1].read(self._shifted(behind))
        if wanted.start >= self._border:
            return second
        first = self._parts[0].read(self._part(region, wanted.start, self._border))
        return np.concatenate([first, second], axis=self._axis)

    def _part(self, region: Region, start: int, stop: int) -> Region:
        axis = self._axis
        return (*region[:axis], slice(start, stop), *region[axis + 1 :])

    def _shifted(self, region: Region) -> Region:
        part = region[self._axis]
        return self._part(region, part.start - self._border, part.stop - self._border)


def join_graphs(first: da.Array, second: da.Array, *, axis: int, cut: int) -> da.Array:
    """Return two dask arrays as one, the second behind the first along an axis.

    Parameters
    ----------
    first, second : dask.array.Array
        Equal in all other extents.
    axis : int
        Axis along which they are joined.
    cut : int
        Where blocks of the first one are cut: what is read of it begins there.
    """
    import dask.array as da

    before: list[slice] = [slice(None)] * first.ndim
    rest = list(before)
    before[axis], rest[axis] = slice(0, cut), slice(cut, None)
    parts = [first[tuple(before)], first[tuple(rest)], second]
    joined: da.Array = da.concatenate([p for p in parts if p.size], axis=axis)
    return joined


def reader_to_dask(reader: Reader, block: Sequence[int]) -> da.Array:
    """Return a reader as a dask array; nothing is read.

    Parameters
    ----------
    reader : Reader
        What is read.
    block : sequence of int
        Extent of a block in voxels.

    Returns
    -------
    dask.array.Array
        Blocks of extent `block`, the last along an axis smaller; one task for each.

    Examples
    --------
    >>> lazy = reader_to_dask(ArrayReader(np.arange(12).reshape(3, 4)), (2, 3))
    >>> lazy.chunks
    ((2, 1), (3, 1))
    >>> lazy[2, 3].compute()
    np.int64(11)
    """
    import dask.array as da
    from dask.tokenize import tokenize

    block = tuple(min(b, n) for b, n in zip(block, reader.shape, strict=True))
    lazy: da.Array = da.map_blocks(
        # A partial is opaque to dask, so the reader is not taken apart for tasks.
        partial(_read_block, reader, block),
        chunks=tuple(_extents(n, b) for n, b in zip(reader.shape, block, strict=True)),
        dtype=reader.dtype,
        meta=np.empty((0,) * len(block), dtype=reader.dtype),
        name=f"read-{tokenize(reader, block)}",
    )
    return lazy


def _extents(extent: int, block: int) -> tuple[int, ...]:
    whole, rest = divmod(extent, block)
    return (block,) * whole + ((rest,) if rest else ())


def _read_block(
    reader: Reader, block: tuple[int, ...], block_id: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    region = tuple(
        slice(i * b, min((i + 1) * b, n))
        for i, b, n in zip(block_id, block, reader.shape, strict=True)
    )
    return reader.read(region)
