"""What tells one source from another, so that a run goes on with the same pixels.

Files are told by their path, size and time of change, and which array of them is read,
arrays by the checksum of their values, dask graphs by their name. No secret is part of
it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.checksums import crc32
from dask_pyramid.locations import is_url
from dask_pyramid.sources.formats import split_part
from dask_pyramid.sources.opened import fingerprint

if TYPE_CHECKING:
    from dask_pyramid.image import Image, Reader

__all__ = ["identify", "public_source"]

# Voxels of an array whose checksum is made at a time.
_SLAB_VOXELS = 2**22


def public_source(image: Image) -> dict[str, Any]:
    """Return what a published pyramid says of its source, JSON values.

    Parameters
    ----------
    image : Image
        The source.

    Returns
    -------
    dict
        `kind`: "array" (in memory, or a dask graph), "file" or "url", and its
        `location`, and the `part` of a file that holds several images; for several
        files the first and last, and their number. Files have a `stamp`, a text that
        changes with them. `resampling`: what was done to it.
    """
    places = () if image.reader is None else image.reader.locations
    places = tuple(place for place in places if not place.startswith("store:"))
    steps = getattr(image.reader, "resampling", None) or ()
    # By number, so that a difference is told by its place.
    done = {"resampling": {str(i): s for i, s in enumerate(steps)}} if steps else {}
    if not places:
        return {"kind": "array", **done}
    found: dict[str, Any] = {
        "kind": "url" if is_url(places[0]) else "file",
        "location": places[0],
        **done,
    }
    if part := getattr(image.reader, "part", ""):
        found["part"] = part
    if len(places) > 1:
        found.update(last=places[-1], files=len(places))
    if found["kind"] == "file":
        found["stamp"] = _files_stamp(places)
    return found


def identify(image: Image) -> dict[str, Any]:
    """Return what tells this source from others, JSON values.

    Parameters
    ----------
    image : Image
        The source.

    Returns
    -------
    dict
        As `public_source`, with a `stamp` of arrays, too; of what lies behind a URL
        only the place is known.

    Notes
    -----
    Cost: an array in memory is read once; of files only the status.
    """
    found = public_source(image)
    if image.reader is None:
        assert image.graph is not None  # by construction: one of the two is there
        return {**found, "stamp": str(image.graph.name)}
    if found["kind"] != "array" or not getattr(image.reader, "in_memory", False):
        return found
    # Of a resampled array the values that it is made of say as much, and cost less.
    reader: Any = image.reader
    while hasattr(reader, "samplings"):
        reader = reader.source
    return {**found, "stamp": _values_stamp(reader)}


def _files_stamp(places: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for place in places:
        digest.update(repr((place, _status(place))).encode())
    return digest.hexdigest()[:16]


def _status(place: str) -> object:
    """Return what changes when a file, or the metadata of an array, is replaced."""
    whole, _ = split_part(place)  # an array in a zipped file is a path below it
    if os.path.isfile(whole):
        return fingerprint(Path(whole))
    for name in ("zarr.json", ".zarray", "attributes.json"):
        file = Path(place, name)
        if file.is_file():
            return fingerprint(file)
    return None


def _values_stamp(reader: Reader) -> str:
    """Return the checksum of the values of an array in memory, read in slabs."""
    crc = 0
    size = 1
    for n in reader.shape[1:]:
        size *= n
    rows = max(1, _SLAB_VOXELS // max(size, 1))
    for start in range(0, reader.shape[0], rows):
        stop = min(start + rows, reader.shape[0])
        block = reader.read(
            (slice(start, stop), *(slice(0, n) for n in reader.shape[1:]))
        )
        crc = crc32(np.ascontiguousarray(block).data.cast("B"), crc)
    return f"{crc:08x}"
