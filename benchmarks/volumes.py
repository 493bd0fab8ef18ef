"""Make the volumes that the benchmarks read: smooth structure with Poisson noise."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import zarr
from scipy import ndimage
from zarr.codecs import BloscCodec


def make_volume(
    path: Path, shape: tuple[int, int, int], chunk: int = 128, seed: int = 0
) -> None:
    """Write a uint16 volume, slabs side by side; nothing is done if it exists already.

    Parameters
    ----------
    path : Path
        Zarr array to make; Blosc zstd level 3 with byte shuffle, no shards.
    shape : tuple of int
        Extent (z, y, x).
    chunk : int
        Extent of the cubic chunks.
    seed : int
        Of the random numbers.
    """
    done = path / ".complete"
    if done.exists():
        return
    array = zarr.create_array(
        path,
        shape=shape,
        chunks=(chunk,) * 3,
        dtype="uint16",
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
        overwrite=True,
    )
    coarse = np.random.default_rng(seed).random([max(2, n // 32) for n in shape])
    plane_zoom = [shape[i] / coarse.shape[i] for i in (1, 2)]

    def make_slab(start: int) -> None:
        rng = np.random.default_rng([seed, start])
        stop = min(start + chunk, shape[0])
        rows = np.linspace(0, coarse.shape[0] - 1, shape[0])[start:stop]
        lower = np.minimum(rows.astype(int), coarse.shape[0] - 2)
        slab = np.empty((stop - start, *shape[1:]), "uint16")
        for i, (row, low) in enumerate(zip(rows, lower, strict=True)):
            plane = coarse[low] + (row - low) * (coarse[low + 1] - coarse[low])
            smooth = ndimage.zoom(plane, plane_zoom, order=1)
            slab[i] = rng.poisson(100 + 900 * smooth**2)
        array[start:stop] = slab

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(make_slab, range(0, shape[0], chunk)))
    done.touch()


def main() -> None:
    """Make one volume from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=(1024, 1024, 1024))
    parser.add_argument("--chunk", type=int, default=128)
    options = parser.parse_args()
    make_volume(options.path, tuple(options.shape), options.chunk)


if __name__ == "__main__":
    main()
