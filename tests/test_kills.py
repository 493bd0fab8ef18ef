"""Whatever is killed, whenever: the store resumes to the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from zarr.storage import MemoryStore

import dask_pyramid as dp

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import killing

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Give a place to kill in, with a process that opens all that it can."""
    made = killing.Scene(tmp_path_factory.mktemp("kills"), killing.SMALL)
    made.prepare()
    reader = subprocess.Popen(
        [sys.executable, Path(killing.__file__).with_name("polling.py"), made.folder],
        stdout=subprocess.PIPE,
        text=True,
    )
    yield made
    made.close()
    (made.folder / "end").touch()
    said, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0, said


def check(result, seed):
    assert result.good, (seed, result)


@pytest.mark.once
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_client_leaves_a_store_that_resumes(scene, seed):
    check(killing.kill_client(scene, random.Random(seed)), seed)


@pytest.mark.once
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_client_leaves_a_store_that_resumes(scene, how):
    check(killing.kill_client(scene, random.Random(3), how=how), 3)


@pytest.mark.once
@pytest.mark.parametrize("mode", ["a", "w"])
@pytest.mark.parametrize("at", [23, -700, -60])
def test_a_kill_at_any_change_of_a_file_is_made_up_for(scene, mode, at):
    check(killing.kill_itself(scene, random.Random(at), mode, at=at), at)


@pytest.mark.once
def test_killed_shares_and_a_killed_finish_are_made_up_for(scene):
    check(killing.kill_share(scene, random.Random(5)), 5)


@pytest.mark.once
def test_killed_clients_workers_and_schedulers_are_made_up_for(scene):
    rng = random.Random(6)
    with killing.cluster(scene) as cluster:
        cluster.wait()
        check(killing.kill_of_cluster(cluster, rng, "worker"), 6)
        check(killing.kill_client(scene, rng, cluster.address), 6)
        check(killing.kill_of_cluster(cluster, rng, "scheduler"), 6)


# -- every single change of a store ---------------------------------------------------


class DeadError(BaseException):
    """The process that writes is no more."""


class Mortal(MemoryStore):
    """A store whose writer dies before a change, and can change nothing after it."""

    at = 2**62
    changes = 0

    def _count(self):
        self.changes += 1
        if self.changes >= self.at:
            raise DeadError

    async def set(self, key, value, byte_range=None):
        self._count()
        await super().set(key, value, byte_range)

    async def set_if_not_exists(self, key, value):
        self._count()
        await super().set_if_not_exists(key, value)

    async def delete(self, key):
        self._count()
        await super().delete(key)

    async def delete_dir(self, prefix):
        self._count()
        await super().delete_dir(prefix)


def contents(store):
    return {key: value.to_bytes() for key, value in store._store_dict.items()}


SMALL = {"scale_factors": [2], "chunks": 16, "shards": False, "client": "synchronous"}
DATA = np.random.default_rng(1).integers(0, 99, (16, 32, 32)).astype("uint16")


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.* is complete; whether it holds this array")
@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("before", ["nothing", "complete", "unfinished"])
def test_a_writer_may_die_before_any_change_of_a_store(before, version):
    # Half of the old objects have names that no new one has.
    old = {**SMALL, "version": version, "method": "max", "chunks": (8, 16, 32)}
    new = {**SMALL, "version": version, "method": "mean"}
    first = Mortal()
    if before != "nothing":
        dp.write_pyramid(DATA + 1, first, **old)
    if before == "unfinished":
        store, first = first, Mortal()
        first.at = store.changes - 8
        with pytest.raises(DeadError):
            dp.write_pyramid(DATA + 1, first, **old)
        assert any(key.endswith("0/0/0") for key in first._store_dict)

    def prepared():
        return Mortal(dict(first._store_dict))

    mode = "w-" if before == "nothing" else "w"
    whole = prepared()
    dp.write_pyramid(DATA, whole, mode=mode, break_lock=True, **new)
    n_changes = whole.changes
    assert n_changes > 20
    for at in range(1, n_changes + 1):
        store = prepared()
        store.at = at
        with pytest.raises(DeadError):
            dp.write_pyramid(DATA, store, mode=mode, break_lock=True, **new)
        store.at = 2**62
        look_whether_it_opens(store, before)
        goes_on(store, new)
        assert contents(store) == contents(whole), at


def goes_on(store, options):
    """Go on, or start again where the old one is still there, or what is left of it."""
    try:
        dp.write_pyramid(DATA, store, mode="a", break_lock=True, **options)
    except ValueError as error:
        if "got another one" not in str(error) and "differs" not in str(error):
            raise
        dp.write_pyramid(DATA, store, mode="w", break_lock=True, **options)


def look_whether_it_opens(store, before):
    """Open what is there: only what is complete may be opened."""
    try:
        pyramid = dp.open_pyramid(store)
    except (ValueError, FileNotFoundError):
        return
    found = pyramid.levels[0].compute()
    old = before == "complete" and np.array_equal(found, DATA + 1)
    assert old or np.array_equal(found, DATA)
    assert pyramid.levels[1].compute().any()


# -- twice at a time ------------------------------------------------------------------

TWICE = """
import sys
from dataclasses import replace
from dask_pyramid import cost, jobs, units
from dask_pyramid.store import ledger, targets
cost._UNIT_VOXELS = 2**15
target = targets.open_target(sys.argv[1], mode="a")
job = jobs.StoredJob.from_json(ledger.read_job(target))
task = units.Job(plan=job.plan, reader=jobs.reopen(job).reader, target=target,
                 fingerprint=job.fingerprint)
print("go", flush=True)
sys.stdin.readline()
for unit in job.plan.units.of_pass(0):
    units.run_unit(task, unit)
"""


def test_every_unit_run_twice_at_a_time_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**15)
    source = tmp_path / "in.tif"
    volume = np.random.default_rng(2).integers(0, 99, (64, 96, 96))
    tifffile.imwrite(source, volume.astype("uint16"))
    options = {"scale_factors": [2, 4], "chunks": 8, "shards": False}
    dp.write_pyramid(source, tmp_path / "whole.zarr", **options)
    dp.prepare_pyramid(source, tmp_path / "a.zarr", **options)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWICE, tmp_path / "a.zarr"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in processes] == ["go\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    dp.finish_pyramid(tmp_path / "a.zarr")
    assert killing.content(tmp_path / "a.zarr") == killing.content(
        tmp_path / "whole.zarr"
    )
    assert not os.path.lexists(tmp_path / "a.zarr" / ".dask-pyramid")


def test_a_unit_that_outlives_its_run_writes_nothing_into_the_next(tmp_path):
    from dask_pyramid import jobs, units
    from dask_pyramid.store import ledger, targets

    source, place = tmp_path / "in.tif", tmp_path / "a.zarr"
    tifffile.imwrite(source, DATA)
    dp.prepare_pyramid(source, place, scale_factors=[2], method="max")
    target = targets.open_target(place, mode="a")
    job = jobs.StoredJob.from_json(ledger.read_job(target))
    task = units.Job(
        plan=job.plan,
        reader=dp.open_image(source).reader,
        target=target,
        fingerprint=job.fingerprint,
    )
    dp.prepare_pyramid(source, place, scale_factors=[2], method="min", mode="w")
    before = killing.content(place)
    with pytest.raises(OSError, match="which somebody has begun again"):
        units.run_unit(task, job.plan.units[0])
    assert {
        name: data
        for name, data in killing.content(place).items()
        if "staging" not in name
    } == before
