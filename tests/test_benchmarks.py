"""Every benchmark runs at toy size; nothing is said about time."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
from scipy import ndimage

pytestmark = pytest.mark.once

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MEASURED = [
    "clusters",
    "decoding",
    "kernels",
    "memory",
    "plans",
    "practice",
    "resampling",
    "scaling",
    "startup",
    "writes",
]


def ran(script, *options):
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(character.isdigit() for character in done.stdout)
    return done.stdout


@pytest.mark.parametrize("module", MEASURED)
def test_benchmarks_run_and_save_figures_and_a_picture(module, tmp_path):
    saved, picture = tmp_path / "figures.json", tmp_path / "figures.png"
    size = ("--size", "toy", "--first", "--folder", tmp_path / "images")
    told = ran("run", module, *size, "--json", saved, "--plot", picture)
    rows = json.loads(saved.read_text())["rows"]
    assert rows
    for row in rows:
        assert row["benchmark"].rpartition(".")[0] in told
        assert row["value"] == row["value"]
    assert picture.stat().st_size > 0


def test_every_module_of_the_suite_is_run():
    measure = ("time_", "track_", "peakmem_")
    modules = (BENCHMARKS / "suite").glob("*.py")
    found = [
        m.stem
        for m in modules
        if any(f"def {kind}" in m.read_text() for kind in measure)
    ]
    assert sorted(found) == MEASURED


def test_counted_figures_are_those_that_were_saved(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import run

    rows = [
        row
        for name, kind in run.classes(["plans"])
        for row in run.rows_of(name, kind, ["Plans.track"], first=False)
    ]
    saved = json.loads((BENCHMARKS / "exact.json").read_text())
    # On purpose? `python benchmarks/run.py plans.Plans.track --exact FILE` saves them.
    assert run.exactly(rows) == saved


def test_a_gaussian_decodes_few_chunks_twice_while_its_units_run(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from suite.decoding import Decoding

    found = Decoding()
    assert found.track_counted("gaussian", 128) == found.track_planned("gaussian", 128)
    assert found.track_counted("gaussian", 128) <= 1.3


def test_ours_stand_beside_the_floor_without_peers(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_PYRAMID_BENCHMARK_SIZE", "toy")
    size = ("--shape", 32, 32, 32, "--chunk", 16, "--folder", tmp_path)
    told = ran("peers/run", *size, "--tools", "mean", "no reduction")
    ours = next(line for line in told.splitlines() if "dask-pyramid, mean" in line)
    assert ours.endswith("| 0.00% | 0.00 |")
    assert "copy, no reduction" in told


def test_a_trial_runs_and_prints_figures(tmp_path):
    ran("kills", "--toy", "--folder", tmp_path)


@pytest.fixture
def gpu(like_cupy, monkeypatch):
    """The benchmark of GPUs, where there is what stands in for CuPy."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu
    import gpu_stores

    def gaussian_filter(block, sigma):
        return like_cupy.asarray(ndimage.gaussian_filter(block.get(), sigma))

    others = types.ModuleType("cupyx.scipy")
    others.ndimage = types.SimpleNamespace(gaussian_filter=gaussian_filter)
    monkeypatch.setitem(sys.modules, "cupyx", types.ModuleType("cupyx"))
    monkeypatch.setitem(sys.modules, "cupyx.scipy", others)
    monkeypatch.setattr(gpu_stores, "SIGMA", 1)
    monkeypatch.setattr(gpu_stores, "RUNS", 1)
    monkeypatch.setattr(gpu_stores, "KINDS", {"mean": {"method": "mean"}})
    return gpu


def run_of(gpu, tmp_path, *parts, minutes=9):
    """Run the script on tiny arrays; return its result and the figures."""
    given = "--shape 16 12 20 --large 5 6 35 --limits 0.01 --repeat 1 --processes 1 "
    given += f"--dtypes uint16 --cases 9 --minutes {minutes} --folder {tmp_path}/of "
    given += f"--results {tmp_path}/results --parts {' '.join(parts or gpu.PARTS)}"
    result = gpu.main(given.split())
    (figures,) = (tmp_path / "results").glob("*.json")
    return result, json.loads(figures.read_text())["parts"]


