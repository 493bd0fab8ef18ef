"""Progress of a run as a bar, or as calls of a function; nothing else is printed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dask_pyramid.runner import Progress, ProgressCallback
    from dask_pyramid.verify.engine import VerifyCallback, VerifyProgress

__all__ = ["progress_callback", "verify_callback"]


@contextmanager
def progress_callback(
    progress: bool | ProgressCallback | None, total: int
) -> Iterator[ProgressCallback | None]:
    """Give the callback that a run reports to.

    Parameters
    ----------
    progress : bool, callable or None
        True shows a bar, False nothing, a callable is handed through; None shows a bar
        where standard error is a terminal, or in a notebook.
    total : int
        Number of units.

    Yields
    ------
    callable or None
        To be called after each unit.

    Raises
    ------
    TypeError
        If `progress` is none of these.
    """
    if callable(progress) or progress is False:
        yield progress or None
        return
    with _bar(progress, total, unit="unit", desc="pyramid") as bar:

        def update(state: Progress) -> None:
            bar.set_postfix_str(f"{state.bytes_written / 2**30:.2f} GiB", refresh=False)
            bar.update(state.done - bar.n)

        yield update


@contextmanager
def verify_callback(
    progress: bool | VerifyCallback | None,
) -> Iterator[VerifyCallback | None]:
    """Give the callback that a verification reports to; as `progress_callback`."""
    if callable(progress) or progress is False:
        yield progress or None
        return
    with _bar(progress, 0, unit="task", desc="verify") as bar:

        def update(state: VerifyProgress) -> None:
            bar.total = state.total
            bar.update(state.done - bar.n)

        yield update


def _bar(progress: Any, total: int, *, unit: str, desc: str) -> Any:
    if progress not in (True, None):
        raise TypeError(f"progress must be True, False or a callable, got {progress!r}")
    from tqdm.auto import tqdm

    hidden = None if progress is None else False
    return tqdm(total=total, unit=unit, desc=desc, disable=hidden)
