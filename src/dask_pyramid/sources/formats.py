"""The formats of files, how each is told, and what to install for it.

A format is one record here and one module beside this one, which is loaded when it is
used. Its opener is ``open_x(path, axes, *, part="") -> Opened``; it raises a
`SourceError` with a complete text, or whatever its library raises on damaged files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.sources.opened import SourceError, reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask_pyramid.sources.opened import Opened

__all__ = ["FORMATS", "Format", "find_format", "open_file", "split_part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format of files or folders."""

    name: str
    """What users call it."""
    opener: str
    """``module:function`` in `dask_pyramid.sources`."""
    suffixes: tuple[str, ...]
    """How its files are named, lower case."""
    magic: tuple[tuple[int, bytes], ...] = ()
    """Bytes that tell them whatever their name: offset, and what stands there."""
    marks: tuple[str, ...] = ()
    """Names of files of which a folder of this format holds one; else it is a file."""
    extra: str | None = None
    """The extra of this package that reads it; None if it needs none."""
    parts: bool = False
    """Whether a file may hold several images, of which `part` is one."""

    @property
    def text(self) -> str:
        """The format with its suffixes and extra, for a message."""
        extra = f"; extra {self.extra!r}" if self.extra else ""
        return f"{self.name} ({' '.join(self.suffixes[:6])}{extra})"


_OTHERS = Format(
    name="microscope file",
    opener="bioio:open_scene",
    suffixes=(".czi", ".nd2", ".lif", ".dv", ".r3d", ".sldy", ".vsi"),
    extra="bioio",
    parts=True,
)

FORMATS = (
    Format(
        name="TIFF",
        opener="tiff:open_tiff",
        suffixes=(".tif", ".tiff", ".btf", ".tf2", ".tf8"),
        magic=((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
    ),
    Format(
        name="HDF5",
        opener="hdf5:open_hdf5",
        suffixes=(".h5", ".hdf5", ".hdf", ".ims", ".ilp"),
        magic=((0, b"\x89HDF\r\n\x1a\n"),),
        extra="hdf5",
        parts=True,
    ),
    Format(
        name="BigDataViewer XML",
        opener="bigdataviewer:open_xml",
        suffixes=(".xml",),
        extra="hdf5",
        parts=True,
    ),
    Format(
        name="N5",
        opener="n5:open_n5",
        suffixes=(".n5",),
        marks=("attributes.json",),
        extra="n5",
    ),
    Format(
        name="NIfTI",
        opener="nifti:open_nifti",
        suffixes=(".nii", ".nii.gz"),
        magic=((344, b"n+1\0"), (4, b"n+2\0")),
        extra="nifti",
    ),
    Format(
        name="MRC",
        opener="mrc:open_mrc",
        suffixes=tuple(".mrc .map .rec .mrcs .st .ali .map.gz .mrc.gz".split()),
        magic=((208, b"MAP "), (208, b"MAP\0")),
        extra="mrc",
    ),
    _OTHERS,
    Format(
        name="PNG, JPEG and other planes",
        opener="planes:open_plane",
        suffixes=tuple(
            ".png .jpg .jpeg .bmp .gif .jp2 .webp .pgm .ppm .pnm .pbm .tga".split()
        ),
    ),
)
"""In the order in which they are tried; a format is told by its magic, then by name."""

_HEAD = 512  # bytes that hold every magic


def find_format(path: str) -> Format | None:
    """Return the format of a file or folder, or None if it is none of `FORMATS`.

    Parameters
    ----------
    path : str
        Path of a file or folder that exists.
    """
    if os.path.isdir(path):
        return next((known for known in FORMATS if _is_folder_of(known, path)), None)
    with Path(path).open("rb") as file:
        head = file.read(_HEAD)
    for known in FORMATS:
        if any(head.startswith(mark, at) for at, mark in known.magic):
            return known
    name = path.lower()
    files = (known for known in FORMATS if not known.marks)
    return next((known for known in files if name.endswith(known.suffixes)), None)


def _is_folder_of(known: Format, path: str) -> bool:
    """Whether a folder is of a format: by a file in it, or within one named so."""
    if any(os.path.isfile(os.path.join(path, mark)) for mark in known.marks):
        return True
    within = (path, *map(str, Path(path).parents)) if known.marks else ()
    return any(folder.lower().endswith(known.suffixes) for folder in within)


def split_part(source: str) -> tuple[str, str]:
    """Return the file in a path, and what stands behind it: a part of the file.

    Parameters
    ----------
    source : str
        A path such as ``"a.h5/volumes/raw"``, as if the file were a folder.

    Returns
    -------
    tuple of str
        The path itself and an empty text if it leads to nothing, or is one of a file.
    """
    for parent in Path(source).parents:
        if parent.is_file():
            return str(parent), Path(source).relative_to(parent).as_posix()
    return source, ""


def open_file(path: str, axes: tuple[str, ...] | None, *, part: str = "") -> Opened:
    """Open a file or folder of any of `FORMATS`.

    Parameters
    ----------
    path : str
        Path of the file or folder.
    axes : tuple of str, optional
        Names that the caller gave.
    part : str
        Which image of the file, if it may hold several.

    Raises
    ------
    ValueError
        If the format is not known, the file is damaged, or it is not one image.
    ImportError
        If the format needs an extra that is not installed; its name is in the text.
    """
    found = _format_of(path, part)
    try:
        opened: Opened = _load(found.opener)(
            path, axes, **({"part": part} if part else {})
        )
    except (SourceError, PermissionError, MemoryError):
        raise
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError) or found.extra is None:
            raise
        raise ImportError(
            f"{path!r} is {found.name}, which needs {error.name}: "
            f"pip install 'dask-pyramid[{found.extra}]'"
        ) from error
    except Exception as error:  # on damaged files libraries raise of all kinds
        raise ValueError(
            f"source must be a readable {found.name}, got {path!r}: {reason(error)}; "
            "it is damaged or incomplete, so fetch or export it again"
        ) from error
    return replace(opened, name=opened.name or _stem(part or path, found.suffixes))


def _format_of(path: str, part: str) -> Format:
    if os.path.isfile(path) and not os.path.getsize(path):
        raise ValueError(f"source must not be empty, got {path!r} of 0 bytes")
    found = find_format(path)
    if found is None and _load("bioio:can_open")(path):
        found = _OTHERS
    if found is None:
        raise SourceError(
            f"source must be of a format that can be read, got {path!r}; these can: "
            f"Zarr, {', '.join(known.text for known in FORMATS)}"
        )
    if part and not found.parts:
        raise SourceError(
            f"source must be a file, got the part {part!r} of {path!r}; {found.name} "
            "holds one image, so leave it out"
        )
    return found


def _stem(path: str, suffixes: tuple[str, ...]) -> str:
    name = Path(path).name
    ends = [end for end in suffixes if name.lower().endswith(end)]
    return name[: -max(map(len, ends), default=0) or None].removesuffix(".ome")


def _load(function: str) -> Callable[..., Any]:
    """Return a function ``module:function`` of this package."""
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(
        import_module(f"dask_pyramid.sources.{module}"), name
    )
    return found