def let_pytest_say(run, monkeypatch):
    import gpu_parity

    said = types.SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(gpu_parity, "subprocess", said)


def test_all_parts_of_a_gpu_run_and_leave_text_and_figures(
    gpu, like_cupy, tmp_path, monkeypatch, capsys
):
    def pytest_said(command, **_):
        assert command[1:3] == ["-m", "pytest"]
        assert all(Path(path).exists() for path in command if path.endswith(".py"))
        return subprocess.CompletedProcess(command, 0, "3 passed, 1 skipped\n", "")

    let_pytest_say(pytest_said, monkeypatch)
    # Kernels that do nothing take no time to build.
    monkeypatch.setattr(like_cupy, "RawKernel", lambda *_, **__: lambda *_: None)
    _, parts = run_of(gpu, tmp_path)
    assert list(parts) == list(gpu.PARTS)
    assert not [p for p, found in parts.items() if {"failed", "left out"} & set(found)]
    assert [p for p, found in parts.items() if "wrong" in found] == ["parity", "large"]
    assert {"mean", "gaussian", "cupyx gaussian_filter, every 2nd"} <= set(
        parts["kernels"]["uint16"]
    )
    assert {"bare copy up", "mean", "gaussian"} <= set(parts["transfers"])
    assert len(parts["pipeline"]) == 3
    assert {"mean, cpu", "mean, gpu", "mean, auto takes"} <= set(parts["stores"])
    for found in parts["memory"].values():
        assert found["planned"] <= 0.01
    (text,) = (tmp_path / "results").glob("*.txt")
    printed = capsys.readouterr().out
    assert text.read_text() in printed
    assert printed.endswith("left out: nothing; wrong: parity, large\n")


def test_bytes_of_a_gpu_are_compared_with_those_of_the_cpu(gpu, tmp_path):
    result, parts = run_of(gpu, tmp_path, "parity", "large")
    assert result == 0
    assert (parts["parity"]["cases"], parts["large"]["voxels"]) == (9, 5 * 6 * 35)
    assert parts["parity"]["fused"] > 1


def test_what_differs_on_a_gpu_is_told(gpu, like_cupy, tmp_path, monkeypatch):
    import gpu_parity

    reduce_block = gpu_parity.reduce_block

    def spoilt(block, *numbers):
        samples = reduce_block(block, *numbers)
        if isinstance(block, like_cupy.ndarray):
            samples[...] = 1
        return samples

    monkeypatch.setattr(gpu_parity, "reduce_block", spoilt)
    result, parts = run_of(gpu, tmp_path, "parity", "large")
    assert result == 1
    assert "off by" in parts["parity"]["wrong"][0]
    assert parts["large"]["wrong"]


@pytest.mark.parametrize(
    ("returned", "said", "told"),
    [
        (1, "2 failed, 3 passed", "wrong"),
        (0, "40 skipped", "wrong"),
        (2, "no module named zarr", "left out"),
    ],
)
def test_tests_that_do_not_pass_on_a_gpu_are_told(
    returned, said, told, gpu, tmp_path, monkeypatch
):
    def pytest_said(command, **_):
        return subprocess.CompletedProcess(command, returned, said, "")

    let_pytest_say(pytest_said, monkeypatch)
    result, parts = run_of(gpu, tmp_path, "tests")
    assert told in parts["tests"]
    assert result == (told == "wrong")


def test_a_part_that_fails_or_has_no_time_leaves_the_others(gpu, tmp_path, monkeypatch):
    def failing(options):
        raise RuntimeError("the card is hot")

    monkeypatch.setitem(gpu.PARTS, "kernels", failing)
    result, parts = run_of(gpu, tmp_path, "kernels", "large")
    assert result == 1
    assert "the card is hot" in parts["kernels"]["failed"]
    assert parts["large"]["voxels"] == 5 * 6 * 35
    result, parts = run_of(gpu, tmp_path, "large", minutes=0.1)
    assert (result, list(parts["large"])) == (0, ["left out"])


def test_a_machine_without_a_gpu_is_told_so():
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--toy"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if importlib.util.find_spec("cupy") is None:
        assert done.stdout.startswith("0 GPUs: no CuPy")
        assert done.stdout.rstrip().endswith("nothing was run")
