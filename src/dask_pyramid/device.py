"""Host and device memory; the only module that knows CuPy by name."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compile_kernel", "on_gpu", "to_host"]


def to_host(block: Any) -> np.ndarray[Any, Any]:
    """Return a block in host memory.

    Parameters
    ----------
    block : array
        NumPy or CuPy array, or anything that `numpy.asarray` takes.

    Returns
    -------
    numpy.ndarray
        The block itself if it is on the host already.
    """
    if on_gpu(block):
        host: np.ndarray[Any, Any] = block.get()
        return host
    return np.asarray(block)


def on_gpu(block: Any) -> bool:
    """Return whether a block is in the memory of a GPU."""
    return type(block).__module__.partition(".")[0] == "cupy"


@lru_cache(maxsize=256)
def compile_kernel(source: str, name: str) -> Callable[..., None]:
    """Return a CUDA kernel, compiled when it is first launched on a device.

    Parameters
    ----------
    source : str
        CUDA text; the kernel has C linkage.
    name : str
        Name of the kernel.

    Returns
    -------
    callable
        ``kernel(grid, block, arguments)``; arrays on the device are passed by address,
        NumPy records by value. Binaries are kept on disk by CuPy.
    """
    import cupy

    kernel: Callable[..., None] = cupy.RawKernel(source, name, options=("-std=c++17",))
    return kernel
