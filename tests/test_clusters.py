"""Clusters that the command starts: real workers, a batch system that is a script."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import zarr
from click.testing import CliRunner

import dask_pyramid as dp
from dask_pyramid.cli import main
from dask_pyramid.runner import plugin
from drawn import values

SBATCH = """#!{python}
import os, subprocess, sys
folder = {folder!r}
job = str(len(os.listdir(folder)))
process = subprocess.Popen(["bash", sys.argv[-1]], start_new_session=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
with open(os.path.join(folder, job), "w") as file:
    file.write(str(process.pid))
print("Submitted batch job", job)
"""
SCANCEL = """#!{python}
import os, signal, sys
for job in sys.argv[1:]:
    with open(os.path.join({folder!r}, job)) as file:
        os.killpg(int(file.read()), signal.SIGTERM)
"""


def spawn(*arguments, **options):
    command = [sys.executable, "-m", "dask_pyramid.cli", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.zarr"
    zarr.create_array(
        str(path), data=values((32, 48, 64), "uint16", 3), chunks=(16, 16, 16)
    )
    return path


def objects_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def is_gone(pid):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def slurm(tmp_path):
    """Put commands on the path that start the scripts of jobs as local processes."""
    folder, commands = tmp_path / "jobs", tmp_path / "bin"
    folder.mkdir()
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        path = commands / name
        path.write_text(text.format(python=sys.executable, folder=str(folder)))
        path.chmod(0o755)
    environment = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    return folder, environment


def jobs_of(folder):
    pids = [int(path.read_text()) for path in folder.iterdir()]
    assert pids
    return pids


SLURM = (
    *("--cluster", "slurm", "--cluster-option", "cores=1"),
    *("--cluster-option", "memory=2GiB", "--cluster-option", "interface=lo"),
    *("--cluster-option", 'job_extra_directives=["--qos=low"]'),
    *("--cluster-option", 'scheduler_options={"dashboard_address": ":0"}'),
)


def test_jobs_of_slurm_write_the_same_bytes_and_end(source, slurm, tmp_path):
    pytest.importorskip("dask_jobqueue")
    folder, environment = slurm
    dp.write_pyramid(source, tmp_path / "a.zarr", workers=1)
    command = ("write", source, tmp_path / "b.zarr", *SLURM, "--jobs", "2")
    process = spawn(*command, env=environment, cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert "in: 1 level" in out
    assert objects_of(tmp_path / "a.zarr") == objects_of(tmp_path / "b.zarr")
    assert all(map(is_gone, jobs_of(folder)))


def test_no_worker_within_the_time_is_an_error_that_ends_the_jobs(
    source, slurm, tmp_path
):
    pytest.importorskip("dask_jobqueue")
    folder, environment = slurm
    command = ("write", source, tmp_path / "b.zarr", *SLURM, "--wait", "0.1")
    command += ("--cluster-option", 'job_script_prologue=["sleep 600"]')
    process = spawn(*command, env=environment, cwd=tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Error: cluster must have a worker within 0.1 s" in err
    assert all(map(is_gone, jobs_of(folder)))
    assert not (tmp_path / "b.zarr").exists()


def test_a_local_cluster_writes_and_is_closed(source, tmp_path):
    dp.write_pyramid(source, tmp_path / "a.zarr", workers=1)
    process = spawn(
        *("write", source, tmp_path / "b.zarr", "--cluster", "local", "--jobs", "2"),
        *("--cluster-option", "threads_per_worker=1"),
    )
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert objects_of(tmp_path / "a.zarr") == objects_of(tmp_path / "b.zarr")


def children_of(pid):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks /proc for children")
@pytest.mark.parametrize("cluster", [[], ["--cluster", "local", "--jobs", "1"]])
def test_sigterm_stops_publishes_nothing_and_leaves_no_process(cluster, tmp_path):
    source, target = tmp_path / "in.zarr", tmp_path / "a.zarr"
    zarr.create_array(
        str(source), data=values((96, 512, 512), "uint16", 3), chunks=(32, 64, 64)
    )
    process = spawn(
        *("write", source, target, "--compressor", "gzip", "--shards", "none"),
        *("--memory-limit", "1GiB", "--method", "median", *cluster),
    )
    group = target / "zarr.json"
    while not group.exists() and process.poll() is None:
        time.sleep(0.01)
    children = children_of(process.pid)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert f"nothing was published at {target}" in err
    assert "Traceback" not in err
    assert bool(children) == bool(cluster)
    assert all(map(is_gone, children))
    with pytest.raises((FileNotFoundError, ValueError), match="pyramid"):
        dp.open_pyramid(target)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs", "2"], "need --cluster"),
        (["--cluster-option", "a=1"], "need --cluster"),
        (["--cluster", "local", "--scheduler", "threads"], "exclude each other"),
        (["--cluster", "local", "--jobs", "0"], "must be at least 1"),
        (["--cluster", "local", "--jobs", "3:1"], "must be at least 1, and rise"),
        (["--cluster", "local", "--jobs", "many"], "must be a whole number"),
        (["--cluster", "local", "--cluster-option", "a"], "must be key=value"),
        (["--cluster", "pbs"], "is not one of"),
    ],
)
def test_wrong_usage_is_told(arguments, message):
    result = CliRunner().invoke(main, ["write", "a", "b", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_options_that_a_cluster_does_not_take_are_told(source, tmp_path):
    result = CliRunner().invoke(
        main,
        [
            *("write", str(source), str(tmp_path / "b.zarr"), "--cluster", "local"),
            *("--cluster-option", "colour=blue"),
        ],
    )
    assert result.exit_code == 1
    assert "cluster options must be those of 'local'" in result.stderr
    assert json.dumps("blue").strip('"') in result.stderr


def test_ctrl_c_in_a_terminal_is_left_to_the_client(monkeypatch):
    monkeypatch.setattr(plugin, "Station", lambda packed: packed)
    monkeypatch.setattr(plugin, "limit_threads", lambda count: None)
    worker = SimpleNamespace(nanny="", state=SimpleNamespace(nthreads=1))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        plugin.JobPlugin(b"").setup(worker)
        shared = signal.getsignal(signal.SIGINT)
        worker.nanny = "tcp://127.0.0.1:1"
        plugin.JobPlugin(b"").setup(worker)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert shared is signal.default_int_handler, "a process of its own, or nothing"
