"""`datasets` of an image's metadata: paths and coordinate transformations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_pyramid.multiscales import check_path, overlap
from dask_pyramid.verify.described import Named
from dask_pyramid.verify.nodes import joined, shown

if TYPE_CHECKING:
    from dask_pyramid.verify.findings import Log

__all__ = ["check_common", "check_datasets"]

_KEY = "coordinateTransformations"


def check_datasets(
    entry: Mapping[str, Any], log: Log, *, ndim: int | None, version: str, level: str
) -> tuple[Named, ...]:
    """Check the datasets of one multiscales.

    Parameters
    ----------
    entry : mapping
        The multiscales.
    log : Log
        Told what is wrong.
    ndim : int or None
        Number of axes, if known.
    version : str
        Version of OME-Zarr.
    level : str
        Path of the group.

    Returns
    -------
    tuple of Named
        Those whose path may be followed, in their order.
    """
    datasets = entry.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        log.add(
            "datasets-invalid",
            f"datasets must be a list of at least one object, got {shown(datasets)}",
            level=level,
        )
        return ()
    found: list[Named] = []
    for dataset in datasets:
        if not isinstance(dataset, Mapping):
            log.add("datasets-invalid", f"no object: {shown(dataset)}", level=level)
            continue
        path: Any = dataset.get("path")
        try:
            check_path(path)
        except ValueError as error:
            log.add("path-unsafe", str(error), level=level)
            continue
        if any(overlap(path, other.path) for other in found):
            log.add(
                "path-repeated",
                f"{path!r} is, or lies in, the array of another dataset",
                level=level,
            )
            continue
        found.append(_named(dataset, log, ndim=ndim, version=version, level=level))
    return tuple(found)


def _named(
    dataset: Mapping[str, Any],
    log: Log,
    *,
    ndim: int | None,
    version: str,
    level: str,
) -> Named:
    path = dataset["path"]
    place = joined(level, path)
    scale = translation = None
    if ndim is not None and version >= "0.4":
        steps = _steps(dataset, log, version=version, level=place)
        if steps is not None:
            scale = _numbers(steps[0], "scale", ndim, log=log, level=place)
            translation = (0.0,) * ndim
            if len(steps) > 1:
                translation = _numbers(
                    steps[1], "translation", ndim, log=log, level=place
                )
    return Named(path=path, scale=scale, translation=translation)


def _steps(
    holder: Mapping[str, Any], log: Log, *, version: str, level: str
) -> list[Mapping[str, Any]] | None:
    """Return [scale] or [scale, translation], None if they are not that."""
    steps: Any = holder.get(_KEY)
    if not _all_objects(steps):
        log.add("transformations-invalid", f"got {shown(steps)}", level=level)
        return None
    if version.startswith("0.6"):
        if len(steps) != 1:
            log.add(
                "transformations-invalid",
                f"one object in 0.6, scale or sequence, got {len(steps)}",
                level=level,
            )
            return None
        _check_ends(steps[0], holder.get("path"), log, level=level)
        if steps[0].get("type") == "sequence":
            steps = steps[0].get("transformations")
            if not _all_objects(steps):
                log.add("transformations-invalid", f"got {shown(steps)}", level=level)
                return None
    kinds = [step.get("type") for step in steps]
    if kinds not in (["scale"], ["scale", "translation"]):
        log.add(
            "transformations-invalid",
            f"one scale and then at most one translation, got {shown(kinds)}",
            level=level,
        )
        return None
    return list(steps)


def _all_objects(steps: Any) -> bool:
    return isinstance(steps, list) and all(isinstance(s, Mapping) for s in steps)


def _check_ends(step: Mapping[str, Any], path: Any, log: Log, *, level: str) -> None:
    """Check where a transformation of 0.6 leads from."""
    source = step.get("input")
    if isinstance(source, Mapping):
        source = source.get("path")
    if source != path:
        log.add(
            "transformation-ends",
            f"input must be the path {path!r}, got {shown(step.get('input'))}",
            level=level,
        )


def _numbers(
    step: Mapping[str, Any], kind: str, ndim: int, *, log: Log, level: str
) -> tuple[float, ...] | None:
    numbers = step.get(kind)
    if not isinstance(numbers, list) or not all(map(_is_number, numbers)):
        log.add(
            "transformation-numbers",
            f"{kind} must be a list of finite numbers, got {shown(numbers)}",
            level=level,
        )
        return None
    if len(numbers) != ndim or (kind == "scale" and min(numbers) <= 0):
        log.add(
            "transformation-numbers",
            f"{kind} must have {ndim} numbers{' above 0' if kind == 'scale' else ''}, "
            f"got {shown(numbers)}",
            level=level,
        )
        return None
    return tuple(map(float, numbers))


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_common(
    entry: Mapping[str, Any], log: Log, *, ndim: int | None, version: str, level: str
) -> None:
    """Check the transformations of the multiscales itself, which all levels share."""
    steps = entry.get(_KEY)
    if steps is None or ndim is None or version.startswith("0.6"):
        return
    if not _all_objects(steps):
        log.add("transformations-invalid", f"got {shown(steps)}", level=level)
        return
    kinds = [step.get("type") for step in steps]
    if kinds not in ([], ["scale"], ["scale", "translation"], ["identity"]):
        log.add(
            "transformations-invalid",
            f"of the multiscales: one scale, at most one translation, got "
            f"{shown(kinds)}",
            level=level,
        )
        return
    for step in steps:
        if step["type"] != "identity":
            _numbers(step, step["type"], ndim, log=log, level=level)
