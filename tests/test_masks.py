"""Voxels that do not count: `nodata`, NaN and masks, held against dense loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.kernels import reduce_block
from dask_pyramid.methods import METHODS
from dask_pyramid.nodata import Nodata
from drawn import DTYPES, FLOATS, INTEGERS, cases, values

WINDOWS = ("mean", "median", "mode", "min", "max", "nearest")
FILTERS = ("gaussian", "gaussian-stride")
# Numba compiles for each dtype: what differs in size, sign or kind, none twice.
COMPILED = ("uint8", "int16", "uint64", "float32")


def reduction_of(method, factors, ignore, sigma=None):
    axes = [str(i) for i in range(len(factors))]
    return METHODS[method].reduction(factors, axes=axes, sigma=sigma, ignore=ignore)


def whole(array, factors, method, *, ignore, mask=None, compiled=False, sigma=None):
    """Reduce a whole array by the kernels."""
    spans = [
        Span(first=0, stop=ceil_div(n, f), size=n)
        for n, f in zip(array.shape, factors, strict=True)
    ]
    reduction = reduction_of(method, factors, ignore, sigma)
    return reduce_block(array, reduction, spans, mask=mask, compiled=compiled)


def same(a, b):
    """Bit for bit, but that one NaN is as good as another."""
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@st.composite
def gaps(draw, dtypes=DTYPES, dims=(1, 4), styles=("any", "few", "extremes")):
    """Draw (array, factors, ignore, mask): some, all or no voxels count."""
    array, factors = draw(cases(dtypes=dtypes, dims=dims, styles=styles))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    share = st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0])
    value = None
    if draw(st.booleans()):
        value = array.flat[rng.integers(array.size)].item()
        array[rng.random(array.shape) < draw(share)] = value
    nan = array.dtype.kind == "f" and draw(st.booleans())
    if nan:
        array[rng.random(array.shape) < draw(share)] = np.nan
    masked = not (nan or value is not None) or draw(st.booleans())
    mask = rng.random(array.shape) < draw(share) if masked else None
    return array, factors, Nodata(value=value, nan=nan), mask


def oracle_counts(array, ignore, mask):
    return oracle.counting(array, ignore.value, ignore.nan, mask)


@pytest.mark.parametrize("method", WINDOWS)
@given(case=gaps(dtypes=("bool", *INTEGERS)))
def test_windows_of_integers_are_those_of_what_counts(method, case):
    array, factors, ignore, mask = case
    result = whole(array, factors, method, ignore=ignore, mask=mask)
    expected = oracle.masked_window_reduced(
        array,
        factors,
        method,
        counts=oracle_counts(array, ignore, mask),
        fill=ignore.fill,
    )
    assert same(result, expected)


@pytest.mark.parametrize("method", WINDOWS)
@given(case=gaps(dtypes=FLOATS))
@settings(max_examples=50)
def test_windows_of_floats_are_those_of_what_counts(method, case):
    array, factors, ignore, mask = case
    result = whole(array, factors, method, ignore=ignore, mask=mask)
    expected = oracle.masked_window_reduced(
        array,
        factors,
        method,
        counts=oracle_counts(array, ignore, mask),
        fill=ignore.fill,
    )
    ulp = np.finfo(array.dtype).eps if method == "mean" else 0
    largest = np.nanmax(np.abs(array.astype(float)), initial=0)
    np.testing.assert_allclose(result, expected, rtol=ulp, atol=ulp * largest)


@pytest.mark.parametrize("method", FILTERS)
@given(case=gaps(), sigma=st.sampled_from([None, 1.0, 3.0]))
def test_filters_are_the_normalised_convolution_of_scipy(method, case, sigma):
    array, factors, ignore, mask = case
    counts = oracle_counts(array, ignore, mask)
    result = whole(array, factors, method, ignore=ignore, mask=mask, sigma=sigma)
    sigmas = None if sigma is None else (sigma,) * len(factors)
    expected = oracle.normalised(array, factors, method, counts=counts, sigma=sigmas)
    found = ~np.isnan(expected)
    np.testing.assert_array_equal(
        result[~found], np.full(array.shape, ignore.fill, array.dtype).flat[0]
    )
    if array.dtype.kind == "f":
        rtol = 1e-3 if array.dtype == np.float16 else 2e-5
        slack = rtol * np.nanmax(np.abs(array.astype(float)), initial=0)
    else:
        bits = 8 * array.dtype.itemsize
        slack = 0.6 if bits < 64 else 1 + 2.0**15
    np.testing.assert_allclose(
        result[found].astype(float), expected[found], rtol=0, atol=slack
    )


@pytest.mark.parametrize("dtype", COMPILED)
@pytest.mark.parametrize("method", METHODS)
def test_compiled_kernels_equal_the_generic_ones_bit_for_bit(method, dtype):
    rng = np.random.default_rng(1)
    for trial in range(24):
        shape = tuple(rng.integers(1, 14, rng.integers(2, 5)))
        factors = tuple(
            1 if i < len(shape) - 3 else int(rng.integers(1, 5))
            for i in range(len(shape))
        )
        array = values(shape, dtype, trial, ("any", "few", "extremes")[trial % 3])
        ignore = Nodata(value=array.flat[0].item(), nan=array.dtype.kind == "f")
        share = (0.0, 0.5, 0.95)[trial // 3 % 3]
        array[rng.random(shape) < share] = array.flat[0]
        if ignore.nan:
            array[rng.random(shape) < 0.3] = np.nan
        mask = rng.random(shape) < 0.5 if trial % 2 else None
        given = {"ignore": ignore, "mask": mask}
        fast = whole(array, factors, method, compiled=True, **given)
        assert same(fast, whole(array, factors, method, **given)), (shape, factors)
