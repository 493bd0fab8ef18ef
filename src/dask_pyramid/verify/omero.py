"""`omero`: channels, colours and windows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_pyramid.verify.nodes import shown

if TYPE_CHECKING:
    from dask_pyramid.verify.described import Described, StoredLevel
    from dask_pyramid.verify.findings import Log

__all__ = ["check_omero"]


def check_omero(image: Described, level: StoredLevel | None, log: Log) -> None:
    """Check the rendering metadata of an image, where there are any.

    Parameters
    ----------
    image : Described
        The image.
    level : StoredLevel or None
        Level 0, to know the number of channels.
    log : Log
        Told what is wrong.
    """
    omero = image.group.get("omero")
    if omero is None:
        return
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list):
        log.add("omero-invalid", f"got {shown(omero)}", level=image.path)
        return
    kinds = [axis.kind for axis in image.axes or ()]
    expected = 1
    if "channel" in kinds and level is not None:
        expected = level.shape[kinds.index("channel")]
    elif image.axes is not None and "channel" not in kinds:
        log.add("omero-alone", f"{len(channels)} channels", level=image.path)
    if len(channels) != expected and level is not None:
        log.add(
            "omero-channels",
            f"{len(channels)} channels described, the image has {expected}",
            level=image.path,
        )
    for number, channel in enumerate(channels):
        _check_channel(channel, log, level=image.path, part=f"channel {number}")


def _check_channel(channel: Any, log: Log, *, level: str, part: str) -> None:
    if not isinstance(channel, Mapping):
        log.add("omero-invalid", f"got {shown(channel)}", level=level, part=part)
        return
    color = channel.get("color")
    if not isinstance(color, str) or not re.fullmatch("[0-9a-fA-F]{6}", color):
        log.add("omero-color", f"got {shown(color)}", level=level, part=part)
    window = channel.get("window")
    if not isinstance(window, Mapping):
        log.add("omero-window", f"got {shown(window)}", level=level, part=part)
    else:
        _check_window(window, log, level=level, part=part)
    for key, kind in (("active", bool), ("label", str)):
        if key in channel and not isinstance(channel[key], kind):
            text = f"{key} is {shown(channel[key])}"
            log.add("omero-doubtful", text, level=level, part=part)


def _check_window(
    window: Mapping[str, Any], log: Log, *, level: str, part: str
) -> None:
    numbers = [window.get(key) for key in ("min", "start", "end", "max")]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        text = f"four numbers, got {shown(dict(window))}"
        log.add("omero-window", text, level=level, part=part)
        return
    low, start, end, high = numbers
    if not (low < high and start < end):  # type: ignore[operator]  # numbers
        text = f"min < max and start < end, got {shown(dict(window))}"
        log.add("omero-window", text, level=level, part=part)
    elif start < low or end > high:  # type: ignore[operator]
        text = f"start and end beyond min and max: {shown(dict(window))}"
        log.add("omero-doubtful", text, level=level, part=part)
