"""What the commands tell: results, errors, warnings and log in lines, how to go on."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dask_pyramid.cli.commands import INTERRUPTED, PROGRAM, command_again
from dask_pyramid.cli.translating import in_options
from dask_pyramid.cli.verbosity import verbosity
from dask_pyramid.configuration import is_configured
from dask_pyramid.progress import say
from dask_pyramid.stopping import Terminated, raising_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dask_pyramid.pyramid import Pyramid
    from dask_pyramid.store.remains import Remains

__all__ = ["as_text", "reported", "stoppable", "tell_pyramid"]

# Their messages are written for users; any other is named by its type, too.
_EXPECTED = (ValueError, TypeError, OSError, ImportError)

_TERMINATED = 143

# By how often -v was given; -1 is -q.
_LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


# What readers find at a complete pyramid whose change was stopped, by what changes it.
_STANDS = {
    "": "is as it was",
    "append": "is as it was",
    "add_levels": "shows the levels that it keeps",
}


@contextmanager
def stoppable(
    *targets: str,
    resumes: bool = True,
    missing: str = "nothing was published at",
    options: Any = None,
) -> Iterator[None]:
    """End on Ctrl-C and SIGTERM with the command that goes on.

    Parameters
    ----------
    *targets : str
        What is written; the first one is told.
    resumes : bool
        Whether that command needs ``--mode a`` where work has begun.
    missing : str
        What has not been done to the first one where work has begun.
    options : dict, optional
        How URLs are opened.
    """
    try:
        with raising_on_signals(_tell_stopping):
            yield
    except KeyboardInterrupt as error:
        ended = isinstance(error, Terminated)
        _tell_stopped(targets, options, missing=missing, resumes=resumes)
        # What zarr's event loop has left undone is no news now.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        sys.exit(_TERMINATED if ended else INTERRUPTED)


def _tell_stopping() -> None:
    with contextlib.suppress(OSError):  # nobody may be there to read it
        os.write(2, b"\nStopping when the units that run are done ...\n")


def _tell_stopped(
    targets: Sequence[str], options: Any, *, missing: str, resumes: bool
) -> None:
    from dask_pyramid.store.remains import remains_at

    try:
        found = [remains_at(target, options=options) for target in targets]
    except Exception as error:  # told: the interrupt goes first
        told = f"what is at {targets[0]} is not known ({_one_line(str(error))})"
        begun = False
    else:
        begun = any(each.begun for each in found)
        told = _what_is_there(targets[0], found[0], missing=missing, begun=begun)
    again = command_again(resumes=resumes and begun)
    way = "go on" if begun else "start again"
    click.echo(f"Interrupted: {told}; to {way}:\n  {again}", err=True)


def _what_is_there(target: str, found: Remains, *, missing: str, begun: bool) -> str:
    if found.complete and not begun:
        # The signal may have come after the end: to append again would append twice.
        return (
            f"{target} is complete. Either nothing had begun or all was done, which "
            f"{PROGRAM} info shows"
        )
    if not begun:
        return f"nothing was published at {target}. Nothing had begun"
    told = f"{missing} {target}"
    if found.complete:
        told = f"{target} {_STANDS.get(found.verb, 'is changed in part')}"
    return f"{told}. What is done is kept"


def as_text(value: Any) -> str:
    """Return JSON values as indented text."""
    return json.dumps(value, indent=2)


def tell_pyramid(pyramid: Pyramid, *, as_json: bool, options: Any) -> None:
    """Print a pyramid that was written: as a table, or what `info` says as JSON."""
    if as_json:
        from dask_pyramid.info import stored_info

        click.echo(as_text(stored_info(pyramid.location, storage_options=options)))
    else:
        click.echo(str(pyramid))


@contextmanager
def reported(debug: bool) -> Iterator[None]:  # a flag of the command
    """Turn errors, warnings and the log into lines on standard error."""
    with warnings.catch_warnings(), _logged():
        if not sys.warnoptions:
            quiet = verbosity() < 0
            warnings.simplefilter("ignore" if quiet else "default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            yield
        except (click.ClickException, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                raise
            raise click.ClickException(_message(error)) from error


class _Lines(logging.Handler):
    """Writes records above the bar, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        say(self.format(record))


@contextmanager
def _logged() -> Iterator[None]:
    """Show the log of this package as far as it was asked for."""
    log, handler = logging.getLogger("dask_pyramid"), _Lines()
    level, spreads = log.level, log.propagate
    if verbosity() > 0:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("Warning: %(message)s"))
    log.addHandler(handler)
    log.setLevel(_LEVELS[verbosity()])
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = spreads


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"Warning: {_one_line(str(message))}")


def _message(error: Exception) -> str:
    notes = getattr(error, "__notes__", ())
    text = _one_line("; ".join([str(error), *notes]))
    text = in_options(text) + _origin(text)
    if isinstance(error, _EXPECTED) and text:
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)"


def _origin(text: str) -> str:
    """Say where a value is from that was not given, if the configuration has it."""
    word = text.partition(" ")[0]
    name = word.replace("_", "-")
    given = click.get_current_context().params.get(word)
    if given is not None or not is_configured(name):
        return ""
    return f"; dask's configuration sets it (dask-pyramid.{name})"


def _one_line(text: str) -> str:
    return " ".join(text.split())
