"""Plates and wells: that what they list is there, and where their images are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dask_pyramid.multiscales import listed_paths
from dask_pyramid.verify.image import ome_of
from dask_pyramid.verify.nodes import Node, joined, read_node, shown

if TYPE_CHECKING:
    from dask_pyramid.verify.findings import Log
    from dask_pyramid.verify.tree import Tree

__all__ = ["find_fields"]


def find_fields(tree: Tree, group: Node, log: Log) -> list[Node]:
    """Return the images of a plate or a well.

    Parameters
    ----------
    tree : Tree
        The store.
    group : Node
        The plate or the well.
    log : Log
        Told of what is listed and not there.

    Returns
    -------
    list of Node
        The groups of the images, in the order of the lists.
    """
    ome = ome_of(group)
    if "plate" not in ome:
        return _listed(tree, group, ("well", "images"), log)
    wells = _listed(tree, group, ("plate", "wells"), log)
    _check_indices(group, log)
    return [
        image
        for well in wells
        for image in _listed(tree, well, ("well", "images"), log)
    ]


def _listed(tree: Tree, group: Node, keys: tuple[str, str], log: Log) -> list[Node]:
    """Return the nodes that a group lists, and that are there."""
    found = []
    for path in _paths(group, keys, log):
        node = read_node(tree, joined(group.path, path), log)
        if node is None:
            log.add("node-missing", f"{path!r} is listed", level=group.path)
        else:
            found.append(node)
    return found


def _paths(group: Node, keys: tuple[str, str], log: Log) -> list[str]:
    """Return the paths in the list of a plate or a well."""
    kind, name = keys
    holder = ome_of(group).get(kind)
    listed = listed_paths(holder, name)
    if not listed:
        held = holder.get(name) if isinstance(holder, Mapping) else None
        text = f"{kind}.{name} must be a list of paths, got {shown(held)}"
        log.add("plate-list", text, level=group.path)
    for path, entry in listed:
        if path is None:
            text = f"{kind}.{name} has an entry without a path: {shown(entry)}"
            log.add("plate-list", text, level=group.path)
    return [path for path, _ in listed if path is not None]


def _check_indices(group: Node, log: Log) -> None:
    """Check that the path of each well is made of the row and column it names."""
    plate = ome_of(group)["plate"]
    for well in plate.get("wells", []) if isinstance(plate, Mapping) else []:
        try:
            row = plate["rows"][well["rowIndex"]]["name"]
            column = plate["columns"][well["columnIndex"]]["name"]
            right = well["path"] == f"{row}/{column}"
        except (KeyError, IndexError, TypeError):
            right = False
        if not right:
            text = f"rowIndex and columnIndex do not name the path of {shown(well)}"
            log.add("plate-list", text, level=group.path)
