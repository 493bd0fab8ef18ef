"""A stored image that shall grow: its level 0, its other levels, how they were made.

Reads metadata and no pixel. What cannot be grown in place is refused here: axes that
are not in storage order, levels of another data type or of another rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dask_pyramid.geometry import Factor, reduced_shape
from dask_pyramid.levels import Level, make_levels
from dask_pyramid.locations import is_url
from dask_pyramid.metadata import VERSIONS, Multiscales, parse_multiscales
from dask_pyramid.methods import METHODS, Method, Sigma
from dask_pyramid.nodata import Nodata
from dask_pyramid.provenance import Provenance, read_provenance
from dask_pyramid.sources import open_image
from dask_pyramid.sources.opened import native

if TYPE_CHECKING:
    from dask_pyramid.image import Image
    from dask_pyramid.store_options import StoreOptions

__all__ = ["Existing", "StoredLevel", "level_path", "read_existing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLevel:
    """An array of the group, and where its voxels are."""

    path: str
    """Name of the array in the group."""
    shape: tuple[int, ...]
    """Extent in voxels."""
    chunks: tuple[int, ...]
    """Extent of a chunk in voxels."""
    shards: tuple[int, ...] | None
    """Extent of a shard in voxels; None if chunks are stored one by one."""
    dtype: str
    """Data type, native byte order."""
    scale: tuple[float, ...]
    """Spacing of voxel centres."""
    translation: tuple[float, ...]
    """World position of the centre of voxel 0."""


@dataclass(frozen=True, kw_only=True)
class Existing:
    """What is stored."""

    image: Image
    """Level 0."""
    attributes: Mapping[str, Any]
    """Attributes of the group."""
    version: str
    """Version of OME-Zarr."""
    levels: tuple[StoredLevel, ...]
    """All levels, level 0 first."""
    published: bool
    """Whether the group has `multiscales`."""
    method: Method | None
    """How levels were made; None if nothing that can be trusted says it."""
    sigma: Sigma
    """Standard deviation that was asked for."""
    nodata: Nodata | None
    """Voxels that do not count; None: all count."""
    provenance: Provenance | None
    """The record of its making, if there is one."""
    named: bool
    """Whether level 0 names its dimensions, or is of a version that does not."""

    def factors(self) -> list[dict[str, Factor]]:
        """Return the factors of all levels but level 0, by axis.

        Raises
        ------
        ValueError
            If a level is no whole multiple of level 0, and no record of this package
            says what it is, or its extent is not ``ceil(n / factor)``.
        """
        return [self._factors_of(level) for level in self.levels[1:]]

    def stated(self, level: StoredLevel) -> tuple[Factor, ...] | None:
        """Return the factors that the record of this package states for a level."""
        records = () if self.provenance is None else self.provenance.levels
        for record in records:
            if record.path == level.path and len(record.factors) == len(level.shape):
                return record.factors
        return None

    def _factors_of(self, level: StoredLevel) -> dict[str, Factor]:
        base = self.levels[0]
        ratios = [s / t for s, t in zip(level.scale, base.scale, strict=True)]
        stated = self.stated(level)
        factors = tuple(max(1, round(r)) for r in ratios) if stated is None else stated
        off = any(abs(r - f) > 1e-3 * f for r, f in zip(ratios, factors, strict=True))
        if off or reduced_shape(base.shape, factors) != level.shape:
            raise ValueError(
                f"level {level.path!r} must be level 0 reduced by whole factors, or by "
                "those in the record of dask-pyramid, its extents rounded up, got "
                f"scale {level.scale!r} and shape {level.shape!r} for {base.scale!r} "
                f"and {base.shape!r}; write the coarser levels anew with "
                "add_levels(replace=True)"
            )
        return dict(zip(self.image.axes, factors, strict=True))

    def as_levels(self, method: Method) -> tuple[Level, ...]:
        """Return the levels as those of a plan, with the layout that they have.

        Raises
        ------
        ValueError
            As `factors`.
        """
        planned = make_levels(
            self.image, method, scale_factors=self.factors(), chunks=None, shards=False
        )
        return tuple(
            kept(level, stored)
            for level, stored in zip(planned, self.levels, strict=True)
        )


def kept(level: Level, stored: StoredLevel) -> Level:
    """Return a level of a plan with name, place and layout of one that is stored."""
    return replace(
        level,
        path=stored.path,
        scale=stored.scale,
        translation=stored.translation,
        chunks=stored.chunks,
        shards=stored.shards,
    )


def level_path(first: str, number: int) -> str:
    """Return the path of a level, formed as that of level 0.

    Examples
    --------
    >>> [level_path(first, 2) for first in ("0", "s0", "scale0/image", "full")]
    ['2', 's2', 'scale2/image', '2']
    """
    numbers = re.findall(r"\d+", first)
    if len(numbers) == 1 and not int(numbers[0]):
        return first.replace(numbers[0], str(number).zfill(len(numbers[0])))
    return str(number)


def read_existing(
    group: Any,
    place: str,
    *,
    options: StoreOptions | None = None,
    resumed: bool = False,
    **given: Any,
) -> Existing:
    """Read what a group holds: an OME-Zarr image, or one array.

    Parameters
    ----------
    group : zarr.Group
        The group.
    place : str
        Its path or URL, for readers that travel; empty for a store object.
    options : StoreOptions, optional
        How a URL is opened.
    resumed : bool
        Whether a call is repeated, that has perhaps made an image of the group.
    **given
        Keyword arguments of `open_image`, for a group that says nothing itself.

    Returns
    -------
    Existing
        Level 0 as an image, and all levels.

    Raises
    ------
    ValueError
        If it is no image that can grow in place.
    """
    attributes = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    if not isinstance(ome, Mapping) or "multiscales" not in ome:
        return _bare(group, place, attributes, {**given, **_opening(place, options)})
    said = sorted(name for name, value in given.items() if value is not None)
    if said and not resumed:
        raise ValueError(
            f"{said[0]} must not be given for an OME-Zarr image, got "
            f"{given[said[0]]!r}; what the image says is kept"
        )
    found = parse_multiscales(attributes)
    _check_version(found)
    arrays = [_array(group, dataset.path) for dataset in found.datasets]
    image = open_image(place or group, **_opening(place, options))
    levels = tuple(
        _stored(array, dataset.path, dataset.scale, dataset.translation)
        for array, dataset in zip(arrays, found.datasets, strict=True)
    )
    _check(image, levels, tuple(axis.lower() for axis in found.axes))
    record = read_provenance(attributes)
    method, sigma, nodata = _method(found, record)
    return Existing(
        image=image,
        attributes=attributes,
        version=found.version,
        levels=levels,
        published=True,
        method=method,
        sigma=sigma,
        nodata=nodata,
        provenance=record,
        named=_is_named(arrays[0]),
    )


def _opening(place: str, options: StoreOptions | None) -> dict[str, Any]:
    return {"storage_options": options} if is_url(place) else {}


def _is_named(array: Any) -> bool:
    # "the dimension names MUST be ... the axes" (arrays, 0.5, 0.6); Zarr v2 has none.
    is_v2 = array.metadata.zarr_format == 2
    return is_v2 or bool(array.metadata.dimension_names)


def _check_version(found: Multiscales) -> None:
    if found.version not in VERSIONS:
        raise ValueError(
            f"version of an image that grows must be one of {', '.join(VERSIONS)}, "
            f"got {found.version!r}; write it anew with write_pyramid"
        )


def _bare(
    group: Any, place: str, attributes: Mapping[str, Any], given: Mapping[str, Any]
) -> Existing:
    names = sorted(group.array_keys())
    if len(names) != 1:
        raise ValueError(
            "a group without 'multiscales' must hold one array to become an image, "
            f"got {names!r}; give the path of an OME-Zarr image"
        )
    array = _array(group, names[0])
    image = open_image(f"{place}/{names[0]}" if place else array, **given)
    stored = _stored(array, names[0], image.scale, image.translation)
    named = getattr(array.metadata, "dimension_names", None) or image.axes
    axes = given.get("axes") or named
    _check(image, (stored,), tuple(str(axis).lower() for axis in axes))
    return Existing(
        image=image,
        attributes=attributes,
        version="0.4" if array.metadata.zarr_format == 2 else "0.5",
        levels=(stored,),
        published=False,
        method=None,
        sigma=None,
        nodata=None,
        provenance=None,
        named=_is_named(array),
    )


def _array(group: Any, path: str) -> Any:
    import zarr

    try:
        array = group[path]
    except KeyError:
        array = None
    if not isinstance(array, zarr.Array):
        raise FileNotFoundError(
            f"datasets must be arrays, got {path!r}, which is none; the image is "
            "incomplete"
        )
    return array


def _stored(
    array: Any, path: str, scale: Sequence[float], translation: Sequence[float]
) -> StoredLevel:
    return StoredLevel(
        path=path,
        shape=tuple(map(int, array.shape)),
        chunks=tuple(map(int, array.chunks)),
        shards=None if array.shards is None else tuple(map(int, array.shards)),
        dtype=native(array.dtype).name,
        scale=tuple(map(float, scale)),
        translation=tuple(map(float, translation)),
    )


def _check(image: Image, levels: Sequence[StoredLevel], axes: tuple[str, ...]) -> None:
    if axes != image.axes:
        raise ValueError(
            f"axes of an image that grows must be in the order t, c, z, y, x, got "
            f"{axes!r}; write it anew with write_pyramid"
        )
    for level in levels:
        if level.dtype != levels[0].dtype or len(level.shape) != image.ndim:
            raise ValueError(
                f"level {level.path!r} must have the data type and the axes of level "
                f"0, got {level.dtype} of shape {level.shape!r} for {levels[0].dtype} "
                f"of shape {levels[0].shape!r}"
            )


def _method(
    found: Multiscales, record: Provenance | None
) -> tuple[Method | None, Sigma, Nodata | None]:
    """Return how levels were made, if they were made here."""
    if record is not None:
        return METHODS.get(record.method), record.sigma, record.nodata
    about = found.metadata or {}
    maker, kwargs = about.get("method"), about.get("kwargs")
    if not isinstance(maker, str) or not maker.startswith("dask_pyramid."):
        return None, None, None  # "mean" of another tool may be another mean
    kwargs = kwargs if isinstance(kwargs, Mapping) else {}
    sigma = kwargs.get("sigma")
    return (
        METHODS.get(found.type or ""),
        None if sigma is None else tuple(sigma),
        Nodata.noted(kwargs),
    )
