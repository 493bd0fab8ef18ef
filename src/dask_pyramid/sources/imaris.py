"""Imaris (`.ims`): the full resolution, with extents, channels and times.

References
----------
"Imaris 5.5 File Format Description", Bitplane: datasets are padded to whole chunks;
`ImageSizeX` and so on say what is image. Extents are those of the outer faces.
"""

from __future__ import annotations

import contextlib
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import normalise_unit
from dask_pyramid.sources.files import FileReader
from dask_pyramid.sources.hdf5_volumes import VolumeStack, open_hdf5_file
from dask_pyramid.sources.opened import Opened, single

if TYPE_CHECKING:
    import h5py

__all__ = ["is_imaris", "open_imaris", "open_imaris_stack"]

_LEVEL = "DataSet/ResolutionLevel 0"


def is_imaris(file: h5py.File) -> bool:
    """Whether an HDF5 file is laid out as Imaris does."""
    return _LEVEL in file and "DataSetInfo" in file


def open_imaris(path: str) -> Opened:
    """Open the image of an Imaris file.

    Raises
    ------
    ValueError
        If datasets or attributes are missing.
    """
    open_imaris_stack(path, "").check()
    with open_hdf5_file(path) as file:
        times, channels = _counts(file)
        scale, translation = _place(file)
        interval = _interval(file, times)
        if interval:
            scale["t"] = interval
        unit = _text(file["DataSetInfo/Image"], "Unit") or "um"
        names = [_channel(file, c) for c in range(channels)]
    lead = ("t",) * (times > 1) + ("c",) * (channels > 1)
    units: dict[str, str | None] = {"t": "second"} if interval else {}
    with contextlib.suppress(ValueError):
        units |= dict.fromkeys("zyx", normalise_unit(unit, "x"))
    return Opened(
        pixels=FileReader(open_imaris_stack, path, kept=False),
        axes=(*lead, "z", "y", "x"),
        scale=scale,
        translation=translation,
        unit=units,
        omero={"channels": names} if any(names) else None,
    )


def open_imaris_stack(path: str, part: str) -> VolumeStack:
    """Return all time points and channels as one array; an axis of one is left out."""
    file = open_hdf5_file(path)
    times, channels = _counts(file)
    names = np.array(
        [
            [f"{_LEVEL}/TimePoint {t}/Channel {c}/Data" for c in range(channels)]
            for t in range(times)
        ]
    )
    first = file[f"{_LEVEL}/TimePoint 0/Channel 0"]
    shape = tuple(int(_text(first, f"ImageSize{axis}")) for axis in "ZYX")
    return VolumeStack(file, names.squeeze(), shape=shape)


def _counts(file: h5py.File) -> tuple[int, int]:
    level = file[_LEVEL]
    times = sum(name.startswith("TimePoint ") for name in level)
    channels = sum(name.startswith("Channel ") for name in level["TimePoint 0"])
    return times, channels


def _place(file: h5py.File) -> tuple[dict[str, float], dict[str, float]]:
    """Return spacing, and where the centre of voxel 0 is."""
    info = file["DataSetInfo/Image"]
    first = file[f"{_LEVEL}/TimePoint 0/Channel 0"]
    scale, translation = {}, {}
    for i, axis in enumerate("xyz"):
        start, stop = (_number(info, f"Ext{end}{i}") for end in ("Min", "Max"))
        if start is None or stop is None or not stop > start:
            continue
        step = (stop - start) / int(_text(first, f"ImageSize{axis.upper()}"))
        # Extents are floats of 32 bits written out.
        scale[axis] = single(step)
        # A place has digits of its own: 12345678.5 is not 12345680.
        translation[axis] = start + scale[axis] / 2
    return scale, translation


def _interval(file: h5py.File, times: int) -> float:
    """Return the seconds between time points; 0 if they are not known."""
    node = file.get("DataSetInfo/TimeInfo")
    if node is None or times < 2:
        return 0.0
    with contextlib.suppress(ValueError):
        first, last = (
            datetime.fromisoformat(_text(node, f"TimePoint{i}")) for i in (1, times)
        )
        return max(0.0, (last - first).total_seconds() / (times - 1))
    return 0.0


def _channel(file: h5py.File, index: int) -> dict[str, str]:
    node = file.get(f"DataSetInfo/Channel {index}")
    if node is None:
        return {}
    channel = {"label": _text(node, "Name")} if _text(node, "Name") else {}
    parts = re.findall(r"\d*\.?\d+", _text(node, "Color"))
    if len(parts) == 3:
        values = (min(255, round(255 * float(part))) for part in parts)
        channel["color"] = "".join(f"{value:02X}" for value in values)
    return channel


def _text(node: Any, name: str) -> str:
    """Return an attribute, which is an array of single characters; empty if missing."""
    value = node.attrs.get(name)
    if value is None:
        return ""
    return b"".join(np.ravel(value).astype("S")).decode("utf-8", "replace").strip()


def _number(node: Any, name: str) -> float | None:
    try:
        return float(_text(node, name))
    except ValueError:
        return None
