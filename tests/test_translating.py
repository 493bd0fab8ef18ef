"""Errors of the command line speak of its options."""

import ast
import re

import pytest

from dask_pyramid.cli.translating import in_options
from pages import ROOT

PYTHON = re.compile(
    r"\b(mode=|mode 'w|replace=|unit=|axes=|axis='|nodata=|break_lock=|device='|"
    r"version='|scale_factors|memory_limit|skip_nan|storage_options|run_units|"
    r"finish_pyramid|prepare_pyramid|write_pyramid|write_labels|add_levels|slice or)"
)


def flat(node):
    """Return a text of the source, with {} for what it is filled with."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(flat, node.values))
    return str(node.value) if isinstance(node, ast.Constant) else "{}"


def texts():
    """Yield what errors and their notes say, and log records of a run."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            raised = isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
            noted = isinstance(node, ast.Call) and (
                getattr(node.func, "attr", "") == "add_note"
            )
            if raised or noted:
                call = node.exc if raised else node
                yield from map(flat, call.args)


def test_no_error_of_the_package_names_a_python_argument_on_the_command_line():
    told = [text for text in texts() if PYTHON.search(text)]
    assert len(told) > 50
    left = {text: in_options(text) for text in told if PYTHON.search(in_options(text))}
    assert not left


@pytest.mark.parametrize(
    "text",
    [
        "got '/data/mode='w'/scale_factors.zarr'",
        "got s3://bucket/memory_limit/a",
        "got 'scale_factors'",
        "got write_pyramid.tif",
    ],
)
def test_what_is_the_users_own_is_not_translated(text):
    assert in_options(text) == text
