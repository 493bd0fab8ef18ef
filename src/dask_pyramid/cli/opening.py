"""IN of a command, opened before a verb gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask_pyramid as dp
from dask_pyramid.cli.parameters import READING_NAMES

if TYPE_CHECKING:
    from dask_pyramid.image import Image

__all__ = ["open_source", "source_of"]


def source_of(
    source: str, target: str | None, given: dict[str, Any], *, own: Any = None
) -> Image | str:
    """Return IN as a verb that writes takes it: opened, where the verb could not.

    Parameters
    ----------
    source, target, given, own
        As for `open_source`.
    """
    if own is not None or given["as_labels"]:
        return open_source(source, target, given, own=own)
    del given["as_labels"]
    return source


def open_source(
    source: str, target: str | None, given: dict[str, Any], *, own: Any = None
) -> Image:
    """Open IN, and take what says how out of the options of a command.

    Parameters
    ----------
    source, target : str
        IN and OUT.
    given : dict
        Options of the command. Those of reading are taken out; `storage_options` are
        those of OUT afterwards.
    own : dict, optional
        Storage options of IN alone.
    """
    from dask_pyramid.store_options import share_options

    reading = {name: given.pop(name) for name in READING_NAMES}
    labels = given.pop("as_labels") or None
    here, given["storage_options"] = share_options(
        given["storage_options"], source, target
    )
    return dp.open_image(source, **reading, labels=labels, storage_options=own or here)
