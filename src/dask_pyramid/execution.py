"""How the units of a job are run, whatever the job is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dask_pyramid import runner
from dask_pyramid.progress import progress_callback
from dask_pyramid.store import targets

if TYPE_CHECKING:
    from collections.abc import Container

    from dask_pyramid.image import Image
    from dask_pyramid.receipts import Books
    from dask_pyramid.units import Job

__all__ = ["Execution", "run_left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How units are run; nothing that is stored depends on it."""

    progress: Any = None
    """True, False, None or a callback."""
    break_lock: bool = False
    """Whether to take the lock of another process."""
    retries: int | None = None
    """How often a unit is tried again after an error that may pass; None: as set."""


def run_left(
    job: Job,
    books: Books,
    execution: Execution,
    *,
    image: Image,
    team: runner.Team | None,
    way_out: str,
    only: Container[int] | None = None,
) -> None:
    """Run the units that have no receipt yet.

    Parameters
    ----------
    job : Job
        What the units have in common.
    books : Books
        Receipts; those of the units are added.
    execution : Execution
        How to run.
    image : Image
        What they read.
    team : Team, optional
        Who runs them.
    way_out : str
        What an error says of what is there.
    only : container of int, optional
        Units to run; by default all.
    """
    with progress_callback(execution.progress, image) as callback:
        try:
            runner.run_units(
                job,
                graph=image.graph,
                client=team,
                progress=callback,
                retries=execution.retries,
                skip=set(map(int, books.done.nonzero()[0])),
                only=only,
                on_receipt=books.add,
            )
        except Exception as error:
            error.add_note(way_out)
            raise
        finally:
            targets.release(job.target)
