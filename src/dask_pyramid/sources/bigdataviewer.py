"""BigDataViewer: an HDF5 file of views and the XML beside it.

Setups are channels, if all are alike; else one is asked for (`a.h5/s01`). Registrations
are not taken over: they move views against each other.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from dask_pyramid.axes import normalise_unit
from dask_pyramid.sources.files import FileReader
from dask_pyramid.sources.hdf5_volumes import VolumeStack, open_hdf5_file
from dask_pyramid.sources.opened import Opened, SourceError

if TYPE_CHECKING:
    import h5py

__all__ = ["is_views", "open_view_stack", "open_views", "open_xml"]

_TIME, _SETUP = re.compile(r"t\d{5,}"), re.compile(r"s\d{2,}")


def is_views(file: h5py.File) -> bool:
    """Whether an HDF5 file is laid out as BigDataViewer does."""
    return "t00000" in file and bool(_setups(file, ""))


def open_xml(path: str, axes: tuple[str, ...] | None, *, part: str = "") -> Opened:
    """Open what an XML of BigDataViewer describes.

    Raises
    ------
    ValueError
        If it is another XML, or its views are not in HDF5.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    loader = root.find("SequenceDescription/ImageLoader")
    if root.tag != "SpimData" or loader is None:
        raise SourceError(
            f"source must be an image, got {path!r}, an XML that is not of "
            "BigDataViewer; open the file of the pixels"
        )
    file = loader.findtext("hdf5")
    if not file:
        raise SourceError(
            f"views must lie in HDF5, got {loader.get('format')!r} in {path!r}; open "
            "one of them, such as a.n5/setup0/timepoint0/s0"
        )
    return open_views(str(Path(path).parent / file), part, xml=root)


def open_views(
    path: str, part: str = "", *, xml: ElementTree.Element | None = None
) -> Opened:
    """Open the views of an HDF5 file.

    Parameters
    ----------
    path : str
        The HDF5 file.
    part : str
        A setup, such as ``"s01"``; by default all of them.
    xml : Element, optional
        What describes them; by default the XML of the same name beside the file.

    Raises
    ------
    ValueError
        If setups differ, or views are missing.
    """
    beside = Path(path).with_suffix(".xml")
    if xml is None and beside.is_file():
        with contextlib.suppress(ElementTree.ParseError):
            xml = ElementTree.parse(beside).getroot()
    with open_hdf5_file(path) as file:
        times, setups = len(_times(file)), _setups(file, part)
        _check_alike(file, setups)
    open_view_stack(path, part).check()
    described = [_described(xml, int(setup[1:])) for setup in setups]
    _check_spacing(path, dict(zip(setups, described, strict=True)))
    scale, unit, _ = described[0]
    channels = [{"label": label} if label else {} for _, _, label in described]
    return Opened(
        pixels=FileReader(open_view_stack, path, part, kept=False),
        axes=(*("t",) * (times > 1), *("c",) * (len(setups) > 1), "z", "y", "x"),
        scale=scale,
        unit=unit,
        omero={"channels": channels} if any(channels) else None,
    )


def open_view_stack(path: str, part: str) -> VolumeStack:
    """Return all time points and setups as one array; an axis of one is left out."""
    file = open_hdf5_file(path)
    names = np.array(
        [[f"{t}/{s}/0/cells" for s in _setups(file, part)] for t in _times(file)]
    )
    # Java has no unsigned integers: BigDataViewer stores them as signed ones.
    signed = file[names.flat[0]].dtype == np.int16
    return VolumeStack(file, names.squeeze(), dtype="uint16" if signed else None)


def _times(file: h5py.File) -> list[str]:
    return sorted(name for name in file if _TIME.fullmatch(name))


def _setups(file: h5py.File, part: str) -> list[str]:
    found = sorted(name for name in file["t00000"] if _SETUP.fullmatch(name))
    if part and part not in found:
        raise SourceError(
            f"source must be a setup of {file.filename!r}, got {part!r}; it holds "
            f"{', '.join(found[:8])}"
        )
    return [part] if part else found


def _check_alike(file: h5py.File, setups: list[str]) -> None:
    shapes = {setup: file[f"t00000/{setup}/0/cells"].shape for setup in setups}
    if len(set(shapes.values())) > 1:
        raise SourceError(
            f"setups must have one shape, got {shapes!r} in {file.filename!r}; open "
            f"one of them, such as {file.filename}/{setups[0]}"
        )


def _check_spacing(path: str, described: dict[str, tuple[Any, Any, str]]) -> None:
    sizes = {setup: (scale, unit) for setup, (scale, unit, _) in described.items()}
    first = next(iter(sizes))
    if any(size != sizes[first] for size in sizes.values()):
        shown = {
            s: (*scale.values(), unit.get("x")) for s, (scale, unit) in sizes.items()
        }
        raise SourceError(
            f"setups must have one voxel size and unit, got {shown!r} in {path!r}; "
            f"open one of them, such as {path}/{first}"
        )


def _described(
    xml: ElementTree.Element | None, setup: int
) -> tuple[dict[str, float], dict[str, str | None], str]:
    """Return voxel size, unit and name of a setup, as far as the XML tells."""
    views = [] if xml is None else xml.findall(".//ViewSetups/ViewSetup")
    view: Any = next((v for v in views if v.findtext("id") == str(setup)), None)
    if xml is None or view is None:
        return {}, {}, ""
    scale: dict[str, float] = {}
    unit: dict[str, str | None] = {}
    with contextlib.suppress(ValueError):
        sizes = [float(n) for n in view.findtext("voxelSize/size", "").split()]
        if len(sizes) == 3 and min(sizes) > 0:
            scale = dict(zip("xyz", sizes, strict=True))
            # A unit that is none, such as "pixel", leaves the sizes as they are.
            word = normalise_unit(view.findtext("voxelSize/unit", ""), "x")
            unit = dict.fromkeys("zyx", word)
    channel = view.findtext("attributes/channel")
    for node in xml.findall(".//Attributes[@name='channel']/Channel"):
        if node.findtext("id") == channel and node.findtext("name"):
            return scale, unit, node.findtext("name", "")
    return scale, unit, view.findtext("name", "")
