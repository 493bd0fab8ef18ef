"""How each level is cut into chunks and shards: integers only.

A *chunk* is what is compressed together, a *shard* holds whole chunks in one file. The
*object* is what a store keeps under one key: the shard, or the chunk where there are no
shards. One task owns each object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from dask_pyramid.axes import SPATIAL, per_axis
from dask_pyramid.geometry import ceil_div

__all__ = ["choose_chunks", "choose_shards", "level_chunks", "level_shards"]

_CHUNK_BYTES = 2**19
_SHARD_BYTES = 2**26


def choose_chunks(
    shape: Sequence[int], axes: Sequence[str], itemsize: int
) -> tuple[int, ...]:
    """Choose chunks: powers of two, near cubic, 0.5 to 1 MiB, one along t and c.

    Parameters
    ----------
    shape : sequence of int
        Extent of level 0.
    axes : sequence of str
        Axes in storage order.
    itemsize : int
        Bytes of a voxel.

    Returns
    -------
    tuple of int
        Chunk extent; no axis is longer than the next power of two of the image.

    Examples
    --------
    >>> choose_chunks((1000, 2048, 2048), "zyx", 2)
    (64, 64, 64)
    >>> choose_chunks((3, 20000, 30000), "cyx", 1)
    (1, 512, 1024)
    """
    caps = [
        1 << (n - 1).bit_length() if axis in SPATIAL else 1
        for n, axis in zip(shape, axes, strict=True)
    ]
    chunks = [1] * len(caps)
    while math.prod(chunks) * itemsize < _CHUNK_BYTES:
        open_axes = [i for i, cap in enumerate(caps) if chunks[i] < cap]
        if not open_axes:
            break
        grown = min(reversed(open_axes), key=lambda i: chunks[i])
        chunks[grown] *= 2
    return tuple(chunks)


def choose_shards(
    shape: Sequence[int], chunks: Sequence[int], axes: Sequence[str], itemsize: int
) -> tuple[int, ...]:
    """Choose shards: whole chunks, 64 MiB or just above, clamped to the level.

    Parameters
    ----------
    shape : sequence of int
        Extent of the level.
    chunks : sequence of int
        Chunk extent.
    axes : sequence of str
        Axes in storage order; only spatial ones grow.
    itemsize : int
        Bytes of a voxel.

    Returns
    -------
    tuple of int
        Shard extent, a multiple of the chunk.

    Examples
    --------
    >>> choose_shards((1024, 1024, 1024), (64, 64, 64), "zyx", 2)
    (256, 256, 512)
    >>> choose_shards((60, 256, 256), (64, 64, 64), "zyx", 2)
    (64, 256, 256)
    """
    caps = [
        ceil_div(n, c) if axis in SPATIAL else 1
        for n, c, axis in zip(shape, chunks, axes, strict=True)
    ]
    counts = [1] * len(caps)

    def extent(i: int) -> int:
        return counts[i] * chunks[i]

    while math.prod(map(extent, range(len(caps)))) * itemsize < _SHARD_BYTES:
        open_axes = [i for i, cap in enumerate(caps) if counts[i] < cap]
        if not open_axes:
            break
        grown = min(reversed(open_axes), key=extent)
        counts[grown] = min(2 * counts[grown], caps[grown])
    return tuple(map(extent, range(len(caps))))


def level_chunks(
    chunks: Any,
    *,
    shapes: Sequence[Sequence[int]],
    axes: Sequence[str],
    itemsize: int,
) -> tuple[tuple[int, ...], ...]:
    """Return the chunks of every level.

    Parameters
    ----------
    chunks : int, tuple, dict by axis, list of these by level, or None
        What the user asked for. An int is the extent of all spatial axes; axes that a
        dict does not name are chosen.
    shapes : sequence of shapes
        Extent of each level.
    axes : sequence of str
        Axes in storage order.
    itemsize : int
        Bytes of a voxel.

    Returns
    -------
    tuple of tuple of int
        Chunk extent of each level.

    Raises
    ------
    ValueError
        If an extent is not a positive integer or the number of levels or axes is wrong.

    Examples
    --------
    >>> level_chunks({"z": 16}, shapes=[(64, 64, 64)], axes="zyx", itemsize=1)
    ((16, 64, 64),)
    """
    default = choose_chunks(shapes[0], axes, itemsize)
    return tuple(
        _extent(entry, default, axes=axes, name="chunks")
        for entry in _by_level(chunks, len(shapes), name="chunks")
    )


def level_shards(
    shards: Any,
    *,
    shapes: Sequence[Sequence[int]],
    chunks: Sequence[tuple[int, ...]],
    axes: Sequence[str],
    itemsize: int,
) -> tuple[tuple[int, ...] | None, ...]:
    """Return the shards of every level, None where a level has none.

    Parameters
    ----------
    shards : int, tuple, dict by axis, list of these by level, False or None
        What the user asked for; None chooses, False means no shards. Asked-for shards
        are cut to what covers the level.
    shapes, chunks : sequence
        Extent of each level and of its chunks.
    axes : sequence of str
        Axes in storage order.
    itemsize : int
        Bytes of a voxel.

    Returns
    -------
    tuple
        Shard extent of each level, or None.

    Raises
    ------
    ValueError
        If a shard does not hold whole chunks.

    Examples
    --------
    >>> level_shards(48, shapes=[(64, 64)], chunks=[(32, 32)], axes="yx", itemsize=1)
    Traceback (most recent call last):
    ...
    ValueError: shards must hold whole chunks, got (48, 48) for chunks (32, 32); \
