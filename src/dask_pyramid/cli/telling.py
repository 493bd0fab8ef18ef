"""What the commands tell: results, errors and warnings in a line, how to go on."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dask_pyramid.stopping import Terminated, raising_on_sigterm

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GO_ON", "as_text", "reported", "stoppable"]

# How to go on with what was written in part.
GO_ON = "give the same command with --mode a"

# Their messages are written for users; any other is named by its type, too.
_EXPECTED = (ValueError, TypeError, OSError, ImportError)

_INTERRUPTED, _TERMINATED = 130, 143


@contextmanager
def stoppable(target: str, again: str = GO_ON) -> Iterator[None]:
    """End on Ctrl-C and SIGTERM with a line that says how to go on."""
    try:
        with raising_on_sigterm():
            yield
    except KeyboardInterrupt as error:
        ended = isinstance(error, Terminated)
        _stop(target, again, _TERMINATED if ended else _INTERRUPTED)


def _stop(target: str, again: str, status: int) -> NoReturn:
    click.echo(
        f"Interrupted: nothing was published at {target}; to go on, {again}",
        err=True,
    )
    # What zarr's event loop has left undone is no news now.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.exit(status)


def as_text(value: Any) -> str:
    """Return JSON values as indented text."""
    return json.dumps(value, indent=2)


@contextmanager
def reported(debug: bool) -> Iterator[None]:  # a flag of the command
    """Turn errors and warnings into lines on standard error."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            yield
        except (click.ClickException, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                raise
            raise click.ClickException(_message(error)) from error


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {_one_line(str(message))}", err=True)


def _message(error: Exception) -> str:
    text = _one_line("; ".join([str(error), *getattr(error, "__notes__", ())]))
    if isinstance(error, _EXPECTED) and text:
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)"


def _one_line(text: str) -> str:
    return " ".join(text.split())
