"""Progress of a run as a bar, or as calls of a function; nothing else is printed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dask_pyramid.runner import Progress, ProgressCallback

__all__ = ["progress_callback"]


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
    if callable(progress):
        yield progress
        return
    if progress not in (True, False, None):
        raise TypeError(f"progress must be True, False or a callable, got {progress!r}")
    if progress is False:
        yield None
        return
    from tqdm.auto import tqdm

    hidden = None if progress is None else False
    with tqdm(total=total, unit="unit", desc="pyramid", disable=hidden) as bar:

        def update(state: Progress) -> None:
            bar.set_postfix_str(f"{state.bytes_written / 2**30:.2f} GiB", refresh=False)
            bar.update(state.done - bar.n)

        yield update
