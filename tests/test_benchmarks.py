"""Every benchmark runs at toy size; nothing is said about time."""

from __future__ import annotations

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
