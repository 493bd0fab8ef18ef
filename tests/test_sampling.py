"""Resampling of one block against SciPy on the whole array."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dask_pyramid.downsampling import downsample
from dask_pyramid.geometry import Span
from dask_pyramid.kernels import resample_block
from dask_pyramid.methods import METHODS
from dask_pyramid.sampling import BOUNDARIES, Sampling, pass_order


def centred(size, factor, **options):
    """Return the sampling of `factor` times as many samples."""
    a = 1 / factor
    made = max(1, round(size * factor))
    return Sampling(size_in=size, size_out=made, a=a, b=(a - 1) / 2, **options)


def resampled(image, samplings, *, spans=None, compiled=False):
    spans = spans or [Span(first=0, stop=s.size_out, size=s.size_in) for s in samplings]
    need = tuple(
        s.needed(p.first, p.stop) for s, p in zip(samplings, spans, strict=True)
    )
    return resample_block(image[need], samplings, spans, compiled=compiled)


PAD = 64
PADS = {"reflect": "symmetric", "mirror": "reflect", "nearest": "edge"}


def scipy_resampled(image, samplings):
    """Return the same by SciPy, on an image that NumPy has continued beyond its ends.

    SciPy by itself is exact but for axes of a few voxels, and where edges are repeated.
    """
    boundary, order = samplings[0].boundary, samplings[0].order
    wide = np.pad(np.asarray(image, float), PAD, mode=PADS[boundary])
    wide = ndimage.gaussian_filter(wide, [s.sigma for s in samplings])
    at = np.meshgrid(
        *(s.positions(0, s.size_out) + PAD for s in samplings), indexing="ij"
    )
    return ndimage.map_coordinates(wide, at, order=order)


FACTORS = st.floats(0.1, 10).filter(lambda f: abs(f - 1) > 0.01)


@given(
    order=st.integers(0, 5),
    shape=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    factors=st.tuples(FACTORS, FACTORS),
    boundary=st.sampled_from(BOUNDARIES),
    seed=st.integers(0, 99),
)
def test_splines_are_those_of_scipy(order, shape, factors, boundary, seed):
    image = np.random.default_rng(seed).random(shape)
    samplings = [
        centred(n, f, order=order, boundary=boundary)
        for n, f in zip(shape, factors, strict=True)
    ]
    expected = scipy_resampled(image, samplings)
    np.testing.assert_allclose(resampled(image, samplings), expected, atol=1e-8)


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize("boundary", ["reflect", "mirror"])
def test_splines_are_those_of_scipy_on_the_image_itself(order, boundary):
    image = np.random.default_rng(1).random((33, 40))
    samplings = [
        centred(n, f, order=order, boundary=boundary)
        for n, f in zip(image.shape, (0.37, 9.4), strict=True)
    ]
    at = np.meshgrid(*(s.positions(0, s.size_out) for s in samplings), indexing="ij")
    expected = ndimage.map_coordinates(image, at, order=order, mode=boundary)
    np.testing.assert_allclose(resampled(image, samplings), expected, atol=1e-8)


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize("zoom", [2, 3, 0.5])
def test_whole_zooms_are_those_of_scipy_on_a_grid(order, zoom):
    image = np.random.default_rng(1).random((30, 36))
    samplings = [centred(n, zoom, order=order) for n in image.shape]
    if order == 0 and zoom != 3:
        return  # ties: the voxel behind, always; SciPy's depends on its rounding
    expected = ndimage.zoom(image, zoom, order=order, mode="reflect", grid_mode=True)
    np.testing.assert_allclose(resampled(image, samplings), expected, atol=1e-6)


@given(factor=st.floats(0.1, 0.9), order=st.integers(0, 5), sigma=st.floats(0.2, 4))
@settings(max_examples=30)
def test_the_gaussian_goes_before_the_spline(factor, order, sigma):
    image = np.random.default_rng(2).random((40, 31))
    samplings = [
        centred(n, factor, order=order, sigma=s)
        for n, s in zip(image.shape, (sigma, 0.0), strict=True)
    ]
    expected = scipy_resampled(image, samplings)
    np.testing.assert_allclose(resampled(image, samplings), expected, atol=1e-6)


@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_whole_steps_of_a_mean_are_those_of_a_pyramid(step, method):
    image = np.random.default_rng(3).random((24, 48)).astype("float32")
    record = METHODS[method]
    samplings = [
        centred(n, 1 / step, box=True, sigma=record.default_sigma(step) or 0.0)
        for n in image.shape
    ]
    expected = downsample(image, step, method)
    np.testing.assert_allclose(resampled(image, samplings), expected, rtol=1e-6)


def test_a_mean_over_part_of_a_voxel_weighs_it_by_that_part():
    index, weights = Sampling(size_in=5, size_out=2, a=2.5, b=0.75, box=True).taps(0, 1)
    np.testing.assert_allclose(
        np.bincount(index[0], weights[0], minlength=5), [0.4, 0.4, 0.2, 0, 0]
    )


@pytest.mark.once
@given(
    shape=st.tuples(*(st.integers(1, 20),) * 3),
    factors=st.tuples(FACTORS, FACTORS, st.just(1.0)),
    order=st.integers(0, 5),
    box=st.booleans(),
    sigma=st.sampled_from([0.0, 0.7]),
    dtype=st.sampled_from("uint8 int32 float32 uint64".split()),
    data=st.data(),
)
@settings(max_examples=60)
def test_a_part_has_the_bits_of_the_whole_compiled_or_not(
    shape, factors, order, box, sigma, dtype, data
):
    rng = np.random.default_rng(4)
    image = (rng.random(shape) * 250).astype(dtype)
    samplings = [
        centred(n, f, order=order, box=box, sigma=sigma)
        for n, f in zip(shape, factors, strict=True)
    ]
    whole = resampled(image, samplings)
    spans = []
    for s in samplings:
        first = data.draw(st.integers(0, s.size_out - 1))
        stop = data.draw(st.integers(first + 1, s.size_out))
        spans.append(Span(first=first, stop=stop, size=s.size_in))
    part = resampled(image, samplings, spans=spans, compiled=data.draw(st.booleans()))
    assert part.dtype == dtype
    np.testing.assert_array_equal(
        part, whole[tuple(slice(s.first, s.stop) for s in spans)]
    )


@pytest.mark.parametrize("shape", [(3, 5, 9000), (70, 41)])
def test_long_rows_and_many_are_compiled_to_the_same_bits(shape):
    image = (np.random.default_rng(5).random(shape) * 1000).astype("uint16")
    samplings = [centred(n, f) for n, f in zip(shape, (2.3, 0.4, 1.1), strict=False)]
    expected = resampled(image, samplings)
    np.testing.assert_array_equal(resampled(image, samplings, compiled=True), expected)


def test_kernels_take_any_kind_of_array(xp):
    image = (np.random.default_rng(6).random((9, 12)) * 1000).astype("uint16")
    for samplings in (
        [centred(9, 2.5), centred(12, 0.5, order=3, sigma=0.5)],
        [centred(9, 2.5, order=0), centred(12, 0.5, order=0)],
    ):
        expected = resampled(image, samplings)
        got = resampled(xp.array(image), samplings)
        np.testing.assert_array_equal(xp.to_numpy(got), expected)


def test_a_block_of_another_shape_is_refused():
    samplings = [centred(4, 2.0), centred(4, 1.0)]
    spans = [Span(first=0, stop=8, size=4), Span(first=1, stop=3, size=4)]
    with pytest.raises(ValueError, match=r"the shape \(4, 2\), got \(4, 4\)"):
        resample_block(np.zeros((4, 4)), samplings, spans)


def test_ids_of_64_bits_pass_through_no_float():
    ids = np.array([[2**63 + 1, 2**63 + 3], [7, 2**53 + 1]], "uint64")
    samplings = [centred(2, 1.5, order=0), centred(2, 2.0, order=0)]
    found = resampled(ids, samplings, compiled=True)
    assert found.tolist() == ids[[0, 1, 1]][:, [0, 0, 1, 1]].tolist()


def test_a_copy_comes_back_where_nothing_is_resampled():
    image = np.arange(6).reshape(2, 3)
    same = resampled(image, [centred(2, 1.0), centred(3, 1.0)])
    assert not np.shares_memory(same, image)
    np.testing.assert_array_equal(same, image)


def test_what_overshoots_is_cut_to_the_range_of_integers():
    image = np.repeat(np.array([0, 255], "uint8"), 8)[None]
    samplings = [centred(1, 1.0), centred(16, 3.0, order=3)]
    found = resampled(image, samplings)
    assert found.min() == 0
    assert found.max() == 255
    np.testing.assert_array_equal(resampled(image, samplings, compiled=True), found)


def test_half_way_between_voxels_the_one_behind_is_taken():
    # 5 * 0.3 is a hair below 1.5 in floats.
    sampling = Sampling(size_in=30, size_out=100, a=0.3, b=0.0, order=0)
    assert sampling.taps(5, 6)[0].tolist() == [[2]]


def test_a_plane_may_be_thinner_than_one_new_voxel():
    image = np.full((1, 4), 7.0)
    samplings = [centred(1, 0.1, order=3, sigma=4.5), centred(4, 1.0)]
    np.testing.assert_allclose(resampled(image, samplings), image)


@given(factor=FACTORS, size=st.integers(1, 50), order=st.integers(0, 5))
@settings(max_examples=40)
def test_what_is_needed_holds_all_that_is_used(factor, size, order):
    sampling = centred(size, factor, order=order)
    for j in range(sampling.size_out):
        need = sampling.needed(j, j + 1)
        index, weights = sampling.taps(j, j + 1)
        assert need.start <= index.min()
        assert index.max() < need.stop
        assert abs(weights.sum() - 1) < 1e-12


def test_axes_that_shrink_most_go_first():
    samplings = centred(8, 2.0), centred(8, 0.25), centred(8, 1.0), centred(8, 0.5)
    assert pass_order(samplings) == (1, 3, 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size_out": 0}, "sizes must be at least 1"),
        ({"a": 0.0}, "a must be positive"),
        ({"order": 6}, "order must be 0 to 5, got 6"),
        ({"sigma": -1.0}, "sigma must be zero or more"),
        ({"boundary": "wrap"}, "boundary must be one of reflect, mirror, nearest"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, message):
    right = {"size_in": 4, "size_out": 2, "a": 2.0, "b": 0.5}
    with pytest.raises(ValueError, match=message):
        Sampling(**right | wrong)
