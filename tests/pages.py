"""Blocks of code in Markdown, and what runs them in the current folder.

- `python`: all of a page share their names.
- `sh`: `dask-pyramid` runs in this process; commands that set a machine up are checked,
  not run; any other command is a fault of the page.
- no language, right after one of these: what it prints.
- `json`, `toml`: is parsed. `text`: a drawing.

A block that cannot run here says why in the line before it, `*Not run in the tests:
why.*`, for readers to see; its commands are parsed all the same.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.testing import CliRunner

from dask_pyramid.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "benchmarks/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)

_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_REASON = re.compile(r"\*Not run in the tests: (.+)\.\*\n$")
_READ = {"json": json.loads, "toml": tomllib.loads}
_EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


@dataclass(frozen=True)
class Block:
    """A block of a page: its language, its text, and what is said around it."""

    where: str
    kind: str
    text: str
    printed: str | None
    reason: str | None

    @property
    def is_run(self) -> bool:
        return self.kind in ("python", "sh") and self.reason is None


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page but for what they print, directives and drawings."""
    text = (ROOT / page).read_text()
    found = list(_FENCE.finditer(text))
    said = set()
    for index, fence in enumerate(found):
        kind = fence[2].strip()
        where = f"{page}:{text.count(chr(10), 0, fence.start()) + 1}"
        if kind == "text" or kind.startswith("{"):
            continue
        if kind not in ("python", "sh", *_READ):
            assert (kind, index in said) == ("", True), f"{where}: what is this block?"
            continue
        printed = None
        if kind in ("python", "sh") and index + 1 < len(found):
            after = found[index + 1]
            if not after[2].strip() and not text[fence.end() : after.start()].strip():
                printed = after[3]
                said.add(index + 1)
        reason = _REASON.search(text[: fence.start()].rstrip(" \n") + "\n")
        yield Block(where, kind, fence[3], printed, reason and reason[1])


class Runner:
    """Runs the blocks of one page, one after the other, in the current folder.

    Parameters
    ----------
    stand_ins : dict of str to str
        What is there in place of something that a page names, such as a server.
    set_variable : callable
        Sets a variable of the environment until the test is over.
    """

    def __init__(
        self, stand_ins: dict[str, str], set_variable: Callable[[str, str], None]
    ) -> None:
        self._stand_ins, self._set_variable = stand_ins, set_variable
        self._names: dict[str, object] = {"__name__": "__main__"}

    def run(self, block: Block) -> None:
        """Run or parse a block; what it prints must be what stands below it."""
        if block.kind in _READ:
            _READ[block.kind](block.text)
        elif block.kind == "python":
            code = compile(block.text, block.where, "exec", dont_inherit=True)
            if block.is_run:
                code = compile(self._here(block.text), block.where, "exec")
                with contextlib.redirect_stdout(io.StringIO()) as text:
                    exec(code, self._names)
                _compare(text.getvalue(), block)
        elif block.is_run:
            _compare(self._shell(self._here(block.text)), block)
        else:
            for words in _commands(block.text):
                _parsed(words)

    def _here(self, text: str) -> str:
        for name, stand_in in self._stand_ins.items():
            text = text.replace(name, stand_in)
        return text

    def _shell(self, text: str) -> str:
        if text.startswith("#!"):
            return _script(text)
        return "".join(map(self._command, _commands(text)))

    def _command(self, words: list[str]) -> str:
        """Run a command, or check one that is not for a test to run."""
        name = re.sub(r"^python3.*", "python", Path(words[0]).name)
        if name == "dask-pyramid":
            return _pyramid(words[1:])
        if name == "export":
            for word in words[1:]:
                self._set_variable(*word.split("=", 1))
        elif name == "sbatch":
            self._job_array(words[1:])
        else:
            assert name in _CHECKS, f"tests/pages.py does not know {name!r}, of {words}"
            _CHECKS[name](words[1:])
        return ""

    def _job_array(self, words: list[str]) -> None:
        """Run a script for all numbers of its array, as SLURM would."""
        text = Path(words[-1]).read_text()
        first, last = re.search(r"--array=(\d+)-(\d+)", f"{words} {text}").groups()
        for number in range(int(first), int(last) + 1):
            self._set_variable("SLURM_ARRAY_TASK_ID", str(number))
            for command in _commands(text):
                self._command(command)


def _compare(printed: str, block: Block) -> None:
    if block.printed is not None:
        found = printed.replace(f"{Path.cwd()}/", "")
        assert found == block.printed, f"{block.where} prints\n{found}"


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command; comments, `&&` and continued lines are known."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words
                words = []


def _pyramid(words: list[str]) -> str:
    words = [os.path.expandvars(word) for word in words]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, f"{words}: {result.output}"
    return result.stdout


def _parsed(words: list[str]) -> None:
    """Parse a command that is not run."""
    if Path(words[0]).name != "dask-pyramid":
        return
    # With its settings: click keeps the option for help that it makes first.
    command, context = main, click.Context(main, **main.context_settings)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words[1:])
        command, words = found, [name, *words]
    command.make_context(words[0], words[1:], parent=context)


def _script(text: str) -> str:
    """Keep a script under the name that its second line gives it."""
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    name = re.match(r"#!.*\n# (\S+)\n", text)
    assert name, "the second line of a script is a comment: its name"
    Path(name[1]).write_text(text)
    return ""


def _installs(words: list[str]) -> None:
    for extras in re.findall(r"\[([\w,-]+)\]", " ".join(words)):
        for extra in extras.split(","):
            assert extra in _EXTRAS, f"there is no extra {extra!r}"


def _is_module_or_script(words: list[str]) -> None:
    if words[0] != "-m":
        assert (ROOT / words[0]).is_file(), f"there is no {words[0]}"
    elif words[1] == "pip":
        _installs(words[2:])
    else:
        known = ("venv", "pytest", "ruff", "mypy", "sphinx", "build")
        assert words[1] in known, f"tests/pages.py does not know {words[1]!r}"


def _files_exist(words: list[str]) -> None:
    for word in words:
        if "." in word and "://" not in word:
            assert (ROOT / word).exists(), f"there is no {word}"


def _nothing(words: list[str]) -> None:
    """Take a command as it is."""


_CHECKS: dict[str, Callable[[list[str]], None]] = {
    "pip": _installs,
    "python": _is_module_or_script,
    "ruff": _nothing,
    "mypy": _nothing,
    "bash": _files_exist,
    "conda": _files_exist,
    "git": _nothing,
    "cd": _nothing,
    "source": _nothing,
}
