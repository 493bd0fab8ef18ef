import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pyramid.factors import (
    absolute_factors,
    auto_factors,
)
from dask_pyramid.geometry import reduced_shape


@pytest.mark.parametrize(
    ("given_factors", "spread"),
    [
        ([2, 4, 8], ((1, 2, 2), (1, 4, 4), (1, 8, 8))),
        ([{"y": 2, "x": 2}, {"y": 4, "x": 2}], ((1, 2, 2), (1, 4, 2))),
        ([{"x": 3}, 3], ((1, 1, 3), (1, 3, 3))),
        ([2.0], ((1, 2, 2),)),
        ([], ()),
        (({"c": 1, "y": 2},), ((1, 2, 1),)),
    ],
)
def test_factors_are_relative_to_level_0_and_spread_over_the_spatial_axes(
    given_factors, spread
):
    assert absolute_factors(given_factors, "cyx") == spread


@pytest.mark.parametrize(
    ("given_factors", "message"),
    [
        (
            [2, 2, 2],
            r"must increase, got \(2, 2, 2\); they are relative to level 0, "
            r"so halvings are \(2, 4, 8\)",
        ),
        ([4, 2], r"must increase, got \(4, 2\)"),
        ([1], "above 1 along some axis for each further level, got 1; level 0 is"),
        ([{"y": 2}, {"x": 2}], "must increase"),
        ([0], "numbers of at least 1, got 0"),
        ([-2], "numbers of at least 1, got -2"),
        ([0.5], r"numbers of at least 1, got 0\.5"),
        ([True], "numbers of at least 1, got True"),
        (["two"], "numbers of at least 1, got 'two'"),
        ([None], "numbers of at least 1, got None"),
        ([float("nan")], "numbers of at least 1, got nan"),
        ([float("inf")], "numbers of at least 1, got inf"),
        ([(2, 2)], r"numbers of at least 1, got \(2, 2\)"),
        ([{"q": 2}], r"must name axes of the image \(cyx\), got 'q'"),
        ([{"z": 2}], r"must name axes of the image \(cyx\), got 'z'"),
        ([{"c": 2, "y": 2}], "must leave axis 'c' alone, got 2"),
    ],
)
def test_factors_that_cannot_be_are_refused_with_the_value(given_factors, message):
    with pytest.raises(ValueError, match=message):
        absolute_factors(given_factors, "cyx")


def test_auto_factors_make_voxels_isotropic_first():
    factors = auto_factors(
        (60, 512, 512), (1, 0.25, 0.25), axes="zyx", chunks=(64,) * 3
    )
    assert factors == ((1, 2, 2), (1, 4, 4), (2, 8, 8))


@given(
    shape=st.tuples(*[st.integers(1, 4000)] * 3),
    scale=st.tuples(*[st.sampled_from([0.1, 0.2, 0.25, 0.5, 1, 2, 3.3, 5])] * 3),
    chunk=st.integers(1, 128),
)
def test_auto_factors_double_and_end_when_the_image_fits_a_chunk(shape, scale, chunk):
    levels = auto_factors(shape, scale, axes="zyx", chunks=(chunk,) * 3)
    previous = (1, 1, 1)
    for factors in levels:
        ratios = [f / p for f, p in zip(factors, previous, strict=True)]
        assert set(ratios) <= {1, 2}
        assert 2 in ratios
        assert max(reduced_shape(shape, previous)) > chunk
        previous = factors
    assert max(reduced_shape(shape, previous)) <= chunk


@given(
    scale=st.tuples(*[st.sampled_from([0.1, 0.2, 0.25, 0.5, 1, 2, 3.3, 5])] * 3),
)
def test_auto_factors_never_make_voxels_less_isotropic_than_sqrt_2(scale):
    shape = (10**6,) * 3
    levels = auto_factors(shape, scale, axes="zyx", chunks=(64,) * 3)
    spread = max(scale) / min(scale)
    for factors in levels:
        spacing = [s * f for s, f in zip(scale, factors, strict=True)]
        now = max(spacing) / min(spacing)
        assert now <= max(spread, 2) * (1 + 1e-9)
        spread = now
    assert spread <= 2 * (1 + 1e-9)


def test_auto_factors_do_not_depend_on_the_unit_of_length():
    shape, chunks = (100, 1000, 1000), (64,) * 3
    expected = auto_factors(shape, (0.2, 0.1, 0.1), axes="zyx", chunks=chunks)
    for factor in (1e-3, 3.0, 0.7, 1e6):
        scaled = (0.2 * factor, 0.1 * factor, 0.1 * factor)
        assert auto_factors(shape, scaled, axes="zyx", chunks=chunks) == expected


def test_auto_factors_leave_time_and_channels_alone():
    levels = auto_factors(
        (100, 9, 1000, 1000), (1,) * 4, axes="tcyx", chunks=(1, 1, 64, 64)
    )
    assert all(factors[:2] == (1, 1) for factors in levels)
    assert len(levels) == 4


def test_auto_factors_of_an_image_that_fits_a_chunk_are_none():
    for shape in itertools.product((1, 64), repeat=3):
        assert auto_factors(shape, (1,) * 3, axes="zyx", chunks=(64,) * 3) == ()
