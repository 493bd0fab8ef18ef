"""Pyramids in S3: the same bytes as on disk, few requests, clear words, no secrets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dask_pyramid as dp

RNG = np.random.default_rng(11)
# Not a whole number of chunks or shards; some objects are all fill value.
DATA = RNG.integers(1, 999, (36, 70, 100)).astype("uint16")
DATA[:32, :32, :32] = 0
DATA[32:] = 0
LAYOUT = {"chunks": 16, "shards": 32, "scale_factors": [2, 4], "method": "mean"}

BOTH = pytest.mark.parametrize("any_s3", ["moto", "ceph"], indirect=True)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    """Hide what the machine has: keys, profiles, and the metadata of a cloud."""
    import os

    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


def on_disk(folder, **options):
    dp.write_pyramid(DATA, folder, name="a", **{**LAYOUT, **options})
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def same_objects(found, expected):
    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        if key.endswith(("zarr.json", ".zattrs")):
            assert json.loads(found[key]) == json.loads(value), key
        else:
            assert found[key] == value, key


@BOTH
@pytest.mark.parametrize("options", [{}, {"version": "0.4", "shards": False}])
def test_the_objects_are_those_of_a_folder(any_s3, tmp_path, options):
    bucket = any_s3.bucket()
    pyramid = dp.write_pyramid(
        DATA,
        f"s3://{bucket}/deep/a.ome.zarr",
        name="a",
        storage_options=any_s3.options,
        **{**LAYOUT, **options},
    )
    same_objects(
        any_s3.objects(bucket, "deep/a.ome.zarr/"),
        on_disk(tmp_path / "a.ome.zarr", **options),
    )
    np.testing.assert_array_equal(pyramid.levels[0].compute(), DATA)
