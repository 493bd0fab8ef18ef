"""The command ``dask-pyramid``: `write`, `plan`, `units`, `finish`, `info`, `verify`.

Results go to standard output, progress, warnings and errors to standard error. Status
0: done; 1: an error, told in one line; 2: wrong usage; 3: faults found; 130:
interrupted; 143: ended by SIGTERM. Whatever is heavy to import is imported when a
command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import dask_pyramid as dp
from dask_pyramid import options
from dask_pyramid.cli.comparing import compare
from dask_pyramid.cli.drawing import thumbnail
from dask_pyramid.cli.labelling import labels
from dask_pyramid.cli.opening import open_source
from dask_pyramid.cli.parameters import (
    AS_LABELS,
    BANDWIDTH,
    BREAK_LOCK,
    COMPRESSOR,
    CORES,
    COUNTING,
    DEBUG,
    DEVICE,
    JSON,
    LAYOUT,
    LEVELS,
    MACHINE,
    MASK,
    METHOD,
    MODE,
    PROGRESS,
    READING,
    RETRIES,
    RUNNING,
    RUNNING_NAMES,
    SOURCE_STORE,
    STORE,
    UNITS,
    parsed_by,
    storage_options,
    with_options,
)
from dask_pyramid.cli.plates import plate
from dask_pyramid.cli.resampling import resample
from dask_pyramid.cli.running import client_of
from dask_pyramid.cli.telling import as_text, reported, stoppable
from dask_pyramid.cli.viewing import view

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

_FAULTS = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(dp.__version__, prog_name="dask-pyramid")
def main() -> None:
    """Turn images of any size into OME-Zarr multiscale pyramids.

    Exit status: 0 done, 1 error, 2 wrong usage, 3 faults found, 130 interrupted, 143
    ended by SIGTERM.
    """


main.add_command(compare)
main.add_command(resample)


@main.command(epilog="Example: dask-pyramid write a.tif a.ome.zarr --unit um "
              "--scale 0.29,0.26,0.26")  # fmt: skip
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@with_options(*READING, AS_LABELS, *LAYOUT, *COUNTING, *STORE, *SOURCE_STORE)
@COMPRESSOR
@click.option(
    "--labels",
    metavar="[NAME=]PATH",
    multiple=True,
    callback=parsed_by(options.named),
    help="A label image or mask of IN, written into the labels group of OUT; may be "
    "repeated with other names.  [default name: labels]",
)
@click.option(
    "--region",
    metavar="RANGES",
    callback=parsed_by(options.region),
    help="Write only this part of a complete OUT again, from IN on: z=0:16,y=512:.",
)
@with_options(UNITS, MODE, BREAK_LOCK)
@with_options(*DEVICE, *RUNNING)
@RETRIES
@PROGRESS
@DEBUG
def write(
    source: str,
    target: str,
    *,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    source_endpoint: str | None,
    source_anonymous: bool,
    **given: Any,
) -> None:
    """Write the image IN as a pyramid to OUT.

    IN is a TIFF file, a folder or glob pattern of planes, a Zarr array or an OME-Zarr
    image; OUT a folder. Both may be URLs (s3://, gs://, az://, https://); keys come
    from the environment. --endpoint and --anonymous are for OUT, and for IN if it is a
    URL of the same scheme or if OUT is none.
    """
    running = {name: given.pop(name) for name in RUNNING_NAMES}
    given["storage_options"] = storage_options(endpoint, anonymous)
    reading = storage_options(source_endpoint, source_anonymous)
    with stoppable(target), reported(debug), client_of(**running) as client:
        image: Any = source
        if reading is not None or given["as_labels"]:
            image = open_source(source, target, given, own=reading)
        else:
            del given["as_labels"]
        click.echo(str(dp.write_pyramid(image, target, client=client, **given)))


@main.command()
@click.argument("source", metavar="IN")
@click.argument("store", metavar="[STORE]", required=False)
@with_options(*READING, AS_LABELS, *LAYOUT, *COUNTING, *DEVICE, *STORE)
@with_options(CORES, BANDWIDTH, COMPRESSOR, JSON, DEBUG)
def plan(
    source: str,
    store: str | None,
    *,
    compressors: str,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    cores: int | None,
    bandwidth: str,
    **given: Any,
) -> None:
    """Print what would be written, and what it would cost.

    IN is as for write. No pixel is read, and without STORE nothing is written. With
    STORE the plan is stored there, for units and finish to carry out.
    """
    given["storage_options"] = storage_options(endpoint, anonymous)
    with reported(debug):
        image: Any = source
        if store is None or given["as_labels"]:
            image = open_source(source, store, given)
        else:
            del given["as_labels"]
        if store is None:
            del given["storage_options"]
            result = dp.plan_pyramid(image, **given)
        else:
            result = dp.prepare_pyramid(image, store, compressors=compressors, **given)
        click.echo(_plan_text(result, cores, bandwidth, as_json=as_json))


def _plan_text(
    plan: dp.PyramidPlan, cores: int | None, bandwidth: str, *, as_json: bool
) -> str:
    record, told = plan.to_json(), str(plan)
    if cores is not None:
        expected = dp.forecast(plan, cores=cores, bandwidth=bandwidth)
        record["forecast"] = asdict(expected)
        told += f"\non {cores} cores at {bandwidth}/s: {expected}"
    return as_text(record) if as_json else told


@main.command(epilog="In a job array: dask-pyramid plan a.tif a.ome.zarr, then --shard "
              "0/8 to --shard 7/8, then dask-pyramid finish a.ome.zarr")  # fmt: skip
@click.argument("store", metavar="STORE")
@click.option(
    "--shard",
    metavar="I/N",
    default="0/1",
    show_default=True,
    callback=parsed_by(options.shard),
    help="Run every N-th unit, from the I-th on; I is 0 to N-1.",
)
@with_options(UNITS, *MACHINE, *DEVICE, *STORE, PROGRESS, DEBUG)
def units(
    store: str, *, debug: bool, endpoint: str | None, anonymous: bool, **given: Any
) -> None:
    """Run units of the plan in STORE; other processes may run others meanwhile.

    Units that are done are not run again. Units that read what others have not written
    yet are left; finish runs them.
    """
    with stoppable(store, "run it again"), reported(debug):
        given["storage_options"] = storage_options(endpoint, anonymous)
        left = dp.run_units(store, **given)
        waiting = f"; {left} wait for units of other shards" if left else ""
        click.echo(f"{store}: this share is done{waiting}")


@main.command()
@click.argument("store", metavar="STORE")
@with_options(*MACHINE, *DEVICE, *STORE, BREAK_LOCK, PROGRESS, DEBUG)
def finish(
    store: str, *, debug: bool, endpoint: str | None, anonymous: bool, **given: Any
) -> None:
    """Publish the pyramid in STORE when all its units are done.

    Units that read stored levels and are left are run here; they are few and small.
    """
    with stoppable(store, "run it again"), reported(debug):
        given["storage_options"] = storage_options(endpoint, anonymous)
        click.echo(str(dp.finish_pyramid(store, **given)))


_GROWTH = (*MACHINE, *DEVICE, *STORE, BREAK_LOCK, *RUNNING, RETRIES, PROGRESS, DEBUG)


@main.command("add-levels")
@click.argument("store", metavar="STORE")
@with_options(*READING, *LEVELS, MASK, COMPRESSOR)
@click.option(
    "--replace",
    is_flag=True,
    help="Remove all levels but level 0 and make them anew.",
)
@with_options(*_GROWTH)
def add_levels(store: str, **given: Any) -> None:
    """Add the coarser levels that the image in STORE lacks; level 0 is only read.

    STORE is an OME-Zarr image, by whatever tool, or a group that holds one array.
    """
    _grow(dp.add_levels, store, **given)


@main.command()
@click.argument("store", metavar="STORE")
@click.option(
    "--region",
    metavar="RANGES",
    required=True,
    callback=parsed_by(options.region),
    help="Voxels of level 0 that have changed, by axis: z=0:16,y=512:,x=0:100. An axis "
    "that is not named is taken whole.",
)
@with_options(*METHOD, MASK, *_GROWTH)
def update(store: str, **given: Any) -> None:
    """Compute again what depends on a region of level 0 that has changed."""
    _grow(dp.update_pyramid, store, **given)


@main.command()
@click.argument("store", metavar="STORE")
@click.argument("source", metavar="IN")
@click.option(
    "--axis",
    default="t",
    show_default=True,
    help="Axis along which the pyramid grows.",
)
@click.option("--axes", metavar="AXES", help="Names of the dimensions of IN.")
@with_options(*METHOD, *_GROWTH)
def append(store: str, source: str, **given: Any) -> None:
    """Append the image IN behind the pyramid in STORE, to all its levels."""
    _grow(dp.append, store, source, **given)


def _grow(
    verb: Callable[..., Any],
    *places: str,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    **given: Any,
) -> None:
    running = {name: given.pop(name) for name in RUNNING_NAMES}
    given["storage_options"] = storage_options(endpoint, anonymous)
    with (
        stoppable(places[0], "give the same command again"),
        reported(debug),
        client_of(**running) as client,
    ):
        click.echo(str(verb(*places, client=client, **given)))


@main.command()
@click.argument("store", metavar="STORE")
@with_options(*STORE, JSON, DEBUG)
def info(
    store: str, *, as_json: bool, debug: bool, endpoint: str | None, anonymous: bool
) -> None:
    """Print what a stored pyramid says of itself.

    STORE is the folder or URL of an OME-Zarr image. Levels, shapes, scales,
    translations, unit, data type, method, chunks, shards and version; no pixel is read.
    """
    with reported(debug):
        from dask_pyramid.info import info_text, stored_info

        options = storage_options(endpoint, anonymous)
        found = stored_info(store, storage_options=options)
        click.echo(as_text(found) if as_json else info_text(found))


@main.command(epilog="Example: dask-pyramid verify a.ome.zarr --full --html a.html")
@click.argument("store", metavar="STORE")
@click.option(
    "--sample",
    metavar="AMOUNT",
    callback=parsed_by(options.amount),
    help="How much is read: structure (no pixel), so many boxes of each level (16), a "
    "part of them (0.1 or 10%), or full.  [default: 16]",
)
@click.option("--full", is_flag=True, help="The same as --sample full.")
@click.option("--seed", default=0, show_default=True, help="Chooses the boxes.")
@click.option("--strict", is_flag=True, help="Warnings count as faults, too.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, writable=True),
    help="Write the report to this file, as HTML.",
)
@with_options(MASK, LAYOUT[-1], RUNNING[0], *STORE, PROGRESS, JSON, DEBUG)
def verify(
    store: str,
    *,
    sample: Any,
    full: bool,
    strict: bool,
    page: str | None,
    scheduler: str | None,
    endpoint: str | None,
    anonymous: bool,
    as_json: bool,
    debug: bool,
    **given: Any,
) -> None:
    """Check a stored pyramid, of whatever tool, and tell what is wrong.

    STORE is the folder or URL of an OME-Zarr image or label image. Metadata, the
    presence of objects, that they decode, and that each level is what its method makes
    of the level below. Nothing in STORE is changed. Exit status: 0 no fault, 1 could
    not be run, 2 wrong usage, 3 faults found.
    """
    if full and sample is not None:
        raise click.UsageError("give --sample or --full, not both")
    if full or sample is not None:
        given["sample"] = "full" if full else sample
    given["storage_options"] = storage_options(endpoint, anonymous)
    with reported(debug):
        found = dp.verify_pyramid(store, client=scheduler, **given)
        click.echo(as_text(found.to_json()) if as_json else str(found))
        if page is not None:
            from dask_pyramid.report import html_page

            Path(page).write_text(html_page(found), encoding="utf-8")
    if not found.ok or (strict and found.warnings):
        sys.exit(_FAULTS)


main.add_command(labels)
main.add_command(plate)
main.add_command(thumbnail)
main.add_command(view)
