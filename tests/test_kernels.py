import itertools

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from dask_pyramid import downsample
from dask_pyramid.geometry import Span, ceil_div, needed
from dask_pyramid.kernels import has_compiled, pays_to_compile, reduce_block
from dask_pyramid.kernels.generic import mirrored
from dask_pyramid.methods import METHODS
from drawn import DTYPES, FLOATS, INTEGERS, cases, odd_floats, values

WINDOWS = ("mean", "median", "mode", "min", "max", "nearest")
FILTERS = ("gaussian", "gaussian-stride")
TENSORSTORE = {name: name for name in WINDOWS} | {"nearest": "stride"}
# Numba compiles for each dtype, half a second a window kernel and three a filter, once
# for each version of the source: all it supports, none twice.
SUPPORTED = (*INTEGERS, "float32", "float64")


def reduction_of(method, factors, sigma=None):
    axes = [str(i) for i in range(len(factors))]
    return METHODS[method].reduction(factors, axes=axes, sigma=sigma)


def whole(array, factors, method, *, compiled=False, sigma=None):
    """Reduce a whole array by the kernels."""
    spans = [
        Span(first=0, stop=ceil_div(n, f), size=n)
        for n, f in zip(array.shape, factors, strict=True)
    ]
    reduction = reduction_of(method, factors, sigma)
    return reduce_block(array, reduction, spans, compiled=compiled)


def part(array, factors, method, ranges, *, compiled=False, sigma=None):
    """Reduce the ranges of samples from just the voxels they need."""
    reduction = reduction_of(method, factors, sigma)
    region = tuple(
        needed(*span, step=f, reach=reach, size=n)
        for span, f, reach, n in zip(
            ranges, factors, reduction.reaches, array.shape, strict=True
        )
    )
    spans = [
        Span(first=a, stop=b, size=n)
        for (a, b), n in zip(ranges, array.shape, strict=True)
    ]
    return reduce_block(array[region], reduction, spans, compiled=compiled)


def tensorstore(array, factors, method):
    wrapped = ts.array(np.ascontiguousarray(array))
    view = ts.downsample(wrapped, list(factors), method=TENSORSTORE[method])
    return view.read().result()


