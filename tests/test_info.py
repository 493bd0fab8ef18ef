"""`info`: what a stored pyramid says of itself."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import dask_pyramid as dp
from dask_pyramid.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(params=["0.4", "0.5"])
def rich(request, tmp_path):
    """An image of five axes with channels and a label image."""
    image = dp.open_image(
        np.zeros((2, 2, 4, 32, 32), "uint8"),
        axes="tczyx",
        scale=(1.5, 1, 2, 0.5, 0.5),
        unit={"t": "second", "z": "um", "y": "um", "x": "um"},
    )
    labels = {"cells": np.ones((2, 1, 4, 32, 32), "uint8")}
    return dp.write_pyramid(
        image,
        tmp_path / "a.ome.zarr",
        labels=labels,
        compressors="blosc",
        scale_factors=[2],
        version=request.param,
    ).location


def test_info_gives_the_voxel_size_of_spatial_axes_and_the_others_apart(rich):
    told = run("info", rich).stdout
    assert "scale [micrometer]" in told
    assert "1.5 second" in next(x for x in told.splitlines() if "other axes" in x)
    rows = [line.split() for line in told.splitlines() if line.startswith("    0")]
    assert all("1.5" not in row for row in rows)


def test_info_names_labels_channels_and_codecs_with_their_level(rich):
    told = run("info", rich).stdout
    assert any(line.split() == ["labels", "cells"] for line in told.splitlines())
    assert any(line.split()[:1] == ["channels"] for line in told.splitlines())
    assert "blosc zstd 3" in told
    found = json.loads(run("info", rich, "--json").stdout)
    assert found["labels"] == ["cells"]
    assert len(found["channels"]) == 2
    codec = found["levels"][0]["compressors"][0]
    assert (codec["name"], codec["cname"], codec["clevel"]) == ("blosc", "zstd", 3)


def test_what_is_no_pyramid_is_told_to_be_something_else(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*")
    (tmp_path / "folder").mkdir()
    for name in ("a.tif", "folder"):
        told = run("info", tmp_path / name)
        assert told.exit_code == 1
        assert "which is something else; dask-pyramid write makes" in told.stderr
    assert "where there is none; check" in run("info", tmp_path / "no").stderr


def test_append_along_an_axis_that_is_not_there_names_one_that_is(tmp_path):
    image = np.zeros((2, 16, 16), "uint8")
    for name in "ab":
        dp.write_pyramid(image, tmp_path / name)
    told = run("append", tmp_path / "a", tmp_path / "b").stderr
    assert "got 't'; give another, such as --axis 'z'" in told


def test_verify_tells_units_that_are_missing_in_words(tmp_path):
    dp.write_pyramid(np.zeros((2, 16, 16), "uint8"), tmp_path / "a")
    told = run("verify", tmp_path / "a").stdout
    assert "units of the axes of space are none, none, none" in told
