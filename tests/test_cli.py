"""The command, in this process and as a process of its own."""

import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner

import dask_pyramid as dp
from dask_pyramid import cli, metadata, options
from dask_pyramid.cli import parameters
from dask_pyramid.info import stored_info
from dask_pyramid.methods import METHODS

NUCLEI = str(Path(__file__).parents[1] / "examples" / "data" / "nuclei.tif")
PLACED = ("--scale", "0.29,0.26,0.26", "--unit", "um")


def run(*arguments):
    return CliRunner().invoke(cli.main, [str(a) for a in arguments])


def spawn(*arguments, **kwargs):
    command = [sys.executable, "-m", "dask_pyramid.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **kwargs)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.tif"
    tifffile.imwrite(path, np.arange(8 * 32 * 32, dtype="uint16").reshape(8, 32, 32))
    return path


def test_a_real_image_is_written_planned_and_told_by_a_process(tmp_path):
    target = tmp_path / "nuclei.ome.zarr"
    written = spawn("write", NUCLEI, target, *PLACED)
    assert (written.returncode, written.stderr) == (0, "")
    pyramid = dp.open_pyramid(target)
    assert written.stdout == f"{pyramid}\n"
    assert pyramid.shapes == ((60, 256, 256), (30, 128, 128), (15, 64, 64))
    assert pyramid.scale[1] == (0.58, 0.52, 0.52)
    assert pyramid.unit == ("micrometer",) * 3
    planned = spawn("plan", NUCLEI, *PLACED)
    assert (planned.returncode, planned.stderr) == (0, "")
    assert planned.stdout.startswith("Plan of 3 levels, uint16 (z, y, x)")
    told = spawn("info", target)
    assert (told.returncode, told.stderr) == (0, "")
    assert "0.5 (Zarr v3)" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["plan", "missing.tif"], 1, "Error: source must exist, got 'missing.tif'"),
        (["info", "missing.zarr"], 1, "Error: a pyramid must be an OME-Zarr group"),
        (["plan", NUCLEI, "--factors", "2,2"], 1, "Error: --factors must increase"),
        (["plan", NUCLEI, "--workers", "0"], 2, "Invalid value for '--workers'"),
        (["write", NUCLEI], 2, "Missing argument 'OUT'"),
    ],
)
def test_a_process_tells_errors_on_standard_error(tmp_path, arguments, status, message):
    result = spawn(*arguments, cwd=tmp_path)
    assert result.returncode == status
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    if status == 1:
        assert result.stderr.count("\n") == 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from dask_pyramid.cli import main\n"
        "try: main(['write', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'dask', 'zarr', 'numba', 'distributed'} "
        "& set(sys.modules)))"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert output.splitlines()[-1] == "[]"


