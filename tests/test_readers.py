"""napari, without a screen: its reader, and the layers that it makes of ours."""

import warnings

import numpy as np
import pytest

from dask_pyramid import build_pyramid, open_image, open_pyramid, write_pyramid
from dask_pyramid.layers import napari_layers
from drawn import values

with warnings.catch_warnings():
    # pydantic's news for napari.
    warnings.simplefilter("ignore")
    reader = pytest.importorskip("napari_ome_zarr")
    layers = pytest.importorskip("napari.layers")

BY_CHANNEL = ("name", "visible", "contrast_limits")
CORNERS = [(0, 0, 0), (19, 59, 69)]


@pytest.fixture(params=["0.4", "0.5"])
def stored(request, tmp_path):
    ids = values((20, 60, 70), "uint8", style="few").astype("uint32") + 1
    return write_pyramid(
        values((2, 20, 60, 70), "uint16"),
        tmp_path / "a.ome.zarr",
        labels={"cells": ids},
        version=request.param,
        scale={"z": 2, "y": 0.5, "x": 0.25},
        unit="um",
        scale_factors=[2, 4],
        chunks=16,
    )


def made(levels, said, kind):
    """Return the layers that napari makes of what it is handed: one for a channel."""
    said = dict(said)
    axis = said.pop("channel_axis", None)
    if axis is None:
        yield layers.Layer.create(list(levels), said, kind)
        return
    for number in range(levels[0].shape[axis]):
        part = [np.take(level, number, axis=axis) for level in levels]
        own = {
            name: value[number] if name in BY_CHANNEL else value
            for name, value in said.items()
            if name != "colormap"
        }
        yield layers.Layer.create(part, own, kind)


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:color_dict did not provide a default")
def test_napari_shows_the_same_pixels_at_the_same_places_by_its_reader_and_by_ours(
    stored,
):
    read = reader.napari_get_reader(stored.location)(stored.location)
    theirs = [layer for handed in read for layer in made(*handed)]
    ours = [
        layer
        for handed in napari_layers(open_pyramid(stored.location))
        for layer in made(*handed)
    ]
    assert len(ours) == len(theirs) == 3
    *channels, cells = (*stored.levels[0], stored.labels["cells"].levels[0])
    for mine, other, true in zip(ours, theirs, (*channels, cells), strict=True):
        assert type(mine) is type(other)
        assert len(mine.data) == len(other.data) == 3
        np.testing.assert_array_equal(mine.data[0], true)
        for a, b in zip(mine.data, other.data, strict=True):
            np.testing.assert_array_equal(a, b)
        for corner in CORNERS:
            place = np.array(corner) * (2, 0.5, 0.25)
            np.testing.assert_allclose(mine.data_to_world(corner), place)
            np.testing.assert_allclose(other.data_to_world(corner), place)
        np.testing.assert_allclose(mine.downsample_factors, other.downsample_factors)
        assert mine.axis_labels == other.axis_labels == ("z", "y", "x")
        assert mine.units == other.units


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
def test_napari_gets_the_place_of_the_first_voxel_which_its_reader_leaves_out():
    image = open_image(np.zeros((8, 40, 40), "uint16"), translation=(4, 3, 2))
    [handed] = napari_layers(build_pyramid(image, scale_factors=[2]))
    [layer] = made(*handed)
    np.testing.assert_allclose(layer.data_to_world((0, 0, 0)), (4, 3, 2))
