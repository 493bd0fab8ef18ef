import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_pyramid import budgets, units
from dask_pyramid.budgets import Budget, task_memory
from dask_pyramid.cost import best_pass, decoded_chunks
from dask_pyramid.geometry import Reach
from dask_pyramid.limits import RUNTIME_BYTES
from dask_pyramid.passes import PassLevel, Units
from dask_pyramid.schedule import capacities, stream
from drawn import passes


def counted(sweep, chunks):
    """Every chunk of every read of every unit, one by one."""
    decoded = 0
    for unit in Units((sweep,)):
        lanes = sweep.lanes(unit.index)
        for move in stream(lanes, slab=sweep.slab):
            if move.kind != "read":
                continue
            region = [sweep.ranges(axis, i)[0][1] for axis, i in enumerate(unit.index)]
            region[sweep.axis] = (move.start, move.stop)
            decoded += math.prod(
                len({v // c for v in range(*r)})
                for r, c in zip(region, chunks, strict=True)
            )
    return decoded


@given(sweep=passes(), data=st.data())
@settings(max_examples=150)
def test_decoded_chunks_are_those_of_every_read_of_every_unit(sweep, data):
    chunks = tuple(data.draw(st.integers(1, 9)) for _ in sweep.extent)
    decoded, total = decoded_chunks(sweep, chunks)
    assert decoded == counted(sweep, chunks)
    if all(level.window is None for level in sweep.levels):
        grid = [-(-n // c) for n, c in zip(sweep.levels[0].shape, chunks, strict=True)]
        assert total == math.prod(grid)


def held(sweep, unit, itemsize):
    lanes = sweep.lanes(unit.index)
    total = 0
    for number, planes in enumerate(capacities(lanes, slab=sweep.slab)):
        cross = math.prod(
            stop - start
            for axis, i in enumerate(unit.index)
            if axis != sweep.axis
            for start, stop in [sweep.ranges(axis, i)[number][1]]
        )
        total += planes * cross * itemsize
    return total


@given(sweep=passes(), itemsize=st.sampled_from([1, 2, 8]), data=st.data())
@settings(max_examples=150)
def test_no_unit_holds_more_than_the_memory_of_a_task(sweep, itemsize, data):
    chunks = tuple(data.draw(st.integers(1, 9)) for _ in sweep.extent)
    budget = Budget(
        itemsize=itemsize, chunks=chunks, task_memory=2**40, workers=1, direct=True
    )
    # The buffers alone: intermediates and codecs are bounded from below by a constant.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dask_pyramid.budgets.KERNEL_BYTES", 0)
        patch.setattr("dask_pyramid.budgets._encoding", lambda *_: 0)
        promised = task_memory(sweep, budget)
    for unit in Units((sweep,)):
        assert held(sweep, unit, itemsize) <= promised


@given(sweep=passes(), data=st.data())
@settings(max_examples=150)
def test_no_slab_holds_more_of_chunks_in_part_than_the_budget_says(sweep, data):
    chunks = tuple(data.draw(st.integers(1, 9)) for _ in sweep.extent)
    budget = Budget(
        itemsize=2, chunks=chunks, task_memory=2**40, workers=1, direct=True
    )
    reader = SimpleNamespace(chunks=chunks, dtype=np.dtype("uint16"))
    most = budgets._cut_bytes(sweep, budget)
    for unit in Units((sweep,)):
        for move in stream(sweep.lanes(unit.index), slab=sweep.slab):
            if move.kind == "read":
                region = [sweep.ranges(a, i)[0][1] for a, i in enumerate(unit.index)]
                region[sweep.axis] = (move.start, move.stop)
                parts = tuple(slice(*span) for span in region)
                assert units._cut_bytes(parts, reader) <= most


def volume(shape, objects, levels=3, *, reach=0):
    members = []
    for number in range(levels):
        steps = (1,) * len(shape) if not number else (2,) * len(shape)
        up = Reach(before=reach, after=reach) if number else Reach()
        members.append(
            PassLevel(
                level=number,
                shape=tuple(-(-n // 2**number) for n in shape),
                objects=objects,
                written=True,
                steps=steps,
                reaches=(up,) * len(shape),
            )
        )
    return members


def budget_of(n_bytes, chunks=(64, 64, 64), workers=2):
    return Budget(
        itemsize=2, chunks=chunks, task_memory=n_bytes, workers=workers, direct=True
    )


@pytest.mark.parametrize("n_bytes", [2**27, 2**28, 2**30, 2**33])
@pytest.mark.parametrize("reach", [0, 2])
def test_the_best_pass_fits_into_its_budget(n_bytes, reach):
    levels = volume((4096, 4096, 4096), (64, 64, 64), reach=reach)
    budget = budget_of(n_bytes)
    sweep, cost, memory = best_pass(levels, stored=False, axes=(0,), budget=budget)
    assert math.isfinite(cost)
    assert memory == task_memory(sweep, budget) <= n_bytes


def test_more_memory_never_makes_a_halo_dearer():
    levels = volume((4096, 4096, 4096), (64, 64, 64), reach=2)
    amplifications = []
    for exponent in (27, 28, 29, 30, 31):
        sweep, _, _ = best_pass(
            levels, stored=False, axes=(0,), budget=budget_of(2**exponent)
        )
        decoded, total = decoded_chunks(sweep, (64, 64, 64))
        amplifications.append(decoded / total)
    assert amplifications == sorted(amplifications, reverse=True)


def test_cores_count_more_than_chunks_that_are_decoded_twice():
    levels = volume((500, 700, 900), (64, 64, 64))
    budget = budget_of(2**33, (100, 100, 100), workers=2)
    sweep, _, _ = best_pass(levels, stored=False, axes=(0, 1), budget=budget)
    decoded, total = decoded_chunks(sweep, (100, 100, 100))
    assert sweep.n_units > 1
    assert decoded < 1.4 * total


def test_a_flat_stack_is_streamed_along_y_with_less_memory():
    levels = volume((128, 4096, 4096), (128, 128, 128))
    budget = budget_of(2**33, (128, 128, 128))
    across, _, least = best_pass(levels, stored=False, axes=(0, 1), budget=budget)
    _, _, most = best_pass(levels, stored=False, axes=(0,), budget=budget)
    assert across.axis == 1
    assert least < most


def test_one_worker_decodes_every_chunk_once_where_memory_allows():
    for shape, chunks in itertools.product(
        [(500, 700, 900), (64, 5000, 5000), (4096, 100, 100)],
        [(64, 64, 64), (1, 512, 512), (100, 100, 100)],
    ):
        levels = volume(shape, (64, 64, 64))
        sweep, _, _ = best_pass(
            levels, stored=False, axes=(0,), budget=budget_of(2**33, chunks, 1)
        )
        decoded, total = decoded_chunks(sweep, chunks)
        assert decoded == total, (shape, chunks)


def test_what_cannot_fit_says_how_much_it_needs():
    levels = volume((1024, 1024, 1024), (1024, 1024, 1024))
    sweep, cost, memory = best_pass(
        levels, stored=False, axes=(0,), budget=budget_of(2**27)
    )
    assert cost == math.inf
    assert memory == task_memory(sweep, budget_of(2**27)) > 2**27
    _, cost, _ = best_pass(levels, stored=False, axes=(0,), budget=budget_of(memory))
    assert math.isfinite(cost)


@pytest.mark.parametrize("chunk", [64, 128])
def test_a_gaussian_decodes_few_chunks_twice_within_2_gib(chunk):
    levels = volume((1024,) * 3, (chunk,) * 3, levels=4, reach=2)
    budget = budget_of((2**31 - RUNTIME_BYTES) // 2, (chunk,) * 3)
    sweep, _, _ = best_pass(levels, stored=False, axes=(0,), budget=budget)
    decoded, total = decoded_chunks(sweep, (chunk,) * 3)
    assert decoded == counted(sweep, (chunk,) * 3)
    assert decoded <= 1.3 * total
