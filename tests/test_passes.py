import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_pyramid.geometry import Reach, needed
from dask_pyramid.passes import Pass, PassLevel, Unit, Units, base_extent
from drawn import passes


def boxes(sweep, unit, level, which):
    """The own (0) or needed (1) box of a unit in a level, as slices."""
    return tuple(
        slice(*sweep.ranges(axis, i)[level][which]) for axis, i in enumerate(unit.index)
    )


@given(sweep=passes())
@settings(max_examples=150)
def test_units_tile_what_is_written_of_every_level_exactly(sweep):
    for number, level in enumerate(sweep.levels):
        times = np.zeros(level.shape, int)
        for unit in Units((sweep,)):
            times[boxes(sweep, unit, number, 0)] += 1
        wanted = np.zeros(level.shape, int)
        wanted[tuple(slice(*r) for r in level.part)] = level.written
        assert np.array_equal(times, wanted)
        assert wanted.sum() == level.size


@given(sweep=passes())
@settings(max_examples=100)
def test_no_unit_is_outside_of_the_windows_along_an_axis(sweep):
    for axis, n in enumerate(sweep.grid):
        for index in (0, n - 1):
            ranges = sweep.ranges(axis, index)
            assert any(own[0] < own[1] for own, _ in ranges)


def test_a_window_leaves_the_units_that_write_something():
    level = PassLevel(
        level=0,
        shape=(100,),
        objects=(10,),
        written=True,
        steps=(1,),
        reaches=(Reach(),),
        window=((30, 60),),
    )
    sweep = Pass(stored=False, levels=(level,), extent=(20,), axis=0, slab=4)
    owned = [sweep.ranges(0, i)[0][0] for i in range(sweep.n_units)]
    assert owned == [(30, 40), (40, 60)]
    assert level.n_objects == 3


@given(sweep=passes())
@settings(max_examples=150)
def test_no_storage_object_is_touched_by_two_units(sweep):
    for number, level in enumerate(sweep.levels):
        if not level.written:
            continue
        owners = {}
        for unit in Units((sweep,)):
            grid = [
                range(r.start // o, -(-r.stop // o)) if r.stop > r.start else ()
                for r, o in zip(
                    boxes(sweep, unit, number, 0), level.objects, strict=True
                )
            ]
            for key in itertools.product(*grid):
                assert owners.setdefault(key, unit) == unit


@given(sweep=passes())
@settings(max_examples=150)
def test_a_unit_needs_what_it_owns_and_what_the_next_level_is_made_of(sweep):
    for unit in Units((sweep,)):
        for axis, i in enumerate(unit.index):
            ranges = sweep.ranges(axis, i)
            for (own, need), level in zip(ranges, sweep.levels, strict=True):
                assert 0 <= need[0] <= need[1] <= level.shape[axis]
                if own[0] < own[1]:
                    assert need[0] <= own[0] <= own[1] <= need[1]
            for below, above, (_, low), (_, up) in zip(
                sweep.levels, sweep.levels[1:], ranges, ranges[1:], strict=False
            ):
                if up[0] == up[1]:
                    continue
                wanted = needed(
                    *up,
                    step=above.steps[axis],
                    reach=above.reaches[axis],
                    size=below.shape[axis],
                )
                assert low[0] <= wanted.start <= wanted.stop <= low[1]


@given(sweep=passes())
@settings(max_examples=100)
def test_extents_of_units_are_multiples_of_the_smallest_or_the_whole_axis(sweep):
    for axis, extent in enumerate(sweep.extent):
        base = base_extent(sweep.levels, axis)
        assert extent % base == 0 or extent == sweep.levels[0].shape[axis]


@given(sweeps=st.lists(passes(), min_size=1, max_size=3))
@settings(max_examples=40)
def test_units_are_enumerated_as_they_are_indexed(sweeps):
    units = Units(tuple(sweeps))
    listed = list(units)
    assert len(listed) == len(units) == sum(sweep.n_units for sweep in sweeps)
    assert listed == [units[i] for i in range(len(units))]
    assert listed == [units[i - len(units)] for i in range(len(units))]
    assert [unit.number for unit in listed] == list(range(len(units)))
    assert listed[1:7:2] == units[1:7:2]
    by_pass = [list(units.of_pass(i)) for i in range(len(sweeps))]
    assert list(itertools.chain(*by_pass)) == listed
    assert len({unit.name for unit in listed}) == len(listed)
    for number in (len(units), -len(units) - 1):
        with pytest.raises(IndexError, match=f"below {len(units)}, got {number}"):
            units[number]


def test_equal_passes_are_told_apart_by_their_number():
    level = PassLevel(
        level=0, shape=(8,), objects=(4,), written=True, steps=(1,), reaches=(Reach(),)
    )
    same = Pass(stored=False, levels=(level,), extent=(4,), axis=0, slab=4)
    units = Units((same, same))
    assert [units[i].sweep for i in range(4)] == [0, 0, 1, 1]
    assert list(units) == [units[i] for i in range(4)]


def test_a_unit_pickles_and_is_named_by_pass_and_position():
    unit = Unit(number=5, sweep=1, index=(0, 12, 3))
    assert pickle.loads(pickle.dumps(unit)) == unit
    assert unit.name == "1-0.12.3"
