import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_pyramid.geometry import Reach, needed
from dask_pyramid.schedule import Lane, capacities, stream
from drawn import passes


def simulate(lanes, slab):
    """Run the moves with sets of planes; fail on whatever a unit could not do."""
    held = [set() for _ in lanes]
    ever = [[] for _ in lanes]
    written = [[] for _ in lanes]
    room = capacities(lanes, slab=slab)
    for move in stream(lanes, slab=slab):
        planes = set(range(move.start, move.stop))
        lane = lanes[move.lane]
        assert planes, "no move is empty"
        if move.kind == "write":
            assert planes <= held[move.lane], "written planes exist"
            assert move.start == lane.own[0] or move.start % lane.rows == 0
            assert move.stop == lane.own[1] or move.stop % lane.rows == 0
            written[move.lane] += sorted(planes)
            continue
        if move.kind == "read":
            assert move.lane == 0
            assert move.start // slab == (move.stop - 1) // slab, "slabs are aligned"
        else:
            wanted = needed(
                move.start,
                move.stop,
                step=lane.step,
                reach=lane.reach,
                size=lanes[move.lane - 1].size,
            )
            assert set(range(wanted.start, wanted.stop)) <= held[move.lane - 1]
        # What a rolling buffer does: forget what the move allows, then take the new.
        held[move.lane] = {p for p in held[move.lane] if p >= move.keep} | planes
        span = max(held[move.lane]) - min(held[move.lane]) + 1
        assert span <= room[move.lane], "capacities bound what is held"
        ever[move.lane] += sorted(planes)
    for lane, seen, done in zip(lanes, ever, written, strict=True):
        assert seen == list(range(*lane.need)), "each plane is made once and in order"
        assert done == list(range(*lane.own)), "each own plane is written once"


@given(drawn=passes(dims=(1, 1)))
@settings(max_examples=300)
def test_units_read_once_in_order_write_whole_rows_and_never_miss_a_plane(drawn):
    sweep = drawn
    for index in range(sweep.grid[0]):
        simulate(sweep.lanes([index]), sweep.slab)


@given(slab=st.integers(1, 70), reach=st.integers(0, 5))
def test_a_unit_that_owns_no_plane_of_the_level_it_reads_only_reads_it(slab, reach):
    up = Reach(before=reach, after=reach)
    lanes = [
        Lane(
            size=64,
            own=(16, 16),
            need=(max(0, 16 - reach), min(64, 48 + reach)),
            rows=8,
        ),
        Lane(size=32, own=(8, 24), need=(8, 24), rows=8, step=2, reach=up),
    ]
    simulate(lanes, slab)


def test_memory_is_that_of_a_few_slabs_not_of_the_unit():
    reach = Reach(before=2, after=2)
    lanes = [
        Lane(size=4096, own=(0, 4096), need=(0, 4096), rows=64),
        Lane(size=2048, own=(0, 2048), need=(0, 2048), rows=64, step=2, reach=reach),
        Lane(size=1024, own=(0, 1024), need=(0, 1024), rows=64, step=2, reach=reach),
    ]
    assert capacities(lanes, slab=64) == pytest.approx((64, 64, 64), abs=40)


def test_an_object_that_covers_the_level_is_held_as_a_whole():
    lanes = [Lane(size=100, own=(0, 100), need=(0, 100), rows=100)]
    assert capacities(lanes, slab=10) == (100,)
