"""What others say of the stores: schemas, models, validators and two readers."""

import json
import warnings

import numpy as np
import pytest

from dask_pyramid import downsample, open_pyramid, write_pyramid
from drawn import stored_levels, values

# (version, shards): what a store can be.
KINDS = [("0.4", False), ("0.5", False), ("0.5", None), ("0.5", 32), ("0.6", None)]
IMAGES = {
    "czyx": {"axes": "czyx", "shape": (2, 20, 60, 70), "dtype": "uint16"},
    "yx": {"axes": "yx", "shape": (90, 131), "dtype": "uint8"},
    "tczyx": {"axes": "tczyx", "shape": (2, 3, 9, 33, 31), "dtype": "float32"},
}


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-shards-{kind[1]}")
def kind(request):
    return request.param


@pytest.fixture(params=IMAGES)
def stored(request, kind, tmp_path):
    version, shards = kind
    image = IMAGES[request.param]
    array = values(image["shape"], image["dtype"])
    write_pyramid(
        array,
        tmp_path / "image.ome.zarr",
        axes=image["axes"],
        version=version,
        shards=shards,
        chunks=16,
        scale_factors=[2, 4],
        unit="um",
        scale=[0.5] * array.ndim,
        translation=[3.0] * array.ndim,
        name="image",
    )
    axes = [2 if axis in "zyx" else 1 for axis in image["axes"]]
    once = downsample(array, axes, "gaussian")
    levels = [array, once, downsample(once, axes, "gaussian")]
    return tmp_path / "image.ome.zarr", version, levels


def known(module, version):
    """Return a judge, or skip saying that it does not know the version."""
    judge = pytest.importorskip(module)
    name = f"{module}.v{version.replace('.', '')}"
    if module != "ome_zarr_io":
        pytest.importorskip(name, reason=f"{module} does not know OME-Zarr {version}")
    return judge


def test_yaozarrs_accepts_the_store(stored):
    path, version, _ = stored
    yaozarrs = known("yaozarrs", version)
    yaozarrs.validate_zarr_store(str(path))


def test_ome_zarr_models_accept_the_store(stored):
    path, version, _ = stored
    models = known("ome_zarr_models", version)
    with warnings.catch_warnings():
        # Up to 1.7 they call a method of zarr's groups that zarr 3.1 has renamed.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        group = models.open_ome_zarr(str(path), version=version)
    assert group.ome_zarr_version == version
    assert type(group).__name__ == "Image"


def test_ome_zarr_io_finds_no_error_in_the_store(stored):
    path, version, levels = stored
    if version != "0.5":
        pytest.skip(f"ome-zarr-io validates OME-Zarr 0.5 only, not {version}")
    judge = known("ome_zarr_io", version)
    for strict in (False, True):
        report = judge.validate(path, strict=strict)
        assert not report.errors, report.errors
        assert report.spec_version == version
        assert [level.shape for level in report.levels] == [a.shape for a in levels]


def test_tensorstore_reads_the_pixels(stored):
    path, version, levels = stored
    found = stored_levels(path, version, len(levels))
    for a, b in zip(found, levels, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_the_reader_of_ome_zarr_reads_the_pixels_and_their_places(stored):
    path, version, levels = stored
    io = pytest.importorskip("ome_zarr.io")
    reader = pytest.importorskip("ome_zarr.reader")
    place = io.parse_url(str(path))
    if place is None:
        pytest.skip(f"ome-zarr-py does not know OME-Zarr {version}")
    nodes = list(reader.Reader(place)())
    if not nodes:
        pytest.skip(f"ome-zarr-py's reader does not know OME-Zarr {version}")
    assert len(nodes[0].data) == len(levels)
    for lazy, level in zip(nodes[0].data, levels, strict=True):
        np.testing.assert_array_equal(lazy.compute(), level)
    pyramid = open_pyramid(path)
    for level, found in enumerate(nodes[0].metadata["coordinateTransformations"]):
        scale, translation = found[0].get("transformations", found)  # 0.6
        assert tuple(scale["scale"]) == pyramid.scale[level]
        assert tuple(translation["translation"]) == pyramid.translation[level]


@pytest.fixture
def labelled(kind, tmp_path):
    version, shards = kind
    place = tmp_path / "image.ome.zarr"
    labels = values((20, 60, 70), "uint8", style="few").astype("uint32") + 1
    write_pyramid(
        values((2, 20, 60, 70), "uint16"),
        place,
        labels={"cells": labels, "mask": labels > 1},
        version=version,
        shards=shards,
        chunks=16,
        scale_factors=[2],
        unit="um",
        scale=[1, 0.5, 0.5, 0.5],
    )
    return place, version, labels


def test_yaozarrs_and_ome_zarr_models_accept_labels(labelled):
    place, version, _ = labelled
    paths = [place, place / "labels" / "cells"]
    if version != "0.4":  # whose list of labels says no version
        paths.append(place / "labels")
    for path in paths:
        known("yaozarrs", version).validate_zarr_store(str(path))
    models = known("ome_zarr_models", version)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        group = models.open_ome_zarr(str(place / "labels" / "cells"), version=version)
        image = models.open_ome_zarr(str(place), version=version)
    assert type(group).__name__ == "ImageLabel"
    assert type(image).__name__ == "Image"
    assert image.labels is not None


def test_the_reader_of_ome_zarr_finds_labels_through_the_image(labelled):
    place, version, labels = labelled
    io = pytest.importorskip("ome_zarr.io")
    reader = pytest.importorskip("ome_zarr.reader")
    found = io.parse_url(str(place))
    nodes = list(reader.Reader(found)()) if found is not None else []
    if not nodes:
        pytest.skip(f"ome-zarr-py's reader does not know OME-Zarr {version}")
    by_name = {node.zarr.basename(): node for node in nodes}
    assert {"cells", "mask"} <= by_name.keys()
    cells = by_name["cells"]
    np.testing.assert_array_equal(cells.data[0].compute(), labels)
    assert set(cells.metadata["color"]) == {1, 2, 3}


def test_metadata_are_strict_json(stored):
    path, _, _ = stored

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    documents = [p for p in path.rglob("*") if p.name in ("zarr.json", ".zattrs")]
    assert documents
    for document in documents:
        json.loads(document.read_text(), parse_constant=refuse)
