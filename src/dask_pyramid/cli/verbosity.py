"""How much a command tells: its options, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["DEBUG", "PROGRESS", "verbosity", "with_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def with_options(*decorators: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Apply decorators so that options appear in the order given."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


_VERBOSITY = "dask_pyramid.verbosity"


def verbosity() -> int:
    """Return how much is told: -1 for -q, 0, 1 for -v, 2 for -vv."""
    found: int = click.get_current_context().meta.get(_VERBOSITY, 0)
    return found


def _verbose(ctx: click.Context, _param: click.Parameter, value: int) -> None:
    if value:
        _set_verbosity(ctx, min(value, 2))


def _quiet(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        _set_verbosity(ctx, -1)


def _set_verbosity(ctx: click.Context, value: int) -> None:
    if ctx.meta.setdefault(_VERBOSITY, value) != value:
        raise click.UsageError("--quiet and --verbose exclude each other")


def _progress(ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    return False if value is None and ctx.meta.get(_VERBOSITY) == -1 else value


PROGRESS = click.option(
    "--progress/--no-progress",
    default=None,
    callback=_progress,
    help="Show units, speed, bytes and time left on standard error: a bar in a "
    "terminal, else a line now and then.  [default: a bar in a terminal, lines for "
    "runs of more than 10 s]",
)
DEBUG = with_options(
    click.option(
        "-v",
        "--verbose",
        count=True,
        is_eager=True,
        expose_value=False,
        callback=_verbose,
        help="Show what is decided and done, on standard error; -vv: more of it.",
    ),
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_quiet,
        help="Show results and errors alone: no progress, warnings or log.",
    ),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)
"""How much is told; `verbosity` says it, and only `debug` reaches the command."""
