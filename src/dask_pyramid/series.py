"""Several images in one call: all checked before anything is written, one bar."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dask_pyramid import runner, session
from dask_pyramid.credentials import address_of
from dask_pyramid.execution import Execution
from dask_pyramid.limits import tune_malloc
from dask_pyramid.locations import is_url
from dask_pyramid.orders import image_places, make_order
from dask_pyramid.packages import carry_out, check_package
from dask_pyramid.progress import progress_callback
from dask_pyramid.store.apart import refuse_overlaps
from dask_pyramid.store.packing import package_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.pyramid import Pyramid
    from dask_pyramid.store.packing import Package
    from dask_pyramid.store_options import StoreOptions

    # The target as it was given, what is to be written there, and its zip file.
    _Entry = tuple[str, session.Order, Package | None]

__all__ = ["write_pyramids"]

_READING = ("axes", "scale", "translation", "unit", "name")
_PLANNING = (
    "method",
    "sigma",
    "nodata",
    "skip_nan",
    "scale_factors",
    "chunks",
    "shards",
    "version",
)
_RUNNING = ("workers", "memory_limit", "device", "gpu_memory_limit")
_EXECUTION = ("retries", "break_lock")


def write_pyramids(
    images: Mapping[Any, Any],
    *,
    mode: str = "w-",
    client: Any = None,
    progress: bool | runner.ProgressCallback | None = None,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
    **options: Any,
) -> dict[str, Pyramid]:
    """Write several images, each as a pyramid of its own.

    Parameters
    ----------
    images : mapping
        By target, what is written there: ``{"a.ome.zarr": "a.tif", ...}``. Targets and
        images are as for `write_pyramid`, but targets are paths or URLs.
    mode : {"w-", "a", "w"}
        As for `write_pyramid`. With ``"a"`` images that are complete are kept, and the
        one that was interrupted goes on.
    client : distributed.Client or str, optional
        As for `write_pyramid`.
    progress : bool or callable, optional
        As for `write_pyramid`; one bar, and one count, for the units of all images.
    storage_options : dict or StoreOptions, optional
        As for `write_pyramid`.
    **options
        Other keyword arguments of `write_pyramid`, for all images: how they are read,
        planned, stored and run, but not `labels`, `mask`, `region` and `units`, which
        are of one image.

    Returns
    -------
    dict
        A `Pyramid` for each target.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError, TypeError
        As `write_pyramid`. All images are opened and planned first: if one breaks a
        rule, or two targets are the same, or one is read by another, nothing is
        written.
    OSError
        As `write_pyramid`; those that were written before stay, and ``mode="a"`` goes
        on.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> image = np.zeros((64, 64), "uint8")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write_pyramids(
    ...         {f"{folder}/{name}.ome.zarr": image for name in "ab"}, method="mean")
    >>> len(written)
    2
    """
    tune_malloc()
    _check(images, options)
    given = {name: options.pop(name) for name in _RUNNING if name in options}
    execution = {name: options.pop(name) for name in _EXECUTION if name in options}
    with runner.connect(client, **given) as team:
        orders: list[_Entry] = []
        for target, image in images.items():
            package = package_of(target, mode)
            order = make_order(
                image,
                package or target,
                reading={name: options.get(name) for name in _READING},
                planning={name: options[name] for name in _PLANNING if name in options},
                compressors=options.get("compressors"),
                mode=mode,
                team=team,
                storage_options=storage_options,
            )
            if package is not None:
                check_package(order, package)
            orders.append((os.fspath(target), order, package))
        _check_apart(orders)
        total = sum(order.job.plan.n_tasks for _, order, _ in orders)
        with progress_callback(progress, f"{len(orders)} images") as callback:
            joint = _Joint(callback, total)
            written = {}
            for target, order, package in orders:
                how = Execution(progress=joint.update, **execution)
                written[target] = carry_out(order, how, package)
                joint.end(order.job.plan.n_tasks)
    return written


def _check(images: Mapping[Any, Any], options: Mapping[str, Any]) -> None:
    """Check names of options and targets."""
    known = {*_READING, *_PLANNING, *_RUNNING, *_EXECUTION, "compressors"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise TypeError(
            f"options must be some of {', '.join(sorted(known))}, got "
            f"{', '.join(unknown)}; others are of one image: use write_pyramid"
        )
    if not images:
        raise ValueError("images must hold at least one, got none")
    for target in images:
        if not isinstance(target, str | os.PathLike):
            raise TypeError(
                f"targets must be paths or URLs, got {type(target).__name__}; use "
                "write_pyramid for a store"
            )


def _check_apart(orders: list[_Entry]) -> None:
    """Check that no target overlaps another one, or the source of another image."""
    places: list[str] = []
    sources: list[str] = []
    for _, order, package in orders:
        place = order.target.location if package is None else package.location
        if is_url(place):
            place = address_of(place, order.target.options)
        places.append(place)
        sources += image_places(order.image)
    refuse_overlaps(places, sources)


class _Joint:
    """Add up what images report, one after the other.

    Parameters
    ----------
    callback : callable or None
        Gets a `Progress` of all.
    total : int
        Units in all.
    """

    def __init__(self, callback: runner.ProgressCallback | None, total: int) -> None:
        self._callback = callback
        self._before = runner.Progress(
            done=0, total=total, voxels=0, bytes_written=0, seconds=0.0
        )
        self._now = self._before
        self._started = time.perf_counter()

    def update(self, state: runner.Progress) -> None:
        """Take the state of the image that is written."""
        before = self._before
        self._tell(
            replace(
                before,
                done=min(before.done + state.done, before.total),
                resumed=before.resumed + state.resumed,
                voxels=before.voxels + state.voxels,
                bytes_written=before.bytes_written + state.bytes_written,
                retried=before.retried + state.retried,
            )
        )

    def end(self, units: int) -> None:
        """Count an image of so many units as done, written now or before."""
        done, now = self._before.done + units, self._now
        kept = units if now is self._before else 0
        self._tell(replace(now, done=done, resumed=now.resumed + kept))
        self._before = self._now

    def _tell(self, state: runner.Progress) -> None:
        seconds = time.perf_counter() - self._started
        made = state.done - state.resumed
        left = seconds / made * (state.total - state.done) if made else None
        self._now = replace(state, seconds=seconds, seconds_left=left)
        if self._callback is not None:
            self._callback(self._now)
