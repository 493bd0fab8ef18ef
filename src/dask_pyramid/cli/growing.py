"""The commands `add-levels`, `update` and `append`: what is stored grows or changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import dask_pyramid as dp
from dask_pyramid import options
from dask_pyramid.cli.commands import Command
from dask_pyramid.cli.parameters import (
    BREAK_LOCK,
    COMPRESSOR,
    DEBUG,
    DEVICE,
    JSON,
    LEVELS,
    MACHINE,
    MASK,
    METHOD,
    PLACE,
    PROGRESS,
    READING,
    RETRIES,
    RUNNING,
    RUNNING_NAMES,
    SOURCE,
    STORE,
    parsed_by,
    storage_options,
    with_options,
)
from dask_pyramid.cli.running import client_of
from dask_pyramid.cli.telling import reported, stoppable, tell_pyramid

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["add_levels", "append", "update"]

_GROWTH = (*MACHINE, *DEVICE, *STORE, BREAK_LOCK, *RUNNING, RETRIES, PROGRESS)


@click.command("add-levels", cls=Command)
@with_options(PLACE, *READING, *LEVELS, MASK, COMPRESSOR)
@click.option(
    "--replace",
    is_flag=True,
    help="Remove all levels but level 0 and make them anew.",
)
@with_options(*_GROWTH, JSON, DEBUG)
def add_levels(store: str, **given: Any) -> None:
    """Add the coarser levels that the image in STORE lacks; level 0 is only read.

    STORE is an OME-Zarr image, by whatever tool, or a group that holds one array.
    """
    _grow(dp.add_levels, store, **given)


@click.command(
    cls=Command,
    epilog="""\b
Example:
  dask-pyramid update a.ome.zarr --region z=0:16,y=512:""",
)
@PLACE
@click.option(
    "--region",
    metavar="RANGES",
    required=True,
    callback=parsed_by(options.region),
    help="Voxels of level 0 that have changed, by axis: z=0:16,y=512:,x=0:100. An axis "
    "that is not named is taken whole.",
)
@with_options(*METHOD, MASK, *_GROWTH, JSON, DEBUG)
def update(store: str, **given: Any) -> None:
    """Compute again what depends on a region of level 0 that has changed."""
    _grow(dp.update_pyramid, store, **given)


@click.command(
    cls=Command,
    epilog="""\b
Example:
  dask-pyramid append a.ome.zarr next.tif --axis t""",
)
@with_options(PLACE, SOURCE)
@click.option(
    "--axis",
    default="t",
    show_default=True,
    help="Axis along which the pyramid grows.",
)
@click.option("--axes", metavar="AXES", help="Names of the dimensions of IN.  "
              "[default: what IN says, else those of STORE]")  # fmt: skip
@with_options(*METHOD, *_GROWTH, JSON, DEBUG)
def append(store: str, source: str, **given: Any) -> None:
    """Append the image IN behind the pyramid in STORE, to all its levels."""
    _grow(dp.append, store, source, **given)


def _grow(
    verb: Callable[..., Any],
    *places: str,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    **given: Any,
) -> None:
    running = {name: given.pop(name) for name in RUNNING_NAMES}
    given["storage_options"] = storage_options(endpoint, anonymous)
    with (
        stoppable(places[0], resumes=False, options=given["storage_options"]),
        reported(debug),
        client_of(**running) as client,
    ):
        made = verb(*places, client=client, **given)
        tell_pyramid(made, as_json=as_json, options=given["storage_options"])
