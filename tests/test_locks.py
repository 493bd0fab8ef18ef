"""One writer at a time, whoever it is and however the last one ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import obstore.store
import pytest
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore

import dask_pyramid as dp
from dask_pyramid.store import locks, objects
from dask_pyramid.store.locks import Lock, LockedError

DATA = np.random.default_rng(3).integers(1, 999, (24, 40, 50)).astype("uint16")
SMALL = {"scale_factors": [2], "chunks": 16, "shards": False, "workers": 1}
LOCK = ".dask-pyramid/lock"


def asynchronous(protocol, **options):
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    return AsyncFileSystemWrapper(
        fsspec.filesystem(protocol, **options), asynchronous=True
    )


STORES = {
    "local": lambda folder: LocalStore(folder),
    "memory": lambda _: MemoryStore(),
    "fsspec": lambda folder: FsspecStore(
        asynchronous("file", auto_mkdir=True), path=str(folder)
    ),
    "obstore local": lambda folder: ObjectStore(
        obstore.store.LocalStore(str(folder), mkdir=True)
    ),
    "obstore memory": lambda _: ObjectStore(obstore.store.MemoryStore()),
}


@pytest.fixture
def soon_settled(monkeypatch):
    """Wait a fifth of the time until all who race have put their locks."""
    for module in (locks, objects):
        monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.2)


@pytest.fixture(params=STORES)
def store(request, tmp_path, soon_settled):
    (tmp_path / "store").mkdir()
    return STORES[request.param](tmp_path / "store")


def put_lock(store, key=LOCK, **changes):
    """Write a lock by hand: of a living process of another machine, but for changes."""
    content = {
        "token": "other",
        "machine": "far/away",
        "host": "far-away",
        "pid": 4711,
        "started": "1",
        "renewed": time.time(),
        **changes,
    }
    objects.put(store, key, json.dumps(content).encode())


def here(pid, started=None):
    """Return the entries of a lock of a process of this machine."""
    return {"machine": locks._machine(), "pid": pid, "started": started or "1"}


# -- races -----------------------------------------------------------------------------


def test_of_sixteen_threads_one_gets_the_lock(store, monkeypatch):
    for module in (locks, objects):  # as it is: a busy machine makes threads late
        monkeypatch.setattr(module, "_SETTLE_SECONDS", 1.0)
    start, end = threading.Barrier(16), threading.Barrier(16)
    won, refused = [], []

    def race():
        start.wait()
        try:
            with Lock(store, "here"):
                won.append(1)
                end.wait()
        except LockedError:
            refused.append(1)
            end.wait()

    threads = [threading.Thread(target=race) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 15)
    assert not list(objects.list_sizes(store, ""))


# All is imported before the processes part, and they begin when a pipe is closed.
RACE = """
import os, sys, time
import numpy as np
import numcodecs, psutil, tqdm, zarr.codecs, zarr.storage, zarrs
import dask_pyramid as dp
from dask_pyramid import session, sources, write
from dask_pyramid.sources import ome_zarr, planes, tiff
from dask_pyramid.store.locks import LockedError
target = sys.argv[1]
refused = target + ".refused"
def hold(_progress):
    "Write no longer than until somebody was refused, if that is asked for."
    end = time.time() + float(sys.argv[2])
    while time.time() < end and not os.path.exists(refused):
        time.sleep(0.02)
wait, go = os.pipe()
for number in range(16):
    if os.fork() == 0:
        break
else:
    os.close(go)
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(16)]
    print(codes.count(0), codes.count(3), codes.count(4))
    sys.exit()
os.close(go)
os.read(wait, 1)
try:
    dp.write_pyramid(np.full((8, 32, 32), 7, "uint8"), target, scale_factors=[2],
                     progress=hold)
    os._exit(0)
except LockedError as error:
    open(refused, "w").close()
    os._exit(3 if "must be written by one process at a time" in str(error) else 5)
except OSError as error:
    os._exit(4 if "target must" in str(error) else 6)
except BaseException as error:
    print(repr(error), file=sys.stderr)
    os._exit(7)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("seconds", [0, 60])
def test_of_sixteen_processes_one_writes_and_the_others_say_why_not(
    tmp_path, seconds, stale
):
    target = tmp_path / "a.zarr"
    if stale:
        put_lock(LocalStore(target), **here(2**22 + 1))
    command = [sys.executable, "-W", "ignore", "-c", RACE, str(target), str(seconds)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True
    )
    written, locked, late = map(int, done.stdout.split())
    # Who comes when the winner is done finds what it has written.
    assert (written, locked + late) == (1, 15), done.stderr
    if seconds:
        assert locked
    np.testing.assert_array_equal(dp.open_pyramid(target).levels[0].compute(), 7)
    assert sorted(path.name for path in target.iterdir()) == ["0", "1", "zarr.json"]


