import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pyramid.geometry import (
    Placement,
    Reach,
    Span,
    absolute_factors,
    auto_factors,
    ceil_div,
    dependent,
    needed,
    reduced_shape,
)
from drawn import shapes

STEPS = st.integers(1, 9)
FACTOR_LISTS = st.lists(st.integers(2, 4), min_size=1, max_size=4)


@given(n=st.integers(0, 2**80), d=st.integers(1, 2**70))
def test_ceil_div_is_the_exact_quotient_rounded_up(n, d):
    assert ceil_div(n, d) == math.ceil(Fraction(n, d))


@given(shape=shapes(), data=st.data())
def test_no_voxel_is_dropped_and_no_axis_reaches_zero(shape, data):
    steps = [data.draw(STEPS) for _ in shape]
    for n, f, m in zip(shape, steps, reduced_shape(shape, steps), strict=True):
        assert m == len(range(0, n, f)) >= 1


@given(n=st.integers(1, 200), data=st.data())
def test_reducing_step_by_step_gives_the_shape_of_the_whole_factor(n, data):
    steps = data.draw(FACTOR_LISTS)
    shape = (n,)
    for step in steps:
        shape = reduced_shape(shape, (step,))
    assert shape == reduced_shape((n,), (math.prod(steps),))


@given(size=st.integers(1, 60), step=STEPS, before=STEPS, after=STEPS, data=st.data())
def test_dependent_are_the_samples_whose_need_meets_the_range(
    size, step, before, after, data
):
    reach = Reach(before=before - 1, after=after - 1)
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    n = ceil_div(size, step)
    wanted = []
    for j in range(n):
        need = needed(j, j + 1, step=step, reach=reach, size=size)
        if set(range(need.start, need.stop)) & set(range(start, stop)):
            wanted.append(j)
    found = dependent(start, stop, step=step, reach=reach, size=n)
    assert list(range(found.start, found.stop)) == wanted


@given(size=st.integers(1, 60), step=STEPS, before=STEPS, after=STEPS, data=st.data())
def test_needed_is_the_union_of_what_each_sample_needs(size, step, before, after, data):
    n = ceil_div(size, step)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    reach = Reach(before=before, after=after)
    voxels = set()
    for j in range(start, stop):
        for v in range(j * step - before, j * step + step + after):
            if 0 <= v < size:
                voxels.add(v)
    region = needed(start, stop, step=step, reach=reach, size=size)
    assert set(range(region.start, region.stop)) == voxels


@given(size=st.integers(1, 60), step=STEPS)
def test_the_last_width_is_what_is_left_for_the_last_window(size, step):
    n = ceil_div(size, step)
    widths = [len(range(size)[j * step : j * step + step]) for j in range(n)]
    assert Span(first=0, stop=n, size=size).last_width(step) == widths[-1]
    for stop in range(1, n):
        assert Span(first=0, stop=stop, size=size).last_width(step) == step


@given(steps=FACTOR_LISTS)
def test_placement_of_window_centres_is_the_mean_index_of_the_voxels(steps):
    place = Placement()
    for step in steps:
        place = place.reduced(step, offset=(step - 1) / 2)
    factor = math.prod(steps)
    for j in (0, 3):
        members = range(j * factor, (j + 1) * factor)
        assert place.a * j + place.b == sum(members) / factor


@given(steps=FACTOR_LISTS)
def test_placement_of_first_voxels_has_no_offset(steps):
    place = Placement()
    for step in steps:
        place = place.reduced(step, offset=0)
    assert place == Placement(a=math.prod(steps), b=0)


def test_world_positions_follow_scale_and_translation_of_level_0():
    scale, translation = Placement(a=4, b=1.5).world(0.25, -10)
    assert (scale, translation) == (1.0, -9.625)


@given(shape=shapes((2, 3)), steps=FACTOR_LISTS)
def test_every_level_covers_level_0_and_exceeds_it_by_less_than_its_own_voxel(
    shape, steps
):
    factor = math.prod(steps)
    for n, m in zip(shape, reduced_shape(shape, (factor,) * len(shape)), strict=True):
        assert n <= m * factor < n + factor


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
        ([1], r"must increase, got \(1,\)"),
        ([{"y": 2}, {"x": 2}], "must increase"),
        ([0], "whole numbers of at least 1, got 0"),
        ([-2], "whole numbers of at least 1, got -2"),
        ([1.5], r"whole numbers of at least 1, got 1\.5"),
        ([True], "whole numbers of at least 1, got True"),
        (["2"], "whole numbers of at least 1, got '2'"),
        ([None], "whole numbers of at least 1, got None"),
        ([float("nan")], "whole numbers of at least 1, got nan"),
        ([float("inf")], "whole numbers of at least 1, got inf"),
        ([(2, 2)], r"whole numbers of at least 1, got \(2, 2\)"),
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
