"""The floor: the I/O of a pyramid without its arithmetic, as fast as we know how.

Reads every source chunk once and writes level 0, unless it is the source, and other
levels that are ready-made: those of a pyramid, for what a codec takes depends on the
voxels. Each thread has one buffer that it keeps; codecs are those of `zarrs`. Nothing
of `dask_pyramid` is used.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
import zarrs  # noqa: F401  # registers nothing, but shall count as start-up
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer.cpu import NDBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence

_VOXELS = 2**27


class Source:
    """Pixels by region, into memory that is given, in the order of the pyramid."""

    def __init__(self, path: Path, order: Sequence[int]) -> None:
        if path.suffix == ".tif":
            import tifffile

            self._array: Any = tifffile.memmap(path, mode="r")
            self.chunks = (1, *self._array.shape[1:])
        else:
            self._array = zarr.open_array(path, mode="r")
            self.chunks = self._array.chunks
        self._order = tuple(order)
        self.shape = tuple(self._array.shape[i] for i in order)
        self.chunks = tuple(self.chunks[i] for i in order)
        self.dtype = np.dtype(self._array.dtype)
        self._plain = self._order == tuple(range(len(order)))

    def read(self, region: tuple[slice, ...], out: np.ndarray[Any, Any]) -> None:
        """Fill `out` with the voxels of a region."""
        if self._plain and isinstance(self._array, zarr.Array):
            buffer = NDBuffer.from_ndarray_like(out)
            self._array.get_basic_selection(region, out=buffer)
            return
        stored = [slice(None)] * len(region)
        for axis, part in zip(self._order, region, strict=True):
            stored[axis] = part
        out[...] = np.transpose(self._array[tuple(stored)], self._order)


def copy(
    source: Path,
    target: Path,
    *,
    ready: Path,
    layout: dict[str, Any],
    stored: bool,
    threads: int,
) -> None:
    """Copy an image and write its other levels.

    Parameters
    ----------
    source : Path
        Zarr array or TIFF.
    target : Path
        Group to make.
    ready : Path
        Folder that holds the other levels, raw: `1.npy` and so on.
    layout : dict
        `order` of the axes of the source, `format` of Zarr, and of each level its
        `shape`, `chunks` and `shards`.
    stored : bool
        Whether level 0 is there already, and only read.
    threads : int
        Blocks that are copied at a time; codecs use one thread for each.
    """
    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    # zarr makes its threads at its first call, as many as it is told at that moment;
    # the codecs are told below to use one for each block.
    zarr.config.set({"threading.max_workers": 2 * threads})
    zarr.create_group(target, zarr_format=layout["format"])
    with zarr.config.set(
        {"threading.max_workers": 1, "codec_pipeline.chunk_concurrent_minimum": 1}
    ):
        image = Source(source, layout["order"])
        arrays = [
            _create(target, k, image.dtype, layout)
            for k in range(len(layout["levels"]))
        ]
    made = [np.load(ready / f"{k}.npy", mmap_mode="r") for k in range(1, len(arrays))]
    local = threading.local()

    def one(job: tuple[int, tuple[slice, ...]]) -> None:
        number, region = job
        if not hasattr(local, "voxels"):
            local.voxels = np.empty(most, image.dtype)
        shape = tuple(part.stop - part.start for part in region)
        block = local.voxels[: math.prod(shape)].reshape(shape)
        if number:
            block[...] = made[number - 1][region]
        else:
            image.read(region, block)
        if number or not stored:
            arrays[number][region] = block

    jobs = []
    for number, array in enumerate(arrays):
        at_once = array.chunks if number else image.chunks
        regions = _regions(array, at_once, voxels=array.size // (4 * threads))
        jobs.append([(number, region) for region in regions])
    most = max(
        math.prod(part.stop - part.start for part in region)
        for _, region in itertools.chain(*jobs)
    )
    with ThreadPoolExecutor(threads) as pool:
        for some in jobs:
            list(pool.map(one, some))


def _create(
    target: Path, number: int, dtype: Any, layout: dict[str, Any]
) -> zarr.Array[Any]:
    level = layout["levels"][number]
    codecs: Any = (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec())
    more: dict[str, Any] = {}
    if layout["format"] == 2:
        from numcodecs import Blosc

        codecs = Blosc("zstd", 3, Blosc.SHUFFLE)
        more["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    return zarr.open_group(target, mode="r+").create_array(
        str(number),
        shape=level["shape"],
        chunks=level["chunks"],
        shards=level["shards"],
        dtype=dtype,
        compressors=codecs,
        **more,
    )


def _regions(
    array: zarr.Array[Any], chunks: Sequence[int], *, voxels: int
) -> list[tuple[slice, ...]]:
    """Cut an array into whole objects, and whole chunks of what is read if they fit."""
    objects = array.shards or array.chunks
    extents = [min(n, o) for n, o in zip(array.shape, objects, strict=True)]
    voxels = min(_VOXELS, voxels)
    for i in reversed(range(len(extents))):
        others = math.prod(extents) // extents[i]
        whole = min(array.shape[i], math.lcm(objects[i], chunks[i]))
        if others * whole <= _VOXELS:
            extents[i] = whole
        # Along the last axes not all that fits: blocks shall have some depth.
        room = voxels // (4 if i else 1)
        while extents[i] < array.shape[i] and 2 * others * extents[i] <= room:
            extents[i] = min(array.shape[i], 2 * extents[i])
    ranges = [
        [slice(a, min(a + e, n)) for a in range(0, n, e)]
        for n, e in zip(array.shape, extents, strict=True)
    ]
    return list(itertools.product(*ranges))


def main() -> None:
    """Copy once from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("ready", type=Path, help="folder of ready-made levels")
    parser.add_argument("layout", help="JSON")
    parser.add_argument("--stored", action="store_true", help="only read level 0")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    copy(
        options.source,
        options.target,
        ready=options.ready,
        layout=json.loads(options.layout),
        stored=options.stored,
        threads=options.threads,
    )


if __name__ == "__main__":
    main()
