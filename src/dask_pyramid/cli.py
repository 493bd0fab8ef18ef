"""The command ``dask-pyramid``: `write`, `plan`, `units`, `finish`, `info`, `verify`.

Results go to standard output, progress, warnings and errors to standard error. Status
0: done; 1: an error, told in one line; 2: wrong usage; 3: faults found; 130:
interrupted; 143: ended by SIGTERM. Whatever is heavy to import is imported when a
command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

import dask_pyramid as dp
from dask_pyramid import options
from dask_pyramid.stopping import Terminated, raising_on_sigterm

__all__ = ["main"]

Command = TypeVar("Command", bound=Callable[..., Any])

# Written out, for METHODS would import NumPy; a test holds them against it.
_METHODS = (
    "gaussian",
    "gaussian-stride",
    "mean",
    "nearest",
    "mode",
    "median",
    "min",
    "max",
)
_COMPRESSORS = ("blosc", "zstd", "lz4", "gzip", "none")
_VERSIONS = ("0.4", "0.5", "0.6")

# Their messages are written for users; any other is named by its type, too.
_EXPECTED = (ValueError, TypeError, OSError, ImportError)

_FAULTS = 3
_INTERRUPTED, _TERMINATED = 130, 143


def _read(parse: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a callback that reads a text, and tells wrong usage."""

    def callback(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback


_READING = (
    click.option(
        "--axes",
        metavar="AXES",
        help="Names of the input's dimensions in their order, out of t, c, z, y, x, "
        "such as zyx or yxc.  [default: what the source says, else the last of tczyx]",
    ),
    click.option(
        "--scale",
        metavar="NUMBERS",
        callback=_read(options.numbers),
        help="Spacing of voxel centres in the unit, for each axis (0.29,0.26,0.26) or "
        "by name (z=0.29,y=0.26,x=0.26).  [default: what the source says, else 1]",
    ),
    click.option(
        "--translation",
        metavar="NUMBERS",
        callback=_read(options.numbers),
        help="Position of the centre of the first voxel in the unit, given as the "
        "scale.  [default: what the source says, else 0]",
    ),
    click.option(
        "--unit",
        metavar="UNIT",
        callback=_read(options.unit),
        help="Unit of the spatial axes (um, micrometer, nm, ...), or by axis.  "
        "[default: what the source says, else none]",
    ),
    click.option(
        "--name",
        metavar="NAME",
        help="What viewers call the image.  [default: what the source says, else its "
        "file name]",
    ),
)

_READING_NAMES = ("axes", "scale", "translation", "unit", "name")

_LAYOUT = (
    click.option(
        "--method",
        type=click.Choice(_METHODS),
        help="How levels are reduced.  [default: gaussian; mode for labels and masks]",
    ),
    click.option(
        "--sigma",
        metavar="NUMBERS",
        callback=_read(options.sigma),
        help="Standard deviation of the Gaussian in voxels of the level that is "
        "reduced, for all axes or by axis.  [default: step/4 for gaussian, (step-1)/2 "
        "for gaussian-stride]",
    ),
    click.option(
        "--factors",
        "scale_factors",
        metavar="FACTORS",
        callback=_read(options.factors),
        default="auto",
        show_default=True,
        help="Factors from level 0, increasing, one for each further level: 2,4,8, or "
        "by axis with semicolons between levels: y=2,x=2;z=2,y=4,x=4. auto makes "
        "voxels isotropic first and ends when a level fits into one chunk.",
    ),
    click.option(
        "--chunks",
        metavar="VOXELS",
        callback=_read(options.extents),
        help="Extent of a chunk in voxels: one number for all spatial axes, one for "
        "each axis, or by name; semicolons between levels, the last repeats.  "
        "[default: powers of two, 0.5 to 1 MiB]",
    ),
    click.option(
        "--shards",
        metavar="VOXELS",
        callback=_read(options.extents),
        help="Extent of a shard in voxels, given as the chunks, or none.  [default: "
        "whole chunks, about 64 MiB; none for OME-Zarr 0.4]",
    ),
    click.option(
        "--ome-zarr-version",
        "version",
        type=click.Choice(_VERSIONS),
        default="0.5",
        show_default=True,
        help="Version of OME-Zarr.",
    ),
    click.option(
        "--memory-limit",
        metavar="BYTES",
        help="Memory that may be used, in bytes or with a unit (2GiB).  [default: half "
        "of the machine's, or of the cluster's]",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of threads.  [default: number of cores]",
    ),
)

_RUNNING = (
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run on the workers of this dask scheduler (tcp://host:8786), or as "
        "threads, processes or synchronous.  [default: what dask's configuration says, "
        "else threads]",
    ),
    click.option(
        "--cluster",
        type=click.Choice(["local", "slurm"]),
        help="Start a cluster for this run and close it after: processes of this "
        "machine, or jobs of SLURM (pip install 'dask-pyramid[slurm]').",
    ),
    click.option(
        "--cluster-option",
        "cluster_options",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_read(options.settings),
        help="Argument of distributed.LocalCluster or dask_jobqueue.SLURMCluster, such "
        "as cores=8 or memory=32GB; may be repeated. Values are JSON, or else text.",
    ),
    click.option(
        "--jobs",
        metavar="N[:M]",
        callback=_read(options.span),
        help="Workers or jobs of the cluster; N:M adapts their number to the work.",
    ),
    click.option(
        "--wait",
        type=click.FloatRange(min=0),
        default=300,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for the first worker of the cluster.",
    ),
)
_RUNNING_NAMES = ("scheduler", "cluster", "cluster_options", "jobs", "wait")
_STORE = (
    click.option(
        "--endpoint",
        metavar="URL",
        help="Server of an S3 URL that is not Amazon's (https://host, http://host:80), "
        "or of a gs or az URL.  [default: what the environment says]",
    ),
    click.option(
        "--anonymous", is_flag=True, help="Do not sign requests: the data are public."
    ),
)
_SOURCE_STORE = (
    click.option(
        "--source-endpoint", metavar="URL", help="Server of IN, where it differs."
    ),
    click.option(
        "--source-anonymous", is_flag=True, help="Do not sign requests for IN alone."
    ),
)
_COMPRESSOR = click.option(
    "--compressor",
    "compressors",
    type=click.Choice(_COMPRESSORS),
    default="blosc",
    show_default=True,
    help="Codec: blosc is zstd level 3 with byte shuffle; with a checksum where the "
    "format has one.",
)
_BREAK_LOCK = click.option(
    "--break-lock",
    is_flag=True,
    help="Write although another process seems to write this store.",
)
_PROGRESS = click.option(
    "--progress/--no-progress",
    default=None,
    help="Show a bar on standard error.  [default: if that is a terminal]",
)
_METHOD, _LEVELS, _MACHINE = _LAYOUT[:2], _LAYOUT[:5], _LAYOUT[-2:]
_RETRIES = click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    metavar="N",
    help="How often a unit is tried again after an error that may pass.",
)

