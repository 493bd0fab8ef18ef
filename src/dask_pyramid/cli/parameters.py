"""The options of the commands, and how their texts are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dask_pyramid import options
from dask_pyramid.cli.verbosity import DEBUG, PROGRESS, with_options

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AS_LABELS",
    "BANDWIDTH",
    "BREAK_LOCK",
    "COMPRESSOR",
    "COMPRESSORS",
    "CORES",
    "COUNTING",
    "DEBUG",
    "DEVICE",
    "FILE_MODE",
    "JSON",
    "LAYOUT",
    "LEVELS",
    "MACHINE",
    "MASK",
    "METHOD",
    "METHODS",
    "MODE",
    "PLACE",
    "PROGRESS",
    "READING",
    "READING_NAMES",
    "RETRIES",
    "RUNNING",
    "RUNNING_NAMES",
    "SOURCE",
    "SOURCE_STORE",
    "STORE",
    "TARGET",
    "UNITS",
    "VERSIONS",
    "output_file",
    "parsed_by",
    "storage_options",
    "with_options",
]

# Written out, for METHODS would import NumPy; a test holds them against it.
METHODS = (
    "gaussian",
    "gaussian-stride",
    "mean",
    "nearest",
    "mode",
    "mode-exact",
    "median",
    "min",
    "max",
)
COMPRESSORS = ("blosc", "zstd", "lz4", "gzip", "none")
VERSIONS = ("0.4", "0.5", "0.6")


def parsed_by(parse: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a callback that reads a text, and tells wrong usage."""

    def callback(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def output_file(*suffixes: str) -> Any:
    """Return the type of a file that is written after the work: checked before it.

    A command with such a file has the option `FILE_MODE`, too.

    Parameters
    ----------
    *suffixes : str
        Which it may have; any by default.
    """
    return _Output(suffixes)


class _Output(click.Path):
    def __init__(self, suffixes: tuple[str, ...]) -> None:
        super().__init__(dir_okay=False, writable=True)
        self._suffixes = suffixes

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        path, found = Path(value), super().convert(value, param, ctx)
        if self._suffixes and path.suffix.lower() not in self._suffixes:
            known = ", ".join(self._suffixes)
            self.fail(f"{value!r} must end with one of {known}", param, ctx)
        if not os.access(path.parent, os.W_OK):
            self.fail(f"{value!r} must lie in a folder that can be written", param, ctx)
        if path.exists() and not ctx.meta[_REPLACES]:
            self.fail(f"{value!r} exists; --mode w replaces it", param, ctx)
        return found


_REPLACES = "dask_pyramid.replaces"


def _file_mode(ctx: click.Context, _param: click.Parameter, value: str) -> None:
    ctx.meta[_REPLACES] = value == "w"


READING = (
    click.option(
        "--axes",
        metavar="AXES",
        help="Names of the input's dimensions in their order, out of t, c, z, y, x, "
        "such as zyx or yxc.  [default: what the source says, else the last of tczyx]",
    ),
    click.option(
        "--scale",
        metavar="NUMBERS",
        callback=parsed_by(options.places),
        help="Spacing of voxel centres in the unit, for each axis (0.29,0.26,0.26) or "
        "by name (z=0.29,y=0.26,x=0.26).  [default: what the source says, else 1]",
    ),
    click.option(
        "--translation",
        metavar="NUMBERS",
        callback=parsed_by(options.places),
        help="Position of the centre of the first voxel in the unit, given as the "
        "scale.  [default: what the source says, else 0]",
    ),
    click.option(
        "--unit",
        metavar="UNIT",
        callback=parsed_by(options.unit),
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

AS_LABELS = click.option(
    "--as-labels",
    is_flag=True,
    help="The values of IN are ids, which are never averaged.  [default: if IN is an "
    "OME-Zarr label image; values are not looked at]",
)
MASK = click.option(
    "--mask",
    metavar="PATH",
    help="Image of the extents of level 0 or of a coarser level, with or without t and "
    "c; what is zero there does not count and is not written.  [default: all voxels "
    "count]",
)
CORES = click.option(
    "--cores",
    type=click.IntRange(min=1),
    metavar="N",
    help="Say how long it takes on so many cores.  [default: not said]",
)
BANDWIDTH = click.option(
    "--bandwidth",
    metavar="SIZE",
    default="1 GB",
    show_default=True,
    help="What all workers together read and write in a second, for --cores.",
)
COUNTING = (
    click.option(
        "--nodata",
        metavar="VALUE",
        callback=parsed_by(options.nodata),
        help="A value that does not count, such as 0 for nothing measured or the "
        "background of labels; nan for NaN.  [default: all voxels count]",
    ),
    click.option("--skip-nan", is_flag=True, help="NaN does not count."),
    MASK,
)

READING_NAMES = ("axes", "scale", "translation", "unit", "name")

LAYOUT = (
    click.option(
        "--method",
        type=click.Choice(METHODS),
        metavar="NAME",
        help=f"How levels are reduced: {', '.join(METHODS)}.  [default: gaussian; mode "
        "for bools, OME-Zarr label images and --as-labels]",
    ),
    click.option(
        "--sigma",
        metavar="NUMBERS",
        callback=parsed_by(options.sigma),
        help="Standard deviation of the Gaussian in voxels of the level that is "
        "reduced, for all axes or by axis.  [default: step/4 for gaussian, (step-1)/2 "
        "for gaussian-stride]",
    ),
    click.option(
        "--factors",
        "scale_factors",
        metavar="FACTORS",
        callback=parsed_by(options.factors),
        default="auto",
        show_default=True,
        help="Factors from level 0, increasing, one for each further level: 2,4,8, or "
        "by axis with semicolons between levels: y=2,x=2;z=2,y=4,x=4. They need not "
        "be whole. auto halves the finest axes first and ends when a level fits into "
        "one chunk; isotropic has a level with exactly the same spacing on all axes, "
        "isotropic=0.5 one with that spacing; none makes no further level.",
    ),
    click.option(
        "--chunks",
        metavar="VOXELS",
        callback=parsed_by(options.extents),
        help="Extent of a chunk in voxels: one number for all spatial axes, one for "
        "each axis, or by name; semicolons between levels, the last repeats.  "
        "[default: powers of two, 0.5 to 1 MiB]",
    ),
    click.option(
        "--shards",
        metavar="VOXELS",
        callback=parsed_by(options.extents),
        help="Extent of a shard in voxels, given as the chunks, or none.  [default: "
        "whole chunks, about 64 MiB; none for OME-Zarr 0.4]",
    ),
    click.option(
        "--ome-zarr-version",
        "version",
        type=click.Choice(VERSIONS),
        metavar="VERSION",
        help=f"Version of OME-Zarr: {', '.join(VERSIONS)}.  [default: 0.5]",
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

RUNNING = (
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run on the workers of this dask scheduler (tcp://host:8786), or as "
        "threads, processes or synchronous.  [default: what dask's configuration says, "
        "else threads]",
    ),
    click.option(
        "--cluster",
        type=click.Choice(["local", "cuda", "slurm"]),
        help="Start a cluster for this run and close it after: processes of this "
        "machine, one for each of its GPUs (pip install 'dask-pyramid[gpu-cluster]'), "
        "or jobs of SLURM (pip install 'dask-pyramid[slurm]').  [default: none]",
    ),
    click.option(
        "--cluster-option",
        "cluster_options",
        metavar="KEY=VALUE",
        multiple=True,
        callback=parsed_by(options.settings),
        help="Argument of distributed.LocalCluster, dask_cuda.LocalCUDACluster or "
        "dask_jobqueue.SLURMCluster, such as cores=8 or memory=32GB; may be repeated. "
        "Values are JSON, or else text.  [default: those of the cluster]",
    ),
    click.option(
        "--jobs",
        metavar="N[:M]",
        callback=parsed_by(options.span),
        help="Workers or jobs of the cluster; N:M adapts their number to the work.  "
        "[default: what local clusters choose, or 1 job]",
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
RUNNING_NAMES = ("scheduler", "cluster", "cluster_options", "jobs", "wait")
STORE = (
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
SOURCE_STORE = (
    click.option(
        "--source-endpoint",
        metavar="URL",
        help="Server of IN, where it differs.  [default: --endpoint, if that is for "
        "IN, too]",
    ),
    click.option(
        "--source-anonymous", is_flag=True, help="Do not sign requests for IN alone."
    ),
)
COMPRESSOR = click.option(
    "--compressor",
    "compressors",
    type=click.Choice(COMPRESSORS),
    metavar="NAME",
    help=f"Codec: {', '.join(COMPRESSORS)}; blosc is zstd level 3 with byte shuffle. "
    "With a checksum where the format has one.  [default: blosc]",
)
UNITS = click.option(
    "--units",
    metavar="NUMBERS",
    callback=parsed_by(options.unit_numbers),
    help="Only these units of the plan: 3,17.  [default: all]",
)
MODE = click.option(
    "--mode",
    type=click.Choice(["w-", "a", "w"]),
    default="w-",
    show_default=True,
    help="w- refuses a target that exists, a goes on with an interrupted run of the "
    "same job, w replaces a pyramid.",
)
FILE_MODE = click.option(
    "--mode",
    type=click.Choice(["w-", "w"]),
    default="w-",
    show_default=True,
    is_eager=True,  # known when the file is checked
    expose_value=False,
    callback=_file_mode,
    help="w- refuses a file that exists, w replaces it.",
)
BREAK_LOCK = click.option(
    "--break-lock",
    is_flag=True,
    help="Write although another process seems to write this store.",
)
METHOD, LEVELS, MACHINE = LAYOUT[:2], LAYOUT[:5], LAYOUT[-2:]
DEVICE = (
    click.option(
        "--device",
        type=click.Choice(["cpu", "gpu", "auto"]),
        help="Where levels are made; the result is the same. gpu needs CuPy (pip "
        "install 'dask-pyramid[gpu-cuda12]' or [gpu-cuda13]); auto takes a GPU where "
        "that pays, and says so in the log (-v).  [default: cpu]",
    ),
    click.option(
        "--gpu-memory-limit",
        metavar="BYTES",
        help="Memory of each GPU that may be used, in bytes or with a unit (4GiB).  "
        "[default: half of what it has]",
    ),
)
RETRIES = click.option(
    "--retries",
    type=click.IntRange(min=0),
    metavar="N",
    help="How often a unit is tried again after an error that may pass.  [default: 2]",
)

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, no tables.")

# Files are completed by shells; whether there are any is for the verbs to say.
SOURCE = click.argument("source", metavar="IN", type=click.Path())
TARGET = click.argument("target", metavar="OUT", type=click.Path())
PLACE = click.argument("store", metavar="STORE", type=click.Path())


def storage_options(endpoint: str | None, anonymous: bool) -> dict[str, Any] | None:
    """Return what was given of a store; None if nothing was."""
    given = {"endpoint": endpoint, "anonymous": anonymous or None}
    found = {name: value for name, value in given.items() if value is not None}
    return found or None
