"""What Neuroglancer is told to show: a pyramid and its labels as a state, dict out.

Nothing is served or opened here. Neuroglancer reads places, units and levels from the
metadata of the store; the state says what is shown, in which contrast, and where.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dask_pyramid.axes import SPATIAL
from dask_pyramid.lengths import METRES, SI_PREFIXES
from dask_pyramid.metadata import parse_multiscales
from dask_pyramid.rendering import REFUSED, Channel, channels_of

if TYPE_CHECKING:
    from dask_pyramid.pyramid import Pyramid

__all__ = ["check_drawable", "neuroglancer_state", "warn_of_labels"]

_SECONDS = {f"{prefix}second": size for prefix, size in SI_PREFIXES.items()} | {
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}

# What Neuroglancer 2.41 reads.
_VERSIONS = ("0.4", "0.5")

# A channel is drawn in its colour, from black to full between two grey values.
_SHADER = """\
#uicontrol invlerp contrast
#uicontrol vec3 color color
void main() { emitRGB(color * contrast()); }
"""

# Width of a panel in pixels that the image shall about fill.
_PANEL = 400


def check_drawable(pyramid: Pyramid) -> None:
    """Refuse what Neuroglancer cannot draw.

    Raises
    ------
    ValueError
        If the pyramid is not stored, or of a version or a data type that Neuroglancer
        does not know.
    """
    if pyramid.group is None:
        raise ValueError(
            "pyramid must be stored for Neuroglancer, got one that was only built; "
            "view what write() returns, or use viewer='napari'"
        )
    version = parse_multiscales(pyramid.group.attrs.asdict()).version
    if version not in _VERSIONS:
        raise ValueError(
            f"pyramid must be OME-Zarr {' or '.join(_VERSIONS)} for Neuroglancer, got "
            f"{version}; use viewer='napari', or write it with version='0.5'"
        )
    if pyramid.dtype.name in REFUSED:
        raise ValueError(
            f"dtype must be one that Neuroglancer draws, got {pyramid.dtype}; use "
            "viewer='napari', or convert the image"
        )


def warn_of_labels(pyramid: Pyramid, *, stacklevel: int) -> None:
    """Warn of label images that Neuroglancer cannot draw and that are left out."""
    for name, labels in pyramid.labels.items():
        if labels.dtype.name in REFUSED:
            warnings.warn(
                f"labels must be of a type that Neuroglancer draws, got {labels.dtype} "
                f"for {name!r}, which is left out; use viewer='napari', or write them "
                "as uint32",
                stacklevel=stacklevel + 1,
            )


def neuroglancer_state(pyramid: Pyramid, source: str) -> dict[str, Any]:
    """Return a state of Neuroglancer that shows a pyramid as a whole.

    Parameters
    ----------
    pyramid : Pyramid
        A stored image or label image.
    source : str
        URL of its group as Neuroglancer shall read it, with a slash at the end.

    Returns
    -------
    dict
        Dimensions in metres and seconds, x, y, z before t; a layer for each channel
        and one for each label image that Neuroglancer can draw.

    Notes
    -----
    Coordinates of Neuroglancer are voxels of level 0 whose lower corner is an integer
    minus a half where the translation is zero: voxel centres are at whole numbers.
    """
    order = [a for a in ("x", "y", "z", "t") if a in pyramid.axes]
    index = [pyramid.axes.index(axis) for axis in order]
    dimensions = {
        axis: _dimension(pyramid, i) for axis, i in zip(order, index, strict=True)
    }
    middle = [
        pyramid.translation[0][i] / pyramid.scale[0][i]
        + (0 if axis == "t" else (pyramid.shapes[0][i] - 1) / 2)
        for axis, i in zip(order, index, strict=True)
    ]
    voxel = min(dimensions[axis][0] for axis in order if axis in SPATIAL)
    extent = max(
        dimensions[axis][0] * pyramid.shapes[0][i] / voxel
        for axis, i in zip(order, index, strict=True)
        if axis in SPATIAL
    )
    return {
        "dimensions": dimensions,
        "position": middle,
        "crossSectionScale": extent / _PANEL,
        "projectionScale": 1.5 * extent,
        "layers": _layers(pyramid, source),
        "crossSectionBackgroundColor": "#000000",
        "layout": "4panel" if "z" in pyramid.axes else "xy",
    }


def _dimension(pyramid: Pyramid, i: int) -> list[Any]:
    """Return spacing and unit of an axis, in metres or seconds; without, in voxels."""
    word, scale = pyramid.unit[i], pyramid.scale[0][i]
    if word in METRES:
        return [scale * METRES[word], "m"]
    if word in _SECONDS:
        return [scale * _SECONDS[word], "s"]
    return [scale, ""]


def _layers(pyramid: Pyramid, source: str) -> list[dict[str, Any]]:
    if pyramid.image.labels:
        return [_segmentation(pyramid, source, pyramid.name)]
    channels = channels_of(pyramid)
    several = len(channels) > 1
    layers = [
        _image(pyramid, source, channel, i if "c" in pyramid.axes else None)
        | {"name": channel.name if several else pyramid.name}
        for i, channel in enumerate(channels)
    ]
    for name, labels in pyramid.labels.items():
        if labels.dtype.name not in REFUSED:
            place = f"{source}labels/{quote(name)}/"
            layers.append(_segmentation(labels, place, name))
    return layers


def _image(
    pyramid: Pyramid, source: str, channel: Channel, number: int | None
) -> dict[str, Any]:
    layer: dict[str, Any] = {
        "type": "image",
        "source": _zarr_source(pyramid, source),
        "shader": _SHADER,
        "shaderControls": {
            "contrast": {"range": [channel.low, channel.high]},
            "color": f"#{channel.colour.lower()}",
        },
        "blend": "additive",
        "opacity": 1,
        "visible": channel.active,
    }
    return layer | _local_channel(pyramid, number)


def _segmentation(pyramid: Pyramid, source: str, name: str) -> dict[str, Any]:
    layer = {
        "type": "segmentation",
        "source": _zarr_source(pyramid, source),
        "name": name,
    }
    return layer | _local_channel(pyramid, 0 if "c" in pyramid.axes else None)


def _local_channel(pyramid: Pyramid, number: int | None) -> dict[str, Any]:
    """Return what makes a layer show one channel alone; "c'" is local to a layer."""
    if number is None:
        return {}
    scale = pyramid.scale[0][pyramid.axes.index("c")]
    return {"localDimensions": {"c'": [scale, ""]}, "localPosition": [number]}


def _zarr_source(pyramid: Pyramid, source: str) -> str:
    return f"{source}|zarr{pyramid.group.metadata.zarr_format}:"
