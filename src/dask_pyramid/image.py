"""`Image`: what is known of an input before anything is read; no file formats.

An image is in storage order (t, c, z, y, x). Its pixels come from a `Reader`, which
can be read by region and travels to other processes, or from a dask graph, which cannot
be read by region at a known price.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from dask_pyramid.axes import SPATIAL, first_spatial, parse_units, per_axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dask.array as da

__all__ = [
    "DirectReader",
    "Image",
    "Reader",
    "Region",
    "check_dtype",
    "reads_directly",
    "working_bytes",
]

Region = tuple[slice, ...]
"""One slice with integer start and stop, step 1, for each axis."""

# About 64 MiB of uint16: large enough that a dask task costs nothing beside its work.
_BLOCK_VOXELS = 2**25


@runtime_checkable
class Reader(Protocol):
    """A source that can be read by region; picklable, and safe to use from threads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, native byte order."""
        ...

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent in voxels of what is decoded together."""
        ...

    @property
    def locations(self) -> tuple[str, ...]:
        """Real paths or URLs that are read; a target among them is refused."""
        ...

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`, C-contiguous or not; never a view to keep."""
        ...


@runtime_checkable
class DirectReader(Reader, Protocol):
    """A reader that decodes into memory that it is given."""

    def read_into(self, region: Region, out: np.ndarray[Any, Any]) -> None:
        """Fill `out`, C-contiguous and of the region's shape, with its voxels."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """A lazy image: pixels that can be read, and what they measure.

    Made by `open_image`; nothing is read until `data` is computed.
    """

    axes: tuple[str, ...]
    """Names in storage order."""
    scale: tuple[float, ...]
    """Spacing of voxel centres along each axis, in `unit`."""
    translation: tuple[float, ...]
    """World position of the centre of voxel 0, in `unit`."""
    unit: tuple[str | None, ...]
    """UDUNITS word for each axis, or None."""
    reader: Reader | None = None
    """Reads by region; None if the image is a dask graph."""
    graph: da.Array | None = field(default=None, repr=False)
    """The dask graph; None if there is a reader."""
    name: str = "image"
    """What viewers call it."""
    omero: Mapping[str, Any] | None = field(default=None, repr=False)
    """Rendering metadata of the source (channel names, colours, windows)."""
    labels: bool = False
    """Whether the values are ids, which must not be averaged."""
    image_label: Mapping[str, Any] | None = field(default=None, repr=False)
    """What is said of ids beside their values: `colors`, `properties`, `source`."""
    origin: Mapping[str, Any] | None = field(default=None, repr=False)
    """`location` and `axes` by which another process opens it, and `resampling` if that
    was done to it; None for an array."""

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        if not self.size:
            raise ValueError(f"an image must not be empty, got shape {self.shape}")
        for name, numbers in (("scale", self.scale), ("translation", self.translation)):
            if len(numbers) != self.ndim:
                raise ValueError(
                    f"{name} must have one entry for each axis of "
                    f"{''.join(self.axes)!r}, got {numbers!r}"
                )
            if not all(math.isfinite(number) for number in numbers):
                raise ValueError(f"{name} must be finite, got {numbers!r}")
        if min(self.scale) <= 0:
            raise ValueError(f"scale must be positive, got {self.scale!r}")

    @property
    def _pixels(self) -> Any:
        return self.graph if self.reader is None else self.reader

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in voxels."""
        return tuple(int(n) for n in self._pixels.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type in native byte order."""
        native: np.dtype[Any] = np.dtype(self._pixels.dtype).newbyteorder("=")
        return native

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def first_spatial(self) -> int:
        """Number of the first spatial axis."""
        return first_spatial(self.axes)

    @property
    def nbytes(self) -> int:
        """Size in bytes when decoded."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent in voxels of what is decoded, or computed, together."""
        if self.reader is not None:
            return self.reader.chunks
        assert self.graph is not None  # by construction: one of the two is there
        return tuple(max(sizes) for sizes in self.graph.chunks)

    @property
    def data(self) -> da.Array:
        """The pixels as a dask array, in blocks of whole chunks of the source.

        One task for each block; nothing is read before it is computed.
        """
        from dask_pyramid.sources.arrays import reader_to_dask

        if self.graph is not None:
            return self.graph
        assert self.reader is not None
        return reader_to_dask(self.reader, self.block_shape())

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Extents of the blocks of `data` along each axis."""
        if self.graph is not None:
            return tuple(tuple(map(int, sizes)) for sizes in self.graph.chunks)
        return tuple(
            (b,) * (n // b) + ((n % b,) if n % b else ())
            for n, b in zip(self.shape, self.block_shape(), strict=True)
        )

    def block_shape(self) -> tuple[int, ...]:
        """Return the shape of a block: whole chunks, about 2**25 voxels."""
        block = [min(c, n) for c, n in zip(self.chunks, self.shape, strict=True)]
        for axis in reversed(range(self.ndim)):
            if self.axes[axis] not in SPATIAL:
                continue
            room = max(1, _BLOCK_VOXELS // math.prod(block))
            grown = min(block[axis] * room, self.shape[axis])
            # Square blocks have the smallest border: grow no axis beyond 512.
            block[axis] = max(block[axis], min(grown, _round_up(512, block[axis])))
        return tuple(min(b, n) for b, n in zip(block, self.shape, strict=True))

    def with_metadata(
        self,
        *,
        scale: Mapping[str, float] | Sequence[float] | None = None,
        translation: Mapping[str, float] | Sequence[float] | None = None,
        unit: str | Mapping[str, str | None] | Sequence[str | None] | None = None,
        name: str | None = None,
        labels: bool | None = None,
    ) -> Image:
        """Return the same pixels with other metadata; None leaves it as it is.

        Parameters
        ----------
        scale : dict by axis or sequence, optional
            Spacing in `unit`; axes that a dict does not name keep theirs.
        translation : dict by axis or sequence, optional
            World position of the centre of voxel 0.
        unit : str, dict by axis or sequence, optional
            Unit of the spatial axes, or by axis.
        name : str, optional
            What viewers call the image.
        labels : bool, optional
            Whether the values are ids.

        Returns
        -------
        Image
            A new image over the same reader or graph.
        """
        return replace(
            self,
            scale=_updated(self.scale, scale, self.axes, "scale"),
            translation=_updated(
                self.translation, translation, self.axes, "translation"
            ),
            unit=self.unit
            if unit is None
            else tuple(
                old if new is None else new
                for old, new in zip(
                    self.unit, parse_units(unit, self.axes), strict=True
                )
            ),
            name=self.name if name is None else name,
            labels=self.labels if labels is None else labels,
        )

    def _repr_html_(self) -> str:
        from dask_pyramid.report import image_html

        return image_html(self)


def reads_directly(image: Image) -> bool:
    """Return whether the source decodes into memory that it is given."""
    return isinstance(image.reader, DirectReader)


def working_bytes(image: Image) -> int:
    """Return what a read of the source holds beside its result, if more than a chunk.

    Readers that compute what they read say so; all others decode chunk by chunk.
    """
    return int(getattr(image.reader, "working_bytes", 0))


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Refuse a data type that has no pyramid.

    Raises
    ------
    TypeError
        If `dtype` is not bool, an integer of 8 to 64 bits or a float of 16 to 64 bits.

    Examples
    --------
    >>> check_dtype(np.dtype("uint16"))
    >>> check_dtype(np.dtype("complex64"))
    Traceback (most recent call last):
    ...
    TypeError: dtype must be bool, an integer or a float of 16 to 64 bits, got \
complex64; store the real and the imaginary part, or modulus and phase, as channels
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "bui" or (dtype.kind == "f" and dtype.itemsize <= 8):
        return
    hint = ""
    if dtype.kind == "c":
        hint = (
            "; store the real and the imaginary part, or modulus and phase, as channels"
        )
    raise TypeError(
        f"dtype must be bool, an integer or a float of 16 to 64 bits, got {dtype}{hint}"
    )


def _updated(
    old: tuple[float, ...],
    new: Mapping[str, float] | Sequence[float] | None,
    axes: tuple[str, ...],
    name: str,
) -> tuple[float, ...]:
    if new is None:
        return old
    entries = per_axis(new, axes, name=name, default=None)
    return tuple(
        was if entry is None else float(entry)
        for was, entry in zip(old, entries, strict=True)
    )


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
