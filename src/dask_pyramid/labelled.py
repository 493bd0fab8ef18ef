"""Label images of an image: what may be one, and which levels it shall have.

Values only; nothing is read but metadata, and nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import SPATIAL
from dask_pyramid.factors import exact
from dask_pyramid.geometry import ceil_div
from dask_pyramid.locations import is_url
from dask_pyramid.multiscales import check_path
from dask_pyramid.nodata import Nodata
from dask_pyramid.planning import plan_pyramid
from dask_pyramid.sources import open_image
from dask_pyramid.sources.arrays import MaskReader
from dask_pyramid.store_options import share_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.crew import Crew
    from dask_pyramid.existing import Existing, StoredLevel
    from dask_pyramid.geometry import Factor
    from dask_pyramid.image import Image
    from dask_pyramid.methods import Method
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.store_options import StoreOptions

__all__ = [
    "NAME",
    "check_name",
    "check_spacing",
    "dress_all",
    "dressed",
    "plan_labels",
    "source_options",
]

NAME = "labels"
"""Name of a label image that was given none."""

# "The value of 'image' ... a relative path to a Zarr image group. The default value is
# '../../' since most labels are stored in a 'labels' group" (labels, 0.4 to 0.6).
_SOURCE = {"source": {"image": "../../"}}

# File systems take 255; `.NAME.replacement` beside it must fit, too.
_NAME_BYTES = 240

# The chunks of the image are kept for its labels if they hold at most this.
_CHUNK_BYTES = 2**23


def check_name(name: Any) -> None:
    """Refuse the name of a label image that is no plain name of a folder.

    Raises
    ------
    ValueError
        If so.

    Examples
    --------
    >>> check_name("nuclei")
    >>> check_name("../nuclei")
    Traceback (most recent call last):
    ...
    ValueError: name of a label image must be letters, digits, '-', '_' and '.', and \
