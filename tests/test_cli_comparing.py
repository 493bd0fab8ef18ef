"""The command `compare`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dask_pyramid import cli

NUCLEI = Path(__file__).parents[1] / "examples" / "data" / "nuclei.tif"


def run(*arguments):
    return CliRunner().invoke(cli.main, ["compare", *map(str, arguments)])


def test_methods_with_their_sigma_are_compared_and_drawn(tmp_path):
    options = ("--factors", "y=4,x=4", "--methods", "mean,gaussian:1.5,order:0")
    region = ("--region", "z=0:4,y=0:64,x=0:64")
    told = run(NUCLEI, *options, *region, "--plot", tmp_path / "a.png")
    assert (told.exit_code, told.stderr) == (0, "")
    assert "4 x 64 x 64 uint16 reduced by y 4, x 4" in told.stdout
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    told = run(NUCLEI, *options, *region, "--json", "--reference", NUCLEI)
    rows = json.loads(told.stdout)["methods"]
    assert [row["label"] for row in rows] == [
        "mean",
        "gaussian, sigma 1.5",
        "resample, order 0",
    ]
    assert rows[0]["snr_db"] > 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "Missing option '--factors'"),
        (("--factors", "2,4"), 2, "must be one step"),
        (("--factors", "auto"), 2, "must be one step"),
        (("--factors", "2", "--methods", "lanczos"), 2, "'lanczos' must be one of"),
        (("--factors", "2", "--methods", "mean:2"), 1, "sigma must not be given"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(arguments, status, message):
    ended = run(NUCLEI, *arguments)
    assert ended.exit_code == status
    assert message in ended.stderr
    assert ended.stdout == ""
