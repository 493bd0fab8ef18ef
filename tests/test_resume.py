import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from zarr.storage import MemoryStore

import dask_pyramid as dp
from dask_pyramid import units
from dask_pyramid.store.locks import LockedError

SMALL = {"scale_factors": [2, 4], "chunks": 8, "shards": False, "workers": 1}


def volume(shape=(48, 64, 80), dtype="uint16"):
    return np.random.default_rng(5).integers(0, 2**12, shape).astype(dtype)


@pytest.fixture
def source(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", volume())
    return tmp_path / "in.tif"


def content(folder):
    """Return the bytes of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def small_units(monkeypatch):
    """Make units small, so that a small image has many."""
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**15)


class StopError(Exception):
    """An interruption of a test's own."""


class Runs(list):
    """Names of the units that were run; stops before the next when it has `most`."""

    most = None

    def take(self):
        names = sorted(self)
        self.clear()
        return names


@pytest.fixture
def runs(monkeypatch):
    counted = Runs()
    real = units.run_unit

    def run(job, unit, *more):
        if counted.most is not None and len(counted) >= counted.most:
            raise StopError(unit.name)
        counted.append(unit.name)
        return real(job, unit, *more)

    monkeypatch.setattr("dask_pyramid.runner.tasks.run_unit", run)
    return counted


def interrupt(runs, after, source, target, **options):
    """Stop a run after some units; return their names."""
    runs.most = after
    with pytest.raises(StopError):
        dp.write_pyramid(source, target, **{**SMALL, **options})
    runs.most = None
    return runs.take()


@pytest.mark.parametrize("after", [0, 1, 7])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_resumed_run_does_what_is_missing_and_ends_byte_identical(
    tmp_path, source, runs, after, version
):
    options = {**SMALL, "version": version}
    dp.write_pyramid(source, tmp_path / "whole.zarr", **options)
    everything = runs.take()
    assert len(everything) > 8
    done = interrupt(runs, after, source, tmp_path / "a.zarr", **options)
    assert len(done) == after
    with pytest.raises(ValueError, match="must be complete"):
        dp.open_pyramid(tmp_path / "a.zarr")
    dp.write_pyramid(source, tmp_path / "a.zarr", **options, mode="a")
    assert sorted(done + runs.take()) == everything
    assert content(tmp_path / "a.zarr") == content(tmp_path / "whole.zarr")


def test_a_finished_run_is_not_run_again(tmp_path, source, runs):
    dp.write_pyramid(source, tmp_path / "a.zarr", **SMALL)
    before = content(tmp_path / "a.zarr")
    runs.clear()
    dp.write_pyramid(source, tmp_path / "a.zarr", **SMALL, mode="a")
    assert not runs
    assert content(tmp_path / "a.zarr") == before


def test_a_finished_run_that_has_lost_an_object_is_not_taken_for_complete(
    tmp_path, source
):
    dp.write_pyramid(source, tmp_path / "a.zarr", **SMALL)
    files_of(tmp_path / "a.zarr", 1)[3].unlink()
    with pytest.raises(OSError, match=r"level 1 of .* must hold .*verify tells which"):
        dp.write_pyramid(source, tmp_path / "a.zarr", mode="a", **SMALL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "mean"}, "method: 'gaussian' there, 'mean' here"),
        ({"sigma": 0.7}, "sigma"),
        ({"scale_factors": [2]}, "levels.2"),
        (
            {"chunks": 32},
            r"levels\.0\.chunks: \[8, 8, 8\] there, \[32, 32, 32\] here",
        ),
        ({"shards": 32}, "shards"),
        ({"compressors": "zstd"}, "codecs"),
        ({"scale": (2, 1, 1)}, "scale"),
        ({"translation": (2, 1, 1)}, "translation"),
        ({"unit": "um"}, "unit"),
        ({"name": "other"}, "name: 'in' there, 'other' here"),
        ({"version": "0.6"}, "version: '0.5' there, '0.6' here"),
    ],
)
@pytest.mark.parametrize("complete", [False, True])
def test_another_job_is_refused_and_the_difference_told(
    tmp_path, source, runs, change, said, complete
):
    target = tmp_path / "a.zarr"
    if complete:
        dp.write_pyramid(source, target, **SMALL)
        said = ""
    else:
        interrupt(runs, 3, source, target)
    before = content(target)
    with pytest.raises(ValueError, match=said or "differs"):
        dp.write_pyramid(source, target, mode="a", **{**SMALL, **change})
    assert content(target) == before


