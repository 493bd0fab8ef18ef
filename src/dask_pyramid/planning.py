"""Make the plan of a pyramid; whatever can be known to fail is refused here.

Pure numbers: nothing is read, and nothing written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dask_pyramid import superblocks
from dask_pyramid.budgets import Budget
from dask_pyramid.configuration import configured
from dask_pyramid.crew import Crew, Share, of_threads
from dask_pyramid.device import on_gpu
from dask_pyramid.image import Image, reads_directly, working_bytes
from dask_pyramid.kernels.scratch import holds_intermediates
from dask_pyramid.levels import Level, make_levels
from dask_pyramid.limits import at_least, at_most
from dask_pyramid.masks import open_mask
from dask_pyramid.metadata import VERSIONS
from dask_pyramid.methods import Method, Reduction, Sigma, find_method
from dask_pyramid.nodata import Nodata
from dask_pyramid.offers import anywhere, asked
from dask_pyramid.plan import PyramidPlan
from dask_pyramid.sources import open_image
from dask_pyramid.strategy import Terms, choose_passes

if TYPE_CHECKING:
    from dask_pyramid.factors import ScaleFactors
    from dask_pyramid.passes import Part, Pass

__all__ = [
    "check_keeps_labels",
    "find_image_method",
    "make_plan",
    "plan_pyramid",
    "spread_sigma",
]


def plan_pyramid(
    image: Any,
    *,
    method: str | Method | None = None,
    sigma: Sigma = None,
    nodata: float | None = None,
    skip_nan: bool = False,
    mask: Any = None,
    scale_factors: ScaleFactors = "auto",
    chunks: Any = None,
    shards: Any = None,
    version: str | None = None,
    memory_limit: int | str | None = None,
    workers: int | None = None,
    device: str | None = None,
    gpu_memory_limit: int | str | None = None,
    crew: Crew | None = None,
) -> PyramidPlan:
    """Plan a pyramid; nothing is read.

    Parameters
    ----------
    image : Image, path, URL or array
        What `open_image` takes.
    method : str or Method, optional
        Out of `METHODS`; by default ``"mode"`` for labels and masks, ``"gaussian"`` for
        everything else.
    sigma : float, dict by axis or sequence, optional
        Standard deviation of the Gaussian for the axes that a step reduces, in voxels
        of the level that is reduced; by default from the step.
    nodata : int or float, optional
        A value that does not count, such as 0 for "nothing measured", or for labels the
        background. A voxel of a level is made of those that count, and is `nodata` if
        there are none. NaN is the same as `skip_nan`.
    skip_nan : bool
        Whether NaN does not count; by default a NaN makes NaN of all that it reaches.
    mask : path, URL, array or Image, optional
        As for `write_pyramid`: of the spatial extents of level 0, or of another level.
    scale_factors : "auto", "isotropic", dict, or sequence of number or dict by axis
        Factors from level 0, increasing. ``"auto"`` halves the axes whose spacing is at
        most sqrt(2) times the finest, until the spatial part fits into one chunk.
        ``"isotropic"`` has one level whose spacing is the same on all axes, exactly:
        that of the coarsest axis, or twice that if the level would be more than half as
        large as the one before; ``{"isotropic": spacing}`` says which, in the unit of
        the image. Halves lead to it and follow it. Factors need not be whole.
    chunks : int, tuple, dict by axis, or list of these by level, optional
        Extent of a chunk in voxels; by default powers of two, 0.5 to 1 MiB.
    shards : int, tuple, dict by axis, list of these by level, False or None
        Extent of a shard in voxels; None chooses about 64 MiB, False means no shards.
    version : {"0.5", "0.4", "0.6"}, optional
        Version of OME-Zarr, by default 0.5.
    memory_limit : int or str, optional
        Bytes that the process may use (``"2 GiB"``); by default half of the machine's.
    workers : int, optional
        Units that run at a time; by default the number of cores.
    device : {"cpu", "gpu", "auto"}, optional
        Where levels are made; as for `write_pyramid`.
    gpu_memory_limit : int or str, optional
        Bytes of each GPU that may be used; by default half of what it has. If it is
        given to plan for ``"gpu"``, none needs to be here.
    crew : Crew, optional
        Processes that run the units, in place of `memory_limit`, `workers`, `device`
        and `gpu_memory_limit`.

    Returns
    -------
    PyramidPlan
        Levels, layout, passes and cost.

    Raises
    ------
    ValueError
        If an argument breaks a rule, there is no GPU to ask for its memory, or not even
        one unit fits into `memory_limit` or `gpu_memory_limit`.

    Notes
    -----
    Cost: a few milliseconds, whatever the size of the image. Defaults may be set in
    dask's configuration, section ``dask-pyramid``.

    Each level is made from the coarsest one before it whose factors divide its own. If
    there is none it is made from the level before it, and its voxels are resampled at
    their centres: ``"gaussian"``, ``"gaussian-stride"`` and ``"mean"`` by a Gaussian of
    ``(step - 1) / 2`` voxels and linear interpolation, ``"mode"`` and ``"nearest"`` as
    the nearest voxel; other methods refuse. Where not all voxels count these are a
    normalised convolution, or the nearest voxel if that counts; else the mean of those
    that count in the window (each voxel that it touches), or the first of them. Extents
    round up as for all levels.

    Examples
    --------
    >>> import numpy as np
    >>> image = open_image(np.zeros((60, 300, 300), "uint16"))
    >>> [level.shape for level in plan_pyramid(image).levels]
    [(60, 300, 300), (30, 150, 150), (15, 75, 75), (8, 38, 38)]
    """
    image = open_image(image)
    record = find_image_method(image, method)
    version = str(configured("version", version))
    _check_version(version, shards)
    if crew is None:
        offer = anywhere(*asked(device, gpu_memory_limit))
        crew = of_threads(
            configured("workers", workers), configured("memory-limit", memory_limit)
        )
        crew = replace(crew, offer=offer)
    elif device not in (None, "cpu") or gpu_memory_limit is not None:
        raise ValueError(
            f"device must be given to those who run the units, got {device!r} for a "
            "plan that is only stored; run_units and finish_pyramid take it"
        )
    levels = make_levels(
        image,
        record,
        scale_factors=scale_factors,
        chunks=configured("chunks", chunks),
        shards=False if version == "0.4" else configured("shards", shards),
    )
    opened_mask = open_mask(mask, axes=image.axes, shape=image.shape)
    if opened_mask is not None:
        opened_mask.of_levels(levels)
    return make_plan(
        image,
        levels,
        method=record,
        sigma=sigma,
        nodata=Nodata.parse(
            nodata, skip_nan, image.dtype, masked=opened_mask is not None
        ),
        mask_memory=0 if opened_mask is None else opened_mask.memory,
        version=version,
        crew=crew,
    )


def make_plan(
    image: Image,
    levels: tuple[Level, ...],
    *,
    method: Method,
    sigma: Sigma,
    version: str,
    crew: Crew,
    nodata: Nodata | None = None,
    mask_memory: int = 0,
    parts: Sequence[Part] | None = None,
    alone: bool = False,
) -> PyramidPlan:
    """Return the plan of levels that are known.

    Parameters
    ----------
    image : Image
        Level 0.
    levels : tuple of Level
        All levels.
    method : Method
        How they are reduced.
    sigma, version, crew
        As for `plan_pyramid`.
    nodata : Nodata, optional
        Voxels that do not count.
    mask_memory : int
        Bytes that reading a mask takes.
    parts : sequence of Part, optional
        What of each level is to be written, whole objects; by default all.
    alone : bool
        Whether a pass of its own writes level 0, and all others read stored levels.

    Returns
    -------
    PyramidPlan
        With passes that fit.

    Raises
    ------
    ValueError
        As `plan_pyramid`.
    """
    sigmas = spread_sigma(method, sigma, image.axes)
    reductions = [
        method.reduction(level.steps, axes=image.axes, sigma=sigmas, ignore=nodata)
        for level in levels
    ]
    passes, share = _fitting(
        image,
        levels,
        reductions,
        crew=crew,
        parts=parts,
        alone=alone,
        mask_memory=mask_memory,
    )
    return PyramidPlan(
        axes=image.axes,
        unit=image.unit,
        dtype=image.dtype.name,
        method=method,
        sigma=sigmas,
        nodata=nodata,
        mask_memory=mask_memory,
        version=version,
        levels=levels,
        passes=passes,
        source_chunks=image.chunks,
        graph_tasks=superblocks.graph_tasks(image, levels, reductions),
        source_direct=reads_directly(image),
        source_working=working_bytes(image),
        source_graph=image.reader is None,
        workers=share.workers,
        processes=share.processes,
        per_process=share.per_process,
        memory_limit=crew.memory_limit,
        source_on_gpu=image.graph is not None and on_gpu(image.graph._meta),
    ).offered(crew.offer)


def find_image_method(image: Image, method: str | Method | None) -> Method:
    """Return the record of a method, by default that for the kind of image.

    Raises
    ------
    ValueError
        If there is no such method, or it invents values of labels.
    """
    if method is None:
        discrete = image.labels or image.dtype.kind == "b"
        method = "mode" if discrete else configured("method") or "gaussian"
    record = find_method(method)
    if image.labels:
        check_keeps_labels(record)
    return record


def check_keeps_labels(method: Method) -> None:
    """Refuse a method that invents values of labels.

    Raises
    ------
    ValueError
        If it does.
    """
    if not method.labels:
        raise ValueError(
            f"method must keep label values for a label image, got {method.name!r}; "
            "use 'mode', 'mode-exact' or 'nearest'"
        )


def _check_version(version: str, shards: Any) -> None:
    if version not in VERSIONS:
        raise ValueError(
            f"version must be one of {', '.join(VERSIONS)}, got {version!r}"
        )
    if version == "0.4" and shards not in (None, False):
        raise ValueError(
            f"shards must be None or False for version 0.4, got {shards!r}; "
            "Zarr v2 has no shards, use version 0.5"
        )


def spread_sigma(
    method: Method, sigma: Any, axes: tuple[str, ...]
) -> tuple[float | None, ...] | None:
    """Check sigma against a step that reduces every axis; keep what was asked for."""
    if sigma is None:
        return None
    filters = method.reduction((2,) * len(axes), axes=axes, sigma=sigma).filters
    assert filters
    if isinstance(sigma, Mapping):
        return tuple(None if a not in sigma else float(sigma[a]) for a in axes)
    if isinstance(sigma, Iterable):
        return tuple(None if s is None else float(s) for s in sigma)
    return (float(sigma),) * len(axes)


def _fitting(
    image: Image,
    levels: Sequence[Level],
    reductions: Sequence[Reduction],
    *,
    crew: Crew,
    parts: Sequence[Part] | None,
    alone: bool,
    mask_memory: int,
) -> tuple[tuple[Pass, ...], Share]:
    """Return passes that fit, for as many units at a time as there is memory for."""
    for share in crew.shares:
        terms = Terms(
            source=Budget(
                itemsize=image.dtype.itemsize,
                chunks=image.chunks,
                task_memory=share.task_memory,
                workers=share.workers,
                direct=reads_directly(image),
                working=working_bytes(image),
                read_once=image.reader is None,
                mask=mask_memory,
                intermediates=holds_intermediates(
                    image.dtype, reductions[1:], n_voxels=levels[0].size
                ),
            ),
            axes=_stream_axes(image, crew),
            parts=parts,
            alone=alone,
        )
        passes, memory = choose_passes(levels, reductions, terms)
        if passes is not None:
            return passes, share
    raise ValueError(
        f"memory_limit must be at least {at_least(crew.limit_for(memory))} for this "
        f"layout{f' on {share.processes} workers' if share.processes > 1 else ''}, got "
        f"{at_most(crew.memory_limit)}; or ask for smaller shards or chunks"
    )


def _stream_axes(image: Image, crew: Crew) -> range:
    """Return the axes along which units may be streamed, the first spatial one first.

    Rows along the last axis stay whole. A GPU takes planes of the first one, which are
    contiguous.
    """
    first = image.first_spatial
    if crew.offer.device != "cpu":
        return range(first, first + 1)
    return range(first, max(first + 1, image.ndim - 1))
