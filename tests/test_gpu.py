"""What only a GPU can show; skipped without one."""

import math

import dask.array as da
import numpy as np
import pytest

from dask_pyramid import METHODS, build_pyramid, device, plan_pyramid, write_pyramid
from drawn import stored_levels, values, viewers_may_refuse

pytestmark = pytest.mark.gpu

SHAPE = (65, 130, 257)
OPTIONS = {"scale_factors": [2, 4, 8], "chunks": 32, "shards": 64, "name": "n"}


@pytest.fixture
def cupy():
    cupy = pytest.importorskip("cupy")
    try:
        device.CupyBackend.gpus()
    except device.NoGpuError as error:
        pytest.skip(str(error))
    return cupy


@pytest.fixture
def pools(cupy, monkeypatch):
    """Record what the pools of units have taken of a GPU, at the end of each turn."""
    taken = []

    class Watched(device.CupyBackend):
        def free(self):
            taken.append(sum(place.pool.total_bytes() for place in self._places))
            super().free()

    monkeypatch.setattr(device, "CupyBackend", Watched)
    return taken


def written(folder, image, **options):
    with viewers_may_refuse():
        write_pyramid(image, folder, **OPTIONS | options)
    return stored_levels(folder, "0.5", 4)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint64", "float32"])
@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].chain])
def test_what_is_written_is_that_of_the_host(cupy, method, dtype, tmp_path):
    image = values(SHAPE, dtype, 3)
    expected = written(tmp_path / "a", image, method=method)
    found = written(tmp_path / "b", image, method=method, device="gpu")
    for level, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(level, other)


@pytest.mark.parametrize("method", ["gaussian", "mode"])
def test_a_pipeline_on_the_gpu_is_written_as_a_pyramid(cupy, method, tmp_path):
    image = values(SHAPE, "uint16", 3)
    expected = written(tmp_path / "a", image, method=method)
    lazy = da.from_array(image, chunks=64).map_blocks(
        cupy.asarray, dtype=image.dtype, meta=cupy.empty((0, 0, 0), image.dtype)
    )
    pyramid = build_pyramid(lazy, method=method, scale_factors=[2, 4, 8])
    for level in pyramid.levels:
        assert isinstance(level._meta, cupy.ndarray)
        assert isinstance(level.blocks[0, 0, 0].compute(), cupy.ndarray)
    assert plan_pyramid(lazy, device="auto", scale_factors=[2]).device == "gpu"
    found = written(tmp_path / "b", lazy, method=method, device="auto")
    for level, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(level, other)


@pytest.mark.parametrize("limit", [2**24, 2**26, 2**30])
def test_the_pools_stay_below_the_limit(pools, limit, tmp_path):
    image = values((200, 512, 512), "uint16", 3)
    given = {"device": "gpu", "gpu_memory_limit": limit}
    expected = written(tmp_path / "a", image)
    assert plan_pyramid(image, **given).device_memory <= limit
    found = written(tmp_path / "b", image, **given)
    for level, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(level, other)
    assert 0 < max(pools) <= limit


def test_memory_that_others_hold_costs_pieces_and_not_the_run(
    cupy, monkeypatch, tmp_path
):
    image = values((200, 512, 512), "uint16", 3)
    expected = written(tmp_path / "a", image)

    class Small(device.CupyBackend):
        def __init__(self, **given):
            super().__init__(**given | {"limit": math.ceil(given["limit"] / 4)})

    monkeypatch.setattr(device, "CupyBackend", Small)
    limits = {"device": "gpu", "gpu_memory_limit": 2**27}
    found = written(tmp_path / "b", image, **limits)
    for level, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(level, other)
