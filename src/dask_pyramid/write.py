"""The verb that writes a pyramid at once.

Everything here is a few lines over the modules that do the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask_pyramid import runner
from dask_pyramid.execution import Execution
from dask_pyramid.limits import tune_malloc
from dask_pyramid.orders import make_order
from dask_pyramid.packages import carry_out
from dask_pyramid.pyramid import Pyramid, stored_pyramid
from dask_pyramid.regions import check_selection, rewrite
from dask_pyramid.store.packing import package_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.factors import ScaleFactors
    from dask_pyramid.methods import Method
    from dask_pyramid.store.packing import Package
    from dask_pyramid.store_options import StoreOptions

__all__ = ["write_pyramid"]


def write_pyramid(
    image: Any,
    target: Any,
    *,
    labels: Any = None,
    region: Mapping[str, Any] | Sequence[Any] | None = None,
    units: Sequence[int] | None = None,
    method: str | Method | None = None,
    sigma: float | Mapping[str, float] | Sequence[float] | None = None,
    nodata: float | None = None,
    skip_nan: bool = False,
    mask: Any = None,
    scale_factors: ScaleFactors = "auto",
    axes: str | Sequence[str] | None = None,
    scale: Mapping[str, float] | Sequence[float] | None = None,
    translation: Mapping[str, float] | Sequence[float] | None = None,
    unit: str | Mapping[str, str | None] | Sequence[str | None] | None = None,
    name: str | None = None,
    chunks: Any = None,
    shards: Any = None,
    compressors: Any = None,
    version: str | None = None,
    memory_limit: int | str | None = None,
    device: str | None = None,
    gpu_memory_limit: int | str | None = None,
    mode: str = "w-",
    client: Any = None,
    workers: int | None = None,
    retries: int | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Pyramid:
    """Write an image as an OME-Zarr multiscale pyramid.

    Parameters
    ----------
    image : Image, path, URL or array
        What `open_image` takes. A label image is one that says so: an OME-Zarr label
        image, or ``open_image(ids, labels=True)``; values are not looked at.
    target : path, URL or zarr store
        Where to: a folder, an ``s3://``, ``gs://`` or ``az://`` URL, or a zarr store;
        must not lie in or around the source. A path that ends with ``.ozx`` is a zipped
        OME-Zarr file: a folder beside it, packed at the end, so it needs twice the
        room.
    labels : image, or dict of these by name, optional
        Label images or masks of the image, what `open_image` takes; written into its
        `labels` group when it is complete, each as `write_labels` does by default.
    region : dict by axis or sequence of slice or (start, stop), optional
        Write only this part of level 0 again, and what depends on it, into a complete
        pyramid of the same job whose source (or mask) has changed there, or whose
        objects are damaged. Objects are written whole, each at once; all others stay.
        The same call goes on after a kill.
    units : sequence of int, optional
        The same for what units of the first pass write, by their numbers in
        ``plan_pyramid(...).units`` of the same arguments.
    method : str or Method, optional
        ``"gaussian"``, ``"gaussian-stride"``, ``"mean"``, ``"nearest"``, ``"mode"``,
        ``"mode-exact"``, ``"median"``, ``"min"`` or ``"max"``. By default
        ``"gaussian"``, and ``"mode"`` for label images (see `image`) and bools.
    sigma : float, dict by axis or sequence, optional
        Standard deviation of the Gaussian in voxels of the level that is reduced; by
        default a quarter of the step.
    nodata : int or float, optional
        A value that does not count, such as 0 for "nothing measured", or for labels the
        background. A voxel of a level is made of those that count, and is `nodata` if
        there are none. NaN is the same as `skip_nan`.
    skip_nan : bool
        Whether NaN does not count; by default a NaN makes NaN of all that it reaches.
    mask : path, URL, array or Image, optional
        What `open_image` takes, of the spatial extents of level 0, or of a coarser
        level, where it stands for whole windows; without t and c or with them. What is
        not under it (zero) does not count and is not written: it is `nodata`, NaN with
        `skip_nan`, or 0. A voxel of a level is under the mask if a voxel of its window
        is.
    scale_factors : "auto", "isotropic", dict, or sequence of number or dict by axis
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
    version : {"0.5", "0.4", "0.6"}, optional
        Version of OME-Zarr, by default 0.5.
    memory_limit : int or str, optional
        Bytes that this process, or all processes that run units together, may use
        (``"2 GiB"``); by default half of what there is.
    device : {"cpu", "gpu", "auto"}, optional
        Where levels are made, by default the CPU; what is stored is the same. ``"gpu"``
        needs CuPy and a
        GPU in every process that runs units. ``"auto"`` takes a GPU where that pays,
        and the log says which it took and why. A run that was begun on one may be ended
        on the other.
    gpu_memory_limit : int or str, optional
        Bytes of each GPU that may be used; by default half of what it has.
    mode : {"w-", "a", "w"}
        ``"w-"`` refuses a target that exists. ``"a"`` goes on with what an interrupted
        run of the same job has left, and does nothing if that is complete. ``"w"``
        replaces a pyramid: a folder once the new one is complete; on an object store
        the old one goes first. It applies to `labels`, too; a pyramid that has other
        label images than these is not replaced.
    client : distributed.Client or str, optional
        Who runs the units: a client, the address of a scheduler, or ``"threads"``,
        ``"processes"`` or ``"synchronous"``. By default the client that dask would use,
        else what ``dask.config`` says of ``scheduler``, else threads.
    workers : int, optional
        Number of threads or processes without a client; by default the number of cores.
    retries : int, optional
        How often a unit is tried again after an error that may pass; by default twice.
    progress : bool or callable, optional
        True shows a bar in a terminal or notebook, and a line with the time of day now
        and then in a log; False nothing. None is True, but silent in a log for the
        first ten seconds. A callable gets a `Progress` at the start and after each
        unit.
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
        If an argument breaks a rule, or there is no GPU for ``device="gpu"``; nothing
        is written then.
    OSError
        If the source cannot be read or the target not written, or if another process
        writes it; nothing is published then, and ``mode="a"`` goes on.

    Warns
    -----
    UserWarning
        If viewers refuse the data type, or the disk of a folder has less room than the
        levels take uncompressed.

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
    selects = check_selection(region, units, mode=mode, labels=labels)
    package = _package(target, mode, selects=selects)
    execution = Execution(progress=progress, break_lock=break_lock, retries=retries)
    with runner.connect(
        client,
        workers=workers,
        memory_limit=memory_limit,
        device=device,
        gpu_memory_limit=gpu_memory_limit,
    ) as team:
        order = make_order(
            image,
            package or target,
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
                "nodata": nodata,
                "skip_nan": skip_nan,
                "mask": mask,
                "scale_factors": scale_factors,
                "chunks": chunks,
                "shards": shards,
                "version": version,
            },
            labels=labels,
            compressors=compressors,
            mode="a" if selects else mode,
            team=team,
            storage_options=storage_options,
        )
        if not selects:
            return carry_out(order, execution, package)
        rewrite(order, execution, region=region, units=units)
    return stored_pyramid(order.target)


def _package(target: Any, mode: str, *, selects: bool) -> Package | None:
    """Return the zip file that a target means; no part of one is written again."""
    package = package_of(target, mode)
    if selects and package is not None:
        raise ValueError(
            f"region and units must go to a folder or a store, got {target!r}; a zip "
            "file is written once"
        )
    return package