def test_ctrl_c_publishes_nothing_and_tells_how_to_start_again(tmp_path):
    source, target = tmp_path / "noise.tif", tmp_path / "noise.ome.zarr"
    noise = np.random.default_rng(1).integers(0, 2**16, (128, 512, 512), "uint16")
    tifffile.imwrite(source, noise)
    arguments = ("write", source, target, "--shards", "none", "--workers", "1")
    # Ctrl-C is ignored by what a script starts in the background, as tests may be.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from dask_pyramid.cli import main; main()"
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", code, *map(str, arguments)),
            *("--compressor", "gzip", "--memory-limit", "300MiB"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    group = target / "zarr.json"
    while not group.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert f"nothing was published at {target}" in err
    assert "--mode a" in err
    assert "Traceback" not in err
    assert run("info", target).exit_code == 1
    other = run("write", source, target, "--mode", "a", "--method", "mean")
    assert other.exit_code == 1
    assert "method: 'gaussian' there, 'mean' here" in other.stderr
    again = run("write", *arguments[1:], "--compressor", "gzip", "--mode", "a")
    assert again.exit_code == 0, again.stderr
    assert run("info", target).exit_code == 0


def test_every_option_reaches_python(monkeypatch):
    found = {}

    def record(source, target, **given):
        found.update(given, source=source, target=target)
        return "done"

    monkeypatch.setattr(dp, "write_pyramid", record)
    result = run(
        *("write", "in", "out", "--axes", "yxc", "--scale", "y=2,x=3"),
        *("--translation", "1,2,3", "--unit", "y=um,x=nm", "--name", "a"),
        *("--method", "gaussian", "--sigma", "0.7", "--factors", "y=2;y=4,x=2"),
        *("--chunks", "1,64,64", "--shards", "x=128", "--compressor", "zstd"),
        *("--ome-zarr-version", "0.6", "--memory-limit", "2GiB", "--mode", "w"),
        *("--workers", "3", "--no-progress", "--break-lock"),
        *("--device", "auto", "--gpu-memory-limit", "1GiB"),
        *("--endpoint", "http://host:80", "--anonymous"),
        *("--nodata", "18446744073709551615", "--skip-nan", "--mask", "m"),
        *("--labels", "cells=a=1.tif", "--labels", "/b=2.tif"),
        *("--region", "z=0:4", "--units", "3,17"),
    )
    assert result.stdout == "done\n"
    assert found == {
        "labels": {"cells": "a=1.tif", "labels": "/b=2.tif"},
        "region": {"z": slice(0, 4)},
        "units": (3, 17),
        "nodata": 2**64 - 1,
        "mask": "m",
        "skip_nan": True,
        "source": "in",
        "target": "out",
        "axes": "yxc",
        "scale": {"y": 2.0, "x": 3.0},
        "translation": (1.0, 2.0, 3.0),
        "unit": {"y": "um", "x": "nm"},
        "name": "a",
        "method": "gaussian",
        "sigma": 0.7,
        "scale_factors": [{"y": 2}, {"y": 4, "x": 2}],
        "chunks": (1, 64, 64),
        "shards": {"x": 128},
        "compressors": "zstd",
        "version": "0.6",
        "memory_limit": "2GiB",
        "device": "auto",
        "gpu_memory_limit": "1GiB",
        "break_lock": True,
        "mode": "w",
        "workers": 3,
        "progress": False,
        "retries": None,
        "client": None,
        "storage_options": {"endpoint": "http://host:80", "anonymous": True},
    }


def test_defaults_are_those_of_python(monkeypatch):
    found = {}
    monkeypatch.setattr(dp, "write_pyramid", lambda *_, **given: found.update(given))
    assert run("write", "in", "out").exit_code == 0
    expected = dict.fromkeys(
        "axes scale translation unit name method sigma chunks shards memory_limit "
        "gpu_memory_limit workers progress client storage_options nodata mask "
        "labels region units compressors version retries device".split()
    )
    assert found == expected | {
        "scale_factors": "auto",
        "mode": "w-",
        "break_lock": False,
        "skip_nan": False,
    }


def test_choices_are_those_of_python():
    assert tuple(METHODS) == parameters.METHODS
    assert metadata.VERSIONS == parameters.VERSIONS


def test_a_scheduler_writes_the_same_pixels(tmp_path, small):
    from distributed import LocalCluster

    targets = tmp_path / "a.ome.zarr", tmp_path / "b.ome.zarr"
    assert run("write", small, targets[0], "--factors", "2").exit_code == 0
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        address = cluster.scheduler_address
        result = run(
            *("write", small, targets[1], "--factors", "2", "--scheduler", address)
        )
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = (dp.open_pyramid(target).levels[1] for target in targets)
    np.testing.assert_array_equal(first.compute(), second.compute())


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--scale", "a,b", "'a' must be a number"),
        ("--scale", "z=1,2", "'2' must be axis=value"),
        ("--scale", "z=1,z=2", "axis 'z' must be given once"),
        ("--chunks", "64;32", "must be by axis, got '64'"),
        ("--chunks", "6.5", "'6.5' must be a whole number"),
        ("--factors", "2,two", "'two' must be a number or a fraction"),
        ("--factors", "1,2,2;2,4,4", "must name the axes"),
        ("--method", "median2", "is not one of"),
        ("--ome-zarr-version", "0.1", "is not one of"),
    ],
)
def test_options_that_cannot_be_read_are_wrong_usage(option, text, message):
    result = run("plan", NUCLEI, option, text)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "1,2"], "scale must have one entry for each axis of 'zyx'"),
        (["--scale", "0,1,1"], "scale must be positive"),
        (["--unit", "parsnip"], "got 'parsnip'"),
        (["--ome-zarr-version", "0.4", "--shards", "64"], "Zarr v2 has no shards"),
        (["--memory-limit", "1MiB"], "--memory-limit must be more than"),
        (["--sigma", "1", "--method", "mean"], "sigma must not be given"),
    ],
)
def test_what_python_refuses_is_one_line(arguments, message):
    result = run("plan", NUCLEI, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_target_that_exists_is_refused_or_replaced(tmp_path, small):
    target = tmp_path / "a.ome.zarr"
    assert run("write", small, target).exit_code == 0
    refused = run("write", small, target)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "Error: target must not exist" in refused.stderr
    replaced = run("write", small, target, "--mode", "w", "--method", "min")
    assert replaced.exit_code == 0
    assert dp.open_pyramid(target).method == "min"


def test_an_unexpected_error_names_its_type_and_how_to_see_more(monkeypatch):
    def fail(*_, **__):
        error = RuntimeError("two\nlines")
        error.add_note("in unit 0-1.2.3")
        raise error

    monkeypatch.setattr(dp, "write_pyramid", fail)
    result = run("write", "in", "out")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: RuntimeError: two lines; in unit 0-1.2.3 (--debug shows where)\n"
    )
    assert isinstance(run("write", "in", "out", "--debug").exception, RuntimeError)


