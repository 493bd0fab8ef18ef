"""The command `resample`: write an image at another spacing, as a pyramid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import dask_pyramid as dp
from dask_pyramid import options
from dask_pyramid.cli.commands import Command
from dask_pyramid.cli.opening import open_source
from dask_pyramid.cli.parameters import (
    AS_LABELS,
    BREAK_LOCK,
    COMPRESSOR,
    DEBUG,
    JSON,
    LAYOUT,
    MODE,
    PROGRESS,
    READING,
    RETRIES,
    RUNNING,
    RUNNING_NAMES,
    SOURCE,
    SOURCE_STORE,
    STORE,
    TARGET,
    parsed_by,
    storage_options,
    with_options,
)
from dask_pyramid.cli.running import client_of
from dask_pyramid.cli.telling import as_text, reported, stoppable, tell_pyramid

if TYPE_CHECKING:
    from dask_pyramid.plan import PyramidPlan

__all__ = ["resample"]

_SPACING = (
    click.option(
        "--to-scale",
        metavar="LENGTHS",
        callback=parsed_by(options.lengths),
        help="Spacing wanted, in the unit of the image or with one: 0.5, 500nm, or by "
        "axis, z=1,y=0.5.  [default: none]",
    ),
    click.option(
        "--factor",
        metavar="NUMBERS",
        callback=parsed_by(options.sigma),
        help="New samples for each old one: 0.5, or by axis, z=9.4.  [default: none]",
    ),
    click.option(
        "--shape",
        metavar="VOXELS",
        callback=parsed_by(options.sizes),
        help="Extent wanted, for each axis or by name: y=512,x=512.  [default: none]",
    ),
    click.option(
        "--isotropic",
        metavar="LENGTH",
        callback=parsed_by(options.lengths),
        help="One spacing for all spatial axes: finest, coarsest, or a length.  "
        "[default: none]",
    ),
    click.option(
        "--zoom",
        type=click.FloatRange(min=0, min_open=True),
        metavar="NUMBER",
        help="With --isotropic: so many samples where there was one.  [default: 1]",
    ),
)
_WAY = (
    click.option(
        "--order",
        type=click.IntRange(0, 5),
        metavar="0-5",
        help="Order of the spline; with --by, for axes that grow.  [default: 1; 0 for "
        "bools, OME-Zarr label images and --as-labels]",
    ),
    click.option(
        "--anti-aliasing/--no-anti-aliasing",
        default=None,
        help="Whether a Gaussian goes first along axes that shrink.  [default: for "
        "order 1 and above]",
    ),
    click.option(
        "--smooth",
        metavar="NUMBERS",
        callback=parsed_by(options.sigma),
        help="Standard deviation of that Gaussian in voxels of IN.  [default: "
        "(1/factor - 1)/2]",
    ),
    click.option(
        "--by",
        type=click.Choice(["nearest", "mean", "gaussian"]),
        help="What axes that shrink are made by, in place of Gaussian and spline.  "
        "[default: none]",
    ),
    click.option(
        "--boundary",
        type=click.Choice(["reflect", "mirror", "nearest"]),
        default="reflect",
        show_default=True,
        help="How the image goes on beyond its border.",
    ),
)
_RESAMPLING_NAMES = ("factor", "shape", "isotropic", "zoom", "order", "anti_aliasing")
# What a plan does not depend on.
_WRITING_NAMES = (
    "compressors",
    "mode",
    "break_lock",
    "retries",
    "progress",
    "storage_options",
)


@click.command(
    cls=Command,
    epilog="""\b
Example:
  dask-pyramid resample a.tif b.ome.zarr --isotropic finest --order 3""",
)
@with_options(SOURCE, TARGET)
@with_options(*_SPACING, *_WAY, *READING, AS_LABELS, *LAYOUT, *STORE, *SOURCE_STORE)
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="Print what would be written, and how large it gets; nothing is read.",
)
@with_options(COMPRESSOR, MODE, BREAK_LOCK, *RUNNING, RETRIES, PROGRESS)
@with_options(JSON, DEBUG)
def resample(
    source: str,
    target: str,
    *,
    only_plan: bool,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    source_endpoint: str | None,
    source_anonymous: bool,
    **given: Any,
) -> None:
    """Write the image IN at another spacing as a pyramid to OUT.

    One of --to-scale, --factor, --shape and --isotropic says which. IN and OUT,
    and all other options, are as for write; --factors none writes one level alone.
    """
    given["storage_options"] = storage_options(endpoint, anonymous)
    running = {name: given.pop(name) for name in RUNNING_NAMES}
    way = {name: given.pop(name) for name in _RESAMPLING_NAMES}
    way |= {
        "scale": given.pop("to_scale"),
        "sigma": given.pop("smooth"),
        "method": given.pop("by"),
        "boundary": given.pop("boundary"),
    }
    with (
        stoppable(target, resumes=not only_plan, options=given["storage_options"]),
        reported(debug),
        client_of(**running) as client,
    ):
        own = storage_options(source_endpoint, source_anonymous)
        image = dp.resample(open_source(source, target, given, own=own), **way)
        if only_plan:
            for name in _WRITING_NAMES:
                del given[name]
            _tell_plan(dp.plan_pyramid(image, **given), target, as_json=as_json)
            return
        made = dp.write_pyramid(image, target, client=client, **given)
        tell_pyramid(made, as_json=as_json, options=given["storage_options"])


def _tell_plan(plan: PyramidPlan, target: str, *, as_json: bool) -> None:
    from dask_pyramid.locations import is_url, local_path
    from dask_pyramid.room import warn_of_room

    folder = local_path(target)
    if not is_url(folder):
        warn_of_room(plan, folder)
    click.echo(as_text(plan.to_json()) if as_json else str(plan))