# -- locks that somebody has left ------------------------------------------------------


def test_the_lock_of_a_dead_process_is_taken(store):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    put_lock(store, **here(process.pid))
    with Lock(store, "here") as lock:
        lock.check()
    assert objects.get(store, LOCK) is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_lock_of_a_process_that_nobody_has_waited_for_is_taken(store):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = locks._started(process.pid)
    put_lock(store, **here(process.pid, started))
    with pytest.raises(LockedError, match=f"process {process.pid} on"):
        Lock(store, "here").__enter__()
    os.kill(process.pid, signal.SIGKILL)
    while Path(f"/proc/{process.pid}/stat").read_text().split()[2] != "Z":
        time.sleep(0.01)
    with Lock(store, "here"):
        pass
    process.wait()


def test_a_process_that_has_the_number_of_a_dead_one_holds_no_lock(store):
    put_lock(store, **here(os.getpid(), "an hour before"))
    with Lock(store, "here"):
        pass


def test_a_fresh_lock_of_another_machine_is_respected_and_an_old_one_is_not(store):
    put_lock(store)
    with pytest.raises(LockedError, match="process 4711 on far-away writes"):
        Lock(store, "here").__enter__()
    assert json.loads(objects.get(store, LOCK))["token"] == "other"
    put_lock(store, renewed=time.time() - 301)
    with Lock(store, "here"):
        pass


def test_a_lock_is_broken_on_demand(store):
    put_lock(store)
    put_lock(store, ".dask-pyramid/leases/other")
    with Lock(store, "here", break_lock=True) as lock:
        lock.check()
    assert not list(objects.list_sizes(store, ""))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b'"lock"',
        b"\xff\xfe",
        b"{}",
        b'{"token": 1}',
        json.dumps({**here(1), "token": 1, "host": 2, "renewed": "soon"}).encode(),
        json.dumps({**here(-5), "token": 1, "host": 2, "renewed": 1}).encode(),
        json.dumps({**here(10**30), "token": 1, "host": 2, "renewed": 1}).encode(),
        b'{"token": 1, "machine": 2, "host": 3, "pid": Infinity, "started": 4}',
        b'{"token": 1, "machine": 2, "host": 3, "pid": 1, "started": 4, '
        b'"renewed": NaN}',
    ],
)
def test_a_lock_that_cannot_be_read_is_nobodys(content, soon_settled):
    store = MemoryStore()
    objects.put(store, LOCK, content)
    objects.put(store, ".dask-pyramid/leases/x", content)
    with Lock(store, "here") as lock:
        lock.check()
    assert not list(objects.list_sizes(store, ""))


def test_the_owner_of_a_lock_renews_it(store, monkeypatch):
    monkeypatch.setattr(locks, "_BEAT_SECONDS", 0.02)
    with Lock(store, "here"):
        first = json.loads(objects.get(store, LOCK))["renewed"]
        deadline = time.monotonic() + 30
        while json.loads(objects.get(store, LOCK) or b"{}").get("renewed") == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_whoever_sees_the_lock_renewed_by_another_publishes_nothing(tmp_path):
    def steal(_progress):
        put_lock(LocalStore(tmp_path / "a.zarr"))

    with pytest.raises(LockedError, match="nothing was published by this one"):
        dp.write_pyramid(DATA, tmp_path / "a.zarr", progress=steal, **SMALL)
    with pytest.raises(ValueError, match="must be complete"):
        dp.open_pyramid(tmp_path / "a.zarr")
    lock = json.loads((tmp_path / "a.zarr" / LOCK).read_text())
    assert lock["token"] == "other", "that of the other stays"
    with pytest.raises(LockedError, match="process 4711 on far-away"):
        dp.write_pyramid(DATA, tmp_path / "a.zarr", mode="a", **SMALL)
    dp.write_pyramid(DATA, tmp_path / "a.zarr", mode="a", break_lock=True, **SMALL)
    np.testing.assert_array_equal(
        dp.open_pyramid(tmp_path / "a.zarr").levels[0].compute(), DATA
    )
    assert not (tmp_path / "a.zarr" / ".dask-pyramid").exists()


