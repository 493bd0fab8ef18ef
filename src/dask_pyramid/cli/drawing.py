"""The command `thumbnail`: a still picture of a stored pyramid."""

from __future__ import annotations

from typing import Any

import click

import dask_pyramid as dp
from dask_pyramid.cli.commands import Command
from dask_pyramid.cli.parameters import (
    DEBUG,
    FILE_MODE,
    PLACE,
    STORE,
    output_file,
    parsed_by,
    storage_options,
    with_options,
)
from dask_pyramid.cli.telling import reported

__all__ = ["thumbnail"]


_SUFFIXES = (".png", ".svg", ".pdf", ".jpg", ".jpeg")


def _integers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{text!r} must be numbers of levels: 0,1,2") from error


def _window(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise ValueError(f"{text!r} must be two numbers that increase: 100,4000")
    return low, high


def _positions(text: str) -> dict[str, int]:
    try:
        pairs = (entry.split("=") for entry in text.split(","))
        return {axis.strip(): int(number) for axis, number in pairs}
    except ValueError as error:
        raise ValueError(f"{text!r} must be an index by axis: t=3,z=40") from error


@click.command(
    cls=Command,
    epilog="""\b
Example:
  dask-pyramid thumbnail a.ome.zarr a.png --view ortho""",
)
@PLACE
@click.argument("picture", metavar="OUT", type=output_file(*_SUFFIXES))
@click.option(
    "--view",
    type=click.Choice(["plane", "max", "both", "ortho"]),
    default="plane",
    show_default=True,
    help="The central plane, the maximum along z, both, or those along z, y and x.",
)
@click.option(
    "--levels",
    metavar="NUMBERS",
    callback=parsed_by(_integers),
    help="Which levels: 0,1,2.  [default: those of which at most 2**27 voxels must be "
    "read, and the smallest]",
)
@click.option(
    "--at",
    metavar="INDICES",
    callback=parsed_by(_positions),
    help="Index along t, z or c at level 0: t=3,z=40.  [default: the first time, the "
    "central plane, all channels]",
)
@click.option(
    "--window",
    metavar="LOW,HIGH",
    callback=parsed_by(_window),
    help="Grey values drawn black and white.  [default: as the metadata say]",
)
@click.option(
    "--width",
    type=click.FloatRange(min=1),
    default=12.0,
    show_default=True,
    metavar="INCHES",
    help="Width of the picture, at 100 pixels an inch.",
)
@with_options(FILE_MODE, *STORE, DEBUG)
def thumbnail(
    store: str,
    picture: str,
    *,
    endpoint: str | None,
    anonymous: bool,
    debug: bool,
    **given: Any,
) -> None:
    """Draw the levels of a stored pyramid side by side, to the file OUT.

    Each with its voxel size, at the same physical size, with a scale bar. OUT is a png,
    svg, pdf or jpg, and its path is printed; label images lie below STORE/labels. What
    is read is bounded.
    """
    with reported(debug):
        opened = storage_options(endpoint, anonymous)
        pyramid = dp.open_pyramid(store, storage_options=opened)
        pyramid.plot(**given).savefig(picture, dpi=100)
        click.echo(picture)
