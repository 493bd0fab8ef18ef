"""The command `labels`: write a label image into the group of its image."""

from __future__ import annotations

from typing import Any

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
    LAYOUT,
    MACHINE,
    MODE,
    PLACE,
    PROGRESS,
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

__all__ = ["label_place", "labels"]

# Chunks and shards.
_LAYOUT = LAYOUT[3:5]


@click.command(
    cls=Command,
    epilog="""\b
Example:
  dask-pyramid labels a.ome.zarr nuclei_label.tif --name nuclei""",
)
@with_options(PLACE, SOURCE)
@click.option(
    "--name",
    default="labels",
    show_default=True,
    help="Name of the label image in the group.",
)
@click.option(
    "--method",
    type=click.Choice(["mode", "mode-exact", "nearest"]),
    default="mode",
    show_default=True,
    help="How ids are reduced: the most frequent one of a window of the level below, "
    "or of the whole window of level 0, or the first one.",
)
@click.option(
    "--ignore",
    metavar="ID",
    callback=parsed_by(options.nodata),
    help="An id that wins only where there is no other, such as 0, the background.  "
    "[default: none]",
)
@click.option(
    "--axes",
    metavar="AXES",
    help="Names of the dimensions of IN.  [default: what IN says, else the image]",
)
@click.option(
    "--region",
    metavar="RANGES",
    callback=parsed_by(options.region),
    help="Write only this part of a complete label image again: z=0:16,y=512:.  "
    "[default: all]",
)
@with_options(*_LAYOUT, COMPRESSOR, MODE, *MACHINE, *STORE, BREAK_LOCK)
@with_options(*DEVICE, *RUNNING, RETRIES, PROGRESS, JSON, DEBUG)
def labels(
    store: str,
    source: str,
    *,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    **given: Any,
) -> None:
    """Write the label image or mask IN into the labels group of the image in STORE.

    STORE is an OME-Zarr image, by whatever tool; IN is what write takes, of integers or
    bools, with the extents of the image. It gets the levels and the spacing of the
    image, which is not touched.
    """
    running = {name: given.pop(name) for name in RUNNING_NAMES}
    given["storage_options"] = storage_options(endpoint, anonymous)
    resumes = given["region"] is None
    with (
        stoppable(
            label_place(store, given["name"]),
            resumes=resumes,
            options=given["storage_options"],
        ),
        reported(debug),
        client_of(**running) as client,
    ):
        made = dp.write_labels(store, source, client=client, **given)
        tell_pyramid(made, as_json=as_json, options=given["storage_options"])


def label_place(store: str, name: str) -> str:
    """Return where a label image of an image is."""
    return f"{store.rstrip('/')}/labels/{name}"