def test_a_source_that_has_changed_is_refused(tmp_path, source, runs):
    interrupt(runs, 3, source, tmp_path / "a.zarr")
    tifffile.imwrite(source, volume() + 1)
    with pytest.raises(ValueError, match=r"source\.stamp"):
        dp.write_pyramid(source, tmp_path / "a.zarr", mode="a", **SMALL)


def test_an_array_is_known_by_its_values(tmp_path, runs):
    interrupt(runs, 3, volume(), tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=r"source\.stamp"):
        dp.write_pyramid(volume() + 1, tmp_path / "a.zarr", mode="a", **SMALL)
    dp.write_pyramid(volume(), tmp_path / "a.zarr", mode="a", **SMALL)


def test_a_resumed_run_keeps_its_units_under_another_memory_limit(
    tmp_path, source, runs
):
    dp.write_pyramid(source, tmp_path / "whole.zarr", **SMALL)
    everything = runs.take()
    done = interrupt(runs, 3, source, tmp_path / "a.zarr")
    options = {**SMALL, "workers": 2, "memory_limit": "1GiB"}
    dp.write_pyramid(source, tmp_path / "a.zarr", mode="a", **options)
    assert sorted(done + runs.take()) == everything


def files_of(target, level):
    folder = target / str(level)
    paths = (path for path in folder.rglob("*") if path.suffix != ".json")
    return sorted(path for path in paths if path.is_file())


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("fault", ["missing", "cut"])
def test_a_lost_object_is_made_again_with_what_was_computed_from_it(
    tmp_path, source, runs, level, fault
):
    options = {**SMALL, "scale_factors": [2, 4, 8, 16]}
    target = tmp_path / "a.zarr"
    dp.write_pyramid(source, tmp_path / "whole.zarr", **options)
    everything = runs.take()
    done = interrupt(runs, len(everything) - 1, source, target, **options)
    lost = files_of(target, level)[0]
    if fault == "missing":
        lost.unlink()
    else:
        lost.write_bytes(lost.read_bytes()[:-1])
    dp.write_pyramid(source, target, mode="a", **options)
    again = runs.take()
    assert len(again) < len(everything)
    assert len(again) > len(everything) - len(done), "the unit that owns it"
    assert {name[0] for name in again} >= {name[0] for name in everything[-1:]}
    assert content(target) == content(tmp_path / "whole.zarr")


def test_an_object_that_holds_nothing_is_absent_not_missing(tmp_path, runs):
    empty = volume()
    empty[:, :32] = 0
    tifffile.imwrite(tmp_path / "in.tif", empty)
    dp.write_pyramid(tmp_path / "in.tif", tmp_path / "whole.zarr", **SMALL)
    everything = runs.take()
    done = interrupt(runs, 9, tmp_path / "in.tif", tmp_path / "a.zarr")
    dp.write_pyramid(tmp_path / "in.tif", tmp_path / "a.zarr", mode="a", **SMALL)
    assert sorted(done + runs.take()) == everything
    assert content(tmp_path / "a.zarr") == content(tmp_path / "whole.zarr")


