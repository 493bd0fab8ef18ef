"""Dask arrays of blocks on a GPU, through graphs and into stores."""

import dask
import dask.array as da
import numpy as np
import pytest

import dask_pyramid as dp
from dask_pyramid import METHODS, build_pyramid, open_image, plan_pyramid, resample
from dask_pyramid.sources.blocks import BlockReader
from drawn import small_world, stored_levels, values

SHAPE = (20, 13, 20)
SCALE = (0.5, 0.2, 0.2)
CHUNKS = (10, 13, 20)
TWICE = {"scale_factors": [2, 4]}
ISOTROPIC = {"scale_factors": "isotropic", "chunks": 4}
MASK = values(SHAPE, "bool", 8)
CASES = {
    **{method: TWICE | {"method": method} for method in METHODS},
    "nodata": TWICE | {"method": "gaussian", "nodata": 3},
    "mask": TWICE | {"method": "mean", "mask": MASK},
    "isotropic": ISOTROPIC | {"method": "gaussian"},
    "isotropic labels": ISOTROPIC | {"method": "mode"},
}


def image_of(array):
    return open_image(array, axes="zyx", scale=SCALE)


def moved(cupy, array, chunks=CHUNKS):
    """Return a lazy array whose blocks a task moves to the GPU."""
    return da.from_array(array, chunks=chunks).map_blocks(
        cupy.asarray, dtype=array.dtype, meta=cupy.empty((0, 0, 0), array.dtype)
    )


@pytest.mark.parametrize("case", CASES)
def test_blocks_and_metas_stay_on_the_gpu_at_every_level(case, any_cupy):
    array = values(SHAPE, "uint16")
    with small_world(block=2**12), dask.config.set(scheduler="synchronous"):
        expected = build_pyramid(image_of(array), **CASES[case]).levels
        levels = build_pyramid(image_of(moved(any_cupy, array)), **CASES[case]).levels
        assert len(levels) == len(expected) > 2
        assert {type(level._meta) for level in levels} == {any_cupy.ndarray}
        for samples, other in zip(dask.compute(*levels), expected, strict=True):
            assert type(samples) is any_cupy.ndarray
            np.testing.assert_array_equal(samples.get(), other.compute())


@pytest.mark.parametrize("order", [0, 1, 3])
def test_resampled_blocks_stay_on_the_gpu(order, any_cupy):
    array = values(SHAPE, "uint16")
    images = (image_of(array), image_of(moved(any_cupy, array)))
    with dask.config.set(scheduler="synchronous"):
        expected, image = (
            resample(image, scale=(0.3, 0.3, 0.3), order=order).data for image in images
        )
        assert type(image._meta) is any_cupy.ndarray
        samples = image.compute()
    assert type(samples) is any_cupy.ndarray
    np.testing.assert_array_equal(samples.get(), expected.compute())


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_the_task_that_makes_a_block_moves_it_to_the_host(device, any_cupy, tmp_path):
    array = values((64, 64, 64), "uint16")
    lazy = moved(any_cupy, array, chunks=32)
    options = TWICE | {"method": "mean", "chunks": 16, "shards": False}
    taken = plan_pyramid(lazy, device=device, **options).device
    assert taken == {"cpu": "cpu", "auto": "gpu"}[device]
    dp.write_pyramid(array, tmp_path / "a", **options)
    with dask.config.set(num_workers=2), small_world(unit=32**3):
        dp.write_pyramid(lazy, tmp_path / "b", device="cpu", workers=4, **options)
    counted = getattr(any_cupy, "memory", None)
    if counted is not None:
        # One for each thread of dask's, however many units wait for blocks.
        assert counted.peak <= 2 * 32**3 * array.itemsize
    dp.write_pyramid(lazy, tmp_path / "b", device=device, mode="w", **options)
    assert counted is None or counted.held == 0
    for level, expected in zip(
        stored_levels(tmp_path / "b", "0.5", 3),
        stored_levels(tmp_path / "a", "0.5", 3),
        strict=True,
    ):
        np.testing.assert_array_equal(level, expected)


def test_blocks_that_go_to_other_processes_are_on_the_host(any_cupy):
    array = values(SHAPE, "uint8")
    reader = BlockReader(moved(any_cupy, array), scheduler="synchronous")
    blocks = reader.compute(reader.lazy([(0, 0, 0), (1, 0, 0)]))
    assert [type(block) for block in blocks] == [np.ndarray] * 2
    np.testing.assert_array_equal(blocks[1], array[10:])