# -- shares ----------------------------------------------------------------------------


def test_leases_stand_side_by_side_and_keep_the_lock_away(store):
    with Lock(store, "here", shared=True), Lock(store, "here", shared=True):
        with pytest.raises(LockedError):
            Lock(store, "here").__enter__()
        assert objects.get(store, LOCK) is None, "who was refused leaves nothing"
    with Lock(store, "here"):
        with pytest.raises(LockedError):
            Lock(store, "here", shared=True).__enter__()
        assert [key for key, _ in objects.list_sizes(store, "")] == [LOCK]
    assert not list(objects.list_sizes(store, ""))


def test_who_does_not_write_alone_leaves_the_folders_that_codecs_fill(tmp_path):
    """Codecs make the folders of an object, and write the object a moment later."""
    store = LocalStore(tmp_path)
    filled = tmp_path / ".dask-pyramid/staging-x/0/c"
    with Lock(store, "here"):
        filled.mkdir(parents=True)
        with pytest.raises(LockedError):
            Lock(store, "here").__enter__()
        assert filled.exists(), "of a writer who refused a second one"
    with Lock(store, "here", shared=True):
        filled.mkdir(parents=True)
        with pytest.raises(LockedError):
            Lock(store, "here").__enter__()
        assert filled.exists(), "of a share that kept the lock away"
        with Lock(store, "here", shared=True):
            pass
        assert filled.exists(), "of a share that ended after another"
    with Lock(store, "here"):
        pass
    assert not any(tmp_path.iterdir()), "who writes alone leaves no empty folder"


def test_the_lease_of_a_dead_process_keeps_nobody_away(store):
    put_lock(store, ".dask-pyramid/leases/dead", **here(2**22 + 1))
    with Lock(store, "here"):
        pass
    assert not list(objects.list_sizes(store, ""))


# -- what was checked before the lock was held -----------------------------------------


def opened_late(monkeypatch, meanwhile):
    """Let `meanwhile` happen between the check of a target and its lock."""
    from dask_pyramid import session

    real = session.write

    def late(order, execution):
        monkeypatch.setattr(session, "write", real)
        meanwhile()
        real(order, execution)

    monkeypatch.setattr(session, "write", late)


@pytest.mark.parametrize("kind", ["folder", "memory"])
@pytest.mark.parametrize("mode", ["w-", "a", "w"])
def test_what_another_writes_before_the_lock_is_held_is_not_clobbered(
    tmp_path, monkeypatch, mode, kind
):
    target = tmp_path / "a.zarr" if kind == "folder" else MemoryStore()
    opened_late(monkeypatch, lambda: dp.write_pyramid(DATA, target, **SMALL))
    with pytest.raises(OSError, match="target must"):
        dp.write_pyramid(DATA + 1, target, mode=mode, **SMALL)
    np.testing.assert_array_equal(dp.open_pyramid(target).levels[0].compute(), DATA)


def test_two_replacements_at_a_time_do_not_lose_the_pyramid(tmp_path, monkeypatch):
    target = tmp_path / "a.zarr"
    dp.write_pyramid(DATA, target, **SMALL)
    seen = []

    def second(_progress):
        with pytest.raises(LockedError):
            dp.write_pyramid(DATA + 2, target, mode="w", **SMALL)
        seen.append(dp.open_pyramid(target).levels[0].compute()[0, 0, 0])

    dp.write_pyramid(DATA + 1, target, mode="w", progress=second, **SMALL)
    assert set(seen) == {DATA[0, 0, 0]}, "the old one, until the new one is complete"
    np.testing.assert_array_equal(dp.open_pyramid(target).levels[0].compute(), DATA + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_share_that_comes_late_does_not_write_into_a_finished_pyramid(
    tmp_path, monkeypatch
):
    import tifffile

    from dask_pyramid import session

    source, target = tmp_path / "in.tif", tmp_path / "a.zarr"
    tifffile.imwrite(source, DATA)
    dp.prepare_pyramid(source, target, scale_factors=[2], chunks=16)
    real = session._locked

    def late(*args, **options):
        monkeypatch.setattr(session, "_locked", real)
        dp.run_units(target)
        dp.finish_pyramid(target)
        return real(*args, **options)

    monkeypatch.setattr(session, "_locked", late)
    with pytest.raises(OSError, match="target must stay as it is"):
        dp.run_units(target)
    assert sorted(path.name for path in target.iterdir()) == ["0", "1", "zarr.json"]
