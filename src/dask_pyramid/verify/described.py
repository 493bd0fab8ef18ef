"""What an image's metadata say of it, as far as they could be read; values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from dask_pyramid.provenance import Provenance

__all__ = ["Axis", "Described", "Named", "StoredLevel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis."""

    name: str
    """Its name."""
    kind: str | None
    """Its type, such as ``"space"``, if that is a text."""
    unit: str | None
    """Its unit, if that is a text."""

    @property
    def is_space(self) -> bool:
        """Whether levels may be reduced along it."""
        return self.kind == "space" or (self.kind is None and self.name in "zyx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One entry of `datasets`."""

    path: str
    """Path of the array in the group; checked."""
    scale: tuple[float, ...] | None
    """Spacing along each axis, None if it could not be read."""
    translation: tuple[float, ...] | None
    """Position of voxel 0, 0 where none is stated; None as above."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """The first multiscales of a group."""

    path: str
    """Path of the group in the store."""
    version: str
    """Version of OME-Zarr."""
    zarr_format: int
    """2 or 3."""
    axes: tuple[Axis, ...] | None
    """The axes, None if they could not be read."""
    datasets: tuple[Named, ...]
    """The levels whose paths are safe."""
    type: str | None
    """The method of downscaling."""
    metadata: Mapping[str, Any]
    """More about the method."""
    group: Mapping[str, Any]
    """The OME-Zarr metadata of the group."""
    record: Provenance | None
    """The record of dask-pyramid, if there is one."""

    @property
    def is_ours(self) -> bool:
        """Whether this package says that it has made the pyramid."""
        made = self.metadata.get("method")
        return self.record is not None or (
            isinstance(made, str) and made.startswith("dask_pyramid.")
        )

    @property
    def made_with(self) -> Mapping[str, Any]:
        """Arguments that the maker has noted."""
        kwargs = self.metadata.get("kwargs")
        return kwargs if isinstance(kwargs, Mapping) else {}


@dataclass(frozen=True, kw_only=True)
class StoredLevel:
    """A level whose array can be opened."""

    number: int
    """Its place among the levels that can be opened."""
    path: str
    """Path of the array in the store."""
    shape: tuple[int, ...]
    """Extent in voxels."""
    dtype: np.dtype[Any]
    """Data type, native byte order."""
    chunks: tuple[int, ...]
    """Extent of what is decoded together."""
    objects: tuple[int, ...]
    """Extent of a storage object."""
    fill: Any
    """What a missing object reads as."""
    separator: str
    """What stands between the numbers of the name of an object."""
    prefix: str
    """What stands before them, such as ``"c"``."""
    scale: tuple[float, ...] | None
    """As stated."""
    translation: tuple[float, ...] | None
    """As stated."""

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of storage objects along each axis."""
        return tuple(-(-n // o) for n, o in zip(self.shape, self.objects, strict=True))
