"""The public verbs on what is stored: add levels, update a region.

Everything here is a few lines over the modules that do the work.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

from dask_pyramid import growing, runner
from dask_pyramid.execution import Execution
from dask_pyramid.growth import plan_levels, plan_updated
from dask_pyramid.intents import Growth, Site, added, look, updated
from dask_pyramid.limits import tune_malloc
from dask_pyramid.masks import open_mask
from dask_pyramid.orders import reached
from dask_pyramid.pyramid import Pyramid, stored_pyramid
from dask_pyramid.store_options import StoreOptions, share_options
from dask_pyramid.windows import parse_region

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.factors import ScaleFactors
    from dask_pyramid.masks import Mask
    from dask_pyramid.methods import Method, Sigma

__all__ = ["add_levels", "update_pyramid"]


def add_levels(
    store: Any,
    *,
    method: str | Method | None = None,
    sigma: Sigma = None,
    mask: Any = None,
    scale_factors: ScaleFactors = "auto",
    axes: str | Sequence[str] | None = None,
    scale: Mapping[str, float] | Sequence[float] | None = None,
    translation: Mapping[str, float] | Sequence[float] | None = None,
    unit: str | Mapping[str, str | None] | Sequence[str | None] | None = None,
    name: str | None = None,
    chunks: Any = None,
    shards: Any = None,
    compressors: Any = None,
    memory_limit: int | str | None = None,
    device: str | None = None,
    gpu_memory_limit: int | str | None = None,
    replace: bool = False,
    client: Any = None,
    workers: int | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
    retries: int | None = None,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Pyramid:
    """Add the coarser levels that a stored image lacks; level 0 is only read.

    Parameters
    ----------
    store : path, URL or zarr store
        An OME-Zarr image of version 0.4, 0.5 or 0.6, by whatever tool, or a group that
        holds one array.
    method, sigma
        As for `write_pyramid`; by default those of the levels that are there.
    mask : path, URL, array or Image, optional
        The mask of a pyramid that was made with one, which is not stored in it.
    scale_factors : "auto", "isotropic", dict, or sequence of number or dict by axis
        Factors of all levels from level 0, increasing; those that are there come
        first, and stay.
    axes, scale, translation, unit, name
        As for `open_image`, for a group that says nothing itself.
    chunks, shards
        As for `write_pyramid`; by default the chunks of level 0 if they are not
        huge, and shards if level 0 has them.
    compressors : object
        As for `write_pyramid`.
    memory_limit, device, gpu_memory_limit, client, workers, progress, break_lock
        As for `write_pyramid`.
    retries, storage_options
        As for `write_pyramid`.
    replace : bool
        Whether to remove all levels but level 0 and make them anew. Readers see level 0
        alone meanwhile.

    Returns
    -------
    Pyramid
        The pyramid as it is stored.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError, TypeError
        If an argument breaks a rule, or a level that is there is not one of those
        asked for; nothing is written then.
    OSError
        If level 0 cannot be read or the store not written, or if another process
        writes it; readers see what they saw, and the same call goes on.

    Warns
    -----
    UserWarning
        If level 0 does not name its dimensions, as OME-Zarr 0.5 wants.

    Notes
    -----
    Version, axes, unit, places, names, rendering and the attributes of others stay as
    they are, and so do `labels` and whatever else lies in the group.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from dask_pyramid import write_pyramid
    >>> image = np.zeros((40, 200, 200), "uint16")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_pyramid(image, f"{folder}/a.ome.zarr", scale_factors=[])
    ...     pyramid = add_levels(f"{folder}/a.ome.zarr", scale_factors=[2, 4])
    >>> pyramid.shapes
    ((40, 200, 200), (20, 100, 100), (10, 50, 50))
    """
    tune_malloc()
    options = share_options(storage_options, None, store)[1]
    execution = Execution(progress=progress, break_lock=break_lock, retries=retries)
    with runner.connect(
        client,
        workers=workers,
        memory_limit=memory_limit,
        device=device,
        gpu_memory_limit=gpu_memory_limit,
    ) as team:
        target = reached(store, options, team)
        site = look(
            target,
            axes=axes,
            scale=scale,
            translation=translation,
            unit=unit,
            name=name,
        )
        if site.is_listed:
            site = growing.settle(site, break_lock=break_lock)
        site.check("add_levels", published=False)
        growth = _added(
            site,
            _mask_of(mask, site),
            planning={
                "method": method,
                "sigma": sigma,
                "scale_factors": scale_factors,
                "chunks": chunks,
                "shards": shards,
                "crew": team.crew,
            },
            compressors=compressors,
            replaces=replace,
        )
        _carry_out(dataclasses.replace(growth, team=team), execution)
    return stored_pyramid(target)


def _added(
    site: Site,
    mask: Mask | None,
    *,
    planning: Mapping[str, Any],
    compressors: Any,
    replaces: bool,
) -> Growth:
    """Plan the levels that an image lacks, and check that they may be written."""
    plan, n_kept = plan_levels(site.existing, mask=mask, replaces=replaces, **planning)
    return added(
        site,
        plan,
        n_kept=n_kept,
        replaces=replaces,
        compressors=compressors,
        mask=None if mask is None else mask.of_levels(plan.levels),
    )


def _carry_out(growth: Growth, execution: Execution) -> None:
    """Add levels, if any are lacking or were begun."""
    site = growth.site
    if not growth.plan.passes and site.found is None:
        growing.tidy(site.target, break_lock=execution.break_lock)
        return
    if not site.existing.named:
        warnings.warn(
            f"level 0 of {site.target} does not name its dimensions, as OME-Zarr "
            f"{site.existing.version} wants; it is left as it is",
            stacklevel=3,
        )
    growing.grow(growth, execution)


def _mask_of(mask: Any, site: Site) -> Mask | None:
    """Open the mask of a stored image."""
    image = site.existing.image
    return open_mask(mask, axes=image.axes, shape=image.shape)


def update_pyramid(
    store: Any,
    region: Mapping[str, Any] | Sequence[Any],
    *,
    method: str | Method | None = None,
    sigma: Sigma = None,
    mask: Any = None,
    memory_limit: int | str | None = None,
    device: str | None = None,
    gpu_memory_limit: int | str | None = None,
    client: Any = None,
    workers: int | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
    retries: int | None = None,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Pyramid:
    """Compute again what depends on a region of level 0 that has changed.

    Parameters
    ----------
    store : path, URL or zarr store
        An OME-Zarr pyramid whose level 0 somebody has written.
    region : dict by axis or sequence of slice or (start, stop)
        Where, in voxels of level 0; an axis that a dict does not name is taken whole.
    method, sigma
        How the levels were made; by default what the metadata say.
    mask : path, URL, array or Image, optional
        The mask of a pyramid that was made with one, which is not stored in it.
    memory_limit, device, gpu_memory_limit, client, workers, progress, break_lock
        As for `write_pyramid`.
    retries, storage_options
        As for `write_pyramid`.

    Returns
    -------
    Pyramid
        The pyramid as it is stored.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        If an argument breaks a rule, the method is not known, or a level is not level 0
        reduced by whole factors; nothing is written then.
    OSError
        If a level cannot be read or written, or another process writes the store. The
        same call starts again.

    Notes
    -----
    Only the objects that hold a dependent voxel are written, each of them at once; a
    reader may see new ones beside old ones until the call returns. The result is what
    `write_pyramid` makes of the level 0 that is there.

    Examples
    --------
    >>> import tempfile, zarr
    >>> import numpy as np
    >>> from dask_pyramid import write_pyramid
    >>> image = np.zeros((40, 200, 200), "uint16")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = f"{folder}/a.ome.zarr"
    ...     _ = write_pyramid(image, place, scale_factors=[2], method="max")
    ...     zarr.open_array(f"{place}/0")[0, 0, 0] = 7
    ...     pyramid = update_pyramid(place, {"z": (0, 1), "y": (0, 1), "x": (0, 1)})
    ...     int(pyramid.levels[1][0, 0, 0].compute())
    7
    """
    tune_malloc()
    options = share_options(storage_options, None, store)[1]
    execution = Execution(progress=progress, break_lock=break_lock, retries=retries)
    with runner.connect(
        client,
        workers=workers,
        memory_limit=memory_limit,
        device=device,
        gpu_memory_limit=gpu_memory_limit,
    ) as team:
        target = reached(store, options, team)
        site = look(target)
        site.check("update_pyramid")
        if site.found is not None and site.found.published:
            site = growing.settle(site, break_lock=break_lock)
        image, found = site.existing.image, _mask_of(mask, site)
        regions = [parse_region(region, image.shape, image.axes)]
        if site.found is not None and site.found.region is not None:
            # What an interrupted call has left half done comes first.
            regions = list(dict.fromkeys([site.found.region, *regions]))
        for part in regions:
            plan = plan_updated(
                site.existing,
                part,
                method=method,
                sigma=sigma,
                mask=found,
                crew=team.crew,
            )
            levels = found and found.of_levels(plan.levels)
            growth = updated(site, plan, part, mask=levels)
            growing.grow(dataclasses.replace(growth, team=team), execution)
            site = look(target)
    return stored_pyramid(target)