def test_nothing_is_published_while_an_object_is_missing(tmp_path, source, monkeypatch):
    from dask_pyramid.store import publication

    real = publication.publish

    def lose_one(target, *rest):
        files_of(tmp_path / "a.zarr", 1)[0].unlink()
        real(target, *rest)

    monkeypatch.setattr(publication, "publish", lose_one)
    with pytest.raises(OSError, match=r"level 1 of .* must hold"):
        dp.write_pyramid(source, tmp_path / "a.zarr", **SMALL)
    with pytest.raises(ValueError, match="must be complete"):
        dp.open_pyramid(tmp_path / "a.zarr")
    monkeypatch.undo()
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**15)
    dp.write_pyramid(source, tmp_path / "a.zarr", mode="a", **SMALL)
    assert dp.open_pyramid(tmp_path / "a.zarr").shapes[0] == (48, 64, 80)


def test_a_store_object_resumes_too(source, runs):
    whole, store = MemoryStore(), MemoryStore()
    dp.write_pyramid(source, whole, **SMALL)
    everything = runs.take()
    done = interrupt(runs, 5, source, store)
    dp.write_pyramid(source, store, mode="a", **SMALL)
    assert sorted(done + runs.take()) == everything
    kept = {key: value.to_bytes() for key, value in store._store_dict.items()}
    assert kept == {k: v.to_bytes() for k, v in whole._store_dict.items()}


def test_what_others_have_written_into_the_group_stays(tmp_path, source, runs):
    target = tmp_path / "a.zarr"
    dp.write_pyramid(source, target, **SMALL)
    zarr.open_group(target).attrs["lab"] = {"microscope": 3}
    runs.clear()
    interrupt(runs, 3, source, target, mode="w")
    dp.write_pyramid(source, target, mode="a", **SMALL)
    assert zarr.open_group(target).attrs["lab"] == {"microscope": 3}
    interrupt(runs, 3, source, tmp_path / "b.zarr")
    zarr.open_group(tmp_path / "b.zarr").attrs["lab"] = 1
    dp.write_pyramid(source, tmp_path / "b.zarr", mode="a", **SMALL)
    assert zarr.open_group(tmp_path / "b.zarr").attrs["lab"] == 1


def test_a_replacement_that_was_killed_between_its_renames_is_ended(tmp_path, source):
    target = tmp_path / "a.zarr"
    dp.write_pyramid(source, tmp_path / "new.zarr", **SMALL)
    new = content(tmp_path / "new.zarr")
    dp.write_pyramid(volume(), target, **SMALL)
    target.rename(tmp_path / ".a.zarr.replaced")
    shutil.copytree(tmp_path / "new.zarr", tmp_path / ".a.zarr.replacement")
    with pytest.raises(FileExistsError):
        dp.write_pyramid(source, target, **SMALL)
    assert content(target) == new
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.zarr",
        "in.tif",
        "new.zarr",
    ]


def test_the_old_pyramid_comes_back_if_the_new_one_is_not_complete(tmp_path, source):
    target = tmp_path / "a.zarr"
    dp.write_pyramid(source, target, **SMALL)
    old = content(target)
    target.rename(tmp_path / ".a.zarr.replaced")
    with pytest.raises(FileExistsError):
        dp.write_pyramid(source, target, **SMALL)
    assert content(target) == old


# -- shares of a stored plan ---------------------------------------------------------


def test_shares_of_a_stored_plan_give_the_same_bytes(tmp_path, source, runs):
    target = tmp_path / "a.zarr"
    dp.write_pyramid(source, tmp_path / "whole.zarr", **SMALL)
    everything = runs.take()
    plan = dp.prepare_pyramid(source, target, **SMALL)
    assert plan.n_tasks == len(everything)
    with pytest.raises(FileNotFoundError, match="of the first pass must be done"):
        dp.finish_pyramid(target)
    for i in range(3):
        dp.run_units(target, shard=(i, 3), workers=1)
    dp.finish_pyramid(target)
    assert runs.take() == everything
    assert content(target) == content(tmp_path / "whole.zarr")


