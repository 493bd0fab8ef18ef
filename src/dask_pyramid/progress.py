"""Progress as a bar in a terminal or notebook, as lines in a log, or as calls.

Nothing else is printed. Figures come from `Progress` and `VerifyProgress`; here they
are only shown.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from dask_pyramid.configuration import configured
from dask_pyramid.tables import bytes_text, clock_text, count_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dask_pyramid.image import Image
    from dask_pyramid.runner import Progress, ProgressCallback
    from dask_pyramid.verify.engine import VerifyCallback, VerifyProgress

__all__ = ["progress_callback", "say", "verify_callback"]

# Seconds between two lines of a log: at least, at most, and as a part of the time that
# has passed, so that a log of any length stays short.
_SOONEST, _LATEST, _PART = 10.0, 600.0, 1 / 20
# Seconds between two pictures in a notebook.
_REFRESH = 0.2
# Characters of a title; the rest of a line is for the figures.
_TITLE = 20


@contextmanager
def progress_callback(
    progress: bool | ProgressCallback | None, image: Image | str
) -> Iterator[ProgressCallback | None]:
    """Give the callback that a run reports to.

    Parameters
    ----------
    progress : bool, callable or None
        False shows nothing, a callable is handed through, True shows a bar in a
        terminal or notebook, and lines with the time of day elsewhere. None is the
        same, but for runs of less than ten seconds elsewhere, which show nothing.
    image : Image or str
        What is written, whose name is shown, or that name.

    Yields
    ------
    callable or None
        To be called at the start and after each unit.

    Raises
    ------
    TypeError
        If `progress` is none of these.
    """
    if isinstance(image, str):
        title = image
    else:
        title = f"labels {image.name}" if image.labels else image.name
    with _shown(progress, title, "units") as display:
        yield display if display is None or callable(progress) else _of_run(display)


def _of_run(display: Any) -> ProgressCallback:
    def update(state: Progress) -> None:
        display.update(state.done, state.total, _figures(state))

    return update


@contextmanager
def verify_callback(
    progress: bool | VerifyCallback | None,
) -> Iterator[VerifyCallback | None]:
    """Give the callback that a verification reports to; as `progress_callback`."""
    with _shown(progress, "verify", "tasks") as display:
        yield display if display is None or callable(progress) else _of_check(display)


def _of_check(display: Any) -> VerifyCallback:
    def update(state: VerifyProgress) -> None:
        display.update(state.done, state.total, ())

    return update


def _figures(state: Progress) -> tuple[str, ...]:
    """Return speed, bytes and time left of a run, as far as there are any."""
    figures = []
    if state.voxels:
        figures.append(f"{count_text(state.voxels_per_second)}voxel/s")
        figures.append(bytes_text(state.bytes_written))
    if state.done == state.total:
        figures.append(f"in {clock_text(state.seconds)}")
    elif state.seconds_left is not None:
        figures.append(f"{clock_text(state.seconds_left)} left")
    return tuple(figures)


def say(line: str) -> None:
    """Write a line to standard error, above the bar if one is drawn there."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)
    else:
        sys.stderr.write(f"{line}\n")


class Display(Protocol):
    """Something that shows how far a run has come."""

    def update(self, done: int, total: int, figures: tuple[str, ...]) -> None:
        """Show another state."""

    def close(self) -> None:
        """Leave the last state as it is."""


@contextmanager
def _shown(progress: Any, title: str, unit: str) -> Iterator[Any]:
    """Give a display; or what is called in place of one; or None."""
    progress = configured("progress", progress)
    if progress not in (True, False, None) and not callable(progress):
        raise TypeError(f"progress must be True, False or a callable, got {progress!r}")
    if callable(progress) or progress is False or sys.stderr is None:
        yield progress if callable(progress) else None
        return
    title = title if len(title) <= _TITLE else f"{title[: _TITLE - 3]}..."
    display: Display
    if (show := _notebook_display()) is not None:
        display = _Notebook(show, title, unit)
    elif sys.stderr.isatty():
        display = _Terminal(title, unit)
    else:
        display = _Log(title, unit, always=progress is True)
    try:
        yield display
    finally:
        display.close()


def _notebook_display() -> Any:
    """Return what shows a value in the notebook that this runs in; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    return display


class _Terminal:
    """A bar on standard error that is drawn again and again."""

    _FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}{postfix}"

    def __init__(self, title: str, unit: str) -> None:
        self._title, self._unit = title, unit
        self._bar: Any = None

    def update(self, done: int, total: int, figures: tuple[str, ...]) -> None:
        if self._bar is None:
            self._bar = self._drawn(done, total)
        self._bar.total = total
        self._bar.set_postfix_str(", ".join(figures), refresh=False)
        self._bar.update(done - self._bar.n)

    def _drawn(self, done: int, total: int) -> Any:
        from tqdm import tqdm

        return tqdm(
            desc=self._title,
            unit=self._unit,
            initial=done,
            total=total,
            bar_format=self._FORMAT,
            dynamic_ncols=True,
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()


class _Log:
    """A line on standard error now and then, with the time of day."""

    def __init__(self, title: str, unit: str, *, always: bool) -> None:
        self._title, self._unit = title, unit
        self._last: str | None = None
        self._started = time.monotonic()
        # A run that is over before this says nothing, unless it was asked to.
        self._due = self._started + _SOONEST
        self._speaks = always

    def update(self, done: int, total: int, figures: tuple[str, ...]) -> None:
        text = ", ".join((f"{done} of {total} {self._unit}", *figures))
        self._last = f"{self._title}: {text}"
        now = time.monotonic()
        if now >= self._due:
            passed = (now - self._started) * _PART
            self._due = now + min(_LATEST, max(_SOONEST, passed))
            self._speaks = True
            self._write()

    def close(self) -> None:
        if self._speaks:
            self._write()

    def _write(self) -> None:
        if self._last is not None:
            stamp = datetime.now().astimezone().isoformat(" ", "seconds")
            sys.stderr.write(f"{stamp}  {self._last}\n")
            sys.stderr.flush()
            self._last = None


class _Notebook:
    """A bar in a notebook, in its colours; it needs no widgets."""

    def __init__(self, show: Any, title: str, unit: str) -> None:
        self._title, self._unit = title, unit
        self._text, self._part = "", 0.0
        self._handle = show(self, display_id=True)
        self._shown = time.monotonic()

    def update(self, done: int, total: int, figures: tuple[str, ...]) -> None:
        self._text = ", ".join((f"{done} of {total} {self._unit}", *figures))
        self._part = done / total if total else 0.0
        if time.monotonic() - self._shown >= _REFRESH:
            self._refresh()

    def close(self) -> None:
        self._refresh()

    def _refresh(self) -> None:
        self._handle.update(self)
        self._shown = time.monotonic()

    def __repr__(self) -> str:
        return f"{self._title}: {self._text}"

    def _repr_html_(self) -> str:
        return (
            f'<div style="display:flex;gap:8px;align-items:center">'
            f"<span>{escape(self._title)}</span>"
            f'<progress value="{self._part:.4f}" style="width:16em"></progress>'
            f'<span style="font-variant-numeric:tabular-nums">{escape(self._text)}'
            "</span></div>"
        )
