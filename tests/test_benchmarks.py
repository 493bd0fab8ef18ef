"""Every benchmark runs at toy size; nothing is said about time."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
WITH_FOLDER = {"write", "memory", "first_use", "cluster", "kills", "resample"}


@pytest.mark.parametrize(
    "script",
    [
        "write",
        "kernels",
        "memory",
        "planning",
        "first_use",
        "cluster",
        "kills",
        "practice",
        "resample",
    ],
)
def test_a_benchmark_runs_and_prints_figures(script, tmp_path):
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), "--toy"]
    if script in WITH_FOLDER:
        command += ["--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(character.isdigit() for character in done.stdout)


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
