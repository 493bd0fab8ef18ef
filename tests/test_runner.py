"""Whoever runs the units, the bytes are the same; what fails is named and bounded."""

import asyncio
import contextlib
import errno
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster, SchedulerPlugin
from zarr.storage import MemoryStore

import dask_pyramid as dp
from dask_pyramid import runner
from dask_pyramid.runner import cluster as runner_cluster
from dask_pyramid.runner import local
from dask_pyramid.store import publication, targets
from dask_pyramid.units import Job
from drawn import small_world, values
from faulty import FaultyReader, holds, reads

SHAPE = (32, 48, 64)
SMALL = {
    "scale_factors": [2, 4],
    "chunks": 8,
    "shards": False,
    "method": "mean",
    "name": "n",
    "memory_limit": "8 GiB",
}


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "in.zarr"
    zarr.create_array(str(path), data=values(SHAPE, "uint16", 3), chunks=(16, 16, 16))
    return str(path)


@pytest.fixture(scope="module")
def expected(source, tmp_path_factory):
    target = tmp_path_factory.mktemp("expected") / "a.zarr"
    with small_world(unit=16**3, block=4000, fused=1):
        dp.write_pyramid(source, target, workers=1, **SMALL)
    return files_of(target)


def written(source, target, **options):
    with small_world(unit=16**3, block=4000, fused=1):
        dp.write_pyramid(source, target, **SMALL | options)
    return files_of(target)


def faulty(source, folder, **fault):
    image = dp.open_image(source)
    return replace(image, reader=FaultyReader(image.reader, folder, **fault))


def named(error, voxel):
    """Whether the first note names a unit and a region of level 0 with the voxel."""
    note = error.__notes__[0]
    assert re.match(r"in unit 0-\d+\.\d+\.\d+, level 0, z ", note)
    spans = re.findall(r"[zyx] (\d+):(\d+)", note)
    return holds([slice(int(a), int(b)) for a, b in spans], voxel)


def pixels(files):
    """Return all but the record of the source, which differs between sources."""
    return {name: data for name, data in files.items() if name != "zarr.json"}