def same_bytes(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- window methods --------------------------------------------------------------


@pytest.mark.parametrize("method", WINDOWS)
@given(case=cases(dtypes=("bool", *INTEGERS)))
def test_windows_of_integers_equal_the_slow_loops(method, case):
    array, factors = case
    result = whole(array, factors, method)
    assert same_bytes(result, oracle.window_reduced(array, factors, method))


@pytest.mark.parametrize("method", WINDOWS)
@given(case=cases(dtypes=("bool", *INTEGERS)))
def test_windows_of_integers_equal_tensorstore_bit_for_bit(method, case):
    array, factors = case
    assert same_bytes(
        whole(array, factors, method), tensorstore(array, factors, method)
    )


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
@pytest.mark.parametrize("method", WINDOWS)
def test_windows_of_64_bits_do_not_overflow_at_their_limits(method, dtype):
    array = values((9, 8, 7), dtype, style="extremes")
    for factors in itertools.product((1, 2, 3, 4), repeat=3):
        result = whole(array, factors, method)
        assert same_bytes(result, tensorstore(array, factors, method)), factors


@pytest.mark.parametrize("method", WINDOWS)
@given(case=cases(dtypes=FLOATS))
def test_windows_of_floats_equal_the_slow_loops(method, case):
    array, factors = case
    result = whole(array, factors, method)
    expected = oracle.window_reduced(array, factors, method)
    assert result.dtype == array.dtype
    # Sums are in float64: one rounding to the dtype is left, and the order of the sum.
    ulp = np.finfo(array.dtype).eps if method == "mean" else 0
    largest = np.abs(array.astype(float)).max()
    np.testing.assert_allclose(result, expected, rtol=ulp, atol=ulp * largest)


def test_a_mean_of_float16_that_sums_beyond_its_range_is_finite():
    array = np.full((4, 4), 60000, np.float16)
    np.testing.assert_array_equal(whole(array, (2, 2), "mean"), 60000)


@pytest.mark.parametrize("values_and_mean", [([0, 1], 0), ([1, 2], 2), ([2, 3], 2)])
def test_a_mean_halfway_between_integers_goes_to_the_even_one(values_and_mean):
    pair, mean = values_and_mean
    for dtype in INTEGERS:
        for is_compiled in (False, True):
            array = np.array([pair, pair], dtype)
            assert whole(array, (1, 2), "mean", compiled=is_compiled)[0, 0] == mean


@pytest.mark.parametrize("method", ["mode", "nearest"])
@given(case=cases(dtypes=("bool", *INTEGERS)))
def test_label_methods_invent_no_value(method, case):
    array, factors = case
    assert np.isin(whole(array, factors, method), array).all()


@pytest.mark.parametrize("method", ["mode", "nearest"])
def test_label_ids_above_2_to_the_53_survive(method):
    ids = np.array([2**53 + 1, 2**63 + 3, 2**64 - 1], np.uint64)
    array = np.repeat(np.repeat(ids, 2)[None], 2, axis=0)
    np.testing.assert_array_equal(whole(array, (2, 2), method)[0], ids)


# --- filters ---------------------------------------------------------------------

ORACLES = {"gaussian": oracle.gaussian, "gaussian-stride": oracle.gaussian_stride}


@pytest.mark.parametrize("method", FILTERS)
@given(case=cases(dtypes=INTEGERS))
@settings(max_examples=60)
def test_filters_of_integers_are_within_a_grey_level_of_scipy(method, case):
    array, factors = case
    result = whole(array, factors, method)
    expected = ORACLES[method](array, factors)
    assert result.dtype == array.dtype
    # Rounding takes half a level; the rest is float32, and float64 for 64 bits, of
    # which a level near the limits is finer than float64 itself.
    info = np.iinfo(array.dtype)
    slack = 0.6 if info.bits < 64 else 1 + 2.0**-50 * float(info.max)
    np.testing.assert_allclose(result.astype(float), expected, rtol=0, atol=slack)


@pytest.mark.parametrize("method", FILTERS)
@given(case=cases(dtypes=FLOATS))
@settings(max_examples=60)
def test_filters_of_floats_are_within_1e_5_of_scipy(method, case):
    array, factors = case
    result = whole(array, factors, method)
    expected = ORACLES[method](array, factors)
    # The stored float16 has 11 bits of its own; the filter itself is in float32.
    rtol = 1e-3 if array.dtype == np.float16 else 1e-5
    scale = np.abs(array.astype(float)).max()
    assert result.dtype == array.dtype
    np.testing.assert_allclose(
        result.astype(float), expected, rtol=rtol, atol=rtol * scale
    )


@pytest.mark.once
@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int8", "int16", "bool"]
)
@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_filter_keeps_a_constant_at_the_limit_of_its_dtype(
    method, dtype, is_compiled
):
    top = True if dtype == "bool" else np.iinfo(dtype).max
    for factors in ((2, 2, 2), (3, 4, 2), (1, 16, 16), (2, 33, 8)):
        array = np.full(tuple(2 * f + 1 for f in factors), top, dtype)
        result = whole(array, factors, method, compiled=is_compiled)
        np.testing.assert_array_equal(result, array[tuple(map(slice, result.shape))])


@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_a_filter_of_64_bits_saturates_and_never_wraps(method, dtype):
    info = np.iinfo(dtype)
    for limit in (info.min, info.max):
        array = np.full((8, 9), limit, dtype)
        result = whole(array, (2, 2), method)
        # float64 holds neither limit exactly: a few of its units are allowed.
        off = [abs(int(v) - int(limit)) for v in result.ravel()]
        assert max(off) <= 2**12


@pytest.mark.parametrize("method", FILTERS)
def test_sigma_is_a_number_a_dict_or_a_sequence(method):
    array = values((20, 21), "float64")
    expected = ORACLES[method](array, (2, 3), sigma=(1.5, 1.5))
    for sigma in (1.5, {"0": 1.5, "1": 1.5}, (1.5, 1.5)):
        result = whole(array, (2, 3), method, sigma=sigma)
        np.testing.assert_allclose(result, expected, rtol=1e-12)
    mixed = whole(array, (2, 3), method, sigma={"1": 2.5})
    default = 0.5
    expected = ORACLES[method](array, (2, 3), sigma=(default, 2.5))
    np.testing.assert_allclose(mixed, expected, rtol=1e-12)


