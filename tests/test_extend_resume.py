"""Growth that is stopped at any point, and the same call again."""

import contextlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

import dask_pyramid as dp
from dask_pyramid.provenance import read_provenance
from dask_pyramid.store import writers
from drawn import small_world, values

LAYOUT = {"chunks": (2, 8, 8), "shards": False, "method": "mean"}
FACTORS = [2, 4]


def image():
    return values((5, 40, 44), "uint16", 1)


def changed():
    array = image()
    array[1:3, 4:29, 5:32] = 7
    return array


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def prepare(verb, place):
    """Write what grows."""
    array = dp.open_image(image()[:3] if verb == "append" else image(), axes="zyx")
    factors = [] if verb == "add_levels" else FACTORS
    if verb == "replace":
        array = dp.open_image(image(), axes="zyx")
        dp.write_pyramid(array, place, scale_factors=[3], chunks=(2, 8, 8))
        return
    dp.write_pyramid(array, place, scale_factors=factors, **LAYOUT)
    if verb == "update_pyramid":
        zarr.open_array(f"{place}/0", mode="r+")[:] = changed()


def grow(verb, place, **options):
    options = {"workers": 1, "progress": False, **options}
    if verb == "append":
        return dp.append(place, image()[3:], "z", **options)
    if verb == "update_pyramid":
        return dp.update_pyramid(place, {"z": (1, 3), "y": (4, 29)}, **options)
    return dp.add_levels(
        place, scale_factors=FACTORS, replace=verb == "replace", **LAYOUT, **options
    )


class StoppedError(Exception):
    """As a kill: nothing is written after it."""


@contextlib.contextmanager
def stopped(before):
    """Let all writing fail from the given number of writes on; count them."""
    count = [0]

    def counts(real):
        def call(*args, **kwargs):
            if count[0] >= before:
                raise StoppedError
            count[0] += 1
            return real(*args, **kwargs)

        return call

    def counts_async(real):
        async def call(*args, **kwargs):
            if count[0] >= before:
                raise StoppedError
            count[0] += 1
            return await real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        folder = writers._Folder
        patch.setattr(folder, "_publish", counts(folder._publish))
        for name in ("set", "set_if_not_exists", "delete", "delete_dir"):
            patch.setattr(LocalStore, name, counts_async(getattr(LocalStore, name)))
        yield count


VERBS = ("add_levels", "replace", "update_pyramid", "append")


@pytest.fixture(scope="module", params=VERBS)
def grown(request, tmp_path_factory):
    """What an undisturbed call makes, and how many writes it takes."""
    folder = tmp_path_factory.mktemp(request.param)
    prepare(request.param, folder / "before")
    shutil.copytree(folder / "before", folder / "after")
    with small_world(fused=1), stopped(10**9) as count:
        grow(request.param, folder / "after")
    return request.param, folder, content(folder / "after"), count[0]


@pytest.mark.once
def test_growth_that_is_stopped_anywhere_goes_on_to_the_same_bytes(grown, tmp_path):
    verb, folder, wanted, writes = grown
    assert writes > 20
    # All of the beginning and of the end, and some of the many objects between.
    points = {*range(4), *range(4, writes - 12, 14), *range(writes - 12, writes)}
    for point in sorted(points):
        place = tmp_path / str(point)
        shutil.copytree(folder / "before", place)
        with small_world(fused=1):
            with (
                contextlib.suppress(StoppedError),  # cleaning up is not for the caller
                stopped(point),
            ):
                grow(verb, place)
            check_readable(verb, place)
            journal = place / ".dask-pyramid" / "growth.json"
            if verb == "append" and not journal.exists() and len(read(place)[0]) == 5:
                # It is done, and whoever repeats the call appends once more.
                found = content(place)
                assert {key: found[key] for key in wanted} == wanted
                continue
            grow(verb, place, break_lock=True)
        assert content(place) == wanted, point


def read(place):
    return [level.compute() for level in dp.open_pyramid(place).levels]


def check_readable(verb, place):
    """Whatever is published is complete: each level is that of its shape."""
    levels = read(place)
    shapes = [level.shape for level in levels]
    if verb in ("add_levels", "replace"):
        array = image()
        assert np.array_equal(levels[0], array)
        if len(levels) > 1 and shapes[1] == (3, 20, 22):
            assert np.array_equal(levels[1], dp.downsample(array, 2, "mean"))
    if verb == "append":
        # A voxel of level 0 is on every level.
        for factor, shape in zip((1, 2, 4), shapes, strict=True):
            assert shape[0] * factor >= shapes[0][0]
        assert np.array_equal(levels[0], image()[: shapes[0][0]])


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from drawn import small_world
import test_extend_resume as t
def progress(state):
    if state.done >= {after}:
        os.kill(os.getpid(), signal.SIGKILL)
