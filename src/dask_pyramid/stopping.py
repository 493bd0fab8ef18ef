"""Ctrl-C and SIGTERM, which batch systems send before they kill, as exceptions.

Python raises them wherever the main thread is. In a callback of a weak reference or in
``__del__`` it ignores what is raised. So it is kept, too, for those who look.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Terminated", "raise_if_asked", "raising_on_signals"]


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


_asked: list[type[KeyboardInterrupt]] = []


def raise_if_asked() -> None:
    """Raise again what a signal has raised, in the main thread.

    Called where a run waits, and between its steps.
    """
    if _asked and threading.current_thread() is threading.main_thread():
        raise _asked[-1]


@contextmanager
def raising_on_signals(tell: Callable[[], object]) -> Iterator[None]:
    """Raise in the main thread on SIGTERM and SIGINT; nothing in other threads.

    Parameters
    ----------
    tell : callable
        Called at the first signal, before the exception: to end what runs takes a
        while. It must not use what a signal may have interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = False

    def stop(number: int, _frame: object) -> NoReturn:
        nonlocal told
        if not told:
            told = True
            tell()
        _asked.append(Terminated if number == signal.SIGTERM else KeyboardInterrupt)
        raise _asked[-1]

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    # What a shell starts in the background ignores SIGINT, and shall.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()
