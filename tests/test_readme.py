"""The Python of the README runs and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```(python|sh)?\n(.*?)```", re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_prints_what_it_says(folder):
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    names: dict[str, object] = {}
    compared = 0
    for (kind, code), (next_kind, printed) in itertools.pairwise(blocks):
        if kind != "python":
            continue
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            exec(compile(code, "README.md", "exec"), names)
        assert next_kind == ""
        assert text.getvalue().replace(f"{folder}/", "") == printed
        compared += 1
    assert compared == 5


def test_the_readme_names_two_commands_that_set_everything_up():
    text = (ROOT / "README.md").read_text()
    shell = [code for kind, code in BLOCK.findall(text) if kind == "sh"]
    lines = [line for code in shell for line in code.splitlines()]
    assert len([line for line in lines if "pip install" in line]) == 2


def test_links_of_the_readme_lead_to_files():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(((?!https?://)[^)#]+)", text)
    assert links
    assert all((ROOT / link).exists() for link in links)


def test_the_readme_holds_no_placeholder():
    assert not re.search("FIGURES|TODO|TBD", (ROOT / "README.md").read_text())
