"""The weights of a Gaussian, as SciPy has them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["gaussian_weights"]

# Where the tails are cut, in sigma; SciPy's default.
_TRUNCATE = 4.0


@lru_cache(maxsize=256)
def gaussian_weights(sigma: float) -> tuple[float, ...]:
    """Return the sampled, normalised Gaussian that `scipy.ndimage` uses.

    Parameters
    ----------
    sigma : float
        Standard deviation in voxels; below 1/8 there is a single weight of 1.

    Returns
    -------
    tuple of float
        ``2 * int(4 * sigma + 0.5) + 1`` weights, sum 1.

    Examples
    --------
    >>> [round(w, 4) for w in gaussian_weights(0.5)]
    [0.0003, 0.1065, 0.7866, 0.1065, 0.0003]
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0:
        return (1.0,)
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * x**2)
    return tuple(float(w) for w in weights / weights.sum())
