"""The attributes of a finished group: multiscales, rendering, provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid import __version__, metadata, omero
from dask_pyramid.factors import is_whole, plain
from dask_pyramid.idents import label_colours
from dask_pyramid.provenance import KEY, LevelRecord, Provenance, Tally
from dask_pyramid.sources.identity import public_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.grey import Grey
    from dask_pyramid.image import Image
    from dask_pyramid.masks import Mask
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.receipts import Books

__all__ = ["WINDOW", "group_attributes", "method_record"]

WINDOW = (0.001, 0.999)
"""Quantiles drawn black and white: all but a thousandth at each end."""


def group_attributes(
    image: Image,
    plan: PyramidPlan,
    codecs: Any,
    *,
    books: Books,
    mask: Mask | None = None,
) -> dict[str, Any]:
    """Return the attributes of a finished pyramid.

    Parameters
    ----------
    image : Image
        The source.
    plan : PyramidPlan
        Its levels.
    codecs : object
        Codecs as JSON values.
    books : Books
        Stored objects of each level; grey values or ids of level 0.
    mask : Mask, optional
        Which voxels count.

    Returns
    -------
    dict
        OME-Zarr metadata in the form of the plan's version, and the provenance.
    """
    attributes = metadata.build_attributes(
        metadata.Multiscales(
            version=plan.version,
            axes=plan.axes,
            unit=plan.unit,
            datasets=tuple(
                metadata.Dataset(
                    path=level.path, scale=level.scale, translation=level.translation
                )
                for level in plan.levels
            ),
            name=image.name,
            type=plan.method.name,
            metadata=method_record(plan),
            omero=_rendering(image, books.grey) if _is_coloured(image) else None,
            image_label=_image_label(image, books.ids) if image.labels else None,
        )
    )
    record = _provenance(image, plan, codecs, books.tallies, mask=mask)
    return {**attributes, KEY: record.to_json()}


def method_record(plan: PyramidPlan) -> dict[str, Any]:
    """Return the `metadata` of the multiscales: how its levels were made."""
    return {
        "description": _description(plan),
        "method": "dask_pyramid.write_pyramid",
        "version": __version__,
        "args": [],
        "kwargs": {
            "method": plan.method.name,
            "sigma": None if plan.sigma is None else list(plan.sigma),
            "scale_factors": [
                dict(zip(plan.axes, plain(level.factors), strict=True))
                for level in plan.levels[1:]
            ],
            **({} if plan.nodata is None else plan.nodata.note),
        },
    }


def _description(plan: PyramidPlan) -> str:
    """Return how levels were made, and which of them by steps between voxels."""
    resampled = [lv.path for lv in plan.levels if not is_whole(lv.steps)]
    if not resampled:
        return plan.method.description
    how = plan.method.between_text
    return f"{plan.method.description}; level {', '.join(resampled)}: {how}"


def _image_label(image: Image, ids: Sequence[int]) -> dict[str, Any]:
    """Return what is said of ids; theirs are colours unless they come with some."""
    colours = label_colours(ids)
    return {**({"colors": colours} if colours else {}), **(image.image_label or {})}


def _is_coloured(image: Image) -> bool:
    # Rendering metadata are by channel; ome-zarr-io refuses them without a 'c' axis.
    return "c" in image.axes and not image.labels and image.dtype.kind != "b"


def _rendering(image: Image, grey: Sequence[Grey]) -> dict[str, Any]:
    return omero.default_omero(
        np.dtype(image.dtype),
        len(grey),
        window=[channel.window(*WINDOW) for channel in grey],
        source=image.omero,
        name=image.name,
    )


def _provenance(
    image: Image,
    plan: PyramidPlan,
    codecs: Any,
    tallies: Sequence[Tally],
    *,
    mask: Mask | None,
) -> Provenance:
    return Provenance(
        version=__version__,
        source=public_source(image),
        method=plan.method.name,
        sigma=plan.sigma,
        nodata=plan.nodata,
        mask=None if mask is None else public_source(mask.image),
        compressors=codecs,
        levels=tuple(
            LevelRecord.counted(level, tally)
            for level, tally in zip(plan.levels, tallies, strict=True)
        ),
    )
