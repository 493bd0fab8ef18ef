"""What a dask graph reads, as far as its tasks tell."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dask_pyramid.image import Reader

if TYPE_CHECKING:
    import dask.array as da

__all__ = ["graph_places"]

# Tasks are nested a few deep: a partial in a task in a list.
_DEPTH = 6


def graph_places(graph: da.Array) -> tuple[str, ...]:
    """Return the places that a graph reads: those of readers and zarr arrays in it.

    Parameters
    ----------
    graph : dask.array.Array
        Any graph; one task of each layer is looked at, and all that are not tasks.

    Returns
    -------
    tuple of str
        As `Reader.locations`. A function that opens a file by itself is not seen.
    """
    places: dict[str, None] = {}
    for layer in graph.dask.layers.values():
        for thing in _things(layer):
            places.update(dict.fromkeys(_places(thing, _DEPTH)))
    return tuple(places)


def _things(layer: Any) -> Iterator[Any]:
    task = getattr(layer, "task", None)
    if task is not None:  # a blockwise layer holds its one task, and what it is given
        yield task
        yield from getattr(layer, "indices", ())
        return
    seen = False
    for value in layer.values():
        is_task = callable(getattr(value, "func", None)) or isinstance(value, tuple)
        if not (is_task and seen):
            yield value
        seen = seen or is_task


def _places(thing: Any, depth: int) -> Iterator[str]:
    from zarr import Array

    from dask_pyramid.sources.zarr_arrays import ZarrReader

    if isinstance(thing, Array):
        thing = ZarrReader(thing.store, thing.path)
    if isinstance(thing, Reader):
        yield from thing.locations
    if depth == 0 or isinstance(thing, str | bytes | int | float):
        return
    inner: list[Any] = []
    if isinstance(thing, functools.partial):
        inner = [thing.func, *thing.args, *thing.keywords.values()]
    elif isinstance(thing, Mapping):
        inner = list(thing.values())
    elif isinstance(thing, list | tuple):
        inner = list(thing)
    else:
        names = ("func", "args", "kwargs", "value", "array")
        inner = [getattr(thing, name, None) for name in names]
    for part in inner:
        if part is not None and part is not thing:
            yield from _places(part, depth - 1)
