import math

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_pyramid import METHODS, build_pyramid, downsample, open_image
from drawn import partitions, small_world, values

FACTORS = ([2, 4, 8], [3, 9], [2, 3, 12], [{"y": 5, "x": 2}])


def counts(pyramid):
    """Dask tasks that each level adds, counted in the graph itself."""
    seen, added = set(), []
    for level in pyramid.levels:
        keys = set(dict(level.__dask_graph__()))
        added.append(len(keys - seen))
        seen |= keys
    return added


@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("method", ["mean", "gaussian", "gaussian-stride"])
@pytest.mark.parametrize("block", [2**9, 2**12, 2**24])
@pytest.mark.parametrize("kind", ["numpy", "zarr"])
def test_the_graph_of_an_image_has_the_tasks_the_plan_says(
    method, block, kind, factors, tmp_path
):
    source = values((32, 80, 96), "uint8")
    if kind == "zarr":
        stored = zarr.create_array(
            str(tmp_path / "a.zarr"),
            shape=source.shape,
            dtype="uint8",
            chunks=(8, 20, 16),
        )
        stored[...] = source
        source = stored
    with small_world(block=block):
        pyramid = build_pyramid(source, method=method, scale_factors=factors)
        assert counts(pyramid) == list(pyramid.plan.graph_tasks)


@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("block", [2**9, 2**12])
@pytest.mark.parametrize("chunks", [(16, 16, 32), ((7, 25), (1, 38, 41), (90, 6))])
def test_the_graph_of_a_dask_image_adds_the_tasks_the_plan_says(
    method, block, chunks, factors
):
    lazy = da.zeros((32, 80, 96), chunks=chunks, dtype="uint8")
    with small_world(block=block):
        pyramid = build_pyramid(lazy, method=method, scale_factors=factors)
        own = len(dict(lazy.__dask_graph__()))
        found = counts(pyramid)
        assert found[0] == own
        assert found[1:] == list(pyramid.plan.graph_tasks)[1:]


def test_a_graph_on_super_blocks_is_far_smaller_than_one_on_chunks():
    lazy = da.zeros((2048, 2048, 2048), chunks=64, dtype="uint8")
    pyramid = build_pyramid(lazy, method="gaussian", scale_factors=[2])
    assert math.prod(len(sizes) for sizes in pyramid.levels[1].chunks) == 8**3
    # An overlap on the chunks would take (3n - 2)**3 + 3n**3 tasks for n**3 of them.
    assert pyramid.plan.graph_tasks[1] * 50 < 94**3 + 3 * 32**3


@given(data=st.data(), method=st.sampled_from(sorted(METHODS)))
@settings(max_examples=40)
def test_any_chunking_of_a_dask_image_gives_the_same_levels(data, method):
    shape = (9, 24, 31)
    array = values(shape, "uint16", 5)
    chunks = tuple(data.draw(partitions(n, parts=7)) for n in shape)
    with small_world(), dask.config.set(scheduler="synchronous"):
        lazy = build_pyramid(
            da.from_array(array, chunks=chunks), method=method, scale_factors=[2, 4]
        )
        levels = dask.compute(*lazy.levels)
    once = downsample(array, 2, method)
    np.testing.assert_array_equal(levels[1], once)
    twice = downsample(once, 2, method)
    if not METHODS[method].chain:
        twice = downsample(array, 4, method)
    np.testing.assert_array_equal(levels[2], twice)
    assert [level.shape for level in lazy.levels] == [level.shape for level in levels]


def test_levels_are_lazy():
    def fail(block):
        raise AssertionError("nothing may be computed")

    lazy = da.zeros((64, 64), chunks=16, dtype="uint8").map_blocks(
        fail, dtype="uint8", meta=np.empty((0, 0), "uint8")
    )
    pyramid = build_pyramid(lazy, scale_factors=[2, 4])
    assert [level.shape for level in pyramid.levels] == [(64, 64), (32, 32), (16, 16)]
    assert [level.dtype for level in pyramid.levels] == [np.dtype("uint8")] * 3


class Marked(np.ndarray):
    """Stands for CuPy: a kind of array that must come out as it went in."""


@pytest.mark.parametrize("method", METHODS)
def test_the_kind_of_block_is_kept_in_meta(method):
    array = values((20, 30), "uint8").view(Marked)
    lazy = da.from_array(array, chunks=8, asarray=False)
    assert isinstance(lazy._meta, Marked)
    with small_world():
        pyramid = build_pyramid(lazy, method=method, scale_factors=[2, 4])
        for level in pyramid.levels:
            assert isinstance(level._meta, Marked)


def test_a_part_of_a_level_reads_only_a_part_of_the_image():
    touched = set()

    def note(block, block_id=None):
        touched.add(block_id)
        return block

    lazy = da.zeros((64, 64), chunks=8, dtype="uint8").map_blocks(
        note, dtype="uint8", meta=np.empty((0, 0), "uint8")
    )
    with small_world(), dask.config.set(scheduler="synchronous"):
        pyramid = build_pyramid(lazy, method="gaussian", scale_factors=[2])
        pyramid.levels[1][:2, :2].compute()
    assert touched <= {(i, j) for i in range(2) for j in range(2)}


def test_an_image_in_a_store_is_a_graph_of_one_task_a_block(tmp_path):
    stored = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(64, 64), dtype="uint8", chunks=(16, 16)
    )
    stored[...] = 7
    with small_world(block=32 * 32):
        image = open_image(stored)
        assert image.data.npartitions == len(dict(image.data.__dask_graph__())) == 4
        assert (image.data.compute() == 7).all()