def test_one_share_of_all_leaves_nothing_to_finish(tmp_path, source, runs):
    dp.prepare_pyramid(source, tmp_path / "a.zarr", **SMALL)
    assert dp.run_units(tmp_path / "a.zarr") == 0
    runs.clear()
    dp.finish_pyramid(tmp_path / "a.zarr")
    assert not runs


@pytest.mark.parametrize("shard", [(3, 3), (-1, 3), (0, 0)])
def test_a_shard_that_is_none_is_refused(tmp_path, source, shard):
    dp.prepare_pyramid(source, tmp_path / "a.zarr", **SMALL)
    with pytest.raises(ValueError, match="shard must be"):
        dp.run_units(tmp_path / "a.zarr", shard=shard)


def test_a_plan_cannot_be_stored_for_an_array(tmp_path):
    with pytest.raises(ValueError, match="must be a path or a URL"):
        dp.prepare_pyramid(volume(), tmp_path / "a.zarr", **SMALL)
    assert not (tmp_path / "a.zarr").exists()


def test_units_and_finish_need_a_stored_plan(tmp_path, source):
    for verb in (dp.run_units, dp.finish_pyramid):
        with pytest.raises(FileNotFoundError, match="stored plan must be"):
            verb(tmp_path / "nothing.zarr")
    assert not (tmp_path / "nothing.zarr").exists()
    dp.write_pyramid(source, tmp_path / "a.zarr", **SMALL)
    with pytest.raises(FileExistsError, match="which is complete"):
        dp.run_units(tmp_path / "a.zarr")


def test_finish_leaves_a_pyramid_as_it_is_that_is_complete(tmp_path, source):
    written = dp.write_pyramid(source, tmp_path / "a.zarr", **SMALL)
    assert str(dp.finish_pyramid(tmp_path / "a.zarr")) == str(written)


def test_a_stored_plan_is_read_back_as_it_was(source):
    plan = dp.plan_pyramid(dp.open_image(source), scale_factors=[2, 4], sigma=0.6)
    assert type(plan).from_json(json.loads(json.dumps(plan.to_json()))) == plan


# -- kills ---------------------------------------------------------------------------

WRITE = """
import sys, dask_pyramid as dp
from dask_pyramid import cost
cost._UNIT_VOXELS = 2**15
dp.write_pyramid(sys.argv[1], sys.argv[2], scale_factors=[2, 4], chunks=8,
                 shards=False, workers=2, mode=sys.argv[3])
"""


def spawn(source, target, mode):
    return subprocess.Popen([sys.executable, "-c", WRITE, source, target, mode])


def test_a_killed_process_leaves_a_store_that_resumes(tmp_path, source):
    whole, target = tmp_path / "whole.zarr", tmp_path / "a.zarr"
    assert spawn(source, whole, "w-").wait(60) == 0
    for share in (0.0, 0.3, 0.6, 0.9):
        process = spawn(source, target, "a")
        receipts = target / ".dask-pyramid" / "receipts"
        while process.poll() is None:
            done = len(list(receipts.glob("*.json"))) if receipts.exists() else -1
            if done >= share * 16:
                break
            time.sleep(0.002)
        process.kill()
        process.wait(60)
        shutil.rmtree(tmp_path / "copy.zarr", ignore_errors=True)
        if process.returncode == 0:
            break
    assert spawn(source, target, "a").wait(60) == 0
    assert content(target) == content(whole)


# -- the lock ------------------------------------------------------------------------


def test_a_second_writer_is_told_who_writes(tmp_path, source, runs):
    told = []

    def look(_progress):
        with pytest.raises(LockedError, match=f"process {os.getpid()} on") as error:
            dp.write_pyramid(source, tmp_path / "a.zarr", mode="a", **SMALL)
        told.append(str(error.value))

    dp.write_pyramid(source, tmp_path / "a.zarr", progress=look, **SMALL)
    assert "break_lock=True" in told[0]
    assert not (tmp_path / "a.zarr" / ".dask-pyramid").exists()
