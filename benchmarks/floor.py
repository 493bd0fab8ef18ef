"""The floor: the I/O of a pyramid without its arithmetic, as fast as we know how.

Reads every source chunk once, writes level 0 and ready-made coarser levels through
`zarrs` with two threads, each with one buffer that it keeps. The coarser levels are
corners of what was read: they cost nothing to make and compress as level 0 does.
Nothing of `dask_pyramid` is used.
"""

from __future__ import annotations

import argparse
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import zarr
import zarrs  # noqa: F401  # registers nothing, but shall count as start-up
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer.cpu import NDBuffer

BLOCK = 512


def copy(
    source: Path, target: Path, *, shards: int | None, levels: int, threads: int
) -> None:
    """Copy a volume and write strided levels of it.

    Parameters
    ----------
    source : Path
        Zarr array (z, y, x).
    target : Path
        Group to make.
    shards : int or None
        Extent of cubic shards, None for chunks of their own.
    levels : int
        Number of levels beside level 0, each half of the one below.
    threads : int
        Blocks that are copied at a time; codecs use one thread for each.
    """
    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    # zarr makes its threads at its first call, as many as it is told at that moment;
    # the codecs are told below to use one for each block.
    zarr.config.set({"threading.max_workers": 2 * threads})
    zarr.open_array(source, mode="r")
    with zarr.config.set(
        {"threading.max_workers": 1, "codec_pipeline.chunk_concurrent_minimum": 1}
    ):
        volume = zarr.open_array(source, mode="r")
        group = zarr.create_group(target)
        arrays = [
            group.create_array(
                str(k),
                shape=[-(-n // 2**k) for n in volume.shape],
                chunks=volume.chunks,
                shards=shards and (shards,) * 3,
                dtype=volume.dtype,
                compressors=(
                    BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
                    Crc32cCodec(),
                ),
            )
            for k in range(levels + 1)
        ]
    # A block writes whole objects of every level that it can, the top comes at the end.
    least = shards or volume.chunks[0]
    fused = max(k for k in range(levels + 1) if BLOCK >> k >= least)
    local = threading.local()

    def one(corner: tuple[int, ...]) -> None:
        region = tuple(
            slice(c, min(c + BLOCK, n))
            for c, n in zip(corner, volume.shape, strict=True)
        )
        shape = tuple(r.stop - r.start for r in region)
        if getattr(local, "block", np.empty(0)).shape != shape:
            local.block = np.empty(shape, volume.dtype)
        buffer = NDBuffer.from_ndarray_like(local.block)
        volume.get_basic_selection(region, out=buffer)
        for k in range(fused + 1):
            part = tuple(slice(r.start >> k, -(-r.stop // 2**k)) for r in region)
            write(arrays[k], part, local.block)

    corners = itertools.product(*(range(0, n, BLOCK) for n in volume.shape))
    tops = arrays[fused + 1 :]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, corners))
        if tops:
            sample = volume[tuple(slice(0, n) for n in tops[0].shape)]
            whole = [tuple(slice(0, n) for n in array.shape) for array in tops]
            list(pool.map(write, tops, whole, itertools.repeat(sample)))


def write(array: zarr.Array, region: tuple[slice, ...], block: np.ndarray) -> None:
    """Write the corner of a block that fills a region."""
    corner = tuple(slice(0, r.stop - r.start) for r in region)
    array[region] = np.ascontiguousarray(block[corner])


def main() -> None:
    """Copy once from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--shards", type=int, default=None)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    copy(
        options.source,
        options.target,
        shards=options.shards,
        levels=options.levels,
        threads=options.threads,
    )


if __name__ == "__main__":
    main()
