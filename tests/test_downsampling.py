"""One step by whole factors: splines, masks in both spaces, images."""

import dask.array as da
import numpy as np
import pytest
import scipy.ndimage
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import dask_pyramid as dp
from drawn import cases, partitions, small_world, values


def spline(array, factors, order, sigmas):
    """SciPy on the whole array, at the centre of each window."""
    real = scipy.ndimage.gaussian_filter(array.astype(float), sigmas, mode="reflect")
    at = [
        np.arange(-(-n // f)) * f + (f - 1) / 2
        for n, f in zip(array.shape, factors, strict=True)
    ]
    points = np.meshgrid(*at, indexing="ij")
    return scipy.ndimage.map_coordinates(real, points, order=order, mode="reflect")


@given(
    # SciPy's splines of an axis of a few voxels are not exact at its ends.
    shape=st.tuples(*[st.integers(24, 31)] * 2),
    factors=st.tuples(*[st.integers(1, 4)] * 2),
    dtype=st.sampled_from(["uint8", "float64"]),
    order=st.integers(1, 5),
    smooth=st.sampled_from([None, False]),
)
@settings(max_examples=30)
def test_orders_are_the_splines_of_scipy_and_shapes_round_up(
    shape, factors, dtype, order, smooth
):
    array = values(shape, dtype)
    result = dp.downsample(array, factors, order=order, anti_aliasing=smooth)
    sigmas = [(f - 1) / 2 if smooth is None else 0 for f in factors]
    expected = spline(array, factors, order, sigmas)
    assert result.shape == expected.shape
    assert result.dtype == array.dtype
    if array.dtype == np.uint8:
        expected = expected.clip(0, 255)
    slack = 0.501 if array.dtype == np.uint8 else 1e-5
    np.testing.assert_allclose(result, expected, rtol=0, atol=slack)


@given(data=st.data(), case=cases(dtypes=("uint8", "float32"), dims=(1, 3)))
@settings(max_examples=30)
def test_lazy_arrays_and_masks_of_both_spaces_give_what_numpy_gives(data, case):
    array, factors = case
    order = data.draw(st.sampled_from([None, 0, 1, 3]))
    options = {"order": order}
    if order is None:
        options = {"method": data.draw(st.sampled_from(["gaussian", "mean", "mode"]))}
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    mask = None
    if order != 3 and data.draw(st.booleans()):
        extents = [-(-n // f) for n, f in zip(array.shape, factors, strict=True)]
        mask = rng.random(extents) < 0.5
        whole = mask
        for axis, f in enumerate(factors):
            whole = whole.repeat(f, axis)
        whole = whole[tuple(slice(0, n) for n in array.shape)]
        expected = dp.downsample(array, factors, mask=whole, **options)
        assert (expected[~mask] == 0).all()
        options["mask"] = mask
    result = dp.downsample(array, factors, **options)
    if mask is not None:
        np.testing.assert_array_equal(result, expected)
    chunks = tuple(data.draw(partitions(n)) for n in array.shape)
    if mask is not None and data.draw(st.booleans()):
        options["mask"] = da.from_array(mask, chunks=2)
    with small_world():
        lazy = dp.downsample(da.from_array(array, chunks=chunks), factors, **options)
        found = lazy.compute(scheduler="synchronous")
    np.testing.assert_array_equal(found, result)


def test_a_file_is_reduced_by_a_spline_under_a_mask_of_the_result_block_by_block(
    tmp_path,
):
    array = values((9, 50, 61), "uint16")
    zarr.create_array(tmp_path / "in.zarr", data=array, chunks=(4, 16, 16))
    small = dp.downsample(tmp_path / "in.zarr", (1, 3, 3), order=3)
    assert isinstance(small, dp.Image)
    assert small.reader is not None
    assert (small.shape, small.scale) == ((9, 17, 21), (1, 3, 3))
    assert small.translation == (0, 1, 1)
    mask = np.random.default_rng(0).random(small.shape) < 0.3
    job = {"scale_factors": [], "chunks": 8, "shards": False, "mask": mask}
    dp.write_pyramid(small, tmp_path / "out.zarr", **job)
    whole = np.where(mask, dp.downsample(array, (1, 3, 3), order=3), 0)
    stored = dp.open_pyramid(tmp_path / "out.zarr").levels[0]
    np.testing.assert_array_equal(stored.compute(), whole)
    (tmp_path / "out.zarr" / "0" / "c" / "0" / "1" / "1").unlink()
    region = {"z": (0, 8), "y": (8, 16), "x": (8, 16)}
    dp.write_pyramid(small, tmp_path / "out.zarr", region=region, **job)
    np.testing.assert_array_equal(stored.compute(), whole)


@pytest.mark.parametrize("method", ["gaussian", "nearest"])
def test_an_image_keeps_its_place_when_it_is_reduced(method):
    array = values((2, 9, 11), "uint16")
    image = dp.open_image(array, axes="cyx", scale=(1, 0.5, 0.25), unit="um")
    small = dp.downsample(image, 2, method)
    level = dp.build_pyramid(image, method=method, scale_factors=[2])
    assert (small.scale, small.translation) == (level.scale[1], level.translation[1])
    np.testing.assert_array_equal(small.data.compute(), level.levels[1].compute())
    assert dp.downsample(image, {"x": 4}).shape == (2, 9, 3)
    assert dp.downsample(image, (1, 3, 4)).shape == (2, 3, 3)
    with pytest.raises(ValueError, match="factors must leave axis 'c' of an image"):
        dp.downsample(image, (2, 2, 2))


def test_labels_are_never_averaged():
    ids = dp.open_image(np.eye(8, dtype="uint32") * 7).with_metadata(labels=True)
    for options in ({}, {"order": 0}, {"method": "nearest"}):
        small = dp.downsample(ids, 2, **options)
        assert small.labels
        assert set(np.unique(small.data.compute())) <= {0, 7}
    for options in ({"order": 1}, {"order": 0, "anti_aliasing": True}):
        with pytest.raises(ValueError, match="labels must be copied"):
            dp.downsample(ids, 2, **options)
    with pytest.raises(ValueError, match="keep label values"):
        dp.downsample(ids, 2, "gaussian")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"order": 6}, "order must be 0 to 5, got 6"),
        ({"order": True}, "order must be 0 to 5, got True"),
        ({"order": 1, "method": "max"}, "order must go without a method"),
        ({"anti_aliasing": True}, "anti_aliasing must go with order"),
        ({"order": 0, "sigma": 1}, "sigma must go with a Gaussian"),
        ({"order": 1, "sigma": -1}, "sigma must be zero or more"),
        ({"order": 3, "sigma": 1e6}, "sigma must be at most 64 voxels"),
        ({"order": 3, "nodata": 0}, "order must be 0 or 1 where voxels may not count"),
        ({"mask": np.ones((9, 8))}, r"mask must have the shape .*got \(9, 8\)"),
    ],
)
def test_what_does_not_go_together_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        dp.downsample(np.zeros((9, 9), "uint8"), 2, **options)
    with pytest.raises(TypeError, match="mask must be a NumPy, CuPy or dask array"):
        dp.downsample(np.zeros((9, 9), "uint8"), 2, mask=[1])
