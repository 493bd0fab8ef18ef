"""Every benchmark runs at toy size; nothing is said about time."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("part", ["parity", "large"])
def test_parity_on_a_gpu_is_measured_and_would_show(part, like_cupy, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_parity

    options = argparse.Namespace(cases=9, large=(5, 6, 35))
    assert getattr(gpu_parity, part)(options)["wrong"] == []
    reduce_block = gpu_parity.reduce_block

    def spoilt(block, *numbers):
        samples = reduce_block(block, *numbers)
        if isinstance(block, like_cupy.ndarray):
            samples[...] = 1
        return samples

    monkeypatch.setattr(gpu_parity, "reduce_block", spoilt)
    assert getattr(gpu_parity, part)(options)["wrong"] != []


def test_a_machine_without_a_gpu_is_told_so():
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--toy"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if importlib.util.find_spec("cupy") is None:
        assert done.stdout.startswith("0 GPUs: no CuPy")
        assert done.stdout.rstrip().endswith("nothing was run")
