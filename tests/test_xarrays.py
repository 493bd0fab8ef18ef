"""xarray in and out: coordinates are spacing and place."""

import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import dask_pyramid as dp
from drawn import values

VOLUME = values((2, 6, 40, 50), "uint16")


def named(data=VOLUME, dims="czyx", **steps):
    """Return an array with coordinates that begin at 3."""
    extents = dict(zip(dims, data.shape, strict=True))
    coordinates = {
        axis: (axis, 3 + step * np.arange(extents[axis]), {"units": "um"})
        for axis, step in steps.items()
    }
    return xr.DataArray(data, dims=tuple(dims), coords=coordinates, name="nuclei")


@pytest.mark.parametrize("lazy", [False, True])
def test_coordinates_become_voxel_size_and_place(tmp_path, lazy):
    data = da.from_array(VOLUME, chunks=20) if lazy else VOLUME
    array = named(data, z=2.0, y=0.202, x=0.1).assign_coords(c=["DNA", "actin"])
    pyramid = dp.write_pyramid(array, tmp_path / "a.zarr", chunks=16)
    assert pyramid.axes == ("c", "z", "y", "x")
    assert pyramid.scale[0] == (1.0, 2.0, 0.202, 0.1)
    assert pyramid.translation[0] == (0.0, 3.0, 3.0, 3.0)
    assert pyramid.unit == (None, *("micrometer",) * 3)
    assert pyramid.name == "nuclei"
    labels = [channel["label"] for channel in pyramid.image.omero["channels"]]
    assert labels == ["DNA", "actin"]
    np.testing.assert_array_equal(pyramid.levels[0].compute(), VOLUME)


def test_dimensions_may_be_in_any_order_and_have_other_names():
    array = xr.DataArray(VOLUME, dims=("Z", "time", "X", "Y"))
    image = dp.open_image(array)
    assert (image.axes, image.shape) == (("t", "z", "y", "x"), (6, 2, 50, 40))
    array = xr.DataArray(VOLUME[0], dims=("depth", "lat", "lon"))
    assert dp.open_image(array).axes == ("z", "y", "x")
    array = array.assign_coords(depth=[0.0, 5, 10, 15, 20, 25])
    assert dp.open_image(array, "tyx").scale == (5.0, 1.0, 1.0)


def test_times_are_in_seconds():
    times = np.datetime64("2026-01-01") + np.arange(2) * np.timedelta64(90, "s")
    array = xr.DataArray(VOLUME, dims=tuple("tzyx"), coords={"t": times})
    image = dp.open_image(array)
    assert (image.scale[0], image.translation[0]) == (90.0, 0.0)
    assert image.unit[0] == "second"


@pytest.mark.parametrize(
    ("coordinates", "text"),
    [
        ([0, 1, 2, 4, 5, 6], r"from 1 to 2 for 'z'.*source\.interp"),
        ([6, 5, 4, 3, 2, 1], r"increase, got steps from -1 to -1 for 'z'"),
        ([0, 0, 0, 0, 0, 0], "increase"),
        ([0, 1, np.nan, 3, 4, 5], "evenly spaced"),
        (np.cumsum(1 + 0.05 * np.arange(6)), "from 1.05 to 1.25"),
        (list("abcdef"), r"must be numbers .*drop_vars\('z'\)"),
    ],
)
def test_coordinates_that_are_not_even_are_refused(coordinates, text):
    array = named().assign_coords(z=coordinates)
    with pytest.raises(ValueError, match=text):
        dp.open_image(array)
    assert dp.open_image(array.drop_vars("z")).scale == (1.0,) * 4


def test_coordinates_of_32_bits_are_even_enough():
    for start, rough in ((1000, 1e-4), (100_000, 1e-2)):
        x = (np.arange(50) * 0.1 + start).astype(np.float32)
        image = dp.open_image(named().assign_coords(x=x))
        assert image.scale[-1] == pytest.approx(0.1, rel=rough)


