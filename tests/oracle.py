"""Slow and obvious references for the kernels; nothing here comes from dask_pyramid.

Every sample is computed by itself, from a window of the samples that exist. Integers
are Python integers, means are fractions: nothing can overflow or be rounded twice.
"""

from fractions import Fraction

import numpy as np
import scipy.ndimage


def reduced_shape(shape, factors):
    return tuple(
        n // f + (1 if n % f else 0) for n, f in zip(shape, factors, strict=True)
    )


def windows(array, factors):
    """Yield (index of the sample, flat list of the values in its window)."""
    for index in np.ndindex(*reduced_shape(array.shape, factors)):
        window = array[
            tuple(slice(i * f, i * f + f) for i, f in zip(index, factors, strict=True))
        ]
        yield index, window.ravel().tolist()


def _mean_integer(values):
    return round(Fraction(sum(int(v) for v in values), len(values)))  # ties to even


def _mean_float(values):
    return sum(values) / len(values)


def _median(values):
    if any(v != v for v in values):
        return float("nan")
    return sorted(values)[(len(values) - 1) // 2]


def _mode(values):
    counts = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    most = max(counts.values())
    return min(value for value, count in counts.items() if count == most)


def _min(values):
    return float("nan") if any(v != v for v in values) else min(values)


def _max(values):
    return float("nan") if any(v != v for v in values) else max(values)


def window_reduced(array, factors, method):
    """Reduce by loops over windows; mean, median, mode, min, max or nearest."""
    reducers = {
        "mean": _mean_float if array.dtype.kind == "f" else _mean_integer,
        "median": _median,
        "mode": _mode,
        "min": _min,
        "max": _max,
        "nearest": lambda values: values[0],
    }
    out = np.empty(reduced_shape(array.shape, factors), array.dtype)
    for index, values in windows(array, factors):
        out[index] = reducers[method](values)
    return out


def _smoothed(array, factors, sigmas):
    values = array.astype(np.float64)
    for axis, (factor, sigma) in enumerate(zip(factors, sigmas, strict=True)):
        if factor > 1:
            values = scipy.ndimage.gaussian_filter1d(
                values, sigma, axis=axis, mode="reflect", truncate=4.0
            )
    return values


def _window_means(values, factors):
    out = np.empty(reduced_shape(values.shape, factors))
    for index in np.ndindex(*out.shape):
        window = values[
            tuple(slice(i * f, i * f + f) for i, f in zip(index, factors, strict=True))
        ]
        out[index] = window.mean()
    return out


def gaussian(array, factors, sigma=None):
    """SciPy's Gaussian in float64 (sigma = f / 4), then the mean of each window."""
    sigmas = [f / 4 for f in factors] if sigma is None else sigma
    return _window_means(_smoothed(array, factors, sigmas), factors)


def gaussian_stride(array, factors, sigma=None):
    """SciPy's Gaussian in float64 (sigma = (f - 1) / 2), then every f-th sample."""
    sigmas = [(f - 1) / 2 for f in factors] if sigma is None else sigma
    return _smoothed(array, factors, sigmas)[
        tuple(slice(None, None, f) for f in factors)
    ]


def counting(array, nodata=None, skip_nan=False, mask=None):
    """Which voxels count, one by one."""
    out = np.ones(array.shape, bool)
    for index in np.ndindex(*array.shape):
        value = array[index].item()
        if nodata is not None and value == nodata:
            out[index] = False
        if skip_nan and value != value:
            out[index] = False
        if mask is not None and not mask[index]:
            out[index] = False
    return out


def masked_window_reduced(array, factors, method, *, counts, fill):
    """Reduce the values of each window that count; the fill value where none do."""
    out = np.full(reduced_shape(array.shape, factors), fill, array.dtype)
    for index in np.ndindex(*out.shape):
        where = tuple(
            slice(i * f, i * f + f) for i, f in zip(index, factors, strict=True)
        )
        values = array[where][counts[where]]
        if len(values):
            out[index] = window_reduced(values, (len(values),), method)[0]
    return out


def any_under(mask, factors):
    """Which windows hold a voxel of a mask."""
    out = np.zeros(reduced_shape(mask.shape, factors), bool)
    for index, values in windows(mask, factors):
        out[index] = any(values)
    return out


def normalised(array, factors, method, *, counts, sigma=None):
    """SciPy's Gaussian of what counts over that of ones there; NaN where none."""
    smooth = {"gaussian": gaussian, "gaussian-stride": gaussian_stride}[method]
    values = np.where(counts, array, 0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = smooth(values, factors, sigma) / smooth(
            counts.astype(np.float64), factors, sigma
        )
    return np.where(any_under(counts, factors), ratio, np.nan)
