"""Progress: in terminals, notebooks and logs, off, and as calls; its time is honest."""

import io
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import dask_pyramid as dp
from dask_pyramid import progress
from dask_pyramid.runner import tally
from drawn import small_world

IMAGE = dp.open_image(np.zeros((32, 48, 64), "uint16"), name="nuclei & more")
OPTIONS = {"scale_factors": [2, 4], "chunks": 8, "shards": False, "workers": 1}


class Clock:
    """A time that goes on when it is told to."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(progress.time, "monotonic", found)
    monkeypatch.setattr(tally.time, "perf_counter", found)
    return found


def a_plan():
    with small_world(unit=16**3, block=4000, fused=1):
        return dp.plan_pyramid(IMAGE, **OPTIONS)


def receipt(plan, number, voxels=1000):
    return SimpleNamespace(number=number, bytes=voxels * plan.itemsize)


def a_state(**given):
    state = {"done": 0, "total": 4, "voxels": 0, "bytes_written": 0, "seconds": 0.0}
    return dp.Progress(**{**state, **given})


def test_units_of_an_earlier_run_do_not_count_as_work(clock):
    plan, states = a_plan(), []
    first = plan.passes[0].n_units
    counted = tally.Tally(plan, skip=range(first - 2), progress=states.append)
    counted.report()
    assert (states[0].done, states[0].resumed) == (first - 2, first - 2)
    assert (states[0].seconds_left, states[0].voxels_per_second) == (None, 0)
    clock.now += 10
    counted.finished(receipt(plan, first - 2))
    # One more of the first pass takes ten seconds; units of the others read the same
    # extent, or less where a level is smaller than that.
    costs = [np.prod(sweep.read_extent) for sweep in plan.passes]
    rest = sum(c * s.n_units for c, s in zip(costs[1:], plan.passes[1:], strict=True))
    assert states[-1].seconds_left == pytest.approx(10 + 10 * rest / costs[0])
    assert states[-1].voxels_per_second == 100
    for number in range(first - 1, plan.n_tasks):
        counted.finished(receipt(plan, number))
    assert (states[-1].seconds_left, counted.ended) == (0, True)
    assert states[-1].voxels == 1000 * (plan.n_tasks - first + 2)


def test_a_share_counts_its_own_units_alone(tmp_path):
    zeros = tmp_path / "in.npy.zarr"
    dp.write_pyramid(IMAGE, zeros, scale_factors=[], chunks=16)
    states = []
    with small_world(unit=16**3, block=4000, fused=1):
        plan = dp.prepare_pyramid(zeros, tmp_path / "a.zarr", **OPTIONS)
    mine = len(range(1, plan.passes[0].n_units, 3))
    dp.run_units(tmp_path / "a.zarr", shard=(1, 3), workers=1, progress=states.append)
    of_first = [state for state in states if state.total == mine]
    assert [state.done for state in of_first] == list(range(mine + 1))
    assert all(state.total for state in states), "passes without units say nothing"


def test_a_callback_is_told_of_the_start_and_of_every_figure(tmp_path):
    states = []
    with small_world(unit=16**3, block=4000, fused=1):
        dp.write_pyramid(IMAGE, tmp_path / "a", progress=states.append, **OPTIONS)
    assert [state.done for state in states] == list(range(states[0].total + 1))
    last = states[-1]
    assert last.voxels == sum(np.prod(shape) for shape in a_plan_shapes())
    assert last.bytes_written == 2 * last.voxels
    assert last.voxels_per_second > 0
    assert last.seconds_left == 0


def a_plan_shapes():
    return [level.shape for level in a_plan().levels]


def test_a_log_gets_sparse_lines_with_the_time_of_day(clock, capsys):
    with progress.progress_callback(None, IMAGE) as update:
        for done in range(1000):
            clock.now += 1
            left = {"seconds_left": 999.0 - done, "seconds": done + 1.0}
            voxels = {"voxels": done * 10**6, "bytes_written": done * 2**21}
            update(a_state(done=done + 1, total=1000, **left, **voxels))
    text = capsys.readouterr().err
    lines = text.splitlines()
    assert 30 < len(lines) < 70
    assert "\r" not in text
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d  "
    assert re.fullmatch(
        stamp + r"nuclei & more: 10 of 1000 units, 900 kvoxel/s, 18\.0 MiB, 16:30 left",
        lines[0],
    )
    assert lines[-1].endswith("1000 of 1000 units, 999 kvoxel/s, 2.0 GiB, in 16:40")


@pytest.mark.parametrize(("given", "lines"), [(None, 0), (True, 1), (False, 0)])
def test_a_short_run_is_not_told_of_in_a_log_unless_asked_for(given, lines, capsys):
    with progress.progress_callback(given, IMAGE) as update:
        for done in range(5):
            update and update(a_state(done=done))
    assert capsys.readouterr().err.count("\n") == lines


def test_a_terminal_gets_one_line_that_is_drawn_again(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.progress_callback(None, IMAGE) as update:
        update(a_state(done=0))
        figures = {"voxels": 3 * 10**8, "bytes_written": 2**30, "seconds": 2.0}
        update(a_state(done=3, seconds_left=75.0, **figures))
    frames = screen.getvalue().rstrip("\n").split("\r")
    assert "0/4 units" in frames[1]
    assert frames[-1].startswith("nuclei & more:  75%|")
    assert "3/4 units, 150 Mvoxel/s, 1.0 GiB, 1:15 left" in frames[-1]
    assert screen.getvalue().count("\n") == 1


def test_a_notebook_gets_a_bar_that_needs_no_widgets(monkeypatch):
    import IPython
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=1))

    def display(value, *, display_id):
        assert display_id is True
        return SimpleNamespace(update=lambda each: shown.append(each._repr_html_()))

    monkeypatch.setattr(IPython.display, "display", display)
    with progress.progress_callback(None, IMAGE) as update:
        update(a_state(done=3, voxels=10, bytes_written=20, seconds=1.0))
    assert 'value="0.7500"' in shown[-1]
    assert "nuclei &amp; more" in shown[-1]
    assert "3 of 4 units, 10 voxel/s" in shown[-1]


def test_a_verification_is_shown_alike(clock, capsys):
    with progress.verify_callback(True) as update:
        update(SimpleNamespace(done=3, total=9))
    assert "verify: 3 of 9 tasks" in capsys.readouterr().err


def test_what_is_no_progress_is_refused():
    with (
        pytest.raises(TypeError, match="progress must be True, False or a callable"),
        progress.progress_callback("yes", IMAGE),
    ):
        pass
