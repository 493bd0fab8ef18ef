"""The command `plate`: many images as the fields of view of a plate."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import click

import dask_pyramid as dp
from dask_pyramid.cli.commands import Command
from dask_pyramid.cli.parameters import (
    BREAK_LOCK,
    COMPRESSOR,
    DEBUG,
    DEVICE,
    JSON,
    LAYOUT,
    PROGRESS,
    READING,
    RETRIES,
    RUNNING,
    RUNNING_NAMES,
    STORE,
    TARGET,
    storage_options,
    with_options,
)
from dask_pyramid.cli.running import client_of
from dask_pyramid.cli.telling import as_text, reported, stoppable

__all__ = ["plate"]

# But for the name, which is each image's own.
_READING = READING[:-1]


def _named(entries: tuple[str, ...], table: str | None) -> dict[str, str]:
    """Return images by field, out of a table and of the command line."""
    pairs: list[tuple[str, str]] = []
    if table is not None:
        with Path(table).open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader if row]
        for number, row in lines:
            if len(row) != 2:
                raise click.UsageError(
                    f"line {number} of {table} must be FIELD,IMAGE, got "
                    f"{','.join(row)!r}"
                )
            pairs.append((row[0].strip(), row[1].strip()))
    for entry in entries:
        field, equals, image = entry.partition("=")
        if not equals:
            raise click.UsageError(f"{entry!r} must be FIELD=IMAGE, such as A/1=a.tif")
        pairs.append((field, image))
    if not pairs:
        raise click.UsageError("give images as FIELD=IMAGE, or a --table")
    images = dict(pairs)
    if len(images) != len(pairs):
        twice = next(f for i, (f, _) in enumerate(pairs) if f in dict(pairs[:i]))
        raise click.UsageError(f"{twice!r} is given twice")
    return images


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  dask-pyramid plate p.ome.zarr A/1=a.tif B/12/0=b.tif B/12/1=c.tif --unit um
  dask-pyramid plate p.ome.zarr --table wells.csv""",
)
@TARGET
@click.argument("entries", metavar="[FIELD=IMAGE]...", nargs=-1)
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False),
    help="A CSV file with a line FIELD,IMAGE for each image, and no header.  "
    "[default: none]",
)
@click.option(
    "--name",
    metavar="NAME",
    help="What viewers call the plate.  [default: none]",
)
@with_options(*_READING, *LAYOUT, COMPRESSOR, *STORE)
@click.option(
    "--mode",
    type=click.Choice(["w-", "a"]),
    default="w-",
    show_default=True,
    help="What to do if OUT exists: refuse (w-), or go on with a plate, keep images "
    "that are complete, and add others (a).",
)
@with_options(BREAK_LOCK, *DEVICE, *RUNNING, RETRIES, PROGRESS, JSON, DEBUG)
def plate(
    target: str,
    *,
    entries: tuple[str, ...],
    table: str | None,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    **given: Any,
) -> None:
    """Write images as the fields of view of the plate OUT, with one progress bar.

    FIELD is ROW/COLUMN, or ROW/COLUMN/NUMBER where a well has several; IMAGE is as IN
    of write. All images are opened and planned before anything is written, with the
    same options. The plate is listed when all are complete.
    """
    images = _named(entries, table)
    running = {key: given.pop(key) for key in RUNNING_NAMES}
    given["storage_options"] = storage_options(endpoint, anonymous)
    missing = "images that are complete can be opened, but are not listed in"
    with (
        stoppable(target, missing=missing, options=given["storage_options"]),
        reported(debug),
        client_of(**running) as client,
    ):
        written = dp.write_plate(images, target, client=client, **given)
        told = f"{target}: {len(written)} images"
        record = {"location": target, "fields": list(written)}
        click.echo(as_text(record) if as_json else told)
