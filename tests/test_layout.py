import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pyramid.geometry import ceil_div
from dask_pyramid.layout import (
    choose_chunks,
    choose_shards,
    level_chunks,
    level_shards,
)

SHAPES = st.tuples(*[st.integers(1, 50_000)] * 3)
ITEMSIZES = st.sampled_from([1, 2, 4, 8])


@given(shape=SHAPES, itemsize=ITEMSIZES, axes=st.sampled_from(["zyx", "cyx", "tyx"]))
def test_chosen_chunks_are_powers_of_two_of_half_to_one_mebibyte(shape, itemsize, axes):
    chunks = choose_chunks(shape, axes, itemsize)
    assert all(c & (c - 1) == 0 for c in chunks)
    assert all(c < 2 * n for c, n in zip(chunks, shape, strict=True))
    if axes[0] != "z":
        assert chunks[0] == 1
    n_bytes = math.prod(chunks) * itemsize
    assert n_bytes <= 2**20
    whole = all(
        c >= n for a, c, n in zip(axes, chunks, shape, strict=True) if a in "zyx"
    )
    assert whole or n_bytes >= 2**19


@given(shape=SHAPES, itemsize=ITEMSIZES)
def test_chosen_shards_hold_whole_chunks_and_do_not_exceed_the_level(shape, itemsize):
    chunks = choose_chunks(shape, "zyx", itemsize)
    shards = choose_shards(shape, chunks, "zyx", itemsize)
    for n, c, s in zip(shape, chunks, shards, strict=True):
        assert s % c == 0
        assert s <= ceil_div(n, c) * c
    n_bytes = math.prod(shards) * itemsize
    assert n_bytes < 2**28
    covers = all(s >= n for s, n in zip(shards, shape, strict=True))
    assert covers or n_bytes >= 2**26


SHAPES_3 = [(60, 200, 200), (30, 100, 100)]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (32, [(32, 32, 32)] * 2),
        ((8, 16, 32), [(8, 16, 32)] * 2),
        ({"z": 8}, [(8, 128, 128)] * 2),
        ([(8, 16, 32), (8, 8, 8)], [(8, 16, 32), (8, 8, 8)]),
        ([{"z": 8, "y": 8, "x": 8}], [(8, 8, 8)] * 2),
    ],
)
def test_chunks_are_an_int_a_tuple_a_dict_or_a_list_by_level(chunks, expected):
    found = level_chunks(chunks, shapes=SHAPES_3, axes="zyx", itemsize=4)
    assert [f[:1] for f in found] == [e[:1] for e in expected]
    if not isinstance(chunks, dict):
        assert list(found) == expected


def test_an_int_leaves_time_and_channels_with_chunks_of_one():
    found = level_chunks(32, shapes=[(5, 3, 64, 64)], axes="tcyx", itemsize=1)
    assert found == ((1, 1, 32, 32),)


def test_an_int_leaves_shards_with_the_chunks_of_time_and_channels():
    found = level_shards(
        64, shapes=[(5, 64, 64)], chunks=[(5, 32, 32)], axes="cyx", itemsize=1
    )
    assert found == ((5, 64, 64),)


def layout_of(chunks, shards=None):
    levels = level_chunks(chunks, shapes=SHAPES_3, axes="zyx", itemsize=1)
    return level_shards(shards, shapes=SHAPES_3, chunks=levels, axes="zyx", itemsize=1)


def test_shards_are_clamped_to_what_covers_the_level():
    assert layout_of(16, 1024) == ((64, 208, 208), (32, 112, 112))
    assert layout_of(16, False) == (None, None)


@pytest.mark.parametrize(
    ("chunks", "shards", "message"),
    [
        (0, None, "chunks must be whole numbers of voxels of at least 1, got 0"),
        (-8, None, "chunks must be .*got -8"),
        (2.5, None, r"chunks must be .*got 2\.5"),
        (True, None, "chunks must be .*got True"),
        ("8", None, "chunks must be .*got '8'"),
        ((8, 8), None, r"chunks must have one entry .*'zyx', got \(8, 8\)"),
        ({"q": 8}, None, "chunks must name axes .*got 'q'"),
        (
            [8, 8, 8],
            None,
            r"chunks must have at most one entry .*one extent by axis is a tuple",
        ),
        ([(8,) * 3] * 3, None, "chunks must have at most one entry .*2 levels, got 3"),
        (
            32,
            48,
            r"shards must hold whole chunks, got \(48, 48, 48\) for .*\(32, 32, 32\)",
        ),
        (32, 16, "shards must hold whole chunks"),
        (32, {"x": 0}, "shards must be whole numbers of voxels .*got"),
        (32, (64, 64), "shards must have one entry"),
    ],
)
def test_layouts_that_cannot_be_are_refused_with_the_value(chunks, shards, message):
    with pytest.raises(ValueError, match=message):
        layout_of(chunks, shards)


def test_numpy_integers_are_whole_numbers():
    import numpy as np

    found = layout_of(tuple(np.array([8, 16, 32])), np.int64(64))
    assert found[0] == (64, 64, 64)
    assert all(type(n) is int for n in found[0])
