"""Plans for what is stored already: more levels, a changed region, a longer axis.

A plan of growth is a `PyramidPlan` whose passes have windows: the same units, kernels
and layout as for a new pyramid, but only the objects that must be written.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dask_pyramid.continuation import (
    axis_of,
    check_continues,
    expanded,
    joined_image,
)
from dask_pyramid.existing import Existing, StoredLevel, kept, level_path
from dask_pyramid.levels import Level, make_levels
from dask_pyramid.methods import Method, Sigma, find_method
from dask_pyramid.planning import find_image_method, make_plan, spread_sigma
from dask_pyramid.sources.identity import public_source
from dask_pyramid.windows import dependent_parts, nothing, whole, whole_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.crew import Crew
    from dask_pyramid.factors import ScaleFactors
    from dask_pyramid.image import Image
    from dask_pyramid.masks import Mask
    from dask_pyramid.passes import Part
    from dask_pyramid.plan import PyramidPlan

__all__ = ["plan_appended", "plan_levels", "plan_rewritten", "plan_updated"]

# The chunks of level 0 are kept for further levels if they hold at most this.
_CHUNK_BYTES = 2**23


def plan_levels(
    existing: Existing,
    *,
    method: str | Method | None,
    sigma: Sigma,
    scale_factors: ScaleFactors,
    mask: Mask | None = None,
    chunks: Any,
    shards: Any,
    crew: Crew,
    replaces: bool,
) -> tuple[PyramidPlan, int]:
    """Plan the levels that an image lacks.

    Parameters
    ----------
    existing : Existing
        What is stored.
    method, sigma, scale_factors, mask, chunks, shards
        As for `dask_pyramid.add_levels`.
    crew : Crew
        What runs the units.
    replaces : bool
        Whether stored levels above level 0 are made anew.

    Returns
    -------
    plan : PyramidPlan
        All levels; passes for those that are to be written.
    n_kept : int
        Number of levels that stay as they are, level 0 among them.

    Raises
    ------
    ValueError
        If a stored level is not one of those asked for.
    """
    image, first = existing.image, existing.levels[0]
    if replaces:
        existing = replace(existing, levels=existing.levels[:1])
    record, sigmas = _stored_method(existing, method, sigma, mask=mask)
    _check_same_mask(existing, mask)
    if (
        chunks is None
        and math.prod(first.chunks) * image.dtype.itemsize <= _CHUNK_BYTES
    ):
        chunks = first.chunks
    if shards is None and first.shards is None:
        shards = False
    planned = make_levels(
        image, record, scale_factors=scale_factors, chunks=chunks, shards=shards
    )
    _check_kept(existing.levels, planned)
    n_kept = len(existing.levels)
    levels = tuple(
        kept(level, existing.levels[level.number])
        if level.number < n_kept
        else replace(level, path=level_path(first.path, level.number))
        for level in planned
    )
    plan = make_plan(
        image,
        levels,
        method=record,
        sigma=sigmas,
        version=existing.version,
        nodata=existing.nodata,
        mask_memory=_memory(mask),
        crew=crew,
        parts=[
            nothing(level) if level.number < n_kept else whole(level)
            for level in levels
        ],
    )
    return plan, n_kept


def _check_kept(stored: Sequence[StoredLevel], planned: Sequence[Level]) -> None:
    """Refuse stored levels that are not the first of those that are asked for."""
    if len(stored) > len(planned):
        raise ValueError(
            f"scale_factors must name the levels that exist, too, got "
            f"{len(planned) - 1} for {len(stored) - 1} stored above level 0; "
            "replace=True writes all but level 0 anew"
        )
    for old, new in zip(stored[1:], planned[1:], strict=False):
        places = zip(
            (*old.scale, *old.translation),
            (*new.scale, *new.translation),
            (*new.scale, *new.scale),
            strict=True,
        )
        same = all(abs(a - b) <= 1e-6 * unit for a, b, unit in places)
        if old.shape != new.shape or not same:
            raise ValueError(
                f"level {old.path!r} must be the one that is asked for to be kept, got "
                f"shape {old.shape!r}, scale {old.scale!r} and translation "
                f"{old.translation!r} for {new.shape!r}, {new.scale!r} and "
                f"{new.translation!r}; replace=True writes all but level 0 anew"
            )


def _stored_method(
    existing: Existing,
    method: str | Method | None,
    sigma: Sigma,
    *,
    mask: Mask | None = None,
) -> tuple[Method, Sigma]:
    """Return the method that further voxels must be made by."""
    _check_mask(existing, mask)
    image = existing.image
    if len(existing.levels) == 1:
        # No level shows it: what is asked for, else what the metadata say.
        record = find_image_method(image, method or existing.method)
        known = existing.sigma if record == existing.method else None
        return record, known if sigma is None else sigma
    if existing.method is None:
        if method is None:
            raise ValueError(
                "method must be given for levels whose metadata do not say how they "
                "were made by dask-pyramid; or write them anew with "
                "add_levels(replace=True)"
            )
        return find_image_method(image, method), sigma
    if method is not None and find_method(method) != existing.method:
        raise ValueError(
            f"method must be that of the stored levels, {existing.method.name!r}, got "
            f"{find_method(method).name!r}; add_levels(replace=True) writes them anew"
        )
    known = existing.sigma
    if sigma is not None and spread_sigma(existing.method, sigma, image.axes) != known:
        raise ValueError(
            f"sigma must be that of the stored levels, {known!r}, got {sigma!r}; "
            "add_levels(replace=True) writes them anew"
        )
    return existing.method, known


def _check_mask(existing: Existing, mask: Mask | None) -> None:
    """Refuse to grow without the mask, or with one where there was none."""
    masked = existing.nodata is not None and existing.nodata.masked
    if masked != (mask is not None):
        raise ValueError(
            "mask must be given for a pyramid that was made with one, and for no "
            f"other, got {'one' if mask is not None else 'none'}; a mask is not stored"
        )


def _check_same_mask(existing: Existing, mask: Mask | None) -> None:
    """Refuse another mask, as far as a finished pyramid knows its own."""
    record = existing.provenance
    if mask is None or record is None or record.mask is None:
        return
    now = public_source(mask.image)
    if now != record.mask:
        raise ValueError(
            f"mask must be that of the stored levels, {dict(record.mask)!r}, got "
            f"{now!r}; write the pyramid anew with write_pyramid"
        )


def plan_updated(
    existing: Existing,
    region: Part,
    *,
    method: str | Method | None,
    sigma: Sigma,
    mask: Mask | None = None,
    crew: Crew,
) -> PyramidPlan:
    """Plan what depends on a region of level 0, on all other levels.

    Parameters
    ----------
    existing : Existing
        What is stored.
    region : Part
        From `windows.parse_region`.
    method, sigma, mask
        As for `dask_pyramid.update_pyramid`.
    crew : Crew
        What runs the units.

    Returns
    -------
    PyramidPlan
        Level 0 is read and not written.
    """
    record, sigmas = _stored_method(existing, method, sigma, mask=mask)
    _check_same_mask(existing, mask)
    levels = existing.as_levels(record)
    parts = _dependent(
        existing.image, levels, method=record, sigma=sigmas, region=region
    )
    return make_plan(
        existing.image,
        levels,
        method=record,
        sigma=sigmas,
        version=existing.version,
        nodata=existing.nodata,
        mask_memory=_memory(mask),
        crew=crew,
        parts=[nothing(levels[0]), *parts[1:]],
    )


def plan_rewritten(
    existing: Existing,
    image: Image,
    region: Part,
    *,
    mask: Mask | None,
    crew: Crew,
) -> PyramidPlan:
    """Plan the objects of level 0 that meet a region, and what depends on them.

    Parameters
    ----------
    existing : Existing
        What is stored, made here.
    image : Image
        The source.
    region : Part
        From `windows.parse_region`.
    mask : Mask or None
        That of the source.
    crew : Crew
        What runs the units.
    """
    record, sigmas = _stored_method(existing, None, None, mask=mask)
    levels = existing.as_levels(record)
    # An object is written whole: all of it may be other than before.
    parts = _dependent(
        image,
        levels,
        method=record,
        sigma=sigmas,
        region=whole_objects(region, levels[0]),
    )
    return make_plan(
        image,
        levels,
        method=record,
        sigma=sigmas,
        version=existing.version,
        nodata=existing.nodata,
        mask_memory=_memory(mask),
        crew=crew,
        parts=parts,
        # What the source says elsewhere must not come in through a halo.
        alone=True,
    )


def plan_appended(
    existing: Existing,
    image: Image,
    axis: str,
    *,
    method: str | Method | None,
    sigma: Sigma,
    crew: Crew,
) -> tuple[PyramidPlan, Image]:
    """Plan an image that is longer along an axis.

    Parameters
    ----------
    existing : Existing
        What is stored.
    image : Image
        What follows behind it.
    axis : str
        Axis along which it grows.
    method, sigma
        As for `dask_pyramid.append`.
    crew : Crew
        What runs the units.

    Returns
    -------
    plan : PyramidPlan
        All levels with their new extents; what is new or depends on it is written.
    joined : Image
        The stored level 0 and the image behind it.

    Raises
    ------
    ValueError
        If the image does not continue what is stored.
    """
    if existing.nodata is not None and existing.nodata.masked:
        raise ValueError(
            "append must be to a pyramid that was made without a mask, got one with "
            "one, which would have to grow, too; write it anew with write_pyramid"
        )
    position = axis_of(existing.image, axis)
    image = expanded(image, existing.image.axes, position)
    check_continues(existing.image, image, position)
    record, sigmas = _stored_method(existing, method, sigma)
    old = existing.image.shape[position]
    region = tuple(
        (old, old + n) if i == position else (0, n) for i, n in enumerate(image.shape)
    )
    joined = joined_image(existing, image, position)
    planned = make_levels(
        joined, record, scale_factors=existing.factors(), chunks=None, shards=False
    )
    levels = tuple(
        kept(level, stored)
        for level, stored in zip(planned, existing.levels, strict=True)
    )
    plan = make_plan(
        joined,
        levels,
        method=record,
        sigma=sigmas,
        version=existing.version,
        nodata=existing.nodata,
        crew=crew,
        parts=_dependent(joined, levels, method=record, sigma=sigmas, region=region),
    )
    return plan, joined


def _memory(mask: Mask | None) -> int:
    return 0 if mask is None else mask.memory


def _dependent(
    image: Image,
    levels: Sequence[Level],
    *,
    method: Method,
    sigma: Sigma,
    region: Part,
) -> list[Part]:
    reductions = [
        method.reduction(level.steps, axes=image.axes, sigma=sigma) for level in levels
    ]
    parts = dependent_parts(levels, reductions, region)
    return [
        whole_objects(part, level) for part, level in zip(parts, levels, strict=True)
    ]
