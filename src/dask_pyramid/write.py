"""The verbs that write: a pyramid at once, or its plan, its units and its end.

Everything here is a few lines over the modules that do the work.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from dask_pyramid import runner, session
from dask_pyramid.jobs import describe
from dask_pyramid.limits import tune_malloc
from dask_pyramid.planning import plan_pyramid
from dask_pyramid.pyramid import Pyramid, stored_pyramid
from dask_pyramid.sources import open_image
from dask_pyramid.sources.graphs import graph_places
from dask_pyramid.store import publication, targets
from dask_pyramid.store_options import StoreOptions, share_options
from dask_pyramid.stores import lives_in_process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.image import Image
    from dask_pyramid.methods import Method
    from dask_pyramid.plan import PyramidPlan

__all__ = [
    "check_reach",
    "finish_pyramid",
    "image_places",
    "prepare_pyramid",
    "run_units",
    "write_pyramid",
]

# "data types are restricted": what Neuroglancer 2.41 and viewers built on it refuse.
_REFUSED = ("bool", "int64", "float16", "float64")


def write_pyramid(
    image: Any,
    target: Any,
    *,
    method: str | Method | None = None,
    sigma: float | Mapping[str, float] | Sequence[float] | None = None,
    scale_factors: ScaleFactors = "auto",
    axes: str | Sequence[str] | None = None,
    scale: Mapping[str, float] | Sequence[float] | None = None,
    translation: Mapping[str, float] | Sequence[float] | None = None,
    unit: str | Mapping[str, str | None] | Sequence[str | None] | None = None,
    name: str | None = None,
    chunks: Any = None,
    shards: Any = None,
    compressors: Any = None,
    version: str = "0.5",
    memory_limit: int | str | None = None,
    mode: str = "w-",
    client: Any = None,
    workers: int | None = None,
    retries: int = 2,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Pyramid:
    """Write an image as an OME-Zarr multiscale pyramid.

    Parameters
    ----------
    image : Image, path, URL or array
        What `open_image` takes.
    target : path, URL or zarr store
        Where to: a folder, an ``s3://``, ``gs://`` or ``az://`` URL, or a zarr store;
        must not lie in or around the source.
    method : str or Method, optional
        ``"gaussian"``, ``"gaussian-stride"``, ``"mean"``, ``"nearest"``, ``"mode"``,
        ``"median"``, ``"min"`` or ``"max"``. By default ``"gaussian"``, and ``"mode"``
        for labels and masks.
    sigma : float, dict by axis or sequence, optional
        Standard deviation of the Gaussian in voxels of the level that is reduced; by
        default a quarter of the step.
    scale_factors : "auto" or sequence of int or dict by axis
        Factors from level 0, increasing: ``[2, 4, 8]``. ``"auto"`` makes voxels
        isotropic first and ends when the spatial part fits into one chunk.
    axes, scale, translation, unit, name
        As for `open_image`; what is given wins over what the source says.
    chunks : int, tuple, dict by axis, or list of these by level, optional
        Extent of a chunk in voxels; by default powers of two, 0.5 to 1 MiB.
    shards : int, tuple, dict by axis, list of these by level, False or None
        Extent of a shard in voxels; None chooses about 64 MiB, False means no shards.
    compressors : object
        As in zarr-python, or ``"blosc"`` (default: zstd, level 3, byte shuffle, with a
        checksum), ``"zstd"``, ``"lz4"``, ``"gzip"``, ``"none"``.
    version : {"0.5", "0.4", "0.6"}
        Version of OME-Zarr.
    memory_limit : int or str, optional
        Bytes that this process, or all processes that run units together, may use
        (``"2 GiB"``); by default half of what there is.
    mode : {"w-", "a", "w"}
        ``"w-"`` refuses a target that exists. ``"a"`` goes on with what an interrupted
        run of the same job has left, and does nothing if that is complete. ``"w"``
        replaces a pyramid: a folder once the new one is complete; on an object store
        the old one goes first.
    client : distributed.Client or str, optional
        Who runs the units: a client, the address of a scheduler, or ``"threads"``,
        ``"processes"`` or ``"synchronous"``. By default the client that dask would use,
        else what ``dask.config`` says of ``scheduler``, else threads.
    workers : int, optional
        Number of threads or processes without a client; by default the number of cores.
    retries : int
        How often a unit is tried again after an error that may pass.
    progress : bool or callable, optional
        Whether to show a bar; a callable gets a `Progress` after each unit. By default
        a bar where standard error is a terminal.
    break_lock : bool
        Whether to write although another process seems to; that of a process of this
        machine that is gone, or has not been renewed for five minutes, is no obstacle.
    storage_options : dict or StoreOptions, optional
        How to open the URL `target`, and `image` too if that is a URL of the same
        scheme or if `target` is none; as for `open_image`. A source that needs others
        is opened first: ``write_pyramid(open_image(url, storage_options=...), ...)``.

    Returns
    -------
    Pyramid
        The pyramid as it is stored.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError, TypeError
        If an argument breaks a rule; nothing is written then.
    OSError
        If the source cannot be read or the target not written, or if another process
        writes it; nothing is published then, and ``mode="a"`` goes on.

    Warns
    -----
    UserWarning
        If viewers refuse the data type.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> image = np.zeros((40, 200, 200), "uint16")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pyramid = write_pyramid(image, f"{folder}/a.ome.zarr", scale_factors=[2])
    >>> pyramid.shapes
    ((40, 200, 200), (20, 100, 100))
    """
    tune_malloc()
    with runner.connect(client, workers=workers, memory_limit=memory_limit) as team:
        order = _order(
            image,
            target,
            reading={
                "axes": axes,
                "scale": scale,
                "translation": translation,
                "unit": unit,
                "name": name,
            },
            planning={
                "method": method,
                "sigma": sigma,
                "scale_factors": scale_factors,
                "chunks": chunks,
                "shards": shards,
                "version": version,
            },
            compressors=compressors,
            mode=mode,
            team=team,
            storage_options=storage_options,
        )
        execution = session.Execution(
            progress=progress, break_lock=break_lock, retries=retries
        )
        if order.target.state == "complete" and mode == "a":
            session.check_complete(order, execution)
        else:
            session.write(order, execution)
    return stored_pyramid(order.target)


def _order(
    image: Any,
    target: Any,
    *,
    reading: Mapping[str, Any],
    planning: Mapping[str, Any],
    compressors: Any,
    mode: str,
    team: runner.Team,
    storage_options: Mapping[str, Any] | StoreOptions | None,
) -> session.Order:
    """Check all that can be checked before anything is written."""
    here, there = share_options(storage_options, image, target)
    opened = open_image(image, **reading, storage_options=here)
    place = targets.open_target(
        target, mode=mode, sources=image_places(opened), options=there
    )
    if team.elsewhere:
        check_reach(place)
    plan = plan_pyramid(opened, crew=team.crew, **planning)
    if plan.dtype in _REFUSED:
        warnings.warn(
            f"many viewers refuse {plan.dtype} (Neuroglancer among them); "
            "convert the image if it shall be looked at",
            stacklevel=3,
        )
    codecs = publication.codecs_json(plan, compressors)
    job = describe(opened, plan, codecs)
    if team.elsewhere:
        opened = runner.portable(opened)
    return session.Order(
        image=opened, job=job, target=place, compressors=compressors, team=team
    )


def check_reach(place: targets.Target) -> None:
    """Refuse a target that other processes cannot write to."""
    if place.store is not None and lives_in_process(place.store):
        raise ValueError(
            f"target must be in reach of the workers of the client, got {place}; "
            "use a path or a URL, or client='threads'"
        )


def image_places(image: Image) -> tuple[str, ...]:
    """Return what must not be written: all that the source is read from."""
    if image.reader is not None:
        return image.reader.locations
    assert image.graph is not None  # by construction: one of the two is there
    return graph_places(image.graph)


def prepare_pyramid(image: Any, target: Any, **options: Any) -> PyramidPlan:
    """Create a pyramid and store its plan, for other processes to carry out.

    Parameters
    ----------
    image : path, URL or Image
        What `open_image` takes, if other processes can open it, too: no array.
    target : path or URL
        Where to.
    **options
        Keyword arguments of `write_pyramid`, but for where to run.

    Returns
    -------
    PyramidPlan
        What `run_units` carries out and `finish_pyramid` publishes.

    Raises
    ------
    ValueError, OSError
        As `write_pyramid`.

    Examples
    --------
    >>> prepare_pyramid("stack.tif", "stack.ome.zarr")  # doctest: +SKIP
    >>> run_units("stack.ome.zarr", shard=(0, 2))  # doctest: +SKIP
    >>> run_units("stack.ome.zarr", shard=(1, 2))  # doctest: +SKIP
    >>> finish_pyramid("stack.ome.zarr")  # doctest: +SKIP
    """
    reading = {
        key: options.pop(key, None)
        for key in ("axes", "scale", "translation", "unit", "name")
    }
    compressors, mode = options.pop("compressors", None), options.pop("mode", "w-")
    break_lock = options.pop("break_lock", False)
    storage_options = options.pop("storage_options", None)
    machine = {key: options.pop(key, None) for key in ("workers", "memory_limit")}
    with runner.connect("threads", **machine) as team:
        order = _order(
            image,
            target,
            reading=reading,
            planning=options,
            compressors=compressors,
            mode=mode,
            team=team,
            storage_options=storage_options,
        )
    session.prepare(order, break_lock=break_lock)
    return order.job.plan


def run_units(
    target: Any,
    *,
    shard: tuple[int, int] = (0, 1),
    workers: int | None = None,
    memory_limit: int | str | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> int:
    """Run a share of the units of a stored plan; others may run theirs meanwhile.

    Parameters
    ----------
    target : path or URL
        Where `prepare_pyramid` has stored the plan, or a run was interrupted.
    shard : (i, n)
        Run every n-th unit, from the i-th on, ``0 <= i < n``.
    workers : int, optional
        Number of threads; by default the number of cores.
    memory_limit : int or str, optional
        Bytes that this process may use; by default half of what there is.
    progress : bool or callable, optional
        As for `write_pyramid`.
    storage_options : dict or StoreOptions, optional
        How to open the URL `target`. Of the source the server and the like are stored
        with the plan; its keys must be in the environment.

    Returns
    -------
    int
        Units of the share that are left, for they read what others have not written
        yet; `finish_pyramid` runs them.

    Raises
    ------
    FileNotFoundError
        If there is no stored plan.
    ValueError
        If `shard` is no share, or the source is not what it was.
    OSError
        If the source cannot be read or the target not written, or if it is locked.

    Examples
    --------
    >>> run_units("stack.ome.zarr", shard=(2, 3))  # doctest: +SKIP
    0
    """
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(
            f"shard must be (i, n) with 0 <= i < n, got {shard!r}; the first of four "
            "is (0, 4)"
        )
    tune_malloc()
    options = share_options(storage_options, None, target)[1]
    place = targets.open_target(target, mode="a", options=options)
    limits = {"workers": workers, "memory_limit": memory_limit}
    execution = session.Execution(progress=progress)
    return session.run_share(place, execution, share=(index, count), limits=limits)


def finish_pyramid(
    target: Any,
    *,
    workers: int | None = None,
    memory_limit: int | str | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Pyramid:
    """Publish a pyramid whose units are done.

    Units that read stored levels and are left, because shares were run one after the
    other, are run here; they are few and small.

    Parameters
    ----------
    target : path or URL
        Where the plan is stored.
    workers, memory_limit, progress, storage_options
        As for `run_units`.
    break_lock : bool
        Whether to take the lock of another process.

    Returns
    -------
    Pyramid
        The pyramid as it is stored.

    Raises
    ------
    FileNotFoundError
        If there is no stored plan, or units that read the source are not done.
    OSError
        If objects are missing, or the target is locked; nothing is published.

    Examples
    --------
    >>> finish_pyramid("stack.ome.zarr").shapes  # doctest: +SKIP
    ((60, 256, 256), (60, 128, 128))
    """
    tune_malloc()
    options = share_options(storage_options, None, target)[1]
    place = targets.open_target(target, mode="a", options=options)
    limits = {"workers": workers, "memory_limit": memory_limit}
    execution = session.Execution(progress=progress, break_lock=break_lock)
    session.finish(place, execution, limits=limits)
    return stored_pyramid(place)