@contextmanager
def quiet():
    """Tornado and asyncio warn of what they do to each other when a cluster stops."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def local_cluster(**options):
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True} | options
    with quiet(), LocalCluster(dashboard_address=":0", **options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cluster():
    with local_cluster() as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=False) as client:
        yield client


# --- the same bytes --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stored", "array", "graph"])
@pytest.mark.parametrize(
    "options",
    [
        {"client": "synchronous"},
        {"client": "threads", "workers": 4},
        {"client": "processes", "workers": 2},
    ],
    ids=lambda options: options["client"],
)
def test_schedulers_of_one_machine_write_the_same_bytes(
    kind, options, source, expected, tmp_path
):
    array = zarr.open_array(source, mode="r")[:]
    data = {
        "stored": source,
        "array": array,
        "graph": da.from_array(array, chunks=(9, 20, 31)) + 0,
    }[kind]
    found = written(data, tmp_path / "a.zarr", **options)
    assert pixels(found) == pixels(expected)
    assert kind != "stored" or found == expected


def test_a_client_and_an_address_write_the_same_bytes(
    cluster, client, source, expected, tmp_path
):
    for number, given in enumerate((client, cluster.scheduler_address)):
        target = tmp_path / f"{number}.zarr"
        assert written(source, target, client=given) == expected
    assert client.status == "running"


def test_an_array_in_memory_reaches_a_cluster_without_a_warning(
    client, source, expected, tmp_path
):
    array = zarr.open_array(source, mode="r")[:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with dask.config.set(
            {"distributed.admin.large-graph-warning-threshold": "4kB"}
        ):
            found = written(array, tmp_path / "a.zarr", client=client)
    assert pixels(found) == pixels(expected)


def test_a_scheduler_and_workers_of_other_commands_write_the_same_bytes(
    source, expected, tmp_path
):
    with remote(tmp_path) as (address, _):
        assert written(source, tmp_path / "a.zarr", client=address) == expected


@contextmanager
def remote(folder, **environment):
    """Start a scheduler and two workers as separate commands."""
    described = folder / "scheduler.json"
    options = {
        "env": {**os.environ, **environment},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": folder,
    }
    scheduler = subprocess.Popen(
        [
            *(sys.executable, "-m", "distributed.cli.dask_scheduler"),
            *("--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
            *("--scheduler-file", str(described)),
        ],
        **options,
    )
    workers = subprocess.Popen(
        [
            *(sys.executable, "-m", "distributed.cli.dask_worker", "--no-dashboard"),
            *("--nworkers", "2", "--nthreads", "1"),
            *("--scheduler-file", str(described)),
        ],
        **options,
    )
    try:
        with Client(
            scheduler_file=str(described), timeout=60, set_as_default=False
        ) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, scheduler
    finally:
        for process in (workers, scheduler):
            process.terminate()
            process.wait(20)


# --- which scheduler -------------------------------------------------------------


def kind_of(client=None, **options):
    with runner.connect(client, memory_limit="8 GiB", **options) as team:
        return team.kind, team.client


def test_nothing_means_threads():
    assert kind_of() == ("threads", None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sync", "synchronous"),
        ("synchronous", "synchronous"),
        ("single-threaded", "synchronous"),
        ("threads", "threads"),
        ("processes", "processes"),
    ],
)
def test_the_configuration_of_dask_chooses_and_so_do_its_names(name, kind):
    with dask.config.set(scheduler=name):
        assert kind_of()[0] == kind
    assert kind_of(name)[0] == kind


def test_the_default_client_is_taken_unless_workers_are_asked_for(cluster):
    with Client(cluster) as client:
        assert kind_of() == ("client", client)
        assert kind_of(workers=2) == ("threads", None)
        with dask.config.set(scheduler="synchronous"):
            assert kind_of() == ("synchronous", None)
    assert kind_of() == ("threads", None)


def test_a_client_made_from_an_address_is_closed_and_never_the_default(cluster):
    with runner.connect(cluster.scheduler_address) as team:
        made = team.client
        assert kind_of() == ("threads", None)
    assert made.status == "closed"


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("thread", ValueError, "got 'thread'"),
        (3, TypeError, "client must be a distributed.Client or an address, got 3"),
    ],
)
def test_what_is_no_scheduler_is_refused(given, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        dp.write_pyramid(np.zeros((4, 4)), tmp_path / "a.zarr", client=given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheduler", ["dask.distributed", 4])
def test_a_configuration_that_names_no_scheduler_is_refused(scheduler):
    with (
        dask.config.set(scheduler=scheduler),
        pytest.raises(ValueError, match="dask's"),
    ):
        kind_of()


def test_the_synchronous_scheduler_takes_no_workers():
    with pytest.raises(ValueError, match="workers must be 1 or None"):
        kind_of("synchronous", workers=2)


def test_an_address_without_a_scheduler_is_an_error_in_bounded_time(monkeypatch):
    assert runner.team._CONNECT <= 10
    monkeypatch.setattr(runner.team, "_CONNECT", 0.5)
    with quiet(), pytest.raises(ConnectionError, match="must be the address of a runn"):
        kind_of("tcp://127.0.0.1:9")


def test_synchronous_stays_in_the_calling_thread(source, tmp_path):
    data = faulty(source, tmp_path / "log")
    written(data, tmp_path / "a.zarr", client="synchronous")
    here = str(os.getpid()), str(threading.get_ident())
    assert {read[:2] for read in reads(tmp_path / "log")} == {here}


def test_a_graph_is_computed_in_the_calling_thread_too(tmp_path):
    seen = set()

    def look(block):
        if block.size:
            seen.add(threading.get_ident())
        return block

    lazy = da.zeros((20, 20), chunks=5, dtype="uint8").map_blocks(look, dtype="uint8")
    dp.write_pyramid(lazy, tmp_path / "a.zarr", client="synchronous")
    assert seen == {threading.get_ident()}


def test_processes_are_others_and_cannot_write_to_memory(source, tmp_path):
    data = faulty(source, tmp_path / "log")
    written(data, tmp_path / "a.zarr", client="processes", workers=2)
    pids = {read[0] for read in reads(tmp_path / "log")}
    assert str(os.getpid()) not in pids
    with pytest.raises(ValueError, match="in reach of the workers"):
        written(source, MemoryStore(), client="processes")


def test_a_script_without_its_guard_is_told_so(source, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import dask_pyramid as dp
            dp.write_pyramid({source!r}, "a.zarr", mode="w", client="processes")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()
    assert any("RuntimeError: processes must be able to start" in line for line in last)
    assert "if __name__ == '__main__':" in done.stderr
    assert "FileExistsError" not in done.stderr


# --- event loops -----------------------------------------------------------------


def test_a_running_event_loop_is_no_obstacle(cluster, source, expected, tmp_path):
    async def main():
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            return written(source, tmp_path / "a.zarr", client=client)

    with quiet():
        assert asyncio.run(main()) == expected


def test_an_asynchronous_client_is_told_what_to_do(cluster, source, tmp_path):
    async def main():
        async with Client(
            cluster.scheduler_address, asynchronous=True, set_as_default=False
        ) as client:
            with pytest.raises(ValueError, match=r"asyncio\.to_thread"):
                written(source, tmp_path / "a.zarr", client=client)
            return await asyncio.to_thread(
                written, source, tmp_path / "a.zarr", client=client
            )

    with quiet():
        assert "zarr.json" in asyncio.run(main())


# --- bounded ---------------------------------------------------------------------


class Watch(SchedulerPlugin):
    """What the scheduler knows at each change."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.sizes, self.most, self.seen = [], 0, set()

    def transition(self, key, start, finish, *args, **kwargs):
        self.most = max(self.most, len(self.scheduler.tasks))
        task = self.scheduler.tasks.get(key)
        if finish == "processing" and task is not None:
            self.seen.add(key)
            self.sizes.append(len(pickle.dumps(task.run_spec)))


