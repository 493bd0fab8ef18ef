"""Label images: that they are listed, and what must hold of them and their image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_pyramid.multiscales import check_path
from dask_pyramid.verify.image import ome_of
from dask_pyramid.verify.nodes import Node, joined, read_node, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.verify.described import Described, StoredLevel
    from dask_pyramid.verify.findings import Log
    from dask_pyramid.verify.part import Part
    from dask_pyramid.verify.tree import Tree

__all__ = ["check_against", "check_label", "find_labels"]


def find_labels(tree: Tree, group: str, log: Log) -> list[Node]:
    """Return the label images in a `labels` group.

    Parameters
    ----------
    tree : Tree
        The store.
    group : str
        Path of the `labels` group.
    log : Log
        Told of what is listed and not there, or there and not listed.

    Returns
    -------
    list of Node
        The groups of the label images.
    """
    if tree.leaves(group):
        log.add("link-outside", "a link out of the store", level=group)
        return []
    node = read_node(tree, group, log)
    if node is None:
        if tree.children(group):
            log.add("labels-list", "a folder without metadata of a group", level=group)
        return []
    listed = ome_of(node).get("labels")
    if not isinstance(listed, list):
        log.add(
            "labels-list", f"labels must be a list, got {shown(listed)}", level=group
        )
        listed = []
    found: dict[str, Node] = {}
    for name in listed:
        image = _listed(tree, group, name, log)
        if image is not None:
            found[name] = image
    for name in tree.children(group):
        path = joined(group, name)
        if name in found or any(str(other).startswith(f"{name}/") for other in listed):
            continue
        image = None if tree.leaves(path) else read_node(tree, path, log)
        if image is not None and "multiscales" in ome_of(image):
            log.add("label-unlisted", "a label image that is not listed", level=path)
            found[name] = image
    return list(found.values())


def _listed(tree: Tree, group: str, name: Any, log: Log) -> Node | None:
    try:
        check_path(name)
    except ValueError as error:
        log.add("path-unsafe", str(error), level=group)
        return None
    path = joined(group, name)
    if tree.leaves(path):
        log.add("link-outside", "a link out of the store", level=path)
        return None
    node = read_node(tree, path, log)
    if node is None or node.kind != "group":
        log.add("label-missing", "listed, but there is no such group", level=path)
        return None
    return node


def check_label(label: Described, levels: Sequence[StoredLevel], log: Log) -> None:
    """Check what must hold of a label image by itself."""
    for level in levels:
        if level.dtype.kind not in "iu":
            log.add("label-dtype", f"data type {level.dtype}", level=level.path)
    found = label.group.get("image-label")
    if found is None:
        log.add("image-label-missing", "a label image without it", level=label.path)
        return
    if not isinstance(found, Mapping):
        log.add("image-label", f"an object, got {shown(found)}", level=label.path)
        return
    for key in ("colors", "properties"):
        entries = found.get(key, [])
        if not isinstance(entries, list):
            log.add("image-label", f"{key} is {shown(entries)}", level=label.path)
            continue
        _check_values(key, entries, log, level=label.path)


def _check_values(key: str, entries: list[Any], log: Log, *, level: str) -> None:
    seen = set()
    for entry in entries:
        value = entry.get("label-value") if isinstance(entry, Mapping) else None
        # "MUST contain the key 'label-value' ... an integer" (colors, properties).
        whole = isinstance(value, int | float) and not isinstance(value, bool)
        if not whole or (isinstance(value, float) and not value.is_integer()):
            log.add("image-label", f"{key} holds {shown(entry)}", level=level)
            continue
        if value in seen:
            log.add("image-label", f"{key}: {value} occurs twice", level=level)
        seen.add(value)
        rgba = entry.get("rgba", [0, 0, 0, 0])
        if not isinstance(rgba, list) or len(rgba) != 4 or not all(map(_is_byte, rgba)):
            log.add("image-label", f"rgba of {value} is {shown(rgba)}", level=level)


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def check_against(label: Part, image: Part, log: Log) -> None:
    """Check a label image against its image."""
    mine, others = len(label.image.datasets), len(image.image.datasets)
    if mine != others:
        log.add(
            "label-levels",
            f"{mine} levels, the image has {others}",
            level=label.image.path,
        )
    if not (label.levels and image.levels):
        return
    _check_extent(label, image, log)
    if len(label.levels) == len(image.levels):
        _check_places(label, image, log)


def _check_extent(label: Part, image: Part, log: Log) -> None:
    """Check that a label image is as large as its image."""
    here, there = (_extent(part.image, part.levels[0]) for part in (label, image))
    different = [
        axis
        for axis in here.keys() & there.keys()
        if abs(here[axis][0] - there[axis][0]) > max(here[axis][1], there[axis][1])
    ]
    if different:
        log.add(
            "label-extent",
            f"axis {', '.join(sorted(different))}: {_first(here)}, the image "
            f"{_first(there)}",
            level=label.image.path,
        )


def _check_places(label: Part, image: Part, log: Log) -> None:
    """Tell of levels whose voxels are not those of the image."""
    for mine, other in zip(label.levels, image.levels, strict=True):
        here, there = (
            {axis: size for axis, (_, size) in _extent(part.image, level).items()}
            for part, level in ((label, mine), (image, other))
        )
        axes = [axis for axis in here if axis in there]
        if not all(math.isclose(here[a], there[a], rel_tol=1e-3) for a in axes):
            told = ", ".join(f"{a} {here[a]:.6g} (image {there[a]:.6g})" for a in axes)
            log.add("label-places", f"voxels of {told}", level=mine.path)


def _extent(image: Described, level: StoredLevel) -> dict[str, tuple[float, float]]:
    """Return length and spacing of the axes of space."""
    scale = level.scale or (1.0,) * len(level.shape)
    return {
        axis.name: (n * s, s)
        for axis, n, s in zip(image.axes or (), level.shape, scale, strict=False)
        if axis.is_space
    }


def _first(extents: dict[str, tuple[float, float]]) -> str:
    return ", ".join(f"{axis} {length:.6g}" for axis, (length, _) in extents.items())