@pytest.mark.parametrize("is_compiled", [False, True])
def test_sigma_zero_leaves_the_local_mean(is_compiled):
    array = values((11, 12, 13), "float64")
    result = whole(array, (2, 2, 2), "gaussian", sigma=0, compiled=is_compiled)
    np.testing.assert_allclose(result, whole(array, (2, 2, 2), "mean"), rtol=1e-12)


@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_kernel_longer_than_the_array_is_mirrored_as_often_as_it_takes(
    method, is_compiled
):
    for shape in ((1, 1, 1), (1, 2, 3), (2, 5, 1), (3, 3, 3)):
        array = values(shape, "float64", seed=3)
        result = whole(array, (2, 3, 4), method, sigma=6, compiled=is_compiled)
        expected = ORACLES[method](array, (2, 3, 4), sigma=(6, 6, 6))
        np.testing.assert_allclose(result, expected, rtol=1e-10)


def test_an_axis_that_is_not_reduced_is_not_filtered():
    array = values((6, 12), "float64")
    result = whole(array, (1, 2), "gaussian", sigma=3)
    for row, expected in zip(array, result, strict=True):
        np.testing.assert_allclose(
            whole(row[None], (1, 2), "gaussian", sigma=3)[0], expected
        )


# --- blocks ----------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@settings(max_examples=25)
def test_a_block_with_its_halo_gives_the_bytes_of_the_whole_array(
    method, is_compiled, data
):
    dtypes = ("uint8", "uint16", "float32") if is_compiled else DTYPES
    array, factors = data.draw(cases(dtypes=dtypes))
    expected = whole(array, factors, method)
    ranges = []
    for n in expected.shape:
        start = data.draw(st.integers(0, n - 1))
        ranges.append((start, data.draw(st.integers(start + 1, n))))
    result = part(array, factors, method, ranges, compiled=is_compiled)
    assert same_bytes(result, expected[tuple(slice(*r) for r in ranges)])


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("method", FILTERS)
def test_blocks_of_a_wide_filter_give_the_bytes_of_the_whole_array(method, is_compiled):
    array = values((9, 37, 23), "uint16")
    expected = whole(array, (2, 3, 4), method, sigma=5)
    for ranges in itertools.product(
        *(((0, 1), (1, n - 1), (n - 1, n)) for n in (5, 13, 6))
    ):
        result = part(array, (2, 3, 4), method, ranges, sigma=5, compiled=is_compiled)
        assert same_bytes(result, expected[tuple(slice(*r) for r in ranges)])


# --- compiled and generic --------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("dtype", SUPPORTED)
@pytest.mark.parametrize("method", METHODS)
def test_compiled_kernels_equal_the_generic_ones_bit_for_bit(method, dtype):
    rng = np.random.default_rng(1)
    for trial in range(30):
        shape = tuple(rng.integers(1, 14, rng.integers(2, 5)))
        factors = tuple(
            1 if i < len(shape) - 3 else int(rng.integers(1, 5))
            for i in range(len(shape))
        )
        array = values(shape, dtype, trial, ("any", "few", "extremes")[trial % 3])
        assert same_bytes(
            whole(array, factors, method, compiled=True), whole(array, factors, method)
        ), (shape, factors)


