"""Files of other formats: what is taken over, how they are read, what is refused."""

import multiprocessing
import pickle
import re
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import h5py
import nibabel
import numpy as np
import pytest

import dask_pyramid as dp
import formats
from dask_pyramid.cli import main
from dask_pyramid.sources.identity import identify
from drawn import stored_levels
from formats import CHANNELS, FORMATS, VOLUME


@pytest.fixture(params=FORMATS)
def written(request, tmp_path):
    return FORMATS[request.param](tmp_path)


def pixels(image):
    return image.data.compute(scheduler="sync")


def test_each_format_becomes_a_pyramid_with_its_voxel_size(written, tmp_path):
    target = tmp_path / "a.ome.zarr"
    pyramid = dp.write_pyramid(written.path, target, chunks=16, client="threads")
    assert "".join(pyramid.axes) == written.axes
    assert pyramid.scale[0] == written.scale
    assert pyramid.translation[0] == written.translation
    assert set(pyramid.unit) - {None} == {written.unit}
    assert pyramid.name == "a"
    channels = (pyramid.image.omero or {}).get("channels", [])
    assert tuple(channel["label"] for channel in channels) == written.channels
    levels = stored_levels(target, "0.5", len(pyramid.levels))
    np.testing.assert_array_equal(levels[0], written.pixels)
    assert dp.verify_pyramid(target, sample="full").ok
