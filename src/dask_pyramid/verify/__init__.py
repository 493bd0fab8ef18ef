"""Check stored pyramids, of this package and of others, and tell what is wrong.

Structure first, from metadata and listings; then, as far as is asked for, every object
is decoded and every level recomputed from the level below. Nothing is ever written, and
nothing outside of the store is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dask_pyramid.masks import open_mask
from dask_pyramid.progress import verify_callback
from dask_pyramid.runner import connect
from dask_pyramid.verify.arrays import check_arrays, check_consolidated
from dask_pyramid.verify.boxes import DEFAULT_SAMPLE, Effort
from dask_pyramid.verify.engine import Engine, VerifyCallback, VerifyProgress
from dask_pyramid.verify.findings import Checked, Finding, Log, Verification
from dask_pyramid.verify.geometry import check_derived, check_shapes, check_stated
from dask_pyramid.verify.image import describe, ome_of
from dask_pyramid.verify.labels import check_against, check_label, find_labels
from dask_pyramid.verify.leftovers import check_leftovers
from dask_pyramid.verify.making import explained, stated
from dask_pyramid.verify.nodes import joined, read_node
from dask_pyramid.verify.objects import check_counts, hashing_tasks, tell_hashed
from dask_pyramid.verify.omero import check_omero
from dask_pyramid.verify.part import Part
from dask_pyramid.verify.pixels import check_absent, check_likeness, check_pixels
from dask_pyramid.verify.presence import list_objects
from dask_pyramid.verify.tree import open_tree
from dask_pyramid.verify.wells import find_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.runner import Team
    from dask_pyramid.store_options import StoreOptions
    from dask_pyramid.verify.nodes import Node
    from dask_pyramid.verify.tree import Tree

__all__ = ["Checked", "Finding", "Verification", "VerifyProgress", "verify_pyramid"]


def verify_pyramid(
    store: Any,
    *,
    sample: str | float = DEFAULT_SAMPLE,
    seed: int = 0,
    mask: Any = None,
    workers: int | None = None,
    client: Any = None,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
    progress: bool | VerifyCallback | None = None,
) -> Verification:
    """Check a stored pyramid, by whatever tool, and the label images below it.

    Parameters
    ----------
    store : path, URL, zarr store or zarr.Group
        An OME-Zarr image or label image, a `labels` group, a bioformats2raw group, or a
        plate or well, of which all images are checked.
    sample : "structure", "full", int or float
        How much is read. ``"structure"``: metadata and listings, no pixel. A number:
        so many boxes of each level, corners first. A float: that part of all boxes.
        ``"full"``: everything.
    seed : int
        Chooses the boxes; the same seed chooses the same ones.
    mask : path, URL, array or Image, optional
        The mask that the pyramid was made with, which is not stored in it. Without it,
        voxels that were made across its border are not compared.
    workers : int, optional
        Number of threads; by default the number of cores.
    client : distributed.Client or str, optional
        Where to read, as for `write_pyramid`; ``"processes"`` are threads here.
    storage_options : dict or StoreOptions, optional
        How to open a URL.
    progress : bool or callable, optional
        As for `write_pyramid`; a callable gets a `VerifyProgress` after each task.

    Returns
    -------
    Verification
        What was found. `ok` says whether there is no error; it prints as a report.

    Raises
    ------
    FileNotFoundError
        If there is nothing there.
    ValueError
        If there is an array and no image, or an argument breaks a rule.
    TypeError
        If `store` is none of these.

    Notes
    -----
    Memory is bounded: a task reads at most some 2**24 voxels, or one chunk. At
    ``"full"`` each level is decoded about twice. Nothing is written.

    Examples
    --------
    >>> import dask_pyramid as dp, numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pyramid = dp.write_pyramid(np.eye(64, dtype="uint8"), f"{folder}/a.zarr",
    ...                                scale_factors=[2])
    ...     found = dp.verify_pyramid(f"{folder}/a.zarr", sample="full")
    >>> found.ok, found.levels[1].compared
    (True, 1)
    """
    effort = Effort.parse(sample)
    tree = open_tree(store, storage_options)
    log = Log()
    with (
        connect(client, workers=workers, device="cpu") as team,
        verify_callback(progress) as callback,
    ):
        _check_reach(tree, team)
        threads = team.crew.shares[0].workers
        engine = Engine(workers=threads, client=team.client, progress=callback)
        parts = _images(tree, log)
        for part in parts:
            part.mask = mask
            _check(tree, part, effort, engine=engine, seed=seed, log=log)
    if mask is not None and not any(part.masked for part in parts):
        raise ValueError(
            f"mask must be that of a pyramid made with one, got one for "
            f"{tree.location}, whose metadata name none; leave it out"
        )
    return Verification(
        location=tree.location,
        version=parts[0].image.version if parts else "",
        sample=effort.text,
        findings=log.findings(),
        levels=tuple(level for part in parts for level in part.checked()),
    )


def _check_reach(tree: Tree, team: Team) -> None:
    """Refuse a store that the workers of a client cannot read."""
    if team.client is not None and not tree.travels:
        raise ValueError(
            f"store must be in reach of the workers of the client, got "
            f"{tree.location}; use a path or a URL"
        )


def _images(tree: Tree, log: Log) -> list[Part]:
    """Return the images of a store, their structure checked."""
    group = read_node(tree, "", log)
    if group is None:
        if log.findings():
            return []
        raise FileNotFoundError(
            f"store must be an OME-Zarr image, got {tree.location!r}, which holds no "
            "zarr.json, .zarray or .zgroup; check the path"
        )
    if group.kind == "array":
        raise ValueError(
            f"store must be an OME-Zarr image, got the array {tree.location!r}; give "
            "the group that holds it"
        )
    ome = ome_of(group)
    if "multiscales" not in ome:
        if "plate" in ome or "well" in ome:
            return [
                p
                for node in find_fields(tree, group, log)
                for p in _image(tree, node, log)
            ]
        if "labels" in ome:
            nodes = find_labels(tree, "", log)
            return [p for node in nodes for p in _label(tree, node, None, log)]
        if "bioformats2raw.layout" in ome:
            return _series(tree, log)
    return _image(tree, group, log)


def _series(tree: Tree, log: Log) -> list[Part]:
    """Return the images of a group that bioformats2raw wrote: 0, 1, ..."""
    names = [name for name in tree.children("") if name.isdecimal()]
    nodes = [read_node(tree, name, log) for name in names or ["0"]]
    if not any(nodes):
        log.add("node-missing", "no image '0' in a bioformats2raw group")
    return [part for node in nodes if node for part in _image(tree, node, log)]


def _image(tree: Tree, group: Node, log: Log) -> list[Part]:
    part = _part(tree, group, log)
    if part is None:
        return []
    check_omero(part.image, part.levels[0] if part.levels else None, log)
    check_leftovers(tree, part, log)
    if "image-label" in part.image.group:
        check_label(part.image, part.levels, log)
    labels = find_labels(tree, joined(group.path, "labels"), log)
    return [part, *(p for node in labels for p in _label(tree, node, part, log))]


def _label(tree: Tree, node: Node, image: Part | None, log: Log) -> list[Part]:
    part = _part(tree, node, log)
    if part is None:
        return []
    check_label(part.image, part.levels, log)
    check_leftovers(tree, part, log)
    if image is not None:
        check_against(part, image, log)
    return [part]


def _part(tree: Tree, group: Node, log: Log) -> Part | None:
    """Check all of an image that needs no listing and no pixel."""
    image = describe(group, log)
    if image is None:
        return None
    check_consolidated(tree, group, log)
    levels = check_arrays(tree, image, log)
    if image.axes is not None:
        check_shapes(levels, image.axes, log)
        check_stated(levels, image.axes, log, ours=image.is_ours)
    same = {len(level.shape) for level in levels}
    return Part(image=image, levels=levels if len(same) < 2 else levels[:1])


def _check(
    tree: Tree, part: Part, effort: Effort, *, engine: Engine, seed: int, log: Log
) -> None:
    """Check objects and pixels of an image, and its geometry against its method."""
    levels = part.levels
    part.readers = tuple(tree.reader(level.path) for level in levels)
    part.checked_readers = tuple(
        tree.reader(level.path, checked=True) for level in levels
    )
    part.presences = tuple(list_objects(tree, level, log) for level in levels)
    part.making = stated(part.image, levels, log)
    _take_mask(part, effort, log)
    _check_record(tree, part, effort, engine=engine, seed=seed, log=log)
    if part.making is None and effort.reads and len(levels) > 1:
        part.making = explained(
            part.image, levels, part.readers, engine=engine, seed=seed, log=log
        )
        code = "content-unchecked" if part.making is None else "content-explained"
        how = "no method known here" if part.making is None else part.making.recipe.name
        if part.making is not None and part.making.recipe.variant == "truncated":
            log.add("content-truncated", part.making.recipe.name, level=part.image.path)
        text = f"type {part.image.type!r}; {how} explains the content"
        log.add(code, text, level=part.image.path)
    if part.making is not None:
        check_derived(
            levels,
            part.making.derivations,
            offsets=part.making.recipe.offsets,
            image=part.image,
            method=part.making.recipe.name,
            log=log,
        )
    if effort.reads:
        check_pixels(part, effort, engine=engine, seed=seed, log=log)
        if part.making is None:
            check_likeness(part, effort, engine=engine, seed=seed, log=log)
    check_absent(part, effort, log)


def _take_mask(part: Part, effort: Effort, log: Log) -> None:
    """Open the mask of an image that was made with one, or tell that it is needed."""
    if not part.masked:
        return
    assert part.making is not None  # or it would not be masked
    assert part.image.axes is not None  # or its making would not be known
    axes = tuple(axis.name for axis in part.image.axes)
    mask = open_mask(part.mask, axes=axes, shape=part.levels[0].shape)
    if mask is not None:
        shapes = [level.shape for level in part.levels]
        mask = mask.among(shapes, part.making.factors)
    part.making = replace(part.making, mask=mask)
    if mask is None and part.making.recipe.needs_mask and effort.reads:
        text = "made with a mask, which is not stored; mask= compares all voxels"
        log.add("content-mask", text, level=part.image.path)


def _check_record(
    tree: Tree, part: Part, effort: Effort, *, engine: Engine, seed: int, log: Log
) -> None:
    """Hold stored objects against the record of the writer, where there is one."""
    if part.image.record is None:
        return
    tasks = []
    for level, presence in zip(part.levels, part.presences, strict=True):
        record = part.record(level.number)
        if record is None:
            log.add("record-wrong", "no record of this level", level=level.path)
            continue
        if presence is not None:
            check_counts(level, record, presence, log)
        if effort.reads:
            tasks += hashing_tasks(tree, level, record, effort, seed=seed)
    for hashed in engine.run(tasks, len(tasks)):
        part.counts[hashed.level]["hashed"] += hashed.objects
        tell_hashed(part.levels[hashed.level], hashed, log)