def test_tasks_are_small_few_at_a_time_and_forgotten(source, expected, tmp_path):
    with (
        local_cluster(processes=False) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        watch = Watch(cluster.scheduler)
        cluster.scheduler.add_plugin(watch)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert written(source, tmp_path / "a.zarr", client=client) == expected
        threads = 2
        assert len(watch.seen) > 12 * threads
        assert max(watch.sizes) < 1000
        assert watch.most <= 4 * threads + 4
        deadline = time.monotonic() + 10
        while cluster.scheduler.tasks and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not cluster.scheduler.tasks
        plugins = cluster.scheduler.worker_plugins
        assert not any(name.startswith("dask-pyramid") for name in plugins)
        assert not client.futures


def job_for(source, folder):
    image = dp.open_image(source)
    with small_world(unit=16**3, block=4000, fused=1):
        plan = dp.plan_pyramid(image, **{k: v for k, v in SMALL.items() if k != "name"})
    place = targets.open_target(folder, mode="w-")
    publication.create(place, plan, None, attributes={})
    return Job(plan=plan, reader=image.reader, target=place)


def test_units_that_are_done_are_skipped_and_counted_as_done(source, tmp_path):
    job = job_for(source, tmp_path / "a.zarr")
    total = job.plan.n_tasks
    receipts, states = [], []
    skip = set(range(0, total, 3))
    runner.run_units(job, skip=skip, on_receipt=receipts.append, progress=states.append)
    names = {unit.name for unit in job.plan.units if unit.number not in skip}
    assert {receipt.unit for receipt in receipts} == names
    assert [state.done for state in states] == list(range(len(skip), total + 1))
    states.clear()
    runner.run_units(job, skip=range(total), progress=states.append)
    assert [(state.done, state.bytes_written) for state in states] == [(total, 0)]


def test_workers_that_join_late_are_given_units(source, expected, tmp_path):
    data = faulty(source, tmp_path / "log")
    with (
        local_cluster(n_workers=1) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):

        def grow(progress):
            if progress.done == 2:
                cluster.scale(2)
                client.wait_for_workers(2, timeout=60)

        found = written(data, tmp_path / "a.zarr", client=client, progress=grow)
    assert pixels(found) == pixels(expected)
    assert len({read[0] for read in reads(tmp_path / "log")}) == 2


# --- errors that pass ------------------------------------------------------------


@pytest.mark.parametrize("name", ["synchronous", "threads", "processes", "client"])
def test_an_error_that_passes_is_tried_again(name, client, source, expected, tmp_path):
    data = faulty(
        source, tmp_path / "log", where=(16, 16, 32), fault=errno.EIO, times=2
    )
    states = []
    found = written(
        data,
        tmp_path / "a.zarr",
        client=client if name == "client" else name,
        progress=states.append,
    )
    assert pixels(found) == pixels(expected)
    assert states[-1].retried == 2
    assert states[-1].done == states[-1].total
    levels = dp.open_pyramid(tmp_path / "a.zarr").levels
    assert states[-1].voxels == sum(level.size for level in levels)


def test_a_graph_that_fails_once_is_computed_again(client, source, expected, tmp_path):
    array = zarr.open_array(source, mode="r")[:]
    for name in ("threads", "processes", "client"):
        marks = tmp_path / f"{name}-marks"

        def fail_once(block, marks=marks):
            with contextlib.suppress(FileExistsError):  # of blocks made beside it
                marks.mkdir()
                raise TimeoutError("the instrument was away")
            return block

        lazy = da.from_array(array, chunks=(9, 20, 31)).map_blocks(
            fail_once, dtype="uint16", meta=array[:0, :0, :0]
        )
        given = {"client": client} if name == "client" else {"client": name}
        if name != "client":
            given["workers"] = 2
        found = written(lazy, tmp_path / f"{name}.zarr", **given)
        assert pixels(found) == pixels(expected)
        assert marks.exists()


def test_an_error_that_stays_is_named_with_its_region_after_all_attempts(
    source, tmp_path
):
    data = faulty(source, tmp_path / "log", where=(16, 16, 32), fault=errno.EIO)
    with pytest.raises(OSError, match="injected") as error:
        written(data, tmp_path / "a.zarr", workers=1, retries=3)
    assert named(error.value, (16, 16, 32))
    assert "units are done" in error.value.__notes__[1]
    assert "mode='a'" in error.value.__notes__[2]
    assert len(list((tmp_path / "log").glob("fault-*"))) == 4


@pytest.mark.parametrize("name", ["threads", "processes", "client"])
def test_a_full_disk_is_not_tried_again(name, client, source, tmp_path):
    data = faulty(source, tmp_path / "log", where=(16, 16, 32), fault=errno.ENOSPC)
    with pytest.raises(OSError, match="injected") as error:
        written(
            data,
            tmp_path / "a.zarr",
            client=client if name == "client" else name,
        )
    assert error.value.errno == errno.ENOSPC
    assert named(error.value, (16, 16, 32))
    assert len(list((tmp_path / "log").glob("fault-*"))) == 1


@pytest.mark.parametrize("name", ["threads", "processes", "client"])
def test_nothing_is_written_after_the_error(name, client, source, tmp_path):
    data = faulty(source, tmp_path / "log", where=(0, 16, 16), fault=errno.ENOSPC)
    with pytest.raises(OSError, match="injected"):
        written(
            data,
            tmp_path / "a.zarr",
            client=client if name == "client" else name,
        )
    before = files_of(tmp_path)
    time.sleep(0.5)
    assert files_of(tmp_path) == before


def test_a_damaged_chunk_is_named_with_its_region_from_a_process(tmp_path):
    path = tmp_path / "in.zarr"
    array = zarr.create_array(
        str(path), data=values(SHAPE, "uint16", 3), chunks=(16,) * 3
    )
    (path / "c" / "1" / "2" / "3").write_bytes(b"torn")
    assert array.shape == SHAPE
    with pytest.raises(OSError, match="cannot read") as error:
        written(str(path), tmp_path / "a.zarr", client="processes", workers=1)
    assert named(error.value, (16, 32, 48))


# --- processes that die ----------------------------------------------------------


@pytest.mark.parametrize("name", ["processes", "client"])
def test_a_worker_that_is_killed_costs_only_its_units(name, source, expected, tmp_path):
    data = faulty(source, tmp_path / "log", where=(16, 16, 32), fault="kill", times=1)
    if name == "processes":
        found = written(data, tmp_path / "a.zarr", client=name, workers=2)
    else:
        with (
            local_cluster() as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            found = written(data, tmp_path / "a.zarr", client=client)
    assert pixels(found) == pixels(expected)
    starts = [read[2] for read in reads(tmp_path / "log")]
    again = len(starts) - len(set(starts))
    assert 1 <= again <= 8  # no more than what was in flight


def test_outcomes_that_go_with_their_worker_are_waited_for_again(
    source, expected, tmp_path, monkeypatch
):
    lost = []

    def take(queue, timeout):
        done = local.take(queue, timeout)
        if done and not lost:
            lost.extend(done)
            for pid in client.run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)
            while any(future.status == "finished" for future in done):
                time.sleep(0.01)
        return done

    monkeypatch.setattr(runner_cluster, "take", take)
    with local_cluster() as cluster, Client(cluster, set_as_default=False) as client:
        assert written(source, tmp_path / "a.zarr", client=client) == expected
    assert lost


@pytest.mark.parametrize("name", ["processes", "client"])
def test_a_unit_that_kills_each_worker_is_named_when_others_are_done(
    name, source, tmp_path
):
    data = faulty(source, tmp_path / "log", where=(16, 16, 32), fault="kill")
    states = []
    with contextlib.ExitStack() as stack:
        options = {"client": name, "workers": 2}
        if name == "client":
            setting = {"distributed.scheduler.allowed-failures": 0}
            stack.enter_context(dask.config.set(setting))
            cluster = stack.enter_context(local_cluster())
            options = {"client": Client(cluster, set_as_default=False)}
            stack.enter_context(options["client"])
        with pytest.raises(RuntimeError, match="worker must survive") as error:
            written(data, tmp_path / "a.zarr", progress=states.append, **options)
    assert named(error.value, (16, 16, 32))
    first_pass, in_flight = 2 * 3 * 4, 8
    assert first_pass - in_flight <= states[-1].done < first_pass


def test_a_scheduler_that_dies_ends_the_run(source, tmp_path):
    with remote(tmp_path) as (address, scheduler):

        def kill(progress):
            if progress.done == 2:
                scheduler.send_signal(signal.SIGKILL)

        started = time.monotonic()
        with quiet(), pytest.raises(ConnectionError, match="must stay connected") as e:
            written(source, tmp_path / "a.zarr", client=address, progress=kill)
        assert time.monotonic() - started < 60  # not a hang
        assert any("mode='a'" in note for note in e.value.__notes__)
