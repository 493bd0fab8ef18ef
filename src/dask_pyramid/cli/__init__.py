"""The command ``dask-pyramid``: here `write`, `plan`, `units`, `finish` and checks.

Results go to standard output, progress, warnings and errors to standard error. Status
0: done; 1: an error, told in one line; 2: wrong usage; 3: faults found; 130:
interrupted; 143: ended by SIGTERM. Whatever is heavy to import is imported when a
command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import dask_pyramid as dp
from dask_pyramid import options
from dask_pyramid.cli.commands import PROGRAM, Group
from dask_pyramid.cli.comparing import compare
from dask_pyramid.cli.completing import completion
from dask_pyramid.cli.drawing import thumbnail
from dask_pyramid.cli.growing import add_levels, append, update
from dask_pyramid.cli.labelling import label_place, labels
from dask_pyramid.cli.opening import open_source, source_of
from dask_pyramid.cli.parameters import (
    AS_LABELS,
    BANDWIDTH,
    BREAK_LOCK,
    COMPRESSOR,
    CORES,
    COUNTING,
    DEBUG,
    DEVICE,
    FILE_MODE,
    JSON,
    LAYOUT,
    MACHINE,
    MASK,
    MODE,
    PLACE,
    PROGRESS,
    READING,
    RETRIES,
    RUNNING,
    RUNNING_NAMES,
    SOURCE,
    SOURCE_STORE,
    STORE,
    TARGET,
    UNITS,
    output_file,
    parsed_by,
    storage_options,
    with_options,
)
from dask_pyramid.cli.plates import plate
from dask_pyramid.cli.resampling import resample
from dask_pyramid.cli.running import client_of
from dask_pyramid.cli.telling import as_text, reported, stoppable, tell_pyramid
from dask_pyramid.cli.viewing import view

__all__ = ["main"]

_FAULTS = 3


@click.group(
    cls=Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
)
@click.version_option(dp.__version__, prog_name=PROGRAM)
def main() -> None:
    """Turn images of any size into OME-Zarr multiscale pyramids.

    To begin: dask-pyramid write a.tif a.ome.zarr, then info, view or verify a.ome.zarr.
    COMMAND --help tells the options of a command.
    """


for _command in (
    add_levels,
    append,
    compare,
    completion,
    labels,
    plate,
    resample,
    thumbnail,
    update,
    view,
):
    main.add_command(_command)


@main.command(
    epilog="""\b
Examples:
  dask-pyramid write a.tif a.ome.zarr --unit um --scale 0.29,0.26,0.26
  dask-pyramid write a.ome.zarr s3://bucket/b.ome.zarr --method mean
  dask-pyramid plan a.tif   # what write would do, and what it costs"""
)
@with_options(SOURCE, TARGET)
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
    help="Write only this part of a complete OUT again, from IN on: z=0:16,y=512:.  "
    "[default: all]",
)
@with_options(UNITS, MODE, BREAK_LOCK)
@with_options(*DEVICE, *RUNNING)
@with_options(RETRIES, PROGRESS, JSON, DEBUG)
def write(
    source: str,
    target: str,
    *,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    source_endpoint: str | None,
    source_anonymous: bool,
    **given: Any,
) -> None:
    """Write the image IN as a pyramid to OUT.

    IN is a file (TIFF, HDF5, Imaris, N5, NIfTI, MRC, CZI and others; a.h5/raw is an
    image in a file), a folder or glob pattern of planes, a Zarr array or an OME-Zarr
    image; OUT a folder, or a zipped file if it ends with .ozx. Both may be URLs
    (s3://, gs://, az://; IN https://, too); credentials come from the environment.
    --endpoint and --anonymous are for OUT, and for IN if it is a URL of the same scheme
    or if OUT is none.
    """
    running = {name: given.pop(name) for name in RUNNING_NAMES}
    given["storage_options"] = storage_options(endpoint, anonymous)
    reading = storage_options(source_endpoint, source_anonymous)
    resumes = given["region"] is None and given["units"] is None
    with (
        stoppable(
            target,
            *(label_place(target, name) for name in given["labels"] or ()),
            resumes=resumes,
            options=given["storage_options"],
        ),
        reported(debug),
        client_of(**running) as client,
    ):
        image = source_of(source, target, given, own=reading)
        made = dp.write_pyramid(image, target, client=client, **given)
        tell_pyramid(made, as_json=as_json, options=given["storage_options"])