def test_steps_that_drift_a_little_each_are_not_even():
    x = np.cumsum(1 + np.arange(2000) * 5e-7)
    with pytest.raises(ValueError, match="evenly spaced"):
        dp.open_image(
            xr.DataArray(np.zeros((4, 2000)), dims=("y", "x"), coords={"x": x})
        )


def test_what_lies_in_a_file_stays_there(tmp_path):
    named(z=2.0).to_dataset(name="raw").to_zarr(tmp_path / "a.zarr", consolidated=False)
    opened = xr.open_zarr(tmp_path / "a.zarr", chunks=None, consolidated=False)["raw"]
    image = dp.open_image(opened)
    assert isinstance(image.graph, da.Array)
    assert image.scale == (1.0, 2.0, 1.0, 1.0)
    np.testing.assert_array_equal(image.data.compute(), VOLUME)


@pytest.mark.parametrize("stored", [False, True])
def test_a_pyramid_goes_to_a_tree_and_back(tmp_path, stored):
    image = dp.open_image(
        named(z=2.0, y=0.202, x=0.3).assign_coords(c=["DNA", "actin"]),
    )
    pyramid = dp.build_pyramid(image, method="mean", scale_factors=[2, 64])
    if stored:
        pyramid = pyramid.write(tmp_path / "a.zarr")
    tree = pyramid.to_datatree()
    assert list(tree.children) == ["scale0", "scale1", "scale2"]
    level = tree["scale1/image"]
    assert level.dims == ("c", "z", "y", "x")
    np.testing.assert_allclose(level.z, [4, 8, 12])
    assert level.z.attrs["units"] == "micrometer"
    assert list(level.c.values) == ["DNA", "actin"]
    again = dp.open_pyramid(tree)
    assert (again.name, again.method, again.unit) == (("nuclei", "mean", pyramid.unit))
    assert again.shapes == pyramid.shapes
    for name in ("scale", "translation"):
        np.testing.assert_allclose(getattr(again, name), getattr(pyramid, name), 1e-11)
    for level, expected in zip(again.levels, pyramid.levels, strict=True):
        np.testing.assert_array_equal(level.compute(), expected.compute())
    assert dp.open_image(tree).shape == VOLUME.shape
    assert again.labels == {}


def test_a_tree_of_images_that_are_no_levels_of_one_is_refused():
    raw = named(z=2.0).to_dataset(name="image")
    others = (
        raw.astype("uint8"),
        raw.rename(image="mask"),
        raw.isel(z=slice(0, 3), c=[0, 1, 0]),  # smaller, but not along each axis
        raw.transpose("c", "z", "x", "y"),
    )
    for other in others:
        tree = xr.DataTree.from_dict({"raw": raw, "other": other})
        with pytest.raises(ValueError, match=r"one image at decreasing sizes.*tree\["):
            dp.open_image(tree)


def test_ids_stay_ids_in_a_tree():
    ids = dp.open_image(VOLUME[0], labels=True)
    tree = dp.build_pyramid(ids).to_datatree()
    assert dp.open_image(tree).labels
    assert dp.open_pyramid(tree).image.labels


def test_a_tree_of_another_tool_is_opened_and_a_bad_one_refused():
    dataset = named(z=2.0).to_dataset(name="image")
    small = dataset.isel(z=slice(0, 6, 2), y=slice(0, 40, 2))
    tree = xr.DataTree.from_dict({"scale1": small, "scale0": dataset})
    assert dp.open_pyramid(tree).shapes == ((2, 6, 40, 50), (2, 3, 20, 50))
    with pytest.raises(ValueError, match=r"got one of \[\] without an image"):
        dp.open_image(xr.DataTree())
    both = dataset.assign(mask=dataset["image"] > 3)
    with pytest.raises(ValueError, match=r"\['image', 'mask'\] in '/scale0'"):
        dp.open_pyramid(xr.DataTree.from_dict({"scale0": both}))


def test_without_xarray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    pyramid = dp.build_pyramid(VOLUME)
    with pytest.raises(ImportError, match=r"dask-pyramid\[xarray\]"):
        pyramid.to_datatree()
