"""The public verbs on what is stored: add levels, update a region, append.

Everything here is a few lines over the modules that do the work.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid import __version__, growing, runner
from dask_pyramid.existing import Existing, read_existing
from dask_pyramid.growth import parse_region, plan_appended, plan_levels, plan_updated
from dask_pyramid.jobs import differences
from dask_pyramid.journal import Journal
from dask_pyramid.limits import tune_malloc
from dask_pyramid.pyramid import Pyramid, connected, image_places, open_pyramid
from dask_pyramid.receipts import object_grid
from dask_pyramid.sources import open_image
from dask_pyramid.sources.identity import identify, public_source
from dask_pyramid.sources.zarr_arrays import ZarrReader
from dask_pyramid.store import ledger, publication, targets
from dask_pyramid.writing import Execution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.image import Image
    from dask_pyramid.methods import Method, Sigma
    from dask_pyramid.passes import Part
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.store.targets import Target

__all__ = ["add_levels", "append", "update_pyramid"]


def add_levels(
    store: Any,
    *,
    method: str | Method | None = None,
    sigma: Sigma = None,
    scale_factors: str | Sequence[int | Mapping[str, int]] = "auto",
    axes: str | Sequence[str] | None = None,
    scale: Mapping[str, float] | Sequence[float] | None = None,
    translation: Mapping[str, float] | Sequence[float] | None = None,
    unit: str | Mapping[str, str | None] | Sequence[str | None] | None = None,
    name: str | None = None,
    chunks: Any = None,
    shards: Any = None,
    compressors: Any = None,
    memory_limit: int | str | None = None,
    replace: bool = False,
    client: Any = None,
    workers: int | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
) -> Pyramid:
    """Add the coarser levels that a stored image lacks; level 0 is only read.

    Parameters
    ----------
    store : path, URL or zarr store
        An OME-Zarr image of version 0.4, 0.5 or 0.6, by whatever tool, or a group that
        holds one array.
    method, sigma
        As for `write_pyramid`; by default those of the levels that are there.
    scale_factors : "auto" or sequence of int or dict by axis
        Factors of all levels from level 0, increasing; those that are there come
        first, and stay.
    axes, scale, translation, unit, name
        As for `open_image`, for a group that says nothing itself.
    chunks, shards
        As for `write_pyramid`; by default the chunks of level 0 if they are not
        huge, and shards if level 0 has them.
    compressors : object
        As for `write_pyramid`.
    memory_limit, client, workers, progress, break_lock
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
    >>> from dask_pyramid import write_pyramid
    >>> image = np.zeros((40, 200, 200), "uint16")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_pyramid(image, f"{folder}/a.ome.zarr", scale_factors=[])
    ...     pyramid = add_levels(f"{folder}/a.ome.zarr", scale_factors=[2, 4])
    >>> pyramid.shapes
    ((40, 200, 200), (20, 100, 100), (10, 50, 50))
    """
    tune_malloc()
    target = targets.open_existing(store)
    found = ledger.read_journal(target)
    existing = _read(
        target,
        found,
        axes=axes,
        scale=scale,
        translation=translation,
        unit=unit,
        name=name,
    )
    if found is not None and _is_listed(found, existing):
        growing.settle(target, existing, found, break_lock=break_lock)
        existing, found = _read(target), None
    client, workers, memory_limit = connected(target, client, workers, memory_limit)
    _check_pending(target, found, "add_levels")
    plan, n_kept = plan_levels(
        existing,
        method=method,
        sigma=sigma,
        scale_factors=scale_factors,
        chunks=chunks,
        shards=shards,
        memory_limit=memory_limit,
        workers=workers,
        replaces=replace,
    )
    growth = _added(
        target,
        existing,
        found,
        plan=plan,
        n_kept=n_kept,
        replaces=replace,
        compressors=compressors,
        client=client,
    )
    if plan.passes or found is not None:
        if not existing.named:
            warnings.warn(
                f"level 0 of {target} does not name its dimensions, as OME-Zarr "
                f"{existing.version} wants; it is left as it is",
                stacklevel=2,
            )
        growing.grow(growth, Execution(progress=progress, break_lock=break_lock))
    else:
        growing.tidy(target, break_lock=break_lock)
    return open_pyramid(target.location or target.store)


def _added(
    target: Target,
    existing: Existing,
    found: Journal | None,
    *,
    plan: PyramidPlan,
    n_kept: int,
    replaces: bool,
    compressors: Any,
    client: Any,
) -> growing.Growth:
    """Return the growth that adds levels; nothing is written."""
    stays = dataclasses.replace(existing, levels=existing.levels[:n_kept])
    removed = [level.path for level in existing.levels[n_kept:]]
    if found is not None and replaces:
        removed += [level["path"] for level in found.plan["levels"][1:]]
    journal = Journal(
        verb="add_levels",
        parameters=_parameters(
            plan,
            codecs=publication.codecs_json(plan, compressors),
            stamp=public_source(existing.image).get("stamp"),
        ),
        plan=_plain(plan.to_json()) if plan.passes else {},
        before=tuple(level.shape for level in stays.levels),
        records=growing.base_records(target, stays, plan),
        remove=tuple(dict.fromkeys(removed)),
    )
    if found is None or found.fingerprint != journal.fingerprint:
        if found is not None and not replaces:
            raise ValueError(
                f"add_levels must go on with what an interrupted one has begun at "
                f"{target}, got other levels: "
                f"{differences(found.parameters, journal.parameters)}; replace=True "
                "removes that and starts again"
            )
        taken = {level.path for level in plan.levels[n_kept:]} - set(removed)
        _check_free(target, taken)
    return growing.Growth(
        journal=journal,
        found=found,
        plan=plan,
        image=existing.image,
        existing=existing,
        target=target,
        compressors=compressors,
        client=client,
    )


def _check_free(target: Target, paths: set[str]) -> None:
    group = targets.open_group(target)
    taken = sorted(path for path in paths if path in group)
    if taken:
        raise FileExistsError(
            f"level {taken[0]!r} must be a new name in {target}, got something that "
            "the multiscales do not list; remove it yourself"
        )


def update_pyramid(
    store: Any,
    region: Mapping[str, Any] | Sequence[Any],
    *,
    method: str | Method | None = None,
    sigma: Sigma = None,
    memory_limit: int | str | None = None,
    client: Any = None,
    workers: int | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
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
    memory_limit, client, workers, progress, break_lock
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
    target = targets.open_existing(store)
    found = ledger.read_journal(target)
    existing = _read_published(target)
    client, workers, memory_limit = connected(target, client, workers, memory_limit)
    _check_pending(target, found, "update_pyramid")
    if found is not None and found.published:
        growing.settle(target, existing, found, break_lock=break_lock)
        found = None
    part = parse_region(region, existing.image.shape, existing.image.axes)
    execution = Execution(progress=progress, break_lock=break_lock)
    if found is None or found.region is None:
        parts = [part]
    else:  # what an interrupted call has left half done comes first
        parts = list(dict.fromkeys([found.region, part]))
    for one in parts:
        plan = plan_updated(
            existing,
            one,
            method=method,
            sigma=sigma,
            memory_limit=memory_limit,
            workers=workers,
        )
        growth = _updated(target, existing, plan, one, client=client)
        growing.grow(growth, execution)
        existing = _read_published(target)
    return open_pyramid(target.location or target.store)


def _updated(
    target: Target, existing: Existing, plan: PyramidPlan, region: Part, *, client: Any
) -> growing.Growth:
    return growing.Growth(
        journal=Journal(
            verb="update_pyramid",
            parameters=_parameters(plan, region=region),
            plan=_plain(plan.to_json()) if plan.passes else {},
            before=tuple(level.shape for level in existing.levels),
            records=growing.base_records(target, existing, plan),
            region=region,
        ),
        found=ledger.read_journal(target),
        plan=plan,
        image=existing.image,
        existing=existing,
        target=target,
        client=client,
    )


def append(
    store: Any,
    image: Any,
    axis: str = "t",
    *,
    axes: str | Sequence[str] | None = None,
    method: str | Method | None = None,
    sigma: Sigma = None,
    memory_limit: int | str | None = None,
    client: Any = None,
    workers: int | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
) -> Pyramid:
    """Append an image behind a stored one, to level 0 and all other levels.

    Parameters
    ----------
    store : path, URL or zarr store
        An OME-Zarr pyramid.
    image : Image, path, URL or array
        What `open_image` takes: the axes, data type and, but along `axis`, extents of
        the pyramid. A spacing of 1 without unit says nothing; any other must be the
        pyramid's.
    axis : str
        Axis along which the pyramid grows.
    axes : str or sequence of str, optional
        Names of the image's dimensions; an array has those of the pyramid.
    method, sigma
        How the levels were made; by default what the metadata say.
    memory_limit, client, workers, progress, break_lock
        As for `write_pyramid`.

    Returns
    -------
    Pyramid
        The pyramid as it is stored.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        If an argument breaks a rule, the image does not continue the pyramid, or its
        levels are not level 0 reduced by whole factors; nothing is written then.
    OSError
        If the image cannot be read or the store not written, or another process writes
        it. Readers see the old extents; the same call goes on.

    Notes
    -----
    The result is what `write_pyramid` makes of the whole image with the same layout.
    Objects at the old end that hold old and new voxels are written again, and along a
    spatial axis the coarse voxels near it, too, that were made of a mirrored border.

    Examples
    --------
    >>> import tempfile
    >>> from dask_pyramid import open_image, write_pyramid
    >>> frame = open_image(np.zeros((1, 200, 200), "uint16"), axes="tyx")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = f"{folder}/a.ome.zarr"
    ...     _ = write_pyramid(frame, place, scale_factors=[2])
    ...     pyramid = append(place, frame)
    >>> pyramid.shapes
    ((2, 200, 200), (2, 100, 100))
    """
    tune_malloc()
    target = targets.open_existing(store)
    found = ledger.read_journal(target)
    existing = _read_published(target)
    _check_pending(target, found, "append")
    opened = _continuation(image, axes, existing)
    target = targets.open_existing(store, sources=image_places(opened))
    client, workers, memory_limit = connected(target, client, workers, memory_limit)
    source = identify(opened)
    if client is not None:
        opened = runner.portable(opened)
    options: dict[str, Any] = {
        "method": method,
        "sigma": sigma,
        "memory_limit": memory_limit,
        "workers": workers,
    }
    growth = _appended(target, existing, opened, axis, found, source, options)
    if found is not None and found.fingerprint != growth.journal.fingerprint:
        if _has_grown(existing, found):
            growing.settle(target, existing, found, break_lock=break_lock)
            existing, found = _read_published(target), None
            growth = _appended(target, existing, opened, axis, found, source, options)
        else:
            growth = _superseding(growth, found)
    growing.grow(
        dataclasses.replace(growth, client=client),
        Execution(progress=progress, break_lock=break_lock),
    )
    return open_pyramid(target.location or target.store)


def _continuation(
    image: Any, axes: str | Sequence[str] | None, existing: Existing
) -> Image:
    """Open what is to be appended; an array has the axes of the pyramid."""
    plain = isinstance(image, np.ndarray) or hasattr(image, "dask")
    if axes is None and plain and image.ndim == existing.image.ndim:
        axes = existing.image.axes
    return open_image(image, axes=axes)


def _appended(
    target: Target,
    existing: Existing,
    image: Image,
    axis: str,
    found: Journal | None,
    source: Mapping[str, Any],
    options: Mapping[str, Any],
) -> growing.Growth:
    """Return the growth that appends an image; nothing is written."""
    before = existing
    if found is not None:
        before = _as_before(target, existing, found)
    plan, joined = plan_appended(before, image, axis, **options)
    shapes = tuple(level.shape for level in before.levels)
    return growing.Growth(
        journal=Journal(
            verb="append",
            parameters=_parameters(plan, axis=axis, before=shapes, image=source),
            plan=_plain(plan.to_json()),
            before=shapes,
            records=growing.base_records(target, before, plan),
        ),
        found=found,
        plan=plan,
        image=joined,
        existing=existing,
        target=target,
    )


def _as_before(target: Target, existing: Existing, found: Journal) -> Existing:
    """Return what was stored before an append that was killed."""
    levels = tuple(
        dataclasses.replace(level, shape=shape)
        for level, shape in zip(existing.levels, found.before, strict=True)
    )
    place = target.store if target.store is not None else target.location
    reader = ZarrReader(place, levels[0].path, shape=levels[0].shape)
    image = dataclasses.replace(existing.image, reader=reader)
    return dataclasses.replace(existing, levels=levels, image=image)


def _has_grown(existing: Existing, found: Journal) -> bool:
    """Whether level 0 has its new extent: all is written but the attributes."""
    return existing.levels[0].shape != found.before[0]


def _superseding(growth: growing.Growth, found: Journal) -> growing.Growth:
    """Return an append that writes all that another one has begun.

    Raises
    ------
    ValueError
        If something of the other one would be left.
    """
    begun = [tuple(level["shape"]) for level in found.plan["levels"]]
    wanted = [level.shape for level in growth.plan.levels]
    axis = growth.journal.parameters["axis"]
    covers = axis == found.parameters["axis"] and all(
        n >= m
        for shape, other in zip(wanted, begun, strict=True)
        for n, m in zip(shape, other, strict=True)
    )
    if not covers:
        raise ValueError(
            f"append must go on with what an interrupted one has begun, which ends at "
            f"{begun[0]!r} along {found.parameters['axis']!r}, got an image that ends "
            f"at {wanted[0]!r} along {axis!r}; append the same image, or a longer one"
        )
    records = tuple(
        None if record is None else record.extended(object_grid(growth.plan, number))
        for number, record in enumerate(found.records)
    )
    journal = dataclasses.replace(growth.journal, records=records)
    return dataclasses.replace(growth, journal=journal)


def _read(target: Target, found: Journal | None = None, **given: Any) -> Existing:
    """Read what is stored; of what is given nothing counts once it is published."""
    group = targets.open_group(target)
    return read_existing(group, target.location, resumed=found is not None, **given)


def _read_published(target: Target) -> Existing:
    existing = _read(target)
    if not existing.published:
        raise ValueError(
            f"target must be an OME-Zarr image, got {target}, a group without "
            "'multiscales'; add_levels makes it one"
        )
    return existing


def _is_listed(found: Journal, existing: Existing) -> bool:
    """Whether readers see the levels that were added: little or nothing is left."""
    wanted = {level["path"] for level in found.plan.get("levels", ())}
    return (
        found.verb == "add_levels"
        and not found.remove
        and existing.published
        and wanted == {level.path for level in existing.levels}
    )


def _check_pending(target: Target, found: Journal | None, verb: str) -> None:
    if found is not None and found.verb != verb:
        region = f" of region {found.region!r}" if found.region else ""
        raise ValueError(
            f"{verb} must wait for the {found.verb}{region} that was interrupted at "
            f"{target}; run that again first"
        )


def _parameters(plan: PyramidPlan, **more: Any) -> dict[str, Any]:
    """Return all that the stored bytes depend on, as it will be read back."""
    found = {
        "program": __version__,
        "method": plan.method.name,
        "sigma": plan.sigma,
        "version": plan.version,
        "dtype": plan.dtype,
        "levels": {
            level.path: {
                "shape": level.shape,
                "factors": level.factors,
                "scale": level.scale,
                "translation": level.translation,
                "chunks": level.chunks,
                "shards": level.shards,
            }
            for level in plan.levels
        },
        **more,
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