_DEBUG = click.option(
    "-v", "--debug", is_flag=True, help="Show the traceback of an error."
)
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of tables."
)


def _with(*decorators: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Apply decorators so that options appear in the order given."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(dp.__version__, prog_name="dask-pyramid")
def main() -> None:
    """Turn images of any size into OME-Zarr multiscale pyramids.

    Exit status: 0 done, 1 error, 2 wrong usage, 3 faults found, 130 interrupted, 143
    ended by SIGTERM.
    """


@main.command(epilog="Example: dask-pyramid write a.tif a.ome.zarr --unit um "
              "--scale 0.29,0.26,0.26")  # fmt: skip
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@_with(*_READING, *_LAYOUT, *_STORE, *_SOURCE_STORE)
@_COMPRESSOR
@click.option(
    "--mode",
    type=click.Choice(["w-", "a", "w"]),
    default="w-",
    show_default=True,
    help="w- refuses a target that exists, a goes on with an interrupted run of the "
    "same job, w replaces a pyramid.",
)
@_BREAK_LOCK
@_with(*_RUNNING)
@_RETRIES
@_PROGRESS
@_DEBUG
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
    running = {name: given.pop(name) for name in _RUNNING_NAMES}
    given["storage_options"] = _storage_options(endpoint, anonymous)
    reading = _storage_options(source_endpoint, source_anonymous)
    try:
        with raising_on_sigterm(), _reported(debug), _client(**running) as client:
            image: Any = source
            if reading is not None:
                image = dp.open_image(source, storage_options=reading)
            click.echo(str(dp.write_pyramid(image, target, client=client, **given)))
    except KeyboardInterrupt as error:
        _stop(target, _TERMINATED if isinstance(error, Terminated) else _INTERRUPTED)


@main.command()
@click.argument("source", metavar="IN")
@click.argument("store", metavar="[STORE]", required=False)
@_with(*_READING, *_LAYOUT, *_STORE, _COMPRESSOR, _JSON, _DEBUG)
def plan(
    source: str,
    store: str | None,
    *,
    compressors: str,
    as_json: bool,
    debug: bool,
    endpoint: str | None,
    anonymous: bool,
    **given: Any,
) -> None:
    """Print what would be written, and what it would cost.

    IN is as for write. No pixel is read, and without STORE nothing is written. With
    STORE the plan is stored there, for units and finish to carry out.
    """
    given["storage_options"] = _storage_options(endpoint, anonymous)
    with _reported(debug):
        if store is None:
            names = (*_READING_NAMES, "storage_options")
            reading = {name: given.pop(name) for name in names}
            result = dp.plan_pyramid(dp.open_image(source, **reading), **given)
        else:
            result = dp.prepare_pyramid(source, store, compressors=compressors, **given)
        click.echo(_json(result.to_json()) if as_json else str(result))


@main.command(epilog="In a job array: dask-pyramid plan a.tif a.ome.zarr, then --shard "
              "0/8 to --shard 7/8, then dask-pyramid finish a.ome.zarr")  # fmt: skip
@click.argument("store", metavar="STORE")
@click.option(
    "--shard",
    metavar="I/N",
    default="0/1",
    show_default=True,
    callback=_read(options.shard),
    help="Run every N-th unit, from the I-th on; I is 0 to N-1.",
)
@_with(*_MACHINE, *_STORE, _PROGRESS, _DEBUG)
def units(
    store: str, *, debug: bool, endpoint: str | None, anonymous: bool, **given: Any
) -> None:
    """Run units of the plan in STORE; other processes may run others meanwhile.

    Units that are done are not run again. Units that read what others have not written
    yet are left; finish runs them.
    """
    with _reported(debug):
        given["storage_options"] = _storage_options(endpoint, anonymous)
        left = dp.run_units(store, **given)
        waiting = f"; {left} wait for units of other shards" if left else ""
        click.echo(f"{store}: this share is done{waiting}")


@main.command()
@click.argument("store", metavar="STORE")
@_with(*_MACHINE, *_STORE, _BREAK_LOCK, _PROGRESS, _DEBUG)
def finish(
    store: str, *, debug: bool, endpoint: str | None, anonymous: bool, **given: Any
) -> None:
    """Publish the pyramid in STORE when all its units are done.

    Units that read stored levels and are left are run here; they are few and small.
    """
    with _reported(debug):
        given["storage_options"] = _storage_options(endpoint, anonymous)
        click.echo(str(dp.finish_pyramid(store, **given)))


_GROWTH = (*_MACHINE, *_STORE, _BREAK_LOCK, *_RUNNING, _RETRIES, _PROGRESS, _DEBUG)


@main.command("add-levels")
@click.argument("store", metavar="STORE")
@_with(*_READING, *_LEVELS, _COMPRESSOR)
@click.option(
    "--replace",
    is_flag=True,
    help="Remove all levels but level 0 and make them anew.",
)
@_with(*_GROWTH)
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
    callback=_read(options.region),
    help="Voxels of level 0 that have changed, by axis: z=0:16,y=512:,x=0:100. An axis "
    "that is not named is taken whole.",
)
@_with(*_METHOD, *_GROWTH)
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
@_with(*_METHOD, *_GROWTH)
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
    running = {name: given.pop(name) for name in _RUNNING_NAMES}
    given["storage_options"] = _storage_options(endpoint, anonymous)
    try:
        with raising_on_sigterm(), _reported(debug), _client(**running) as client:
            click.echo(str(verb(*places, client=client, **given)))
    except KeyboardInterrupt as error:
        status = _TERMINATED if isinstance(error, Terminated) else _INTERRUPTED
        _stop(places[0], status, again="give the same command")


