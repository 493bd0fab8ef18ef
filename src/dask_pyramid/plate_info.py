"""What a stored plate (HCS) says of itself; reads metadata and no pixel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_pyramid.locations import is_url, local_path, public_url
from dask_pyramid.multiscales import listed_paths, ome_of
from dask_pyramid.store_options import StoreOptions, parse_options
from dask_pyramid.stores import open_store
from dask_pyramid.tables import Table, table_text

if TYPE_CHECKING:
    import zarr

__all__ = ["plate_of", "plate_text", "refuse_plate", "stored_plate"]

# How many images of a plate a message names.
_NAMED = 4


def plate_of(group: zarr.Group) -> dict[str, Any] | None:
    """Return what a plate lists, or None if a group is none.

    Parameters
    ----------
    group : zarr.Group
        What may be a plate.

    Returns
    -------
    dict or None
        `name`, `version`, `zarr_format`, and `wells`: for each its `path` and the paths
        of its `images` from the plate on; `json.dumps` takes it.
    """
    ome = ome_of(group.attrs.asdict())
    plate = ome.get("plate")
    if not isinstance(plate, Mapping):
        return None
    wells = []
    for path in _safe_paths(plate, "wells"):
        node: Any = group.get(path)
        well = {} if node is None else ome_of(node.attrs.asdict()).get("well", {})
        images = [f"{path}/{name}" for name in _safe_paths(well, "images")]
        wells.append({"path": path, "images": images})
    return {
        "name": plate.get("name"),
        "version": ome.get("version", plate.get("version")),
        "zarr_format": group.metadata.zarr_format,
        "wells": wells,
    }


def stored_plate(place: Any, options: StoreOptions | None) -> dict[str, Any] | None:
    """Return what `plate_of` says of a path, a URL or a store; None if there is none.

    Parameters
    ----------
    place : str or zarr store
        What may hold a plate.
    options : StoreOptions, optional
        How to open a URL.
    """
    import zarr

    store = open_store(place, options=options) if isinstance(place, str) else place
    try:
        group = zarr.open_group(store, mode="r")
    except Exception:  # whatever zarr raises over damaged metadata; others say it
        return None
    return plate_of(group)


def refuse_plate(location: Any, options: Any) -> None:
    """Refuse a plate where an image is asked for.

    Parameters
    ----------
    location, options
        As for `dask_pyramid.open_pyramid`.

    Raises
    ------
    ValueError
        If there is a plate; the message names its images.
    """
    import zarr
    from zarr.abc.store import Store

    if isinstance(location, zarr.Group):
        shown, plate = str(location.store_path), plate_of(location)
    elif isinstance(location, str | os.PathLike):
        shown = local_path(os.fspath(location))
        plate = stored_plate(shown, parse_options(options, shown))
        shown = public_url(shown) if is_url(shown) else shown
    elif isinstance(location, Store):
        shown, plate = str(location), stored_plate(location, None)
    else:
        return
    if plate is None:
        return
    images = [image for well in plate["wells"] for image in well["images"]]
    listed = ", ".join(images[:_NAMED]) + (", ..." if len(images) > _NAMED else "")
    raise ValueError(
        f"a pyramid must be an image, got the plate {shown!r}; open one of its "
        f"{len(images)} images by its path within the plate: {listed or 'none yet'}"
    )


def plate_text(plate: Mapping[str, Any]) -> str:
    """Return the result of `plate_of`, with its `location`, as text."""
    wells = plate["wells"]
    facts = Table(
        header=(),
        rows=(
            ("plate", plate["name"] or "without a name"),
            ("location", plate["location"]),
            ("OME-Zarr", f"{plate['version']} (Zarr v{plate['zarr_format']})"),
            ("wells", str(len(wells))),
            ("images", str(sum(len(well["images"]) for well in wells))),
        ),
    )
    listed = Table(
        header=("well", "images"),
        rows=tuple((well["path"], ", ".join(well["images"]) or "-") for well in wells),
    )
    return f"{table_text(facts)}\n\n{table_text(listed)}"


def _safe_paths(holder: Any, name: str) -> list[str]:
    return [path for path, _ in listed_paths(holder, name) if path is not None]
