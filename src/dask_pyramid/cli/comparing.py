"""The command `compare`: what methods are worth for an image, and what they cost."""

from __future__ import annotations

from typing import Any

import click

import dask_pyramid as dp
from dask_pyramid import options
from dask_pyramid.cli.commands import Command
from dask_pyramid.cli.parameters import (
    DEBUG,
    FILE_MODE,
    JSON,
    METHODS,
    READING,
    READING_NAMES,
    SOURCE,
    STORE,
    output_file,
    parsed_by,
    storage_options,
    with_options,
)
from dask_pyramid.cli.telling import as_text, reported

__all__ = ["compare"]


def _factors(text: str) -> Any:
    entries = options.factors(text)
    if entries == "auto" or len(entries) != 1:
        raise ValueError(f"{text!r} must be one step: 2, or by axis y=9,x=9")
    return entries[0]


def _methods(text: str) -> list[Any]:
    entries: list[Any] = []
    for entry in text.split(","):
        name, colon, number = entry.strip().partition(":")
        if name == "order" and number.isdecimal():
            entries.append({"order": int(number)})
        elif name in METHODS:
            entries.append((name, options.sigma(number)) if colon else name)
        else:
            known = ", ".join((*METHODS, "order:N"))
            raise ValueError(f"{name!r} must be one of {known}")
    return entries


@click.command(
    cls=Command,
    epilog="""\b
Example:
  dask-pyramid compare a.tif --factors y=9,x=9 --methods mean,gaussian:3""",
)
@SOURCE
@click.option(
    "--factors",
    metavar="FACTORS",
    required=True,
    callback=parsed_by(_factors),
    help="Factor of the reduction: 2 for all spatial axes, or by axis, y=9,x=9.",
)
@click.option(
    "--methods",
    metavar="METHODS",
    callback=parsed_by(_methods),
    help="What is compared: mean,gaussian,gaussian:3,order:1, where the number "
    "is a sigma, or the order of a spline of resample.  "
    "[default: all linear methods]",
)
@click.option(
    "--region",
    metavar="RANGES",
    callback=parsed_by(options.region),
    help="The sample that is read, by axis: z=0:16,y=512:1024. An axis that is not "
    "named is taken whole.  [default: the centre, at most 2**24 voxels]",
)
@click.option(
    "--reference",
    metavar="IMAGE",
    help="The same image without noise, for a true signal-to-noise ratio.  "
    "[default: none]",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="How often each is timed.",
)
@click.option(
    "--plot",
    "picture",
    type=output_file(".png", ".svg", ".pdf"),
    help="Write bar charts to this file (png, svg or pdf).  [default: none]",
)
@with_options(FILE_MODE, *READING, *STORE, JSON, DEBUG)
def compare(
    source: str,
    *,
    picture: str | None,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    **given: Any,
) -> None:
    """Compare methods on a sample of the image IN.

    Prints mean over standard deviation, signal to noise against a reference, what is
    left of white noise, energy folded back over energy kept, sharpness, and time. IN
    is as for write; only the sample is read.
    """
    reading = {name: given.pop(name) for name in READING_NAMES}
    reading["storage_options"] = storage_options(endpoint, anonymous)
    with reported(debug):
        found = dp.compare_methods(dp.open_image(source, **reading), **given)
        click.echo(as_text(found.to_json()) if as_json else str(found))
        if picture is not None:
            found.plot().savefig(picture, dpi=100)
