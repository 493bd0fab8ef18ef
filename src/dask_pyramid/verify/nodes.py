"""Metadata of groups and arrays, read as JSON and not through zarr, which repairs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.verify.findings import Log
    from dask_pyramid.verify.tree import Tree

__all__ = ["Node", "joined", "read_node", "shown"]

Kind = Literal["array", "group"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """A group or an array as its metadata say it is."""

    path: str
    """Path in the store."""
    kind: Kind
    """What it is."""
    zarr_format: int
    """2 or 3."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """The attributes."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """Of a v3 node all of its metadata; of a v2 array those beside the attributes."""


def read_node(tree: Tree, path: str, log: Log) -> Node | None:
    """Read the metadata of a node.

    Parameters
    ----------
    tree : Tree
        The store.
    path : str
        Path of the node.
    log : Log
        Told what cannot be read.

    Returns
    -------
    Node or None
        None if there is none that can be read.
    """
    document = _object(tree, joined(path, "zarr.json"), log)
    if document is not None:
        kind = document.get("node_type")
        attributes = document.get("attributes", {})
        if kind not in ("array", "group") or not isinstance(attributes, dict):
            log.add(
                "json-invalid",
                f"node_type must be 'array' or 'group' and attributes an object, got "
                f"{shown(kind)} and {shown(attributes)}",
                level=path,
            )
            return None
        return Node(
            path=path,
            kind=kind,
            zarr_format=3,
            attributes=attributes,
            document=document,
        )
    kinds: tuple[tuple[str, Kind], ...] = ((".zarray", "array"), (".zgroup", "group"))
    for name, kind in kinds:
        document = _object(tree, joined(path, name), log)
        if document is not None:
            attributes = _object(tree, joined(path, ".zattrs"), log) or {}
            return Node(
                path=path,
                kind=kind,
                zarr_format=2,
                attributes=attributes,
                document=document,
            )
    return None


def joined(path: str, name: str) -> str:
    """Return the path of `name` within `path`.

    Examples
    --------
    >>> joined("", "0"), joined("labels/a", "0")
    ('0', 'labels/a/0')
    """
    return f"{path}/{name}" if path else name


def shown(value: Any) -> str:
    """Return a value as it may stand in a message: short.

    Examples
    --------
    >>> shown([0] * 100)
    '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...'
    """
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _object(tree: Tree, key: str, log: Log) -> dict[str, Any] | None:
    """Return the JSON object of a key, None if there is none that can be read."""
    level = key.rpartition("/")[0]
    name = key.rpartition("/")[2]
    try:
        raw = tree.get(key)
    except OSError as error:
        log.add("json-invalid", str(error), level=level, part=name)
        return None
    if raw is None:
        return None
    doubts: list[str] = []
    try:
        found = json.loads(
            raw,
            parse_constant=lambda word: doubts.append(f"{word} is no JSON number"),
            object_pairs_hook=lambda pairs: _unique(pairs, doubts),
        )
    except (ValueError, RecursionError) as error:
        log.add("json-invalid", f"{name} is no JSON: {error}", level=level, part=name)
        return None
    for doubt in doubts:
        log.add("json-doubtful", doubt, level=level, part=name)
    if not isinstance(found, dict):
        log.add(
            "json-invalid",
            f"{name} must hold an object, got {shown(found)}",
            level=level,
            part=name,
        )
        return None
    return found


def _unique(pairs: list[tuple[str, Any]], doubts: list[str]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        doubts.append(f"a name occurs twice among {shown([key for key, _ in pairs])}")
    return found