@main.command()
@click.argument("store", metavar="STORE")
@_with(*_STORE, _JSON, _DEBUG)
def info(
    store: str, *, as_json: bool, debug: bool, endpoint: str | None, anonymous: bool
) -> None:
    """Print what a stored pyramid says of itself.

    STORE is the folder or URL of an OME-Zarr image. Levels, shapes, scales,
    translations, unit, data type, method, chunks, shards and version; no pixel is read.
    """
    with _reported(debug):
        from dask_pyramid.info import info_text, stored_info

        options = _storage_options(endpoint, anonymous)
        found = stored_info(store, storage_options=options)
        click.echo(_json(found) if as_json else info_text(found))


@main.command(epilog="Example: dask-pyramid verify a.ome.zarr --full --html a.html")
@click.argument("store", metavar="STORE")
@click.option(
    "--sample",
    metavar="AMOUNT",
    callback=_read(options.amount),
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
@_with(_LAYOUT[-1], _RUNNING[0], *_STORE, _PROGRESS, _JSON, _DEBUG)
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
    given["storage_options"] = _storage_options(endpoint, anonymous)
    with _reported(debug):
        found = dp.verify_pyramid(store, client=scheduler, **given)
        click.echo(_json(found.to_json()) if as_json else str(found))
        if page is not None:
            from dask_pyramid.report import html_page

            Path(page).write_text(html_page(found), encoding="utf-8")
    if not found.ok or (strict and found.warnings):
        sys.exit(_FAULTS)


def _storage_options(endpoint: str | None, anonymous: bool) -> dict[str, Any] | None:
    """Return what was given of a store; None if nothing was."""
    given = {"endpoint": endpoint, "anonymous": anonymous or None}
    found = {name: value for name, value in given.items() if value is not None}
    return found or None


def _stop(
    target: str, status: int, again: str = "give the same command with --mode a"
) -> NoReturn:
    click.echo(
        f"Interrupted: nothing was published at {target}; to go on, {again}",
        err=True,
    )
    # What zarr's event loop has left undone is no news now.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.exit(status)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2)


@contextmanager
def _reported(debug: bool) -> Iterator[None]:  # a flag of the command
    """Turn errors and warnings into lines on standard error."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            yield
        except (click.ClickException, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                raise
            raise click.ClickException(_message(error)) from error


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {_one_line(str(message))}", err=True)


def _message(error: Exception) -> str:
    text = _one_line("; ".join([str(error), *getattr(error, "__notes__", ())]))
    if isinstance(error, _EXPECTED) and text:
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _client(
    *,
    scheduler: str | None,
    cluster: str | None,
    cluster_options: dict[str, Any],
    jobs: tuple[int, int] | None,
    wait: float,
) -> Any:
    """Return a context that gives what `write_pyramid` takes as client."""
    if cluster is None:
        if cluster_options or jobs:
            raise click.UsageError("--cluster-option and --jobs need --cluster")
        return nullcontext(scheduler)
    if scheduler is not None:
        raise click.UsageError("--scheduler and --cluster exclude each other")
    from dask_pyramid.clusters import start_cluster

    return start_cluster(cluster, cluster_options, jobs=jobs, timeout=wait)


if __name__ == "__main__":
    main(prog_name="dask-pyramid")
