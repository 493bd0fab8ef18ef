"""Kernels alone, on one core: their rate, beside a copy and beside other packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.transform import downscale_local_mean

from dask_pyramid import METHODS
from dask_pyramid.geometry import Span, reduced_shape
from dask_pyramid.kernels import reduce_block
from suite.processes import SIZE, rate

if TYPE_CHECKING:
    from collections.abc import Callable

# Shape and steps; blocks are larger than the cache.
BLOCKS = {
    "2x2": ((4096, 8192), (2, 2)),
    "2x2x2": ((128, 512, 512), (2, 2, 2)),
    "1x2x2": ((128, 512, 512), (1, 2, 2)),
    "3x3x3": ((126, 510, 510), (3, 3, 3)),
    "4x4x4": ((128, 512, 512), (4, 4, 4)),
    # As it lies in an RGB image: the last axis is the first, c.
    "1x2x2, channels last": ((3, 2048, 4096), (1, 2, 2)),
}
DTYPES = ("uint8", "uint16", "uint32", "float32")


def block_of(name: str, dtype: str, *, ids: bool = False) -> np.ndarray[Any, Any]:
    """Return voxels for a block: random, or ids in runs."""
    shape = BLOCKS[name][0]
    if SIZE == "toy":
        shape = tuple(min(n, 24) for n in shape)
    rng = np.random.default_rng(0)
    values = rng.random(shape)
    if ids:
        values = values[tuple(slice(-(-n // 6)) for n in shape)]
        for axis in range(len(shape)):
            values = values.repeat(6, axis=axis)
        values = values[tuple(map(slice, shape))]
    values = (values * 250).astype(dtype)
    if "last" in name:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)
    return np.ascontiguousarray(values)


def reducing(
    name: str, dtype: str, method: str, *, compiled: bool = True
) -> tuple[Callable[[], object], np.ndarray[Any, Any]]:
    """Return a call that reduces a block, and the block."""
    block = block_of(name, dtype, ids=method == "mode")
    steps = BLOCKS[name][1]
    axes = "zyx"[-len(steps) :] if "last" not in name else "cyx"
    reduction = METHODS[method].reduction(steps, axes=axes)
    spans = [
        Span(first=0, stop=n, size=size)
        for n, size in zip(reduced_shape(block.shape, steps), block.shape, strict=True)
    ]
    out = np.empty([span.count for span in spans], dtype)
    return (
        lambda: reduce_block(block, reduction, spans, compiled=compiled, out=out),
        block,
    )


class Kernels:
    """The kernels that blocks on the host take."""

    params = (list(BLOCKS), list(METHODS), list(DTYPES))
    param_names = ("block", "method", "dtype")
    timeout = 120

    def setup(self, name: str, method: str, dtype: str) -> None:
        """Make the block."""
        if method == "mode-exact" or (method == "mode" and dtype == "float32"):
            raise NotImplementedError
        self.call, self.block = reducing(name, dtype, method)

    def time_reduce(self, *_: str) -> None:
        """One block."""
        self.call()

    def track_rate(self, *_: str) -> float:
        """Voxels read in a second, and the same of a copy."""
        return rate([self.call], voxels=self.block.size)[0]

    track_rate.unit = "Mvoxel/s"

    def track_of_a_copy(self, *_: str) -> float:
        """Rate over that of copying the block, in turn: the speed of memory."""
        copy = np.empty(self.block.shape, self.block.dtype)
        block = np.ascontiguousarray(self.block)
        mine, plain = rate(
            [self.call, lambda: np.copyto(copy, block)], voxels=block.size
        )
        return mine / plain

    track_of_a_copy.unit = "copies"


class Others:
    """What the kernels replace, on the same block: 2x in 3-D."""

    params = (["gaussian", "mean"], list(DTYPES))
    param_names = ("method", "dtype")
    timeout = 300

    def setup(self, method: str, dtype: str) -> None:
        """Make the block, and both calls."""
        self.call, block = reducing("2x2x2", dtype, method)
        self.generic, _ = reducing("2x2x2", dtype, method, compiled=False)
        self.size = block.size
        every = (slice(None, None, 2),) * 3
        if method == "mean":
            self.other = lambda: downscale_local_mean(block, (2, 2, 2))
        else:
            self.other = lambda: ndimage.gaussian_filter(block, 0.5)[every]

    def track_rate(self, *_: str) -> float:
        """Of `scipy.ndimage.gaussian_filter` and slices, or `downscale_local_mean`."""
        return rate([self.other], voxels=self.size)[0]

    track_rate.unit = "Mvoxel/s"

    def track_generic(self, *_: str) -> float:
        """Of ours without a compiler."""
        return rate([self.generic], voxels=self.size)[0]

    track_generic.unit = "Mvoxel/s"

    def track_ours_over_theirs(self, *_: str) -> float:
        """Ours over theirs, in turn."""
        ours, theirs = rate([self.call, self.other], voxels=self.size)
        return ours / theirs

    track_ours_over_theirs.unit = "times"
