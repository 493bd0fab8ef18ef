"""The verbs of a stored plan: prepare it, run a share of its units, publish it.

Processes that know nothing of each other carry out one plan, through the store alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask_pyramid import runner, session
from dask_pyramid.execution import Execution
from dask_pyramid.limits import tune_malloc
from dask_pyramid.orders import make_order
from dask_pyramid.pyramid import Pyramid, stored_pyramid
from dask_pyramid.store import targets
from dask_pyramid.store_options import StoreOptions, share_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.plan import PyramidPlan

__all__ = ["finish_pyramid", "prepare_pyramid", "run_units"]


def prepare_pyramid(image: Any, target: Any, **options: Any) -> PyramidPlan:
    """Create a pyramid and store its plan, for other processes to carry out.

    Parameters
    ----------
    image : path, URL or Image
        What `open_image` takes, if other processes can open it, too: no array.
    target : path or URL
        Where to.
    **options
        Keyword arguments of `write_pyramid`, but for `labels`, `region` and `units`,
        and for where to run: those who run units choose client and device.

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
    for key in ("labels", "region", "units"):
        if options.pop(key, None) is not None:
            raise ValueError(
                f"{key} must be left out of a plan that is stored; write_labels and "
                "write_pyramid take it once the pyramid is complete"
            )
    reading = {
        key: options.pop(key, None)
        for key in ("axes", "scale", "translation", "unit", "name")
    }
    compressors, mode = options.pop("compressors", None), options.pop("mode", "w-")
    break_lock = options.pop("break_lock", False)
    storage_options = options.pop("storage_options", None)
    machine = {key: options.pop(key, None) for key in ("workers", "memory_limit")}
    with runner.connect("threads", **machine, device="cpu") as team:
        order = make_order(
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
    units: Sequence[int] | None = None,
    workers: int | None = None,
    memory_limit: int | str | None = None,
    device: str | None = None,
    gpu_memory_limit: int | str | None = None,
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
    units : sequence of int, optional
        Run these units of ``plan.units``, in place of a share.
    workers : int, optional
        Number of threads; by default the number of cores.
    memory_limit : int or str, optional
        Bytes that this process may use; by default half of what there is.
    device, gpu_memory_limit
        As for `write_pyramid`; each share may have its own.
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
        If `shard` is no share, `units` are none of the plan, both are given, or the
        source is not what it was.
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
    if units is not None and shard != (0, 1):
        raise ValueError(
            f"shard must be left out where units are given, got {shard!r} and {units!r}"
        )
    tune_malloc()
    options = share_options(storage_options, None, target)[1]
    place = targets.open_target(target, mode="a", options=options)
    limits = {
        "workers": workers,
        "memory_limit": memory_limit,
        "device": device,
        "gpu_memory_limit": gpu_memory_limit,
    }
    execution = Execution(progress=progress)
    return session.run_share(
        place, execution, share=shard, numbers=units, limits=limits
    )


def finish_pyramid(
    target: Any,
    *,
    workers: int | None = None,
    memory_limit: int | str | None = None,
    device: str | None = None,
    gpu_memory_limit: int | str | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Pyramid:
    """Publish a pyramid whose units are done.

    Units that read stored levels and are left, because shares were run one after the
    other, are run here; they are few and small. A pyramid that is complete stays as
    it is.

    Parameters
    ----------
    target : path or URL
        Where the plan is stored.
    workers, memory_limit, device, gpu_memory_limit, progress, storage_options
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
        If there is neither plan nor pyramid, or units that read the source are not
        done.
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
    limits = {
        "workers": workers,
        "memory_limit": memory_limit,
        "device": device,
        "gpu_memory_limit": gpu_memory_limit,
    }
    execution = Execution(progress=progress, break_lock=break_lock)
    session.finish(place, execution, limits=limits)
    return stored_pyramid(place)