make each extent a multiple
    """
    result: list[tuple[int, ...] | None] = []
    entries = _by_level(shards, len(shapes), name="shards")
    for entry, shape, chunk in zip(entries, shapes, chunks, strict=True):
        if entry is False:
            result.append(None)
            continue
        default = choose_shards(shape, chunk, axes, itemsize)
        shard = _extent(entry, default, axes=axes, name="shards", outer=chunk)
        if any(s % c for s, c in zip(shard, chunk, strict=True)):
            raise ValueError(
                f"shards must hold whole chunks, got {shard} for chunks {chunk}; "
                "make each extent a multiple"
            )
        covers = (ceil_div(n, c) * c for n, c in zip(shape, chunk, strict=True))
        result.append(tuple(min(s, n) for s, n in zip(shard, covers, strict=True)))
    return tuple(result)


def _by_level(value: Any, n_levels: int, *, name: str) -> list[Any]:
    """Spread a value over the levels; a list is by level, the last entry repeats."""
    if not isinstance(value, list):
        return [value] * n_levels
    if not 1 <= len(value) <= n_levels:
        raise ValueError(
            f"{name} must have at most one entry for each of {n_levels} levels, "
            f"got {len(value)}: {value!r}; one extent by axis is a tuple"
        )
    return value + value[-1:] * (n_levels - len(value))


def _extent(
    entry: Any,
    default: tuple[int, ...],
    *,
    axes: Sequence[str],
    name: str,
    outer: tuple[int, ...] | None = None,
) -> tuple[int, ...]:
    if entry is None:
        return default
    if isinstance(entry, Mapping):
        given = per_axis(entry, axes, name=name, default=None)
        extent = tuple(
            d if e is None else e for d, e in zip(default, given, strict=True)
        )
    elif isinstance(entry, Sequence) and not isinstance(entry, str):
        extent = per_axis(entry, axes, name=name, default=1)
    else:
        others = outer or (1,) * len(axes)
        extent = tuple(
            entry if axis in SPATIAL else o
            for axis, o in zip(axes, others, strict=True)
        )
    for value in extent:
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(
                f"{name} must be whole numbers of voxels of at least 1, got {entry!r}"
            )
    return tuple(map(int, extent))
