"""What is to be written where: opened, planned and checked; nothing is written.

One place for the checks of all verbs that write an image.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dask_pyramid import runner, session
from dask_pyramid.jobs import describe
from dask_pyramid.labelled import dress_all
from dask_pyramid.locations import is_url
from dask_pyramid.masks import open_mask
from dask_pyramid.planning import plan_pyramid
from dask_pyramid.rendering import REFUSED
from dask_pyramid.room import warn_of_room
from dask_pyramid.sources import open_image
from dask_pyramid.sources.graphs import graph_places
from dask_pyramid.stopping import raise_if_asked
from dask_pyramid.store import publication, targets
from dask_pyramid.store.inplace import open_existing
from dask_pyramid.store.packing import Package
from dask_pyramid.store_options import StoreOptions, share_options
from dask_pyramid.stores import lives_in_process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.image import Image
    from dask_pyramid.masks import Mask
    from dask_pyramid.plan import PyramidPlan

__all__ = ["image_places", "make_order", "order_of", "reached"]


def make_order(
    image: Any,
    target: Any,
    *,
    reading: Mapping[str, Any],
    planning: Mapping[str, Any],
    labels: Any = None,
    compressors: Any,
    mode: str,
    team: runner.Team,
    storage_options: Mapping[str, Any] | StoreOptions | None,
) -> session.Order:
    """Check all that can be checked before anything is written.

    Parameters
    ----------
    image, labels, compressors, mode, storage_options
        As for `dask_pyramid.write_pyramid`.
    target : path, URL, zarr store or Package
        As for `dask_pyramid.write_pyramid`; of a package the folder is written.
    reading : mapping
        Keyword arguments of `open_image`.
    planning : mapping
        Keyword arguments of `plan_pyramid`.
    team : Team
        Who runs the units.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError, TypeError
        If an argument breaks a rule.
    """
    shown = ""
    if isinstance(target, Package):
        shown, target = target.location, target.folder
    here, there = share_options(storage_options, image, target)
    opened = open_image(image, **reading, storage_options=here)
    raise_if_asked()
    planning = dict(planning)
    mask = planning.pop("mask", None)
    masks = open_mask(
        mask,
        axes=opened.axes,
        shape=opened.shape,
        storage_options=here if isinstance(mask, str) and is_url(mask) else None,
    )
    dressed = dress_all(labels, opened, target=target, storage_options=storage_options)
    read = [opened, *dressed.values(), *([] if masks is None else [masks.image])]
    sources = [place for each in read for place in image_places(each)]
    place = targets.open_target(
        target,
        mode=mode,
        sources=sources,
        labels=tuple(dressed),
        options=there,
        shown=shown,
    )
    _check_reach(place, team)
    plan = plan_pyramid(opened, crew=team.crew, mask=masks, **planning)
    raise_if_asked()
    if masks is not None:
        masks = masks.of_levels(plan.levels)
    order = order_of(
        opened, plan, place, compressors=compressors, team=team, mask=masks
    )
    return replace(order, labels=dressed)


def order_of(
    image: Image,
    plan: PyramidPlan,
    place: targets.Target,
    *,
    compressors: Any,
    team: runner.Team,
    mask: Mask | None = None,
) -> session.Order:
    """Return the order to write an image by a plan.

    Parameters
    ----------
    image : Image
        The source.
    plan : PyramidPlan
        Its plan.
    place : Target
        Where to.
    compressors, team
        As for `make_order`.
    mask : Mask, optional
        Which voxels count.

    Warns
    -----
    UserWarning
        If viewers refuse the data type, or the disk may be too small.
    """
    if place.local and place.state == "empty":
        warn_of_room(plan, place.location, stacklevel=4)
    if plan.dtype in REFUSED:
        warnings.warn(
            f"many viewers refuse {plan.dtype} (Neuroglancer among them); "
            "convert the image if it shall be looked at",
            stacklevel=4,
        )
    codecs = publication.codecs_json(plan, compressors)
    job = describe(image, plan, codecs, mask=mask)
    if team.elsewhere:
        image = runner.portable(image)
    return session.Order(
        image=image,
        mask=mask,
        job=job,
        target=place,
        compressors=compressors,
        team=team,
    )


def reached(store: Any, options: StoreOptions, team: runner.Team) -> targets.Target:
    """Return a store that exists, which those who run the units can write.

    Parameters
    ----------
    store, options
        As for `inplace.open_existing`.
    team : Team
        Who runs the units.

    Raises
    ------
    FileNotFoundError, ValueError
        If it does not exist, or other processes cannot write to it.
    """
    target = open_existing(store, options=options)
    _check_reach(target, team)
    return target


def _check_reach(place: targets.Target, team: runner.Team) -> None:
    """Refuse a target that other processes cannot write to."""
    if team.elsewhere and place.store is not None and lives_in_process(place.store):
        raise ValueError(
            f"target must be in reach of the workers of the client, got {place}; "
            "use a path or a URL, or client='threads'"
        )


def image_places(image: Image) -> tuple[str, ...]:
    """Return what must not be written: all that the source is read from."""
    if image.reader is not None:
        return image.reader.locations
    assert image.graph is not None  # by construction: one of the two is there
    return graph_places(image.graph)