def test_an_interrupt_has_its_own_status(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(dp, "write_pyramid", interrupt)
    result = run("write", "in", "out")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "nothing was published at out" in result.stderr


def test_warnings_are_one_line_and_leave_results_alone(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16)))
    shown = warnings.showwarning
    result = run("write", path, tmp_path / "a.ome.zarr")
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: many viewers refuse float64")
    assert result.stderr.count("\n") == 1
    assert "Warning" not in result.stdout
    assert warnings.showwarning is shown


def test_progress_goes_to_standard_error(tmp_path, small):
    result = run("write", small, tmp_path / "a.ome.zarr", "--progress")
    assert "unit" in result.stderr
    assert "unit/s" not in result.stdout
    assert run("write", small, tmp_path / "b.ome.zarr").stderr == ""


def test_json_of_a_plan_is_that_of_python():
    result = run("plan", NUCLEI, "--json", "--workers", 2, "--memory-limit", "1GiB")
    expected = dp.plan_pyramid(dp.open_image(NUCLEI), workers=2, memory_limit="1GiB")
    assert json.loads(result.stdout) == json.loads(json.dumps(expected.to_json()))


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_info_says_what_the_arrays_say(tmp_path, small, version):
    target = tmp_path / "a.ome.zarr"
    arguments = ("--chunks", "16", "--factors", "2,4", "--unit", "um", "--scale")
    run("write", small, target, "--ome-zarr-version", version, *arguments, "2,1,1")
    found = json.loads(run("info", target, "--json").stdout)
    assert found == json.loads(json.dumps(stored_info(target)))
    assert (found["version"], found["dtype"]) == (version, "uint16")
    assert found["axes"] == ["z", "y", "x"]
    assert found["method"] == "gaussian"
    assert found["location"] == str(target)
    for number, level in enumerate(found["levels"]):
        array = zarr.open_array(target / str(number), mode="r")
        assert level["shape"] == list(array.shape)
        assert level["chunks"] == list(array.chunks) == [16, 16, 16]
        assert level["shards"] == (array.shards and list(array.shards))
        assert level["scale"] == [2**number * s for s in (2, 1, 1)]
        assert level["nbytes"] == array.nbytes
    text = run("info", target).stdout
    for part in (version, "micrometer", "uint16", "gaussian", "16 x 16 x 16"):
        assert part in text


def test_version_is_that_of_the_package():
    assert dp.__version__ in run("--version").stdout


def test_units_and_extents_take_none():
    assert options.unit("none,um") == (None, "um")
    assert options.extents("none") is False
    assert options.extents("auto") is None
    assert options.factors("2;4") == [2, 4]


def test_a_stored_image_grows_on_the_command_line(tmp_path, small):
    place = tmp_path / "a.ome.zarr"
    layout = ("--chunks", "8", "--shards", "none", "--method", "mean")
    run("write", small, place, "--factors", "2", *layout)
    added = run("add-levels", place, "--factors", "2,4", *layout)
    assert (added.exit_code, added.output) == (0, f"{dp.open_pyramid(place)}\n")
    zarr.open_array(f"{place}/0", mode="r+")[0, 0, 0] = 60000
    updated = run("update", place, "--region", "z=0:1,y=0:1,x=:1")
    assert updated.exit_code == 0
    assert dp.open_pyramid(place).levels[2][0, 0, 0].compute() > 900
    appended = run("append", place, small, "--axis", "z")
    assert appended.exit_code == 0
    assert dp.open_pyramid(place).shapes == ((16, 32, 32), (8, 16, 16), (4, 8, 8))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("update", "{}", "--region", "z=1"), 2, "must be a range, such as 0:16"),
        (("update", "{}"), 2, "Missing option '--region'"),
        (("update", "{}", "--region", "t=0:1"), 1, "region must name axes"),
        (("append", "{}", "{}", "--axis", "z"), 1, "target must not be the source"),
        (("add-levels", "{}", "--factors", "3"), 1, "must be the one that is asked"),
        (("add-levels", "none"), 1, "store must be a Zarr group that is there"),
    ],
)
def test_what_cannot_grow_is_told_in_one_line(
    tmp_path, small, arguments, status, message
):
    place = tmp_path / "a.ome.zarr"
    run("write", small, place, "--factors", "2")
    ended = run(*(text.format(place) for text in arguments))
    assert ended.exit_code == status
    assert message in ended.stderr
    assert ended.stdout == ""
