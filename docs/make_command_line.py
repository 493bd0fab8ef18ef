"""Write the help of all commands into `docs/command-line.md`, below its last title.

Run it after a change of an option; a test holds the page against the commands.
"""

from __future__ import annotations

from pathlib import Path

import click

from dask_pyramid.cli import main

PAGE = Path(__file__).with_name("command-line.md")
TITLE = "## All commands\n"


def all_help() -> str:
    """Return the help of all commands as Markdown."""
    settings = {**main.context_settings, "terminal_width": 80}
    parent = click.Context(main, info_name="dask-pyramid", **settings)
    parts = [_block("dask-pyramid", main.get_help(parent))]
    for name, command in sorted(main.commands.items()):
        context = click.Context(
            command, info_name=name, parent=parent, terminal_width=80
        )
        parts.append(_block(name, command.get_help(context)))
    return "\n".join(parts)


def _block(name: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"### {name}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    head, title, _ = PAGE.read_text(encoding="utf-8").partition(TITLE)
    PAGE.write_text(f"{head}{title}\n{all_help()}", encoding="utf-8")
