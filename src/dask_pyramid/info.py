"""What a stored pyramid says of itself, as a dict; reads metadata and no pixel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dask_pyramid.locations import is_url, local_path, public_url
from dask_pyramid.metadata import parse_multiscales
from dask_pyramid.omero import channel_labels
from dask_pyramid.plate_info import plate_text, stored_plate
from dask_pyramid.sources.stored import open_stored, stored_labels
from dask_pyramid.store_options import StoreOptions, parse_options
from dask_pyramid.stores import open_store
from dask_pyramid.tables import Table, bytes_text, table_text, vectors
from dask_pyramid.wording import other_axes, spatial, unit_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["info_text", "stored_info"]


def stored_info(
    location: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
) -> dict[str, Any]:
    """Return what a stored pyramid says of itself.

    Parameters
    ----------
    location : path or URL
        An OME-Zarr image or plate, by whatever tool.
    storage_options : dict or StoreOptions, optional
        How to open a URL.

    Returns
    -------
    dict
        `location`, `name`, `version` (of OME-Zarr), `zarr_format`, `axes`, `unit`,
        `dtype`, `method`, and `levels`: for each `path`, `shape`, `scale`,
        `translation`, `chunks`, `shards` (or None), `nbytes` (decoded) and
        `compressors`, as they are stored. `labels` are the names of the label images,
        `channels` the labels of the channels. Axes are in the order of the arrays;
        `json.dumps` takes it. Of a plate, what `plate_of` returns, and `location`.

    Raises
    ------
    FileNotFoundError
        If there is nothing there.
    ValueError
        If it is no OME-Zarr image, or an unfinished one.
    """
    import zarr

    place = local_path(os.fspath(location))
    options = parse_options(storage_options, place)
    shown = public_url(place) if is_url(place) else place
    try:  # its checks and messages
        stored = open_stored(place, storage_options=options)
    except ValueError:
        plate = stored_plate(place, options)
        if plate is None:
            raise
        return {"location": shown, **plate}
    group = zarr.open_group(open_store(place, options=options), mode="r")
    found = parse_multiscales(group.attrs.asdict())
    levels = []
    for dataset in found.datasets:
        array = zarr.open_array(group.store_path / dataset.path, mode="r")
        levels.append(
            {
                "path": dataset.path,
                "shape": array.shape,
                "scale": dataset.scale,
                "translation": dataset.translation,
                "chunks": array.chunks,
                "shards": array.shards,
                "nbytes": array.nbytes,
                "compressors": _codecs(array),
            }
        )
    return {
        "location": shown,
        "name": stored.levels[0].name,
        "version": found.version,
        "zarr_format": group.metadata.zarr_format,
        "axes": found.axes,
        "unit": found.unit,
        "dtype": stored.levels[0].dtype.name,
        "method": found.type,
        "labels": sorted(stored_labels(group)),
        "channels": channel_labels(stored.levels[0].omero),
        "levels": levels,
    }


def _codecs(array: Any) -> list[dict[str, Any]]:
    """Return the compressors of an array as JSON: a name, and what it is set to."""
    found = []
    for codec in array.compressors:
        if array.metadata.zarr_format == 2:
            record = dict(codec.get_config())
            name = record.pop("id")
        else:
            stored = codec.to_dict()
            name, record = stored["name"], dict(stored.get("configuration", {}))
        found.append({"name": name, **record})
    return found


def _codec_text(codec: Mapping[str, Any]) -> str:
    """Return a codec as its name, what it packs with, and the level."""
    words = [codec["name"], codec.get("cname"), codec.get("level", codec.get("clevel"))]
    return " ".join(str(word) for word in words if word is not None)


def info_text(info: dict[str, Any]) -> str:
    """Return the result of `stored_info` as text.

    Parameters
    ----------
    info : dict
        From `stored_info`.

    Returns
    -------
    str
        What it is, where the voxels of each level are, and how they are stored.
    """
    if "wells" in info:
        return plate_text(info)
    levels = info["levels"]
    others = [
        f"{axis} {word}"
        for axis, word in zip(info["axes"], info["unit"], strict=True)
        if word
    ]
    facts = Table(
        header=(),
        rows=(
            ("name", info["name"]),
            ("location", info["location"]),
            ("OME-Zarr", f"{info['version']} (Zarr v{info['zarr_format']})"),
            ("axes", ", ".join(info["axes"])),
            ("unit", ", ".join(others) or "none"),
            ("dtype", info["dtype"]),
            ("method", info["method"] or "unknown"),
            ("size", f"{bytes_text(sum(level['nbytes'] for level in levels))}, raw"),
            *_named(info),
        ),
    )
    return "\n\n".join(map(table_text, (facts, _placed(info), _kept(levels))))


def _named(info: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what there is beside the levels, as far as there is any."""
    first = info["levels"][0]
    others = other_axes(
        info["axes"], first["scale"], first["translation"], info["unit"]
    )
    if others:
        yield "other axes", others
    for what in ("channels", "labels"):
        if info[what]:
            yield what, ", ".join(info[what])


def _placed(info: dict[str, Any]) -> Table:
    levels, axes = info["levels"], info["axes"]
    unit = unit_text(axes, info["unit"])
    return Table(
        header=("level", "shape", f"scale [{unit}]", f"translation [{unit}]"),
        rows=tuple(
            zip(
                (level["path"] for level in levels),
                vectors([level["shape"] for level in levels], " x "),
                vectors(spatial(axes, [level["scale"] for level in levels])),
                vectors(spatial(axes, [level["translation"] for level in levels])),
                strict=True,
            )
        ),
        right=frozenset({0}),
    )


def _kept(levels: list[dict[str, Any]]) -> Table:
    return Table(
        header=("level", "chunks", "shards", "bytes, raw", "codecs"),
        rows=tuple(
            zip(
                (level["path"] for level in levels),
                vectors([level["chunks"] for level in levels], " x "),
                vectors([level["shards"] for level in levels], " x "),
                (bytes_text(level["nbytes"]) for level in levels),
                (
                    ", ".join(map(_codec_text, level["compressors"])) or "-"
                    for level in levels
                ),
                strict=True,
            )
        ),
        right=frozenset({0, 3}),
    )
