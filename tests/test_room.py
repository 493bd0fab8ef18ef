"""A disk that may be too small is told before anything is written."""

import shutil
from collections import namedtuple

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

import dask_pyramid as dp
from dask_pyramid.cli import main

SMALL = {"scale_factors": [2], "chunks": 16, "shards": False, "workers": 1}
IMAGE = np.zeros((16, 32, 32), "uint16")
NEEDED = IMAGE.nbytes + IMAGE.nbytes // 8


@pytest.fixture
def free(monkeypatch):
    """Return what sets the free bytes of every disk."""
    usage = namedtuple("usage", "total used free")

    def set_free(n):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2 * n, n, n))

    return set_free


def test_a_disk_with_less_room_than_raw_bytes_is_a_warning_and_no_error(tmp_path, free):
    tifffile.imwrite(tmp_path / "in.tif", IMAGE)
    place = tmp_path / "deep" / "a.zarr"
    free(NEEDED - 1)
    with pytest.warns(UserWarning, match=r"disk of .*deep/a.zarr has 36.0 KiB free"):
        dp.write_pyramid(tmp_path / "in.tif", place, **SMALL)
    dp.write_pyramid(tmp_path / "in.tif", place, **SMALL, mode="a")  # it is there
    free(NEEDED)
    dp.write_pyramid(IMAGE, tmp_path / "b.zarr", **SMALL)  # no warning


@pytest.mark.parametrize(
    "command",
    [
        ["write"],
        ["plan"],
        ["resample", "--factor", "1.5", "--plan"],
    ],
)
def test_commands_tell_it_in_a_line_on_standard_error(tmp_path, free, command):
    tifffile.imwrite(tmp_path / "in.tif", IMAGE)
    free(9)
    verb, *options = command
    places = [str(tmp_path / "in.tif"), str(tmp_path / "out.zarr")]
    ended = CliRunner().invoke(main, [verb, *places, *options])
    assert ended.exit_code == 0, ended.output
    assert ended.stderr.startswith("Warning: the disk of ")
    assert "has 9 B free" in ended.stderr
    assert "Warning" not in ended.stdout
