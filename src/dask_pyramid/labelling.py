"""Write label images into the `labels` group of an image.

Each is a pyramid of its own, written as any other: lock, receipts, resume, publication
last. When it is complete it is put into the list of the group, by which readers find
it. The image is not touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask_pyramid import runner, session
from dask_pyramid.execution import Execution
from dask_pyramid.intents import look
from dask_pyramid.labelled import NAME, check_name, dressed, plan_labels, source_options
from dask_pyramid.limits import tune_malloc
from dask_pyramid.orders import image_places, order_of, reached
from dask_pyramid.pyramid import Pyramid, stored_pyramid
from dask_pyramid.regions import check_selection, rewrite
from dask_pyramid.store.labels import list_label, open_label
from dask_pyramid.store_options import StoreOptions, share_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.image import Image
    from dask_pyramid.intents import Site
    from dask_pyramid.methods import Method
    from dask_pyramid.store.targets import Target

__all__ = ["write_dressed", "write_labels"]


def write_labels(
    store: Any,
    labels: Any,
    *,
    name: str = NAME,
    method: str | Method | None = None,
    ignore: int | None = None,
    region: Mapping[str, Any] | Sequence[Any] | None = None,
    axes: str | Sequence[str] | None = None,
    chunks: Any = None,
    shards: Any = None,
    compressors: Any = None,
    memory_limit: int | str | None = None,
    device: str | None = None,
    gpu_memory_limit: int | str | None = None,
    mode: str = "w-",
    client: Any = None,
    workers: int | None = None,
    retries: int | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Pyramid:
    """Write a label image, or a mask, into the `labels` group of a stored image.

    Parameters
    ----------
    store : path, URL or zarr store
        A complete OME-Zarr image of version 0.4, 0.5 or 0.6, by whatever tool.
    labels : Image, path, URL or array
        What `open_image` takes: integers, or bools, which are stored as 0 and 1 of
        uint8 because label images must be integers. Its extents are the image's; t and
        c may be left out, and c may be 1.
    name : str
        Name of the label image in the group.
    method : str or Method, optional
        ``"mode"`` (default): the most frequent id of each window of the level below;
        ``"mode-exact"``: of the whole window of level 0; ``"nearest"``: the first id.
    ignore : int, optional
        An id that wins only where there is no other, the background of sparse labels:
        ``ignore=0``. Without it, thin structures vanish from the coarse levels.
    region : dict by axis or sequence of slice or (start, stop), optional
        Write only this part of level 0 again, and what depends on it, into a label
        image that is complete; as for `write_pyramid`.
    axes : str or sequence of str, optional
        Names of the dimensions; an array has those of the image, or its spatial ones.
    chunks, shards
        As for `write_pyramid`; by default the chunks of the image if they are not huge,
        and shards if the image has them.
    mode : {"w-", "a", "w"}
        As for `write_pyramid`; of the label image, not of its image.
    compressors, memory_limit, device, gpu_memory_limit, client, workers, retries
        As for `write_pyramid`.
    progress, break_lock, storage_options
        As for `write_pyramid`.

    Returns
    -------
    Pyramid
        The label image as it is stored.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        If an argument breaks a rule, or the labels do not fit the image; nothing is
        written then.
    TypeError
        If the labels are no integers.
    OSError
        As `write_pyramid`; ``mode="a"`` goes on.

    Notes
    -----
    Levels, spacing, unit, places and version are those of the image, which is not
    touched; but with ``"nearest"`` a voxel of a level lies where the voxel that it
    keeps does, so that all levels begin at the place of level 0. Up to 1024 ids have
    colours in `image-label`, each its own; with more, none has, and viewers use their
    palettes.

    ``"mode"`` is made from level to level, so that each level costs an eighth of the
    one below; a minority may win where it holds the majority of enough small windows.
    ``"mode-exact"`` counts all voxels of level 0. Each level reads level 0 once, in
    units that hold as many planes of it as its factor; the plan says the memory, and
    is refused if that is too much.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from dask_pyramid import write_pyramid
    >>> image = np.zeros((40, 200, 200), "uint16")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_pyramid(image, f"{folder}/a.ome.zarr", scale_factors=[2, 4])
    ...     nuclei = write_labels(f"{folder}/a.ome.zarr", image > 9, name="nuclei")
    >>> nuclei.shapes, nuclei.dtype
    (((40, 200, 200), (20, 100, 100), (10, 50, 50)), dtype('uint8'))
    """
    tune_malloc()
    check_name(name)
    selects = check_selection(region, None, mode=mode)
    there = share_options(storage_options, labels, store)[1]
    here = source_options(labels, store, storage_options)
    execution = Execution(progress=progress, break_lock=break_lock, retries=retries)
    with runner.connect(
        client,
        workers=workers,
        memory_limit=memory_limit,
        device=device,
        gpu_memory_limit=gpu_memory_limit,
    ) as team:
        site = _site(reached(store, there, team))
        opened = dressed(
            labels, site.existing.image, name=name, axes=axes, options=here
        )
        planning = {
            "method": method,
            "ignore": ignore,
            "chunks": chunks,
            "shards": shards,
        }
        place = _write(
            site,
            opened,
            planning=planning,
            compressors=compressors,
            mode="a" if selects else mode,
            team=team,
            execution=execution,
            region=region,
        )
    return stored_pyramid(place)


def write_dressed(order: session.Order, execution: Execution) -> None:
    """Write the label images of an order, whose image is complete.

    Parameters
    ----------
    order : Order
        What was written.
    execution : Execution
        How to run.
    """
    place = order.target.store or order.target.location
    target = reached(place, order.target.options, order.team)
    for labels in order.labels.values():
        _write(
            _site(target),
            labels,
            planning={},
            compressors=order.compressors,
            mode=order.target.mode,
            team=order.team,
            execution=execution,
        )


def _site(target: Target) -> Site:
    """Return an image as it is stored, if it is complete."""
    site = look(target)
    site.check("write_labels")
    return site


def _write(
    site: Site,
    labels: Image,
    *,
    planning: Mapping[str, Any],
    compressors: Any,
    mode: str,
    team: runner.Team,
    execution: Execution,
    region: Any = None,
) -> Target:
    """Write one label image, or a part of it, and list it; return where it is."""
    sources = image_places(labels)
    place = open_label(site.target, labels.name, mode=mode, sources=sources)
    plan = plan_labels(labels, site.existing, crew=team.crew, **planning)
    order = order_of(labels, plan, place, compressors=compressors, team=team)
    if region is None:
        session.complete(order, execution)
    else:
        rewrite(order, execution, region=region, units=None)
    list_label(site.target, labels.name, version=plan.version)
    return place