not begin with '.', got '../nuclei'
    """
    plain = isinstance(name, str) and all(c.isalnum() or c in "-_." for c in name)
    if not plain or not name or name[0] == ".":
        raise ValueError(
            "name of a label image must be letters, digits, '-', '_' and '.', and not "
            f"begin with '.', got {name!r}"
        )
    if len(name.encode()) > _NAME_BYTES:
        raise ValueError(
            f"name of a label image must have at most {_NAME_BYTES} bytes, got "
            f"{len(name.encode())} in {name[:20]!r}...; file systems have a limit"
        )
    check_path(name)


def dress_all(
    labels: Any, image: Image, *, target: Any, storage_options: Any
) -> dict[str, Image]:
    """Return label images by name, each checked against its image.

    Parameters
    ----------
    labels : image, dict of these by name, or None
        What `open_image` takes.
    image : Image
        Their image.
    target : path, URL or zarr store
        Where they go.
    storage_options : dict, StoreOptions or None
        What the call was given.
    """
    if labels is None:
        return {}
    named = labels if isinstance(labels, Mapping) else {NAME: labels}
    for name in named:
        check_name(name)
    return {
        name: dressed(
            each,
            image,
            name=name,
            options=source_options(each, target, storage_options),
        )
        for name, each in named.items()
    }


def source_options(
    labels: Any, target: Any, storage_options: Any
) -> StoreOptions | None:
    """Return how label images are opened: with options only if behind a URL."""
    if not isinstance(labels, str) or not is_url(labels):
        return None
    return share_options(storage_options, labels, target)[0]


def dressed(
    labels: Any,
    image: Image,
    *,
    name: str,
    axes: str | Sequence[str] | None = None,
    options: Any = None,
) -> Image:
    """Open a label image and give it what its image says of space.

    Parameters
    ----------
    labels : Image, path, URL or array
        What `open_image` takes.
    image : Image
        Its image.
    name : str
        Its name.
    axes : str or sequence of str, optional
        Names of its dimensions; by default what it says, an array has those of the
        image, or its spatial ones.
    options : StoreOptions, optional
        How to open a URL.

    Returns
    -------
    Image
        Of integers; bools as 0 and 1 of uint8.

    Raises
    ------
    TypeError
        If its values are no integers.
    ValueError
        If it does not fit the image.
    """
    plain = isinstance(labels, np.ndarray) or hasattr(labels, "dask")
    if axes is None and plain:
        spatial = tuple(axis for axis in image.axes if axis in SPATIAL)
        known = {len(spatial): spatial, image.ndim: image.axes}
        axes = known.get(labels.ndim)
    opened = open_image(labels, axes=axes, storage_options=options)
    if opened.dtype.kind not in "biu":
        raise TypeError(
            f"labels must be integers or bools, got {opened.dtype}; convert whole "
            "numbers with astype('uint32')"
        )
    _check_extents(opened, image)
    of_image = dict(zip(image.axes, range(image.ndim), strict=True))
    at = [of_image[axis] for axis in opened.axes]
    fitting = _integers(opened)
    spaced = replace(
        image,
        axes=opened.axes,
        scale=tuple(image.scale[i] for i in at),
        translation=tuple(image.translation[i] for i in at),
        unit=tuple(image.unit[i] for i in at),
        reader=fitting.reader,
        graph=fitting.graph,
    )
    check_spacing(spaced, opened, "labels")
    return replace(
        spaced,
        name=name,
        omero=None,
        labels=True,
        image_label={**(opened.image_label or {}), **_SOURCE},
        origin=None,
    )


def _integers(labels: Image) -> Image:
    """Return a mask as 0 and 1, anything else as it is."""
    # "The pixels of the label images MUST be integer data types" (labels, 0.4 to 0.6).
    if labels.dtype.kind != "b":
        return labels
    if labels.reader is not None:
        return replace(labels, reader=MaskReader(labels.reader))
    assert labels.graph is not None  # by construction: one of the two is there
    return replace(labels, graph=labels.graph.astype(np.uint8))


def _check_extents(labels: Image, image: Image) -> None:
    wanted = dict(zip(image.axes, image.shape, strict=True))
    found = dict(zip(labels.axes, labels.shape, strict=True))
    spatial = {axis for axis in image.axes if axis in SPATIAL}
    fits = spatial <= found.keys() <= wanted.keys() and all(
        n == wanted[axis] or (axis == "c" and n == 1) for axis, n in found.items()
    )
    if not fits:
        raise ValueError(
            f"labels must have the extents of the image, {_extents(wanted)} (t and c "
            f"may be left out, c may be 1), got {_extents(found)}; name their "
            "dimensions with axes=, or resample them first"
        )


def _extents(by_axis: Mapping[str, int]) -> str:
    return ", ".join(f"{axis} {n}" for axis, n in by_axis.items())


def check_spacing(old: Image, new: Image, name: str) -> None:
    """Refuse an image that says another spacing than the one that it goes with.

    Parameters
    ----------
    old : Image
        What decides.
    new : Image
        Of the same axes; a spacing of 1 without unit says nothing.
    name : str
        What to call it.

    Raises
    ------
    ValueError
        If they differ.
    """
    for i, axis in enumerate(old.axes):
        if new.unit[i] is None and new.scale[i] == 1:
            continue
        same = abs(new.scale[i] - old.scale[i]) <= 1e-6 * old.scale[i]
        if not same or new.unit[i] not in (old.unit[i], None):
            raise ValueError(
                f"{name} must have the spacing of the pyramid along {axis!r}, "
                f"{_length(old, i)}, got {_length(new, i)}; {_way_out(old, i)}"
            )


def _length(image: Image, axis: int) -> str:
    return f"{image.scale[axis]} {image.unit[axis] or '(no unit)'}"


def _way_out(image: Image, axis: int) -> str:
    if image.unit[axis] is None:
        return (
            "write the image with its scale= and unit=, or leave both out for this "
            "one, too: open_image(source).data has neither"
        )
    return "open_image(source, scale=..., unit=...) corrects what a source says"


def plan_labels(
    labels: Image,
    existing: Existing,
    *,
    method: str | Method | None = None,
    ignore: int | None = None,
    chunks: Any = None,
    shards: Any = None,
    crew: Crew,
) -> PyramidPlan:
    """Plan a label image with the levels of its image.

    Parameters
    ----------
    labels : Image
        From `dressed`.
    existing : Existing
        Its image, as it is stored.
    method, ignore, chunks, shards
        As for `dask_pyramid.write_labels`.
    crew : Crew
        What runs the units.

    Raises
    ------
    ValueError
        If a level of the image is not level 0 reduced by some factor, or the method
        invents values.
    """
    Nodata.parse(ignore, False, labels.dtype, name="ignore")
    if chunks is None:
        chunks = _chunks(labels, existing)
    if shards is None and existing.levels[0].shards is None:
        shards = False
    # "The number of multiscale levels MUST be that of the image" (labels, 0.4 to 0.6).
    factors = [
        {axis: _factor(existing, level, axis) for axis in labels.axes}
        for level in existing.levels[1:]
    ]
    return plan_pyramid(
        labels,
        method=method,
        nodata=ignore,
        scale_factors=factors,
        chunks=chunks,
        shards=shards,
        version=existing.version,
        crew=crew,
    )


def _chunks(labels: Image, existing: Existing) -> Any:
    """Return the chunks of the image, level by level, if they are not huge."""
    axes = existing.image.axes
    found = [
        {a: n for a, n in zip(axes, level.chunks, strict=True) if a in labels.axes}
        for level in existing.levels
    ]
    most = max(math.prod(chunks.values()) for chunks in found)
    return found if most * labels.dtype.itemsize <= _CHUNK_BYTES else None


def _factor(existing: Existing, level: StoredLevel, axis: str) -> Factor:
    """Return the factor of a level, by its record, its spacing or its extent.

    Other tools round extents down, and some take the ratio of extents for the factor:
    a whole number that explains the extent goes before the spacing that is stated.
    """
    i = existing.image.axes.index(axis)
    base = existing.levels[0]
    ratio = level.scale[i] / base.scale[i]
    stated = existing.stated(level)
    if stated is not None and _is_near(ratio, stated[i]):
        return stated[i]
    whole = max(1, round(ratio))
    if _is_near(ratio, whole) or level.shape[i] in _rounded(base.shape[i], whole):
        return whole
    if ratio > 1 and level.shape[i] in _rounded(base.shape[i], exact(ratio)):
        return exact(ratio)
    raise ValueError(
        f"level {level.path!r} must be level 0 reduced by some factor to have labels, "
        f"got {level.shape[i]} of {base.shape[i]} voxels along {axis!r} at {ratio:.6g} "
        "times their spacing; write it anew with add_levels(replace=True)"
    )


def _is_near(ratio: float, factor: Factor) -> bool:
    return abs(ratio - factor) <= 1e-3 * factor


def _rounded(n: int, factor: Factor) -> tuple[int, int]:
    """Return what other tools may make of an extent: rounded up, or down."""
    most = ceil_div(n, factor)
    return most, most if most * factor == n else most - 1