with small_world(fused=1):
    t.grow({verb!r}, {place!r}, progress=progress)
"""


def test_growth_that_is_killed_goes_on_to_the_same_bytes(grown, tmp_path):
    verb, folder, wanted, _ = grown
    after = 2  # units: where else it may stop, the test above goes through
    shutil.copytree(folder / "before", tmp_path / "a")
    code = KILLED.format(
        tests=str(Path(__file__).parent),
        after=after,
        verb=verb,
        place=str(tmp_path / "a"),
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    done = []
    with small_world(fused=1):
        grow(verb, tmp_path / "a", progress=lambda state: done.append(state.done))
    assert content(tmp_path / "a") == wanted
    if verb != "update_pyramid":  # level 0 may have been written again meanwhile
        assert done[0] >= after


def test_another_call_waits_for_the_one_that_was_interrupted(tmp_path):
    prepare("append", tmp_path / "a")
    with small_world(fused=1), contextlib.suppress(StoppedError), stopped(20):
        grow("append", tmp_path / "a")
    for verb in ("update_pyramid", "add_levels"):
        with pytest.raises(ValueError, match="must wait for the append"):
            grow(verb, tmp_path / "a", break_lock=True)


def test_an_interrupted_append_gives_way_to_one_that_covers_it(tmp_path):
    prepare("append", tmp_path / "a")
    with small_world(fused=1), contextlib.suppress(StoppedError), stopped(20):
        grow("append", tmp_path / "a")
    other = values((3, 40, 44), "uint16", 5)
    options = {"break_lock": True, "workers": 1}
    with pytest.raises(ValueError, match="must go on with what an interrupted one"):
        dp.append(tmp_path / "a", other[:1], "z", **options)
    dp.append(tmp_path / "a", other, "z", **options)
    whole = np.concatenate([image()[:3], other])
    dp.write_pyramid(whole, tmp_path / "w", scale_factors=FACTORS, **LAYOUT)
    assert_equal_levels(tmp_path / "a", tmp_path / "w")


def test_an_append_that_only_lacks_its_record_is_ended_before_another(tmp_path):
    prepare("append", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "count")
    with small_world(fused=1), stopped(10**9) as count:
        grow("append", tmp_path / "count")
    for back in range(count[0], 0, -1):
        place = tmp_path / f"a{back}"
        shutil.copytree(tmp_path / "a", place)
        with small_world(fused=1), contextlib.suppress(StoppedError), stopped(back - 1):
            grow("append", place)
        journal = place / ".dask-pyramid" / "growth.json"
        if journal.exists() and dp.open_pyramid(place).shapes[0][0] == 5:
            break
    other = values((2, 40, 44), "uint16", 5)
    dp.append(place, other, "z", break_lock=True, workers=1)
    whole = np.concatenate([image(), other])
    dp.write_pyramid(whole, tmp_path / "w", scale_factors=FACTORS, **LAYOUT)
    assert_equal_levels(place, tmp_path / "w")


def test_an_update_does_first_what_an_interrupted_one_has_left(tmp_path):
    prepare("update_pyramid", tmp_path / "a")
    with small_world(fused=1), contextlib.suppress(StoppedError), stopped(20):
        grow("update_pyramid", tmp_path / "a")
    dp.update_pyramid(tmp_path / "a", {"x": (40, 44)}, break_lock=True)
    array = changed()
    dp.write_pyramid(array, tmp_path / "w", scale_factors=FACTORS, **LAYOUT)
    assert_equal_levels(tmp_path / "a", tmp_path / "w", first=1)


def test_other_levels_than_those_begun_are_made_only_when_asked(tmp_path):
    prepare("add_levels", tmp_path / "a")
    with small_world(fused=1), contextlib.suppress(StoppedError), stopped(20):
        grow("add_levels", tmp_path / "a")
    options = {**LAYOUT, "scale_factors": [3], "break_lock": True}
    with pytest.raises(ValueError, match="must go on with what an interrupted one"):
        dp.add_levels(tmp_path / "a", **options)
    dp.add_levels(tmp_path / "a", replace=True, **options)
    dp.write_pyramid(image(), tmp_path / "w", scale_factors=[3], **LAYOUT)
    assert_equal_levels(tmp_path / "a", tmp_path / "w")
    assert not (tmp_path / "a" / "2").exists()


def assert_equal_levels(grown, written, first=0):
    for k in range(first, len(dp.open_pyramid(written).levels)):
        folders = (Path(place) / str(k) / "c" for place in (grown, written))
        one, other = map(content, folders)
        assert one == other
    levels = [
        read_provenance(zarr.open_group(place, mode="r").attrs.asdict()).levels
        for place in (grown, written)
    ]
    assert levels[0][first:] == levels[1][first:]
