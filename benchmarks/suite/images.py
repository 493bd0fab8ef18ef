"""The images that benchmarks read, made when they are missing.

Smooth structure with noise, as wide as that of photons; ids in blocks; or a pattern
that compresses to almost nothing, where an image shall be large and quickly made.
"""

from __future__ import annotations

import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tifffile
import zarr
from zarr.codecs import BloscCodec

from suite.processes import FOLDER, SIZE

Region = tuple[slice, ...]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHRUNK = {"full": 1, "small": 2, "toy": 32}


@dataclass(frozen=True, kw_only=True)
class Case:
    """An image, and how its pyramid is stored."""

    axes: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str = "uint16"
    content: Literal["noise", "ids", "pattern"] = "noise"
    kind: Literal["zarr", "tiff"] = "zarr"
    zarr_format: Literal[2, 3] = 3
    methods: tuple[str, ...] = ("mean", "gaussian")
    options: dict[str, Any] = field(default_factory=lambda: {"shards": False})
    """Keyword arguments of `write_pyramid`."""

    def sized(self) -> Case:
        """Return the same at the size that is asked for."""
        by = _SHRUNK[SIZE]
        shape = [
            n if a in "tc" else max(8, n // by)
            for a, n in zip(self.axes, self.shape, strict=True)
        ]
        if SIZE == "toy":
            shape = [
                min(n, 2) if a == "t" else n
                for a, n in zip(self.axes, shape, strict=True)
            ]
        chunks = [
            min(c, n) if SIZE != "toy" else min(c, max(1, n // 2))
            for c, n in zip(self.chunks, shape, strict=True)
        ]
        options = dict(self.options)
        if "chunks" in options and SIZE == "toy":
            options["chunks"] = 8
        if options.get("shards") not in (None, False) and SIZE == "toy":
            options["shards"] = 16
        return replace(self, shape=tuple(shape), chunks=tuple(chunks), options=options)

    @property
    def name(self) -> str:
        """Of its file or folder."""
        size, chunk = ("x".join(map(str, n)) for n in (self.shape, self.chunks))
        ending = "tif" if self.kind == "tiff" else f"v{self.zarr_format}.zarr"
        return f"{self.content}-{self.axes}-{size}-{self.dtype}-{chunk}.{ending}"


def _volume(chunk: int, **more: Any) -> Case:
    options = {"chunks": chunk, "shards": False, **more.pop("options", {})}
    given = {"axes": "zyx", "shape": (1024,) * 3, "chunks": (chunk,) * 3, **more}
    return Case(**given, options=options)


CASES = {
    "volume": _volume(128),
    "volume, chunks 32": _volume(32, shape=(512, 512, 512)),
    "volume, chunks 64": _volume(64),
    "volume, chunks 256": _volume(256),
    "volume, sharded": _volume(64, options={"shards": 256}),
    "volume, Zarr v2": _volume(128, zarr_format=2, options={"version": "0.4"}),
    "slide": Case(
        axes="cyx", shape=(3, 20000, 30000), chunks=(1, 1024, 1024), dtype="uint8"
    ),
    "slide, channels last": Case(
        axes="yxc", shape=(20000, 30000, 3), chunks=(1024, 1024, 3), dtype="uint8"
    ),
    "series": Case(
        axes="tczyx", shape=(20, 2, 60, 1024, 1024), chunks=(1, 1, 30, 256, 256)
    ),
    "labels": _volume(
        128,
        shape=(512, 1024, 1024),
        dtype="uint32",
        content="ids",
        methods=("mode", "nearest"),
    ),
    "tomogram": _volume(128, shape=(512, 1024, 1024), dtype="float32"),
    "planes": Case(
        axes="zyx", shape=(256, 2048, 2048), chunks=(1, 2048, 2048), kind="tiff"
    ),
    "primes": _volume(64, shape=(509, 1021, 1031), chunks=(67, 127, 131)),
}
"""The images by name."""


def made(case: Case, folder: Path = FOLDER) -> Path:
    """Return where an image is, made if it is missing."""
    path, done = folder / case.name, folder / f".{case.name}.complete"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (_write_tiff if case.kind == "tiff" else _write_zarr)(case, path)
        done.touch()
    return path


def _write_tiff(case: Case, path: Path) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for region in _regions(case):
            for plane in _pixels(case, region):
                writer.write(plane, contiguous=True, metadata=None)


def _write_zarr(case: Case, path: Path) -> None:
    compressors: Any = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
    if case.zarr_format == 2:
        from numcodecs import Blosc

        compressors = Blosc("zstd", 3, Blosc.SHUFFLE)
    array = zarr.create_array(
        path,
        shape=case.shape,
        chunks=case.chunks,
        dtype=case.dtype,
        zarr_format=case.zarr_format,
        overwrite=True,
        compressors=compressors,
    )

    def write(region: Region) -> None:
        array[region] = _pixels(case, region)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, _regions(case)))


def _regions(case: Case) -> Iterator[Region]:
    """Yield slabs of whole chunks along z, or along y where there is no z."""
    along = "z" if "z" in case.axes else "y"
    edges = [
        [slice(a, min(a + step, n)) for a in range(0, n, step)]
        for n, step in (
            (n, chunk if axis == along or axis in "tc" else n)
            for axis, n, chunk in zip(case.axes, case.shape, case.chunks, strict=True)
        )
    ]
    yield from itertools.product(*edges)


def _pixels(case: Case, region: Region) -> np.ndarray[Any, Any]:
    """Return the pixels of a slab: the same whatever else is made, and when."""
    parts = dict(zip(case.axes, region, strict=True))
    outer = [axis for axis in case.axes if axis in "tc"]
    inner = [axis for axis in case.axes if axis not in "tc"]
    shape = tuple(part.stop - part.start for part in region)
    order = [case.axes.index(axis) for axis in (*outer, *inner)]
    pixels = np.empty(shape, case.dtype)
    for index in np.ndindex(*(shape[case.axes.index(axis)] for axis in outer)):
        number = [parts[a].start + i for a, i in zip(outer, index, strict=True)]
        planes = _planes(case, parts, seed=[0, *number])
        np.transpose(pixels, order)[index] = planes if "z" in inner else planes[0]
    return pixels


def _planes(
    case: Case, parts: dict[str, slice], *, seed: list[int]
) -> np.ndarray[Any, Any]:
    """Return some rows of some planes of one channel."""
    extents = dict(zip(case.axes, case.shape, strict=True))
    spans = {a: parts.get(a, slice(0, 1)) for a in "zyx"}
    sizes = [extents.get(a, 1) for a in "zyx"]
    z, y, x = (np.arange(span.start, span.stop) for span in spans.values())
    z, y = z[:, None, None], y[:, None]
    if case.content == "pattern":
        return (1000 + (z + y // 16 + x // 16) % 64 * 16).astype(case.dtype)
    rng = np.random.default_rng(seed)
    if case.content == "ids":
        ids = rng.integers(1, 2**20, [math.ceil(n / 24) for n in sizes])
        return ids[z // 24, y // 24, x // 24].astype(case.dtype)
    coarse = rng.random([max(2, math.ceil(n / 32)) for n in sizes], dtype="float32")
    noise = np.random.default_rng([*seed, spans["z"].start, spans["y"].start])
    top = 230 if case.dtype == "uint8" else 1000
    made = np.empty((z.size, y.size, x.size), case.dtype)
    for i in range(z.size):
        plane = coarse
        for n, at in zip(sizes, (z[i, 0], y[:, 0], x), strict=True):
            plane = np.moveaxis(_stretched(plane, n, at), 0, -1)
        values = top / 10 + 0.9 * top * plane[0] ** 2
        values += np.sqrt(values) * noise.standard_normal(values.shape, "float32")
        made[i] = values.clip(0, 255 if case.dtype == "uint8" else None)
    return made


def _stretched(
    coarse: np.ndarray[Any, Any], n: int, at: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return samples of the first axis, which is stretched to `n` by straight lines."""
    places = (at * ((len(coarse) - 1) / max(1, n - 1))).astype("float32")
    low = np.minimum(places.astype(int), len(coarse) - 2)
    share = (places - low).reshape(-1, *(1,) * (coarse.ndim - 1)).astype("float32")
    return coarse[low] + share * (coarse[low + 1] - coarse[low])
