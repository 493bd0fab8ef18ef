"""The public verb that appends an image behind a stored one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid import growing, runner
from dask_pyramid.execution import Execution
from dask_pyramid.intents import appended, look, superseding
from dask_pyramid.limits import tune_malloc
from dask_pyramid.orders import image_places, reached
from dask_pyramid.pyramid import Pyramid, stored_pyramid
from dask_pyramid.sources import open_image
from dask_pyramid.sources.identity import identify
from dask_pyramid.store.inplace import open_existing
from dask_pyramid.store_options import StoreOptions, share_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.existing import Existing
    from dask_pyramid.image import Image
    from dask_pyramid.methods import Method, Sigma

__all__ = ["append"]


def append(
    store: Any,
    image: Any,
    axis: str = "t",
    *,
    axes: str | Sequence[str] | None = None,
    method: str | Method | None = None,
    sigma: Sigma = None,
    memory_limit: int | str | None = None,
    device: str | None = None,
    gpu_memory_limit: int | str | None = None,
    client: Any = None,
    workers: int | None = None,
    progress: bool | runner.ProgressCallback | None = None,
    break_lock: bool = False,
    retries: int | None = None,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> Pyramid:
    """Append an image behind a stored one, to level 0 and all other levels.

    Parameters
    ----------
    store : path, URL or zarr store
        An OME-Zarr pyramid.
    image : Image, path, URL or array
        What `open_image` takes: the axes, data type and, but along `axis`, extents of
        the pyramid; one frame, channel or plane may lack `axis`. A spacing of 1 without
        unit says nothing; any other must be the pyramid's.
    axis : str
        Axis along which the pyramid grows.
    axes : str or sequence of str, optional
        Names of the image's dimensions; an array has those of the pyramid.
    method, sigma
        How the levels were made; by default what the metadata say.
    memory_limit, device, gpu_memory_limit, client, workers, progress, break_lock
        As for `write_pyramid`.
    retries, storage_options
        As for `write_pyramid`.

    Returns
    -------
    Pyramid
        The pyramid as it is stored.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        If an argument breaks a rule, the image does not continue the pyramid, or its
        levels are not level 0 reduced by whole factors; nothing is written then.
    OSError
        If the image cannot be read or the store not written, or another process writes
        it. Readers see the old extents; the same call goes on.

    Notes
    -----
    The result is what `write_pyramid` makes of the whole image with the same layout.
    Objects at the old end that hold old and new voxels are written again, and along a
    spatial axis the coarse voxels near it, too, that were made of a mirrored border.

    Examples
    --------
    >>> import tempfile
    >>> from dask_pyramid import open_image, write_pyramid
    >>> frame = open_image(np.zeros((1, 200, 200), "uint16"), axes="tyx")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = f"{folder}/a.ome.zarr"
    ...     _ = write_pyramid(frame, place, scale_factors=[2])
    ...     pyramid = append(place, frame)
    >>> pyramid.shapes
    ((2, 200, 200), (2, 100, 100))
    """
    tune_malloc()
    here, there = share_options(storage_options, image, store)
    execution = Execution(progress=progress, break_lock=break_lock, retries=retries)
    with runner.connect(
        client,
        workers=workers,
        memory_limit=memory_limit,
        device=device,
        gpu_memory_limit=gpu_memory_limit,
    ) as team:
        site = look(reached(store, there, team))
        site.check("append")
        opened = _continuation(image, axes, site.existing, options=here)
        sources = image_places(opened)
        open_existing(store, sources=sources, options=there)  # lies apart
        source = identify(opened)
        if team.elsewhere:
            opened = runner.portable(opened)
        planning = {"method": method, "sigma": sigma, "crew": team.crew}
        growth = appended(site, opened, axis, source=source, options=planning)
        if site.found is None or site.found.fingerprint == growth.journal.fingerprint:
            pass
        elif site.has_grown:
            site = growing.settle(site, break_lock=break_lock)
            growth = appended(site, opened, axis, source=source, options=planning)
        else:
            growth = superseding(growth)
        growing.grow(dataclasses.replace(growth, team=team), execution)
    return stored_pyramid(site.target)


def _continuation(
    image: Any,
    axes: str | Sequence[str] | None,
    existing: Existing,
    *,
    options: StoreOptions | None,
) -> Image:
    """Open what is to be appended; an array has the axes of the pyramid."""
    # One that lacks the axis is named by its number of dimensions, as any array is.
    plain = isinstance(image, np.ndarray) or hasattr(image, "dask")
    if axes is None and plain and image.ndim == existing.image.ndim:
        axes = existing.image.axes
    return open_image(image, axes=axes, storage_options=options)
