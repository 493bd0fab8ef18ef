"""Voxel size, unit, axes and channels out of a TIFF's tags, ImageJ and OME metadata."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from dask_pyramid.axes import SPATIAL, STORAGE_ORDER, normalise_unit
from dask_pyramid.sources.opened import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tifffile import TiffFile

__all__ = ["Described", "describe", "series_axes"]

# TIFF 6.0, section 3, ResolutionUnit: 2 is the inch, 3 the centimetre.
_MICROMETERS = {2: 25_400.0, 3: 10_000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a file says; numbers are by axis name."""

    scale: Mapping[str, float] = field(default_factory=dict)
    """Spacing, in `unit`."""
    unit: Mapping[str, str | None] = field(default_factory=dict)
    """UDUNITS words."""
    name: str | None = None
    """Name of the image."""
    omero: Mapping[str, Any] | None = None
    """Channel names and colours."""
    files: tuple[str, ...] = ()
    """Names of the files beside this one that hold pixels of the same image."""


def series_axes(letters: str, path: str, *, given: bool) -> tuple[str, ...] | None:
    """Return axis names for tifffile's letters, or None where the caller gave names.

    Samples are channels. One axis of unknown meaning is z if there is no z.

    Raises
    ------
    ValueError
        If a letter cannot be named and `given` is false.

    Examples
    --------
    >>> series_axes("QYX", "a.tif", given=False)
    ('z', 'y', 'x')
    >>> series_axes("YXS", "a.tif", given=False)
    ('y', 'x', 'c')
    """
    names = letters.lower()
    if "c" not in names:
        names = names.replace("s", "c")
    unknown = [letter for letter in names if letter not in STORAGE_ORDER]
    if len(unknown) == 1 and "z" not in names and unknown[0] != "s":
        names = names.replace(unknown[0], "z")
        unknown = []
    if not unknown and len(set(names)) == len(names) <= 5:
        return tuple(names)
    if given:
        return None
    raise SourceError(
        f"axes of {path!r} must be out of t, c, z, y, x, got {letters!r}; name them "
        f"with axes=, such as axes={STORAGE_ORDER[-min(len(letters), 5) :]!r}"
    )


def describe(tiff: TiffFile, axes: Sequence[str] | None) -> Described:
    """Return what the metadata of an open file say of its first series.

    Parameters
    ----------
    tiff : tifffile.TiffFile
        The file.
    axes : sequence of str, optional
        Axis names of the series.

    Returns
    -------
    Described
        OME-XML first, then ImageJ's metadata, then the resolution tags where their
        unit is the centimetre or the inch, in micrometers.
    """
    if tiff.is_ome and tiff.ome_metadata:
        return _from_ome(tiff.ome_metadata)
    if tiff.is_imagej and tiff.imagej_metadata:
        return _from_imagej(tiff.imagej_metadata, tiff.pages.first)
    samples = axes is not None and "c" in axes and tiff.series[0].axes.endswith("S")
    return _from_tags(
        tiff.pages.first, rgb=samples and tiff.pages.first.photometric == 2
    )


def _from_tags(page: Any, *, rgb: bool) -> Described:
    unit = page.tags.valueof("ResolutionUnit", default=1)
    micrometers = _MICROMETERS.get(int(unit))
    spacing = _tag_spacing(page) if micrometers else {}
    names = ("Red", "Green", "Blue")
    return Described(
        scale={axis: value * (micrometers or 1) for axis, value in spacing.items()},
        unit=dict.fromkeys(spacing, "micrometer"),
        omero={"channels": [{"label": name} for name in names]} if rgb else None,
    )


def _tag_spacing(page: Any) -> dict[str, float]:
    """Return the inverse of the resolution tags; (1, 1) is what stands for unknown."""
    spacing = {}
    for axis in "yx":
        value = page.tags.valueof(f"{axis.upper()}Resolution", default=(1, 1))
        if isinstance(value, tuple) and value != (1, 1) and min(value) > 0:
            spacing[axis] = value[1] / value[0]
    return spacing


def _from_imagej(metadata: Mapping[str, Any], page: Any) -> Described:
    unit = _unit(metadata.get("unit"), "x")
    scale: dict[str, float] = {}
    units: dict[str, str | None] = {}
    # Without a unit, or in pixels, ImageJ counts voxels.
    if unit is not None:
        scale = _tag_spacing(page)
        spacing = _positive(metadata.get("spacing"))
        if spacing is not None:
            scale["z"] = spacing
        units = dict.fromkeys("zyx", unit)
    interval = _positive(metadata.get("finterval"))
    if interval is not None:
        scale["t"] = interval
        units["t"] = _unit(metadata.get("tunit", "s"), "t")
    labels = metadata.get("Labels")
    channels = int(metadata.get("channels", 1))
    omero = None
    if isinstance(labels, list) and len(labels) == channels:
        omero = {"channels": [{"label": str(label)} for label in labels]}
    return Described(scale=scale, unit=units, omero=omero)


def _from_ome(text: str) -> Described:
    root = ElementTree.fromstring(text)
    image = _child(root, "Image")
    pixels = None if image is None else _child(image, "Pixels")
    if image is None or pixels is None:
        return Described()
    scale: dict[str, float] = {}
    units: dict[str, str | None] = {}
    for axis in "tzyx":
        key = f"PhysicalSize{axis.upper()}" if axis in SPATIAL else "TimeIncrement"
        value = _positive(pixels.get(key))
        # The defaults of the schema (OME-XML 2016-06) are micrometer and second.
        default = "um" if axis in SPATIAL else "s"
        unit = _unit(pixels.get(f"{key}Unit", default), axis)
        if value is not None and unit is not None:
            scale[axis], units[axis] = value, unit
    channels = [_channel(node) for node in pixels if _tag(node) == "Channel"]
    here = {PurePath(node.get("FileName", "")).name for node in root.iter()}
    return Described(
        scale=scale,
        unit=units,
        name=image.get("Name"),
        omero={"channels": channels} if any(channels) else None,
        files=tuple(sorted(here - {""})),
    )


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]


def _child(node: ElementTree.Element, tag: str) -> ElementTree.Element | None:
    return next((child for child in node if _tag(child) == tag), None)


def _channel(node: ElementTree.Element) -> dict[str, str]:
    channel = {}
    if node.get("Name"):
        channel["label"] = node.get("Name", "")
    with contextlib.suppress(ValueError):
        # "Color": RGBA as a signed 32-bit integer (OME-XML 2016-06).
        channel["color"] = f"{(int(node.get('Color', '')) & 0xFFFFFFFF) >> 8:06X}"
    return channel


def _unit(unit: Any, axis: str) -> str | None:
    try:
        return normalise_unit(str(unit), axis)
    except ValueError:
        return None  # pixels, or something that is not a unit


def _positive(value: Any) -> float | None:
    try:
        number = abs(float(value))  # ImageJ writes a negative spacing for some scans
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None
