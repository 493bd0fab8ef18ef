import itertools
import math
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pyramid.runner.order import nearby


@given(grid=st.lists(st.integers(1, 7), min_size=1, max_size=4), data=st.data())
def test_every_position_comes_once(grid, data):
    first = data.draw(st.integers(0, len(grid) - 1))
    axis = data.draw(st.integers(first, len(grid) - 1))
    found = list(nearby(grid, axis, first=first))
    assert sorted(found) == list(itertools.product(*map(range, grid)))


def test_time_points_come_one_after_the_other():
    found = [index[0] for index in nearby((3, 4, 4, 4), 1, first=1)]
    assert found == sorted(found)


def test_the_first_of_a_huge_grid_comes_at_once():
    assert next(nearby((10**9, 10**9, 10**9), 0)) == (0, 0, 0)


def misses(order, size):
    """Count faces between neighbours that are read from the disk a second time."""
    held = OrderedDict()
    count = 0
    for index in order:
        for axis, side in itertools.product(range(len(index)), (0, 1)):
            face = (axis, *index[:axis], index[axis] + side, *index[axis + 1 :])
            if face not in held:
                count += 1
            held[face] = True
            held.move_to_end(face)
            if len(held) > size:
                held.popitem(last=False)
    return count


@pytest.mark.parametrize("grid", [(1, 24, 24), (8, 16, 16), (20, 12, 9)])
@pytest.mark.parametrize("size", [32, 64, 128])
def test_fewer_chunks_are_read_again_than_row_after_row(grid, size):
    rows = itertools.product(*map(range, grid))
    # Where the cache holds a whole row, the corners of the way cost a little more.
    slack = 1.05 if size == 128 and grid[0] == 1 else 1
    assert misses(nearby(grid, 0), size) <= slack * misses(rows, size)
    assert misses(nearby(grid, 0), size) < 3 * math.prod(grid) * 1.6