@pytest.mark.parametrize("method", METHODS)
def test_compiled_kernels_equal_the_generic_ones_on_longer_lines(method):
    array = values((5, 67, 403), "uint16")
    for factors in ((2, 2, 2), (1, 3, 4), (4, 1, 3), (3, 7, 13)):
        assert same_bytes(
            whole(array, factors, method, compiled=True), whole(array, factors, method)
        ), factors


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 3, 3), (4, 4, 4)])
@pytest.mark.parametrize("method", ["mode", "mode-exact", "median", "min", "max"])
@pytest.mark.parametrize("run", [1, 5, 40, 2000])
def test_compiled_windows_of_ids_in_runs_equal_the_generic_ones(method, factors, run):
    rng = np.random.default_rng(run)
    ids = rng.integers(0, 2**32, (3, 4, -(-1301 // run)), "uint32")
    ids = ids.repeat(3, axis=0).repeat(2, axis=1).repeat(run, axis=2)[:, :, :1301]
    compiled, generic = (
        whole(ids, factors, method, compiled=compiled) for compiled in (True, False)
    )
    assert same_bytes(compiled, generic)


@pytest.mark.parametrize(
    "method", ["mean", "min", "max", "gaussian", "gaussian-stride"]
)
def test_compiled_kernels_handle_nan_as_the_generic_ones(method):
    array = values((7, 9, 11), "float32")
    array[np.random.default_rng(0).random(array.shape) < 0.05] = np.nan
    fast = whole(array, (2, 2, 2), method, compiled=True)
    np.testing.assert_array_equal(fast, whole(array, (2, 2, 2), method))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["median", "mode"])
def test_floats_that_sort_alike_give_the_same_bits(method, dtype):
    """-0 and 0, and all NaN: which of them a sort has first is up to its algorithm."""
    array = odd_floats((9, 11, 40), dtype)
    for factors in ((2, 2, 2), (1, 1, 3), (3, 2, 5)):
        fast, generic = (
            whole(array, factors, method, compiled=compiled)
            for compiled in (True, False)
        )
        assert same_bytes(fast, generic), factors
        assert not np.signbit(fast[(fast == 0) | np.isnan(fast)]).any()
        if method == "median":
            grid = [range(0, n, f) for n, f in zip(array.shape, factors, strict=True)]
            for start, found in zip(itertools.product(*grid), fast.flat, strict=True):
                part = (slice(s, s + f) for s, f in zip(start, factors, strict=True))
                window = np.sort(array[tuple(part)], axis=None)
                middle = window[(window.size - 1) // 2]
                expected = window[-1] if np.isnan(window[-1]) else middle
                assert found == expected or np.isnan([found, expected]).all()


@pytest.mark.parametrize("method", ["gaussian", "mean", "min", "mode"])
def test_compiled_kernels_take_any_strides(method):
    array = values((9, 8, 7), "uint8")
    padded = np.zeros((9, 8), [("a", "u1"), ("b", "u2", 7)])
    views = {
        "z reversed": array[::-1],
        "y reversed": array[:, ::-1],
        "x reversed": array[..., ::-1],
        "transposed": array.transpose(1, 0, 2),
        "column order": array.T,
        "every second": array[::2, ::2, ::2],
        "cut out": array[1:8, 2:7, 1:6],
        "broadcast": np.broadcast_to(array[:1], array.shape),
        "big endian": array.astype(">u2"),
        "field of a record": padded["b"],
    }
    padded["b"] = array
    for name, view in views.items():
        contiguous = np.ascontiguousarray(view, view.dtype.newbyteorder("="))
        expected = whole(contiguous, (2, 2, 2), method)
        for is_compiled in (False, True):
            result = whole(view, (2, 2, 2), method, compiled=is_compiled)
            np.testing.assert_array_equal(result, expected, err_msg=name)


def test_what_has_no_compiled_kernel_falls_back_to_the_generic_one():
    for dtype, method in (("float16", "mean"), ("bool", "mode"), ("float16", "median")):
        array = values((6, 6), dtype)
        assert not has_compiled(array.dtype, reduction_of(method, (2, 2)))
        assert same_bytes(
            whole(array, (2, 2), method, compiled=True), whole(array, (2, 2), method)
        )
    outer = values((4, 4, 4, 4), "uint8")
    assert not has_compiled(outer.dtype, reduction_of("mean", (2, 2, 2, 2)))


def test_the_choice_of_kernel_depends_on_the_size_of_the_whole_job():
    assert not pays_to_compile(256**3)
    assert pays_to_compile(1024**3)


# --- what holds for all ----------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "bool"])
def test_every_kind_of_array_gives_the_bytes_of_numpy(method, dtype, xp):
    array = values((7, 6, 5), dtype)
    result = whole(xp.array(array), (2, 3, 2), method)
    assert type(result) is type(xp.array(array))
    assert same_bytes(xp.to_numpy(result), whole(array, (2, 3, 2), method))


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_input_is_neither_modified_nor_aliased_and_dtype_is_kept(
    method, dtype, is_compiled
):
    array = values((6, 5, 4), dtype)
    before = array.copy()
    for factors in ((2, 2, 2), (1, 1, 1), (1, 1, 2)):
        result = whole(array, factors, method, compiled=is_compiled)
        assert result.dtype == array.dtype
        assert not np.shares_memory(result, array)
        assert same_bytes(array, before)


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["mean", "median", "min", "max"])
def test_a_nan_makes_its_window_nan_and_no_other(method, dtype, is_compiled):
    array = values((6, 6, 6), dtype)
    array[3, 2, 1] = np.nan
    result = whole(array, (2, 2, 2), method, compiled=is_compiled)
    assert np.isnan(result[1, 1, 0])
    assert np.isnan(result).sum() == 1


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("method", FILTERS)
def test_a_nan_propagates_as_far_as_a_filter_reaches(method, is_compiled):
    array = values((1, 1, 40), "float32")
    array[..., 20] = np.nan
    result = whole(array, (1, 1, 2), method, compiled=is_compiled)
    # Sigma 0.5, radius 2: voxels 18 to 22, whose windows are samples 9 to 11; and the
    # sample whose mean, or whose first voxel, reaches one of them.
    expected = {"gaussian": [9, 10, 11], "gaussian-stride": [9, 10, 11]}[method]
    assert np.flatnonzero(np.isnan(result)).tolist() == expected


def test_mode_counts_nan_as_one_value_that_is_larger_than_any():
    nan = np.nan
    array = np.array([[nan, nan, nan, nan, 1], [nan, 1.0, 1, 1, nan]])
    result = whole(array, (2, 2), "mode")
    np.testing.assert_array_equal(result, [[nan, 1.0, 1.0]])


def test_nearest_takes_the_first_voxel_even_where_it_is_nan():
    array = np.array([[np.nan, 1.0], [1.0, 1.0]])
    assert np.isnan(whole(array, (2, 2), "nearest"))


@given(size=st.integers(1, 9), start=st.integers(-40, 40), length=st.integers(0, 40))
def test_mirrored_is_the_reflection_of_scipy(size, start, length):
    reach = 90
    padded = np.pad(np.arange(size), reach, mode="symmetric")
    expected = padded[start + reach : start + reach + length]
    assert mirrored(start, start + length, size).tolist() == expected.tolist()


@given(case=cases(dims=(1, 4)), method=st.sampled_from(sorted(METHODS)))
def test_a_constant_stays_constant(case, method):
    array, factors = case
    array = np.full_like(array, array.flat[0])
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and method in FILTERS:
        array = np.full_like(array, 2**40)
    result = whole(array, factors, method)
    expected = array[tuple(map(slice, result.shape))]
    if array.dtype.kind == "f":
        # Weights of an axis add up to 1 but for the rounding of each sum.
        eps = np.finfo(array.dtype).eps
        np.testing.assert_allclose(result, expected, rtol=8 * eps)
    else:
        np.testing.assert_array_equal(result, expected)


# --- downsample ------------------------------------------------------------------


@given(case=cases(), method=st.sampled_from(sorted(METHODS)))
def test_downsample_is_the_kernel_over_the_whole_array(case, method):
    array, factors = case
    assert same_bytes(downsample(array, factors, method), whole(array, factors, method))


def test_downsample_takes_one_factor_for_all_axes():
    array = values((5, 6), "uint8")
    assert same_bytes(downsample(array, 2), whole(array, (2, 2), "mean"))
    assert same_bytes(downsample(array, np.int64(2)), whole(array, (2, 2), "mean"))


@pytest.mark.parametrize("factors", [0, -1, (2,), (2, 2, 2), (2, 0), 1.5, (2, True)])
def test_downsample_refuses_factors_that_cannot_be(factors):
    with pytest.raises(ValueError, match=r"factors must .*got"):
        downsample(np.zeros((4, 4)), factors)


def test_downsample_refuses_an_unknown_method_a_lonely_sigma_and_complex_numbers():
    with pytest.raises(ValueError, match=r"method must be one of gaussian, .*'cubic'"):
        downsample(np.zeros((4, 4)), 2, "cubic")
    with pytest.raises(ValueError, match=r"sigma must not be given .*'mean'.*1\.0"):
        downsample(np.zeros((4, 4)), 2, "mean", sigma=1.0)
    with pytest.raises(ValueError, match=r"sigma must be zero or more, got -1"):
        downsample(np.zeros((4, 4)), 2, "gaussian", sigma=-1)
    with pytest.raises(TypeError, match=r"dtype must be .*complex64.*channels"):
        downsample(np.zeros((4, 4), "complex64"), 2)
