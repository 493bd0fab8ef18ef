"""Units on a device that is none: the same bytes, in whatever pieces there is room."""

import numpy as np
import pytest
from dask.utils import parse_bytes

from dask_pyramid import METHODS, open_image, open_pyramid, plan_pyramid, write_pyramid
from drawn import small_world, stored_levels, values, viewers_may_refuse
from fake_gpu import fake_gpus

SHAPE = (2, 21, 17, 23)
FACTORS = [2, {"z": 4, "y": 4, "x": 6}, 12]
OPTIONS = {"scale_factors": FACTORS, "chunks": 12, "shards": False}


def written(folder, image, **options):
    """Return the levels as another reader sees them."""
    with viewers_may_refuse():
        write_pyramid(image, folder, **OPTIONS | {"workers": 2} | options)
    n_levels = sum(path.is_dir() for path in folder.glob("[0-9]"))
    return stored_levels(folder, "0.5", n_levels)


def on_gpu(folder, image, *, fault=(), **options):
    with fake_gpus(**dict(fault)) as made:
        levels = written(folder, image, device="gpu", **options)
    assert len(made) == 1, "one backend for a run"
    return levels, made[0]


def same(levels, others):
    assert all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(levels, others, strict=True)
    )


@pytest.mark.once
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].chain])
def test_every_method_gives_the_bytes_of_the_host(method, dtype, tmp_path):
    image = values(SHAPE, dtype, 3)
    with small_world(unit=24**4, slab=2**12):
        expected = written(tmp_path / "a", image, method=method)
        levels, backend = on_gpu(tmp_path / "b", image, method=method)
    same(levels, expected)
    assert backend.mirrors
    assert backend.held == 0, "nothing stays on the device"
    assert backend.freed == 1, "at the end all of it is given back"


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factors": "isotropic", "method": "gaussian"},
        {"scale_factors": "isotropic", "method": "mode"},
        {"method": "gaussian", "nodata": 3},
        {"method": "mean", "mask": values(SHAPE, "bool", 8)},
    ],
    ids=["isotropic", "isotropic labels", "nodata", "mask"],
)
def test_what_is_no_plain_reduction_gives_the_bytes_of_the_host(options, tmp_path):
    scale = {"z": 0.5, "y": 0.2, "x": 0.2}
    image = open_image(values(SHAPE, "uint16", 3), axes="czyx", scale=scale)
    with small_world(unit=24**4, slab=2**12):
        expected = written(tmp_path / "a", image, **options)
        levels, backend = on_gpu(tmp_path / "b", image, **options)
    same(levels, expected)
    assert backend.mirrors
    assert backend.held == 0


@pytest.mark.parametrize("method", ["gaussian", "mode"])
@pytest.mark.parametrize("limit", [2**16, 2**18])
def test_no_more_is_held_than_the_plan_says_and_the_limit_allows(
    method, limit, tmp_path
):
    image = values(SHAPE, "uint16", 3)
    with small_world(unit=24**4, slab=2**14):
        expected = written(tmp_path / "a", image, method=method)
        options = {"method": method, "gpu_memory_limit": limit}
        plan = plan_pyramid(image, device="gpu", workers=2, **OPTIONS | options)
        levels, backend = on_gpu(tmp_path / "b", image, **options)
        assert backend.places == plan.gpu_places
        assert backend.peak <= plan.device_memory <= limit
    same(levels, expected)
    assert backend.freed == 1, "it never ran out of memory"


def test_a_limit_too_small_for_a_plane_is_refused_with_the_least_that_would_do():
    image = values(SHAPE, "uint16", 3)
    options = {"device": "gpu", **OPTIONS}
    with pytest.raises(ValueError, match="must give each process at least") as error:
        plan_pyramid(image, gpu_memory_limit=1000, **options)
    least = " ".join(str(error.value).split("at least ")[1].split()[:2])
    plan = plan_pyramid(image, gpu_memory_limit=least, **options)
    assert plan.gpu_places == 1
    assert 0 <= parse_bytes(least) - plan.device_memory < 2**20


@pytest.mark.parametrize("limit", [9 * 2**10, 14 * 2**10])
def test_a_device_that_has_less_than_it_says_gives_the_same_bytes_in_pieces(
    limit, tmp_path
):
    image = values(SHAPE, "uint16", 3)
    with small_world(unit=2**14, slab=2**14):
        expected = written(tmp_path / "a", image)
        fault = {"limit": limit}
        levels, backend = on_gpu(tmp_path / "b", image, fault=fault, workers=1)
    same(levels, expected)
    assert 0 < backend.peak <= limit
    assert backend.freed > 1, "what is held in reserve is given back first"


def test_memory_that_is_only_in_reserve_is_taken_back_without_smaller_pieces(tmp_path):
    image = values(SHAPE, "uint16", 3)
    with small_world(unit=24**4, slab=2**14):
        expected, whole = on_gpu(tmp_path / "a", image)
        fault = {"limit": 2**40, "reserve": 2**40}
        levels, backend = on_gpu(tmp_path / "b", image, fault=fault, workers=1)
    same(levels, expected)
    assert backend.freed == 2
    assert backend.uploaded == whole.uploaded


@pytest.mark.parametrize("nth", [1, 3, 4])
def test_memory_may_end_at_any_array(nth, tmp_path):
    image = values(SHAPE, "uint16", 3)
    with small_world(unit=24**4, slab=2**14):
        expected = written(tmp_path / "a", image)
        # Twice in a row, so that freeing does not help.
        fault = {"fail": (nth, nth + 1)}
        levels, backend = on_gpu(tmp_path / "b", image, fault=fault, workers=1)
    same(levels, expected)
    assert backend.mirrors > nth


def test_no_room_for_a_single_plane_is_an_error_that_says_so(tmp_path):
    with pytest.raises(MemoryError, match="gpu_memory_limit must leave room") as error:
        on_gpu(tmp_path / "a", values(SHAPE, "uint16", 3), fault={"limit": 100})
    assert any("in unit 0-" in note for note in error.value.__notes__)
    with pytest.raises(ValueError, match="must be complete"):
        open_pyramid(tmp_path / "a")


def test_no_more_units_are_on_a_gpu_than_there_are_places(tmp_path):
    image = values((48, 32, 32), "uint16", 3)
    with small_world(unit=16**3):
        _, backend = on_gpu(tmp_path / "a", image, workers=4)
    assert backend.most_turns <= backend.places <= 2


def test_little_more_goes_up_than_what_is_read_and_nothing_twice_comes_down(tmp_path):
    image = values((128, 40, 40), "uint16", 3)
    with small_world(unit=2**62, slab=2**16):
        levels, backend = on_gpu(tmp_path / "a", image, method="mean", workers=1)
    assert backend.uploaded <= 1.05 * image.nbytes
    assert backend.downloaded == sum(level.nbytes for level in levels[1:])
