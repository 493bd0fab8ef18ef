"""The images that benchmarks read, made when they are missing.

Smooth structure with noise, as wide as that of photons; ids in blocks; or a pattern
that compresses to almost nothing, where an image shall be large and quickly made.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tifffile
import zarr
from scipy import ndimage
from zarr.codecs import BloscCodec

from suite.processes import FOLDER, SIZE

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
        for _, slab in _slabs(case):
            for plane in slab:
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
    for index, slab in _slabs(case):
        array[index] = slab


def _slabs(case: Case) -> Iterator[tuple[tuple[Any, ...], np.ndarray[Any, Any]]]:
    """Yield where in the array, and what: whole chunks along y or z."""
    last = case.axes.endswith("c")
    axes = case.axes[-1] + case.axes[:-1] if last else case.axes
    extents = dict(zip(case.axes, case.shape, strict=True))
    steps = dict(zip(case.axes, case.chunks, strict=True))
    outer = [extents[a] for a in axes if a in "tc"]
    depth, height, width = (extents.get(a, 1) for a in "zyx")
    rng = np.random.default_rng(0)
    step = max(steps.get("z", 1), 1) if depth > 1 else 1
    for number, index in enumerate(np.ndindex(*outer)):
        scene = _Scene(case, (depth, height, width), rng=rng, seed=number)
        for start in range(0, depth, step):
            planes = [scene.plane(z) for z in range(start, min(start + step, depth))]
            slab = np.stack(planes) if "z" in axes else planes[0]
            at = (*index, slice(start, start + step)) if "z" in axes else index
            yield ((..., index[0]) if last else at), slab


class _Scene:
    """Planes of a volume, one after the other."""

    def __init__(
        self, case: Case, shape: tuple[int, int, int], *, rng: Any, seed: int
    ) -> None:
        self._case, self._shape, self._rng, self._seed = case, shape, rng, seed
        grid = [max(2, math.ceil(n / 32)) for n in shape]
        self._coarse = rng.random(grid).astype("float32")
        self._ids = rng.integers(1, 2**20, [math.ceil(n / 24) for n in shape])

    def plane(self, z: int) -> np.ndarray[Any, Any]:
        """Return one plane."""
        _, height, width = self._shape
        dtype = self._case.dtype
        if self._case.content == "ids":
            ids = self._ids[z // 24].repeat(24, axis=0).repeat(24, axis=1)
            return ids[:height, :width].astype(dtype)
        if self._case.content == "pattern":
            rows = np.arange(height)[:, None] // 16 + np.arange(width) // 16
            return (1000 + (z + rows) % 64 * 16).astype(dtype)
        smooth = self._smooth(z)
        noise = self._rng.standard_normal((height, width), dtype="float32")
        top = 230 if dtype == "uint8" else 1000
        values = top / 10 + 0.9 * top * smooth * smooth
        values += np.sqrt(values) * noise
        return values.clip(0, 255 if dtype == "uint8" else None).astype(dtype)

    def _smooth(self, z: int) -> np.ndarray[Any, Any]:
        depth, height, width = self._shape
        row = z / max(1, depth - 1) * (len(self._coarse) - 1)
        low = min(int(row), len(self._coarse) - 2)
        plane = self._coarse[low] + (row - low) * (
            self._coarse[low + 1] - self._coarse[low]
        )
        zoom = [n / m for n, m in zip((height, width), plane.shape, strict=True)]
        smooth: np.ndarray[Any, Any] = ndimage.zoom(plane, zoom, order=1)
        return smooth[:height, :width]


def main() -> None:
    """Make images from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=list(CASES), default=list(CASES))
    for name in parser.parse_args().names:
        print(name, made(CASES[name].sized()), flush=True)


if __name__ == "__main__":
    main()
