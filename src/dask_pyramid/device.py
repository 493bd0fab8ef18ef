"""Host and device memory; the only module that knows CuPy by name."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["to_host"]


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
    if type(block).__module__.partition(".")[0] == "cupy":
        host: np.ndarray[Any, Any] = block.get()
        return host
    return np.asarray(block)
