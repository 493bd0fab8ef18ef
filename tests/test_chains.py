"""Units on a device that is none: the same bytes, in whatever pieces there is room."""

from functools import partial

import numpy as np
import pytest

from dask_pyramid import METHODS, open_pyramid, units, write_pyramid
from dask_pyramid.runner import tasks
from drawn import small_world, stored_levels, values, viewers_may_refuse
from fake_gpu import FakeBackend

SHAPE = (2, 21, 17, 23)
FACTORS = [2, {"z": 4, "y": 4, "x": 6}, 12]
OPTIONS = {"scale_factors": FACTORS, "chunks": 12, "shards": False, "workers": 2}


def written(folder, image, backend=None, **options):
    """Return the levels as another reader sees them."""
    with pytest.MonkeyPatch.context() as patch, viewers_may_refuse():
        if backend is not None:
            run = partial(units.run_unit, backend=backend)
            patch.setattr(tasks, "run_unit", run)
        write_pyramid(image, folder, **OPTIONS | options)
    return stored_levels(folder, "0.5", 4)


def same(levels, others):
    assert all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(levels, others, strict=True)
    )


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_bytes_of_the_host(method, dtype, tmp_path):
    image = values(SHAPE, dtype, 3)
    with small_world(unit=24**4, slab=2**12):
        expected = written(tmp_path / "a", image, method=method)
        backend = FakeBackend()
        same(written(tmp_path / "b", image, backend, method=method), expected)
    assert backend.mirrors
    assert backend.held == 0, "nothing stays on the device"
    assert not backend.freed


@pytest.mark.parametrize("method", ["gaussian", "mean"])
@pytest.mark.parametrize("limit", [9 * 2**10, 14 * 2**10])
def test_a_device_that_is_too_small_gives_the_same_bytes_in_pieces(
    method, limit, tmp_path
):
    image = values(SHAPE, "uint16", 3)
    with small_world(unit=2**14, slab=2**14):
        expected = written(tmp_path / "a", image, method=method)
        backend = FakeBackend(limit=limit, places=1)
        same(written(tmp_path / "b", image, backend, method=method), expected)
    assert 0 < backend.peak <= limit
    assert backend.freed, "what is held in reserve is given back first"


def test_memory_that_is_only_in_reserve_is_taken_back_without_smaller_pieces(tmp_path):
    image = values(SHAPE, "uint16", 3)
    with small_world(unit=24**4, slab=2**14):
        whole = FakeBackend()
        expected = written(tmp_path / "a", image, whole)
        backend = FakeBackend(limit=2**40, reserve=2**40)
        same(written(tmp_path / "b", image, backend), expected)
    assert backend.freed
    assert backend.uploaded == whole.uploaded


@pytest.mark.parametrize("nth", [1, 3, 4])
def test_memory_may_end_at_any_array(nth, tmp_path):
    image = values(SHAPE, "uint16", 3)
    with small_world(unit=24**4, slab=2**14):
        expected = written(tmp_path / "a", image)
        # Twice in a row, so that freeing does not help.
        backend = FakeBackend(fail=(nth, nth + 1))
        same(written(tmp_path / "b", image, backend, workers=1), expected)
    assert backend.mirrors > nth


def test_no_room_for_a_single_plane_is_an_error_that_says_so(tmp_path):
    with pytest.raises(MemoryError, match="gpu_memory_limit must leave room") as error:
        written(tmp_path / "a", values(SHAPE, "uint16", 3), FakeBackend(limit=100))
    assert any("in unit 0-0.0.0.0, level 0" in note for note in error.value.__notes__)
    with pytest.raises(ValueError, match="must be complete"):
        open_pyramid(tmp_path / "a")


def test_no_more_units_are_on_the_device_than_there_are_places(tmp_path):
    image = values((64, 40, 40), "uint16", 3)
    backend = FakeBackend(places=1)
    with small_world(unit=16**3):
        written(tmp_path / "a", image, backend, workers=4)
    assert backend.most_turns == 1


def test_little_more_goes_up_than_what_is_read_and_nothing_twice_comes_down(tmp_path):
    image = values((128, 40, 40), "uint16", 3)
    backend = FakeBackend()
    with small_world(unit=2**62, slab=2**16):
        levels = written(tmp_path / "a", image, backend, method="mean", workers=1)
    assert backend.uploaded <= 1.05 * image.nbytes
    assert backend.downloaded == sum(level.nbytes for level in levels[1:])
