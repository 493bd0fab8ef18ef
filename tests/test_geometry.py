import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from dask_pyramid.geometry import (
    Placement,
    Reach,
    Span,
    ceil_div,
    dependent,
    needed,
    reduced_shape,
)
from drawn import shapes

STEPS = st.integers(1, 9)
ANY_STEPS = STEPS | st.fractions(1, 9, max_denominator=101)
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


@given(
    size=st.integers(1, 60), step=ANY_STEPS, before=STEPS, after=STEPS, data=st.data()
)
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


@given(
    size=st.integers(1, 60), step=ANY_STEPS, before=STEPS, after=STEPS, data=st.data()
)
def test_needed_is_the_union_of_what_each_sample_needs(size, step, before, after, data):
    n = ceil_div(size, step)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    reach = Reach(before=before, after=after)
    voxels = set()
    for j in range(start, stop):
        for v in range(size):
            # A window holds what it touches: voxel v covers [v, v + 1).
            if j * step - before < v + 1 and v < (j + 1) * step + after:
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
