"""The arrays that datasets name: that they can be opened, and fit to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.image import check_dtype
from dask_pyramid.sources.opened import native
from dask_pyramid.verify.described import StoredLevel
from dask_pyramid.verify.nodes import joined, read_node, shown

if TYPE_CHECKING:
    import zarr

    from dask_pyramid.verify.described import Described, Named
    from dask_pyramid.verify.findings import Log
    from dask_pyramid.verify.nodes import Node
    from dask_pyramid.verify.tree import Tree

__all__ = ["check_arrays", "check_consolidated"]

# What Neuroglancer 2.41 and viewers built on it refuse.
_REFUSED = ("bool", "int64", "float16", "float64")
_LONGEST_CHUNK = 2048


def check_arrays(tree: Tree, image: Described, log: Log) -> tuple[StoredLevel, ...]:
    """Open the arrays of an image.

    Parameters
    ----------
    tree : Tree
        The store.
    image : Described
        What the metadata say.
    log : Log
        Told what is wrong.

    Returns
    -------
    tuple of StoredLevel
        The levels that can be opened, in the order of the datasets.
    """
    levels: list[StoredLevel] = []
    for named in image.datasets:
        path = joined(image.path, named.path)
        node = _array_node(tree, path, log)
        if node is None:
            continue
        _check_names(image, node, log)
        level = _open(tree, node, named, number=len(levels), log=log)
        if level is not None and _check_pixels(image, level, log):
            levels.append(level)
    _check_dtypes(levels, log)
    if levels:
        _check_viewers(levels[0], log)
    return tuple(levels)


def _array_node(tree: Tree, path: str, log: Log) -> Node | None:
    for link in tree.outside(path):
        log.add("link-outside", "a link out of the store", level=path, part=link)
    if tree.leaves(path) or log.has("link-outside", path):
        return None
    node = read_node(tree, path, log)
    if node is None:
        if not log.has("json-invalid", path):
            log.add("node-missing", "a dataset names it; it is not there", level=path)
        return None
    if node.kind != "array":
        log.add("node-kind", "a dataset names it; it is a group", level=path)
        return None
    return node


def _check_names(image: Described, node: Node, log: Log) -> None:
    if node.zarr_format != image.zarr_format:
        log.add(
            "zarr-format",
            f"an array of Zarr v{node.zarr_format} in a group of v{image.zarr_format}",
            level=node.path,
        )
    if image.version == "0.4" and node.zarr_format == 2:
        separator = node.document.get("dimension_separator", ".")
        if separator != "/":
            log.add("array-separator", f"got {shown(separator)}", level=node.path)
    if node.zarr_format != 3 or image.axes is None:
        return
    names = node.document.get("dimension_names")
    axes = [axis.name for axis in image.axes]
    if names is None:
        code = "dimension-names"
        if image.version == "0.6":
            code = "dimension-names-missing"
        log.add(code, f"none; they must be {axes!r}", level=node.path)
    elif names != axes:
        log.add(
            "dimension-names",
            f"must be {axes!r}, got {shown(names)}",
            level=node.path,
        )


def _open(
    tree: Tree, node: Node, named: Named, *, number: int, log: Log
) -> StoredLevel | None:
    try:
        array = tree.array(node.path)
        shape = tuple(int(n) for n in array.shape)
        objects = tuple(int(n) for n in array.shards or array.chunks)
        prefix, separator = _names(array)
        return StoredLevel(
            number=number,
            path=node.path,
            shape=shape,
            dtype=native(array.dtype),
            chunks=tuple(int(n) for n in array.chunks),
            objects=objects,
            fill=array.fill_value,
            prefix=prefix,
            separator=separator,
            scale=named.scale,
            translation=named.translation,
        )
    except Exception as error:  # zarr raises of all kinds on metadata of strangers
        text = str(error).splitlines() or [""]
        log.add(
            "array-invalid",
            f"Zarr cannot open it: {type(error).__name__}: {text[0]:.200}",
            level=node.path,
        )
        return None


def _names(array: zarr.Array[Any]) -> tuple[str, str]:
    """Return what stands before the numbers of an object's name, and between them."""
    ones = (1,) * array.ndim
    key = array.metadata.encode_chunk_key(ones)
    prefix, _, rest = key.partition("1") if not key.startswith("c") else ("c", "", key)
    if prefix == "c":
        return "c", rest[1:2]
    return "", rest[:1] or "/"


def _check_pixels(image: Described, level: StoredLevel, log: Log) -> bool:
    """Check what no further check can do without."""
    try:
        check_dtype(level.dtype)
    except TypeError as error:
        log.add("array-kind", str(error), level=level.path)
        return False
    if 0 in level.shape or min((*level.objects, *level.chunks), default=1) < 1:
        log.add("array-empty", f"shape {level.shape}", level=level.path)
        return False
    if image.axes is not None and len(level.shape) != len(image.axes):
        log.add(
            "array-ndim",
            f"{len(level.shape)} dimensions for {len(image.axes)} axes",
            level=level.path,
        )
        return False
    return len(level.shape) > 0


def _check_dtypes(levels: list[StoredLevel], log: Log) -> None:
    for level in levels[1:]:
        if level.dtype != levels[0].dtype:
            log.add(
                "array-dtype",
                f"{level.dtype}, but {levels[0].path!r} has {levels[0].dtype}",
                level=level.path,
            )
        if not _same(level.fill, levels[0].fill):
            log.add(
                "array-dtype",
                f"fill value {level.fill}, but {levels[0].path!r} has {levels[0].fill}",
                level=level.path,
            )


def _same(a: Any, b: Any) -> bool:
    a, b = 0 if a is None else a, 0 if b is None else b
    return bool(np.asarray(a == b).all() or (a != a and b != b))


def _check_viewers(level: StoredLevel, log: Log) -> None:
    if level.dtype.name in _REFUSED:
        log.add("viewer-dtype", f"data type {level.dtype}", level=level.path)
    if max(level.chunks) > _LONGEST_CHUNK:
        log.add("viewer-chunks", f"chunks of {level.chunks}", level=level.path)


def check_consolidated(tree: Tree, group: Node, log: Log) -> None:
    """Compare consolidated metadata, which readers trust, with those of the nodes."""
    if group.zarr_format != 3:
        return
    held = group.document.get("consolidated_metadata")
    entries = held.get("metadata") if isinstance(held, Mapping) else None
    if not isinstance(entries, Mapping):
        return
    for path, entry in entries.items():
        key = joined(group.path, str(path))
        node = None if tree.leaves(key) else read_node(tree, key, log)
        if node is None or not isinstance(entry, Mapping):
            log.add("consolidated-stale", f"{path!r} is not there", level=group.path)
        elif _bare(entry) != _bare(node.document):
            log.add("consolidated-stale", f"{path!r} is different", level=group.path)


def _bare(document: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in document.items() if k != "consolidated_metadata" and v}
