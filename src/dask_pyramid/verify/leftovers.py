"""What lies in a group beside what its metadata name: stale levels, work of writers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_pyramid.verify.nodes import joined, read_node

if TYPE_CHECKING:
    from dask_pyramid.verify.findings import Log
    from dask_pyramid.verify.part import Part
    from dask_pyramid.verify.tree import Tree

__all__ = ["check_leftovers"]

# Where this package's writer keeps its work.
_WORK = ".dask-pyramid"


def check_leftovers(tree: Tree, part: Part, log: Log) -> None:
    """Look at what a group holds and no dataset names.

    Parameters
    ----------
    tree : Tree
        The store.
    part : Part
        The image.
    log : Log
        Told of what is left over.
    """
    group = part.image.path
    named = {dataset.path.split("/")[0] for dataset in part.image.datasets}
    for name in tree.children(group):
        if name in named or name == "labels":
            continue
        path = joined(group, name)
        if name == _WORK:
            log.add("staging-left", "work of a writer", level=path)
            continue
        node = None if tree.leaves(path) else read_node(tree, path, log)
        if node is None or node.kind != "array":
            continue
        shape = node.document.get("shape")
        ndim = len(part.image.axes or ())
        if isinstance(shape, list) and len(shape) == ndim:
            log.add("stale-level", f"an array of shape {shape}", level=path)
        else:
            log.add("unknown-node", "an array that no dataset names", level=path)
