"""Put a complete pyramid in the place of an old one, by two renames.

A kill between them is found by whoever opens the place next, who ends what was begun.
Only one process of a machine is at it at a time.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dask_pyramid.store.contents import foreign_names, state_of
from dask_pyramid.store.writers import WORK
from dask_pyramid.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["beside", "settle", "swap"]


def beside(location: str, purpose: str) -> Path:
    """Return the folder beside a local target that serves its replacement."""
    path = Path(location)
    return path.with_name(f".{path.name}.{purpose}")


def settle(path: Path) -> None:
    """End a replacement that was interrupted while it was put into its place.

    Parameters
    ----------
    path : pathlib.Path
        The pyramid that was replaced; the old one is put back if the new one is not
        complete.

    Raises
    ------
    FileExistsError
        If a folder that has the name of a replacement is something else.
    """
    aside, new = beside(str(path), "replaced"), beside(str(path), "replacement")
    if not aside.exists() and not new.exists():
        return
    with _alone(path.parent):
        for folder in (aside, new):
            _refuse_foreign(folder)
        if path.exists():
            _swap(new, path)
        elif aside.exists():
            (new if _is_complete(new) else aside).rename(path)
        if path.exists():
            _remove(aside)
            _prune(path)


def swap(new: Path, old: Path) -> None:
    """Put a complete pyramid where the old one is; the old one goes last.

    Nothing is done if another process has done it, or has begun another replacement.
    """
    with _alone(old.parent):
        _swap(new, old)


def _swap(new: Path, old: Path) -> None:
    if not _is_complete(new):
        return
    _refuse_foreign(old)
    aside = beside(str(old), "replaced")
    _remove(aside)
    old.rename(aside)
    try:
        new.rename(old)
    except BaseException:
        aside.rename(old)
        raise
    _remove(aside)


def _is_complete(folder: Path) -> bool:
    return folder.exists() and state_of(open_store(str(folder))) == "complete"


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds anything but a pyramid or what is left of one."""
    if folder.is_symlink() or folder.is_file():
        raise FileExistsError(
            f"a replacement must be a folder, got {str(folder)!r}, which is none; "
            "move it away first"
        )
    others = sorted(foreign_names(open_store(str(folder)))) if folder.exists() else []
    if others:
        raise FileExistsError(
            f"a folder must hold nothing but a pyramid to be replaced, got "
            f"{str(folder)!r}, which also holds {', '.join(others[:4])}; move that "
            "away first"
        )


def _remove(folder: Path) -> None:
    """Remove an old pyramid, metadata last: what a kill leaves is still recognised."""
    with suppress(FileNotFoundError):
        for entry in list(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _prune(path: Path) -> None:
    with suppress(OSError):  # somebody writes
        (path / WORK).rmdir()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine from renaming in a folder at a time.

    The system takes the lock back from a process that is killed. Where there is none
    (Windows, some network file systems), only the lock of the pyramid is left.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
