"""The commands as a whole: one look, one way to tell, and a page that says the same."""

import importlib.util
import json
import logging
import signal

import click
import numpy as np
import pytest
from click.testing import CliRunner

import dask_pyramid as dp
from dask_pyramid.cli import commands, main
from dask_pyramid.info import stored_info
from pages import ROOT

ALL = sorted(main.commands)
IMAGE = np.arange(8 * 32 * 32, dtype="uint16").reshape(8, 32, 32)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def stored(tmp_path):
    return dp.write_pyramid(IMAGE, tmp_path / "in", scale_factors=[]).location


def test_the_page_of_the_command_line_holds_the_help_of_all_commands():
    path = ROOT / "docs" / "make_command_line.py"
    spec = importlib.util.spec_from_file_location("make_command_line", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    _, _, found = maker.PAGE.read_text(encoding="utf-8").partition(maker.TITLE)
    assert found.split() == maker.all_help().split(), f"run python {path}"


@pytest.mark.parametrize("name", ALL)
def test_every_option_of_a_command_says_its_default_and_stands_in_a_group(name):
    command = main.commands[name]
    for option in command.params:
        if not isinstance(option, click.Option):
            continue
        told = option.help or ""
        shown = option.show_default or option.required or option.is_flag
        counted = option.count
        assert shown or counted or "[default" in told, option.name
    text = run(name, "--help").output
    assert "Exit status: 0 done, 1 error, 2 wrong usage" in text
    assert "\nOptions:" not in text or name in ("completion", "verify", "view", *OWN)
    assert max(map(len, text.splitlines())) <= 80


# Commands with options of their own, which are told first.
OWN = ("compare", "labels", "plate", "thumbnail")


def test_all_commands_stand_in_a_group():
    named = {n for names in commands._COMMANDS.values() for n in names.split()}
    assert set(main.commands) - named == {"completion"}
    assert named <= set(main.commands)


def test_every_command_that_writes_tells_its_result_as_json(tmp_path, stored):
    options = ("--factors", "2", "--chunks", "16", "--json", "-q")
    for arguments in (
        ("write", stored, tmp_path / "a", *options),
        ("add-levels", tmp_path / "a", "--factors", "2,4", "--json"),
        ("update", tmp_path / "a", "--region", "z=0:1", "--json"),
        ("append", tmp_path / "a", stored, "--axis", "z", "--json"),
        ("resample", stored, tmp_path / "b", "--factor", "0.5", *options),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        target = tmp_path / ("b" if arguments[0] == "resample" else "a")
        expected = json.loads(json.dumps(stored_info(target)))
        assert json.loads(result.stdout) == expected


def test_shares_and_the_end_of_a_plan_tell_json(tmp_path, stored):
    assert run("plan", stored, tmp_path / "c", "--factors", "2").exit_code == 0
    again = ("plan", stored, tmp_path / "c", "--method", "max", "--factors", "2")
    assert "--mode" not in run(*again, "--mode", "w").output
    told = json.loads(run("units", tmp_path / "c", "--json").stdout)
    assert told == {"location": str(tmp_path / "c"), "left": 0}
    assert json.loads(run("finish", tmp_path / "c", "--json").stdout)["method"] == "max"


def test_a_scale_with_a_unit_tells_where_the_unit_goes():
    result = run("write", "in", "out", "--scale", "0.29um")
    assert result.exit_code == 2
    assert "'0.29um' must be a number; the unit goes to --unit" in (
        " ".join(result.stderr.split())
    )


def test_an_option_that_is_a_command_leads_there():
    result = run("write", "in", "out", "--plan")
    assert result.exit_code == 2
    assert "it is a command: dask-pyramid plan" in result.stderr
    assert "Did you mean" not in result.stderr


@pytest.mark.parametrize("name", ["info", "verify"])
def test_ctrl_c_of_a_command_that_only_reads_has_the_same_status(name, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(dp, "verify_pyramid", interrupt)
    monkeypatch.setattr("dask_pyramid.info.stored_info", interrupt)
    result = run(name, "a")
    assert (result.exit_code, result.output) == (130, "Interrupted.\n")


def test_a_signal_tells_at_once_that_the_command_stops(monkeypatch, capfd):
    def wait(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(dp, "write_pyramid", wait)
    assert run("write", "in", "out").exit_code == 143
    assert "Stopping when the units that run are done" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["Warning: careful", "Warning: tried again"]),
        (("-v",), ["Warning: careful", "INFO going on", "WARNING tried again"]),
        (("-vv",), ["DEBUG detail", "INFO going on"]),
        (("-q",), []),
    ],
)
def test_verbosity_chooses_what_is_told(options, words, monkeypatch):
    def talk(*_, **__):
        import warnings

        warnings.warn("careful", UserWarning, stacklevel=1)
        log = logging.getLogger("dask_pyramid")
        log.debug("detail")
        log.info("going on")
        log.warning("tried again")
        return "done"

    monkeypatch.setattr(dp, "write_pyramid", talk)
    result = run("write", "in", "out", *options)
    assert result.stdout == "done\n"
    assert all(word in result.stderr for word in words)
    assert ("going on" in result.stderr) == (options in (("-v",), ("-vv",)))
    assert (result.stderr == "") == (not words)


def test_quiet_turns_progress_off_unless_it_is_asked_for(monkeypatch):
    found = []

    def record(*_, progress, **__):
        found.append(progress)

    monkeypatch.setattr(dp, "write_pyramid", record)
    for options in ((), ("-q",), ("-q", "--progress"), ("--no-progress",)):
        run("write", "in", "out", *options)
    assert found == [None, False, True, False]
    assert run("write", "in", "out", "-q", "-v").exit_code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_told_how_to_complete(shell, monkeypatch):
    assert "_DASK_PYRAMID_COMPLETE" in run("completion", shell).stdout
    words = {"COMP_WORDS": "dask-pyramid write --compr", "COMP_CWORD": "2"}
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_DASK_PYRAMID_COMPLETE", "bash_complete")
    found = CliRunner().invoke(main, [], prog_name="dask-pyramid")
    assert found.output == "plain,--compressor\n"


def test_a_plan_that_is_stored_is_carried_out_by_the_commands_that_are_told(
    stored, tmp_path
):
    place = tmp_path / "b"
    told = run("plan", stored, place).stderr
    assert told == (
        f"The plan is stored at {place}. Now: dask-pyramid units {place}, then "
        f"dask-pyramid finish {place}\n"
    )
    refused = run("info", place)
    assert refused.exit_code == 1
    assert "dask-pyramid units, then finish" in refused.stderr
    assert run("units", place).exit_code == 0
    first, again = run("finish", place), run("finish", place)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert again.stdout == first.stdout
    assert again.stderr == f"{place} was complete already\n"


def test_verbose_tells_what_is_done_and_very_verbose_each_unit(stored, tmp_path):
    import dask

    with dask.config.set({"dask-pyramid.method": "max"}):
        told = run("write", stored, tmp_path / "b", "-v", "--workers", "1").stderr
    assert f"INFO source: {stored}" in told
    assert "INFO method max, " in told
    assert "INFO run by threads: 1 workers, " in told
    assert "INFO method is 'max', as dask's configuration says" in told
    assert "DEBUG" not in told
    told = run("write", stored, tmp_path / "c", "-vv").stderr
    assert "DEBUG done in unit 0-" in told


@pytest.mark.parametrize(
    ("name", "told"),
    [("compressors", "--compressor must be one of"), ("method", "method must be")],
)
def test_an_error_says_that_its_value_is_from_the_configuration(
    name, told, stored, tmp_path
):
    import dask

    with dask.config.set({f"dask-pyramid.{name}": "foo"}):
        err = run("write", stored, tmp_path / "b").stderr
    assert err.startswith(f"Error: {told}")
    assert err.count("must be") == 1
    assert err.endswith(f"'foo'; dask's configuration sets it (dask-pyramid.{name})\n")


def test_a_table_of_a_plate_that_cannot_be_read_tells_the_line(tmp_path):
    table = tmp_path / "wells.csv"
    table.write_text("A/1,a.tif\n\nA/2\n")
    result = run("plate", tmp_path / "p", "--table", table)
    assert result.exit_code == 2
    assert "line 3 of" in result.stderr