@main.command(
    epilog="""\b
Examples:
  dask-pyramid plan a.tif --method mean --memory-limit 8GiB
  dask-pyramid plan a.tif a.ome.zarr   # is stored, for units and finish"""
)
@SOURCE
@click.argument("store", metavar="[STORE]", required=False, type=click.Path())
@with_options(*READING, AS_LABELS, *LAYOUT, *COUNTING, *DEVICE, *STORE)
@with_options(CORES, BANDWIDTH, COMPRESSOR, MODE, BREAK_LOCK, JSON, DEBUG)
def plan(
    source: str,
    store: str | None,
    *,
    compressors: str | None,
    mode: str,
    break_lock: bool,
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
    STORE the plan is stored there, for units and finish to carry out, which choose the
    device; --mode, --break-lock and --compressor are for STORE.
    """
    given["storage_options"] = storage_options(endpoint, anonymous)
    with reported(debug):
        if store is None:
            image = open_source(source, None, given)
            del given["storage_options"]
            result = dp.plan_pyramid(image, **given)
        else:
            result = dp.prepare_pyramid(
                source_of(source, store, given),
                store,
                compressors=compressors,
                mode=mode,
                break_lock=break_lock,
                **given,
            )
        click.echo(_plan_text(result, cores, bandwidth, as_json=as_json))
        if store is not None:
            click.echo(
                f"The plan is stored at {store}. Now: {PROGRAM} units {store}, "
                f"then {PROGRAM} finish {store}",
                err=True,
            )


def _plan_text(
    plan: dp.PyramidPlan, cores: int | None, bandwidth: str, *, as_json: bool
) -> str:
    record, told = plan.to_json(), str(plan)
    if cores is not None:
        expected = dp.forecast(plan, cores=cores, bandwidth=bandwidth)
        record["forecast"] = asdict(expected)
        told += f"\non {cores} cores at {bandwidth}/s: {expected}"
    return as_text(record) if as_json else told


@main.command(
    epilog="""\b
In a job array of 8, each with its number I:
  dask-pyramid plan a.tif a.ome.zarr
  dask-pyramid units a.ome.zarr --shard I/8
  dask-pyramid finish a.ome.zarr"""
)
@PLACE
@click.option(
    "--shard",
    metavar="I/N",
    default="0/1",
    show_default=True,
    callback=parsed_by(options.shard),
    help="Run every N-th unit, from the I-th on; I is 0 to N-1.",
)
@with_options(UNITS, *MACHINE, *DEVICE, *STORE, PROGRESS, JSON, DEBUG)
def units(
    store: str,
    *,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    **given: Any,
) -> None:
    """Run units of the plan in STORE; other processes may run others meanwhile.

    Units that are done are not run again. Units that read what others have not written
    yet are left; finish runs them.
    """
    options = given["storage_options"] = storage_options(endpoint, anonymous)
    with stoppable(store, resumes=False, options=options), reported(debug):
        left = dp.run_units(store, **given)
        waiting = f"; {left} wait for units of other shards" if left else ""
        told = f"{store}: this share is done{waiting}"
        click.echo(as_text({"location": store, "left": left}) if as_json else told)


@main.command()
@with_options(PLACE, *MACHINE, *DEVICE, *STORE, BREAK_LOCK, PROGRESS, JSON, DEBUG)
def finish(
    store: str,
    *,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    **given: Any,
) -> None:
    """Publish the pyramid in STORE when all its units are done.

    Units that read stored levels and are left are run here; they are few and small.
    """
    options = given["storage_options"] = storage_options(endpoint, anonymous)
    with stoppable(store, resumes=False, options=options), reported(debug):
        from dask_pyramid.store.remains import remains_at

        before = remains_at(store, options=options)
        made = dp.finish_pyramid(store, **given)
        if before.complete and not before.begun:
            click.echo(f"{store} was complete already", err=True)
        tell_pyramid(made, as_json=as_json, options=options)


@main.command()
@with_options(PLACE, *STORE, JSON, DEBUG)
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


@main.command(
    epilog="""\b
Examples:
  dask-pyramid verify a.ome.zarr
  dask-pyramid verify a.ome.zarr --full --html a.html --json"""
)
@PLACE
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
    type=output_file(),
    help="Write the report to this file, as HTML.  [default: none]",
)
@with_options(FILE_MODE, MASK, LAYOUT[-1], RUNNING[0], *STORE, PROGRESS, JSON, DEBUG)
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
    of the level below. Nothing in STORE is changed.
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
