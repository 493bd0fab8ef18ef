"""CZI, ND2, LIF and others, through the readers of `bioio` that are installed.

A reader of bioio gives a dask array; each thread opens the file for itself, because not
all readers can be shared, and computes of that array what a region needs. One scene is
an image; time, channel and z are left out where there is one of them.
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dask_pyramid.axes import normalise_unit
from dask_pyramid.sources.files import FileReader
from dask_pyramid.sources.opened import Opened, SourceError, single

if TYPE_CHECKING:
    import numpy as np

    from dask_pyramid.image import Region

__all__ = ["can_open", "open_scene", "open_scene_pixels"]

# The packages of readers, by the suffix of what they read.
_PACKAGES = {
    ".czi": "bioio-czi",
    ".nd2": "bioio-nd2",
    ".lif": "bioio-lif",
    ".dv": "bioio-dv",
    ".r3d": "bioio-dv",
    ".sldy": "bioio-sldy",
    ".vsi": "bioio-vsi",
}


def can_open(path: str) -> bool:
    """Whether a reader that is installed opens a file."""
    try:
        return _reader(path) is not None
    except ModuleNotFoundError:
        return False


def open_scene(path: str, axes: tuple[str, ...] | None, *, part: str = "") -> Opened:
    """Open a scene of a file.

    Parameters
    ----------
    path : str
        Path of the file.
    axes : tuple of str, optional
        Names that the caller gave.
    part : str
        Name or number of the scene; by default the first, with a warning if there are
        more.

    Raises
    ------
    ValueError
        If the file is damaged, or has no such scene.
    ImportError
        If no reader for it is installed.
    """
    image = _open(path, part)
    if not part and len(image.scenes) > 1:
        warnings.warn(
            f"{path!r} holds {len(image.scenes)} scenes, and the first is opened; name "
            f"another, such as {path}/{image.scenes[1]}",
            stacklevel=6,  # open_image, and what it calls to get here
        )
    pixels = FileReader(open_scene_pixels, path, part, by_thread=True)
    names = _kept(image)
    scale, unit = _spacing(image, names)
    channels = [_channel(str(label)) for label in image.channel_names or ()]
    return Opened(
        pixels=pixels,
        axes=tuple("c" if name == "s" else name for name in names),
        scale=scale,
        unit=unit,
        name=image.current_scene if part else None,
        omero={"channels": channels} if any(channels) else None,
    )


def open_scene_pixels(path: str, part: str) -> _Pixels:
    """Return the pixels of a scene."""
    return _Pixels(_open(path, part))


class _Pixels:
    """A scene as an array of NumPy's kind."""

    def __init__(self, image: Any) -> None:
        data = image.xarray_dask_data
        kept = _kept(image)
        lead = tuple(slice(None) if d.lower() in kept else 0 for d in data.dims)
        self._data = data.data[lead]
        self.shape = self._data.shape
        self.dtype = self._data.dtype
        self.chunks = tuple(max(sizes) for sizes in self._data.chunks)

    def __getitem__(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`."""
        # In this thread: parallelism is that of the units.
        block: np.ndarray[Any, Any] = self._data[region].compute(scheduler="sync")
        return block


def _reader(path: str) -> Any:
    """Return the class of the reader that opens a file, or None."""
    from bioio import BioImage
    from bioio_base.exceptions import UnsupportedFileFormatError

    with suppress(UnsupportedFileFormatError):
        found = BioImage.determine_plugin(path, use_plugin_cache=True)
        return found.metadata.get_reader()
    return None


def _open(path: str, part: str) -> Any:
    from bioio import BioImage

    reader = _reader(path)
    if reader is None:
        raise _refusal(path)
    how: dict[str, Any] = {}
    parameters = inspect.signature(reader).parameters.values()
    if any(p.name == "chunk_dims" or p.kind is p.VAR_KEYWORD for p in parameters):
        how["chunk_dims"] = ["Y", "X"]  # by default some decode a volume at a time
    image = BioImage(path, reader=reader, **how)
    if part:
        by_number = part.isdigit() and part not in image.scenes
        if (by_number and int(part) < len(image.scenes)) or part in image.scenes:
            image.set_scene(int(part) if by_number else part)
        else:
            raise SourceError(
                f"source must be a scene of {path!r}, got {part!r}; it holds "
                f"{', '.join(image.scenes[:8])}"
            )
    return image


def _refusal(path: str) -> Exception:
    from bioio.plugins import get_plugins

    name = path.lower()
    if any(name.endswith(suffix) for suffix in get_plugins(use_cache=True)):
        return ValueError("no reader of bioio can open it")
    package = next((p for s, p in _PACKAGES.items() if name.endswith(s)), "")
    return ImportError(
        f"{path!r} needs a reader of bioio: pip install {package or 'bioio-bioformats'}"
    )


def _kept(image: Any) -> tuple[str, ...]:
    """Return the dimensions that are axes: y, x, and what has more than one entry.

    Samples of colour are channels, unless there are channels beside them.
    """
    sizes = dict(
        zip(image.xarray_dask_data.dims, image.xarray_dask_data.shape, strict=True)
    )
    kept = tuple(d.lower() for d, n in sizes.items() if n > 1 or d in "YX")
    if {"c", "s"} <= set(kept):
        raise SourceError(
            f"channels must be plain, got {sizes['C']} of {sizes['S']} samples each; "
            "open the file with bioio and give the array of one of them"
        )
    return kept


def _spacing(
    image: Any, names: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, str | None]]:
    scale: dict[str, float] = {}
    unit: dict[str, str | None] = {}
    for axis in names:
        size = getattr(image.scale, axis.upper(), None)
        if size is None or not 0 < size < math.inf:
            continue
        # A reader that names no unit means micrometers, and seconds.
        found = getattr(image.dimension_properties, axis.upper(), None)
        word = getattr(found, "unit", None) or ("s" if axis == "t" else "um")
        with suppress(ValueError):
            unit[axis] = normalise_unit(str(word), axis)
            scale[axis] = single(size)
    return scale, unit


def _channel(label: str) -> dict[str, str]:
    # bioio names a channel "Channel:0:1" where the file does not.
    return {} if re.fullmatch(r"Channel:\d+:\d+", label) else {"label": label}
