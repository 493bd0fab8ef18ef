"""A pyramid and its labels as napari's layer data tuples; napari is not needed.

A tuple is (levels, keyword arguments, kind of layer), what napari's plugins hand over,
too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask_pyramid.rendering import channels_of

if TYPE_CHECKING:
    from dask_pyramid.pyramid import Pyramid

__all__ = ["LayerData", "napari_layers"]

LayerData = tuple[Any, dict[str, Any], str]


def napari_layers(pyramid: Pyramid) -> list[LayerData]:
    """Return a pyramid and its label images as layers of napari.

    Parameters
    ----------
    pyramid : Pyramid
        A stored pyramid, or one that was only built.

    Returns
    -------
    list of tuple
        A layer for each channel, in its colour and contrast, then one for each label
        image: lazy levels, what `napari.layers.Image` or `Labels` takes, and "image" or
        "labels". Nothing is read but what `channels_of` reads.

    Notes
    -----
    napari places coarse levels by the ratio of shapes. It has no place for the
    translation of a coarse level.
    """
    if pyramid.image.labels:
        return [_labels(pyramid, pyramid.name)]
    channels = channels_of(pyramid)
    several = len(channels) > 1
    layers: list[LayerData] = []
    for i, channel in enumerate(channels):
        said = {
            "name": channel.name if several else pyramid.name,
            "colormap": f"#{channel.colour}" if several else "gray",
            "contrast_limits": (channel.low, channel.high),
            "blending": "additive",
            "visible": channel.active,
        }
        layers.append((_levels(pyramid, i), said | _places(pyramid), "image"))
    return layers + [_labels(found, name) for name, found in pyramid.labels.items()]


def _labels(pyramid: Pyramid, name: str) -> LayerData:
    return _levels(pyramid, 0), {"name": name} | _places(pyramid), "labels"


def _levels(pyramid: Pyramid, channel: int) -> list[Any]:
    """Return the levels of one channel."""
    if "c" not in pyramid.axes:
        return list(pyramid.levels)
    pick = tuple(channel if axis == "c" else slice(None) for axis in pyramid.axes)
    return [level[pick] for level in pyramid.levels]


def _places(pyramid: Pyramid) -> dict[str, Any]:
    """Return where the voxels of level 0 are, along all axes but that of channels."""
    kept = [i for i, axis in enumerate(pyramid.axes) if axis != "c"]
    return {
        "multiscale": True,
        "axis_labels": tuple(pyramid.axes[i] for i in kept),
        "scale": tuple(pyramid.scale[0][i] for i in kept),
        "translate": tuple(pyramid.translation[0][i] for i in kept),
        "units": tuple(pyramid.unit[i] or "pixel" for i in kept),
    }
