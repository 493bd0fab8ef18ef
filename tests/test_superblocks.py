import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_pyramid.geometry import Reach
from dask_pyramid.superblocks import borrowed, merged, reduced, tasks
from drawn import partitions, small_world


@st.composite
def chunked_axes(draw):
    n = draw(st.integers(1, 40))
    step = draw(st.integers(1, 4))
    halo = draw(st.integers(0, 12)) if step > 1 else 0
    return draw(partitions(n, parts=8)), step, Reach(before=halo, after=halo)


@given(
    axes=st.lists(chunked_axes(), min_size=1, max_size=3),
    block=st.sampled_from([1, 8, 64, 2**24]),
)
@settings(max_examples=200)
def test_super_blocks_cover_the_image_begin_at_windows_and_hold_the_halo(axes, block):
    chunks, steps, reaches = (tuple(entries) for entries in zip(*axes, strict=True))
    with small_world(block=block):
        result = merged(chunks, steps, reaches)
    for before, after, step, reach in zip(chunks, result, steps, reaches, strict=True):
        assert sum(after) == sum(before)
        assert min(after) > 0
        starts = list(itertools.accumulate(after))[:-1]
        assert all(start % step == 0 for start in starts)
        # dask's overlap takes from the neighbour only.
        if len(after) > 1:
            assert min(after) >= max(reach.before, reach.after)
        old = list(itertools.accumulate(before))[:-1]
        if all(start % step == 0 for start in old):
            assert set(starts) <= set(old), "aligned blocks are merged, never cut"


def test_blocks_that_are_large_enough_are_left_alone():
    chunks = ((256,) * 4,) * 3
    assert merged(chunks, (2,) * 3, (Reach(before=2, after=2),) * 3) == chunks


def test_small_blocks_are_merged_to_a_few_million_voxels():
    (z, y, x) = merged(((64,) * 32,) * 3, (2,) * 3, (Reach(),) * 3)
    assert z == y == x == (256,) * 8


def test_blocks_along_time_and_channels_are_left_alone():
    result = merged(((1,) * 5, (64,) * 4), (1, 2), (Reach(), Reach()), first_axis=1)
    assert result == ((1,) * 5, (256,))


@given(n=st.integers(1, 40), step=st.integers(1, 4), data=st.data())
def test_reduced_blocks_add_up_to_the_level(n, step, data):
    chunks = (data.draw(partitions(n, parts=8)),)
    with small_world():
        blocks = merged(chunks, (step,), (Reach(),))
    (sizes,) = reduced(blocks, (step,))
    assert sum(sizes) == -(-n // step)


def test_a_single_block_borrows_nothing_from_neighbours():
    chunks = ((3,), (512, 512))
    halo = (Reach(before=9, after=9),) * 2
    assert borrowed(chunks, halo) == (Reach(), halo[1])
    assert tasks(((3,),), ((3,),), halo[:1]) == 1


@pytest.mark.parametrize("n", [2, 3, 7])
def test_tasks_of_an_overlap_are_those_of_the_formula(n):
    chunks = ((512,) * n,) * 3
    halo = (Reach(before=2, after=2),) * 3
    assert tasks(chunks, chunks, halo) == (3 * n - 2) ** 3 + 2 * n**3
    assert tasks(chunks, chunks, (Reach(),) * 3) == n**3
