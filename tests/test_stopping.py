"""Ctrl-C and SIGTERM: none is lost, and what is told afterwards is true."""

import contextlib
import shlex
import signal

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

import dask_pyramid as dp
from dask_pyramid.cli import main
from dask_pyramid.stopping import raise_if_asked, raising_on_signals


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def stored(tmp_path):
    image = np.zeros((64, 64), "uint8")
    return dp.write_pyramid(image, tmp_path / "in", scale_factors=[]).location


def interrupt(*_, **__):
    raise KeyboardInterrupt


def prepared(tmp_path):
    """Return the place of a pyramid that was begun."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64), "uint8"))
    dp.prepare_pyramid(tmp_path / "a.tif", tmp_path / "o ut")
    return str(tmp_path / "o ut")


@pytest.mark.parametrize(
    ("given", "again"),
    [
        (["write", "in", "OUT"], ["write", "in", "OUT", "--mode", "a"]),
        (
            ["write", "in", "OUT", "--mode", "w", "-v"],
            ["write", "in", "OUT", "-v", "--mode", "a"],
        ),
        (
            ["resample", "in", "OUT", "--mode=w-", "--factor", "2"],
            ["resample", "in", "OUT", "--factor", "2", "--mode", "a"],
        ),
        (["write", "in", "OUT", "--units", "3"], None),
        (["units", "OUT", "--shard", "1/8"], None),
    ],
)
def test_ctrl_c_tells_the_exact_command_that_goes_on(
    given, again, tmp_path, monkeypatch
):
    place = prepared(tmp_path)
    for verb in ("write_pyramid", "run_units", "open_image"):
        monkeypatch.setattr(dp, verb, interrupt)
    words = [place if word == "OUT" else word for word in given]
    result = run(*words)
    assert result.exit_code == 130
    assert f"nothing was published at {place}. What is done is kept; to go on" in (
        result.stderr
    )
    wanted = [place if word == "OUT" else word for word in again or given]
    assert shlex.split(result.stderr.splitlines()[-1]) == ["dask-pyramid", *wanted]


@pytest.mark.parametrize("mode", ["w-", "w", "a"])
def test_ctrl_c_before_anything_had_begun_tells_the_command_as_it_was(
    mode, stored, monkeypatch, tmp_path
):
    monkeypatch.setattr(dp, "write_pyramid", interrupt)
    for place, told in (
        (tmp_path / "new", f"nothing was published at {tmp_path / 'new'}. Nothing had"),
        (stored, f"{stored} is complete. Either nothing had begun or all was done"),
    ):
        result = run("write", "in", place, "--mode", mode)
        assert f"Interrupted: {told}" in result.stderr
        assert "; to start again:" in result.stderr
        last = shlex.split(result.stderr.splitlines()[-1])
        assert last == ["dask-pyramid", "write", "in", str(place), "--mode", mode]


def test_a_pyramid_whose_replacement_has_begun_is_told_to_be_as_it_was(
    stored, tmp_path, monkeypatch
):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64), "uint8"))
    dp.prepare_pyramid(tmp_path / "a.tif", stored, mode="w")
    monkeypatch.setattr(dp, "write_pyramid", interrupt)
    result = run("write", "in", stored, "--mode", "w")
    assert f"{stored} is as it was. What is done is kept; to go on" in result.stderr
    assert result.stderr.endswith("--mode a\n")


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("append", "is as it was. What is done is kept"),
        ("add_levels", "shows the levels that it keeps. What is done is kept"),
        ("update_pyramid", "is changed in part. What is done is kept"),
    ],
)
def test_a_growth_that_is_stopped_tells_what_readers_see_of_the_pyramid(
    verb, told, stored, monkeypatch
):
    arguments = {
        "append": ("append", stored, f"{stored}2", "--axis", "y"),
        "add_levels": ("add-levels", stored, "--factors", "2"),
        "update_pyramid": ("update", stored, "--region", "y=0:8"),
    }[verb]
    dp.write_pyramid(np.ones((64, 64), "uint8"), f"{stored}2", scale_factors=[])
    monkeypatch.setattr("dask_pyramid.runner.run_units", interrupt)
    result = run(*arguments)
    assert result.exit_code == 130
    assert f"{stored} {told}" in result.stderr
    assert shlex.split(result.stderr.splitlines()[-1])[1:] == list(arguments)


def test_ctrl_c_after_the_end_does_not_say_that_nothing_was_appended(
    stored, monkeypatch
):
    dp.write_pyramid(np.ones((64, 64), "uint8"), f"{stored}2", scale_factors=[])
    real = dp.append

    def late(*places, **options):
        real(*places, **options)
        interrupt()

    monkeypatch.setattr(dp, "append", late)
    result = run("append", stored, f"{stored}2", "--axis", "y")
    assert result.exit_code == 130
    assert "or all was done, which dask-pyramid info shows" in result.stderr


def test_a_signal_whose_exception_was_swallowed_is_raised_by_the_next_look():
    with raising_on_signals(lambda: None):
        raise_if_asked()
        # As in a callback of a weak reference, where Python ignores it.
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            raise_if_asked()
    raise_if_asked()


@pytest.mark.parametrize("moment", ["planning", "units"])
def test_a_run_stops_though_the_exception_of_its_signal_was_swallowed(
    moment, tmp_path, monkeypatch
):
    from dask_pyramid import orders
    from dask_pyramid.runner import tally

    place, name = {
        "planning": (orders, "plan_pyramid"),
        "units": (tally.Tally, "finished"),
    }[moment]
    real = getattr(place, name)

    def signalled(*given, **named):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        return real(*given, **named)

    monkeypatch.setattr(place, name, signalled)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((256, 256), "uint8"))
    result = run("write", tmp_path / "a.tif", tmp_path / "b", "--shards", "none")
    assert result.exit_code == 143
    assert "Interrupted: nothing was published" in result.stderr
