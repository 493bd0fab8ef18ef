"""Attributes of an image that has other levels than before: dict in, dict out.

What is said of the levels that stay is left as it is, in whatever form, and so is all
else: names, axes, units, rendering, further images, attributes of others.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from dask_pyramid.metadata import common_transformation, dataset_entry
from dask_pyramid.multiscales import Dataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["with_levels"]


def with_levels(
    attributes: Mapping[str, Any],
    datasets: Sequence[Dataset],
    *,
    version: str,
    kept: int = 1,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the attributes of an image with these levels.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group, which has `multiscales`.
    datasets : sequence of Dataset
        All levels.
    version : str
        Version of OME-Zarr.
    kept : int
        Number of levels whose entries stay as they are.
    about : mapping, optional
        `type` and `metadata`, if they are to be replaced.

    Returns
    -------
    dict
        JSON values; nothing of `attributes` is changed.

    Examples
    --------
    >>> entry = {"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0",
    ...     "coordinateTransformations": [{"type": "scale", "scale": [3, 2]}]}]}
    >>> levels = [Dataset(path=str(k), scale=(3.0 * f, 2.0 * f), translation=(0.0, 0.0))
    ...           for k, f in enumerate([1, 2])]
    >>> found = with_levels({"multiscales": [entry]}, levels, version="0.4")
    >>> [level["path"] for level in found["multiscales"][0]["datasets"]]
    ['0', '1']
    """
    changed = copy.deepcopy(dict(attributes))
    entry = changed.get("ome", changed)["multiscales"][0]
    first = entry["datasets"][:kept]
    scale, offset = common_transformation(entry, len(datasets[0].scale), version)
    entry["datasets"] = first + [
        dataset_entry(_before(dataset, scale, offset), version, like=first[0])
        for dataset in datasets[kept:]
    ]
    entry.update(about or {})
    return changed


def _before(
    dataset: Dataset, scale: Sequence[float], offset: Sequence[float]
) -> Dataset:
    """Return a level without the transformation that all levels share."""
    return Dataset(
        path=dataset.path,
        scale=tuple(s / f for s, f in zip(dataset.scale, scale, strict=True)),
        translation=tuple(
            (t - o) / f
            for t, o, f in zip(dataset.translation, offset, scale, strict=True)
        ),
    )
