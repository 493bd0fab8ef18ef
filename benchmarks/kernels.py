"""Kernels alone on one core, beside SciPy and scikit-image: 2x in 3-D.

Blocks are larger than the cache. `gaussian` is compared with `scipy.ndimage`'s
`gaussian_filter` and every second voxel, `mean` with scikit-image's
`downscale_local_mean`; the others stand beside both.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.transform import downscale_local_mean

from dask_pyramid import METHODS
from dask_pyramid.geometry import Span, reduced_shape
from dask_pyramid.kernels import reduce_block

if TYPE_CHECKING:
    from collections.abc import Callable


def rate(function: Callable[[], object], n_voxels: int, repeat: int) -> float:
    """Return the best rate of some calls in Mvoxel/s, after one that is not counted."""
    function()
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return n_voxels / min(seconds) / 1e6


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 512, 512])
    parser.add_argument("--factors", type=int, nargs=3, default=[2, 2, 2])
    parser.add_argument("--dtypes", nargs="+", default=["uint8", "uint16", "float32"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--toy", action="store_true", help="16**3, once")
    options = parser.parse_args()
    if options.toy:
        options.shape, options.repeat = [16, 16, 16], 1
        options.dtypes = ["uint16"]
    factors = tuple(options.factors)
    sigma = [f / 4 if f > 1 else 0 for f in factors]
    every = tuple(slice(None, None, f) for f in factors)
    shape = reduced_shape(options.shape, factors)
    spans = [
        Span(first=0, stop=n, size=size)
        for n, size in zip(shape, options.shape, strict=True)
    ]
    rng = np.random.default_rng(0)
    print(f"{options.shape} by {factors}, Mvoxel/s of input, one core")
    for dtype in options.dtypes:
        block = (rng.random(options.shape) * 250).astype(dtype)

        def ours(method: str, *, compiled: bool, block: np.ndarray = block) -> float:
            reduction = METHODS[method].reduction(factors, axes="zyx")
            return rate(
                lambda: reduce_block(block, reduction, spans, compiled=compiled),
                block.size,
                options.repeat,
            )

        scipy = rate(
            lambda b=block: ndimage.gaussian_filter(b, sigma)[every], block.size, 1
        )
        skimage = rate(lambda b=block: downscale_local_mean(b, factors), block.size, 1)
        print(f"{dtype}: scipy gaussian {scipy:.0f}, skimage local mean {skimage:.0f}")
        for method in METHODS:
            fast, plain = (ours(method, compiled=c) for c in (True, False))
            print(
                f"{method:>16}  {fast:6.0f} compiled  {plain:6.0f} generic  "
                f"{fast / scipy:6.1f} x scipy  {fast / skimage:6.1f} x skimage"
            )


if __name__ == "__main__":
    main()
