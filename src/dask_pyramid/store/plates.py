"""Groups of a plate (HCS): rows, wells, and the list of wells, which is put last.

Rows and wells are read by their names, which are those of their folders; a plate that
is there keeps what it lists, and what others have said of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.multiscales import ome_of
from dask_pyramid.store.contents import (
    ROOT,
    holds_array,
    names_in,
    read_attributes,
    refuse_links,
    state_of,
)
from dask_pyramid.store.locks import Lock
from dask_pyramid.stores import within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dask_pyramid.store.targets import Target

__all__ = ["Field", "check_plate", "parse_field", "put_plate", "read_plate"]

_NAME = re.compile("[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of view: where its image lies in a plate."""

    row: str
    """Name of the row."""
    column: str
    """Name of the column."""
    name: str
    """Name of the field within its well."""

    @property
    def well(self) -> str:
        """Path of the well."""
        return f"{self.row}/{self.column}"

    @property
    def path(self) -> str:
        """Path of the image."""
        return f"{self.well}/{self.name}"


def parse_field(text: str) -> Field:
    """Return the field that ``row/column`` or ``row/column/field`` names.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> parse_field("A/1").path, parse_field("B/12/3").path
    ('A/1/0', 'B/12/3')
    """
    parts = text.split("/") if isinstance(text, str) else []
    # "The 'path's ... MUST contain only alphanumeric characters" (plate and well
    # metadata, 0.4 to 0.6).
    if len(parts) not in (2, 3) or not all(map(_NAME.fullmatch, parts)):
        raise ValueError(
            "fields must be named row/column or row/column/field, of letters and "
            f"digits such as 'A/1' or 'A/1/0', got {text!r}"
        )
    row, column, *rest = parts
    return Field(row=row, column=column, name=rest[0] if rest else "0")


def read_plate(store: Any) -> dict[str, Any] | None:
    """Return the `plate` of a store, or None.

    Parameters
    ----------
    store : zarr store
        What may hold a plate.
    """
    found = ome_of(read_attributes(store)).get("plate")
    return dict(found) if isinstance(found, Mapping) else None


def check_plate(
    target: Target, fields: Iterable[Field], *, mode: str, version: str
) -> None:
    """Check that a plate may be written, or take more fields; nothing is written.

    Parameters
    ----------
    target : Target
        The plate.
    fields : iterable of Field
        Its images.
    mode : {"w-", "a"}
        Whether it may be there.
    version : str
        Version of OME-Zarr.

    Raises
    ------
    FileExistsError
        If there is something that the mode does not allow for, or an array or a file
        where a row or a well shall be.
    ValueError
        If the plate has another version, or lists what cannot be read.
    """
    if target.local:
        refuse_links(Path(target.location))
    store = target.open()
    state = state_of(store)
    if state == "empty":
        return
    if mode == "w-":
        raise FileExistsError(
            f"target must be a new place, got {str(target)!r}; mode='a' goes on with a "
            "plate, or adds to it"
        )
    plate, attributes = read_plate(store), read_attributes(store)
    if state != "foreign" or (
        plate is None and (attributes or not _is_begun(store, "", depth=3))
    ):
        raise FileExistsError(
            f"target must be a plate, got {str(target)!r}, which is something else; "
            "choose another name"
        )
    if plate is not None:
        _check_lists(plate, str(target))
        found = ome_of(attributes).get("version", plate.get("version", version))
        if found != version:
            raise ValueError(
                f"version must be that of the plate, {found}, got {version}"
            )
    for path in sorted({part for field in fields for part in (field.row, field.well)}):
        if _is_file(store, path) or holds_array(within(store, path)):
            raise FileExistsError(
                f"{path!r} of a plate must be a group, got an array or a file in "
                f"{str(target)!r}; move it away first"
            )


def put_plate(
    target: Target, fields: Iterable[Field], *, version: str, name: str | None
) -> None:
    """Put the groups of fields whose images are complete, and list their wells.

    Parameters
    ----------
    target : Target
        The plate.
    fields : iterable of Field
        Its images.
    version : str
        Version of OME-Zarr.
    name : str, optional
        What viewers call the plate.
    """
    store = target.open()
    with Lock(store, str(target)):
        wells: dict[str, list[str]] = {}
        for field in fields:
            wells.setdefault(field.well, []).append(field.name)
        for row in {well.partition("/")[0] for well in wells}:
            _put(store, row, {}, version)
        most = max(
            _put_well(store, well, names, version) for well, names in wells.items()
        )
        _put(store, "", {"plate": _plate(store, wells, most, name)}, version)


def _is_begun(store: Any, path: str, *, depth: int) -> bool:
    """Whether a place holds rows, wells and images alone, as a kill leaves them."""
    part = within(store, path) if path else store
    if depth == 0:
        return state_of(part) != "foreign"
    names = names_in(part) - set(ROOT)
    return not holds_array(part) and all(
        _NAME.fullmatch(name)
        and not _is_file(part, name)
        and _is_begun(store, f"{path}/{name}".lstrip("/"), depth=depth - 1)
        for name in names
        if not name.endswith(".partial")  # zarr's, which a kill has left
    )


def _is_file(store: Any, name: str) -> bool:
    from zarr.core.sync import sync

    return bool(sync(store.exists(name)))


def _check_lists(plate: Mapping[str, Any], place: str) -> None:
    """Check that the lists of a plate can be added to."""
    for name, key in (("rows", "name"), ("columns", "name"), ("wells", "path")):
        entries = plate.get(name, [])
        if not isinstance(entries, list):
            entries = [entries]
        for entry in entries:
            text = entry.get(key) if isinstance(entry, Mapping) else None
            parts = text.split("/") if isinstance(text, str) else []
            if len(parts) != (2 if name == "wells" else 1) or not all(parts):
                raise ValueError(
                    f"{name} of a plate must be listed with a {key} each, got "
                    f"{entry!r:.80} in {place!r}; repair its metadata first"
                )


def _put_well(store: Any, well: str, names: list[str], version: str) -> int:
    """Put the group of a well; return how many fields it lists."""
    said = ome_of(read_attributes(within(store, well))).get("well")
    held = dict(said) if isinstance(said, Mapping) else {}
    found = held.get("images")
    listed = found if isinstance(found, list) else []
    known = {image.get("path") for image in listed if isinstance(image, Mapping)}
    listed = [*listed, *({"path": name} for name in names if name not in known)]
    _put(store, well, {"well": {**held, "images": listed}}, version)
    return len(listed)


def _plate(
    store: Any, wells: Iterable[str], fields: int, name: str | None
) -> dict[str, Any]:
    """Return the metadata of a plate with wells added to those that it lists."""
    held = read_plate(store) or {}
    listed = {well["path"]: well for well in held.get("wells", [])}
    added = sorted(set(wells) - set(listed), key=_natural)
    paths = [*listed, *added]
    pairs = [path.split("/") for path in paths]
    rows = _with_names(held.get("rows", []), [row for row, _ in pairs])
    columns = _with_names(held.get("columns", []), [column for _, column in pairs])
    row_of, column_of = (
        {entry["name"]: i for i, entry in enumerate(entries)}
        for entries in (rows, columns)
    )
    known = held.get("field_count")
    plate = {
        **held,
        "rows": rows,
        "columns": columns,
        "wells": [
            {
                **listed.get(path, {}),
                "path": path,
                "rowIndex": row_of[row],
                "columnIndex": column_of[column],
            }
            for path, (row, column) in zip(paths, pairs, strict=True)
        ],
        "field_count": max(fields, known if isinstance(known, int) else 0),
    }
    return plate if name is None else {**plate, "name": name}


def _with_names(
    listed: list[dict[str, Any]], names: Iterable[str]
) -> list[dict[str, Any]]:
    """Return rows or columns as they are listed, and behind them those of new names.

    A plate has rows and columns without wells, too: those that were not imaged.
    """
    new = sorted(set(names) - {entry["name"] for entry in listed}, key=_natural)
    return [*listed, *({"name": name} for name in new)]


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts 2 before 10."""
    parts = re.findall(r"\d+|[^\d/]+|/", text)
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]


def _put(store: Any, path: str, wanted: dict[str, Any], version: str) -> None:
    """Create a group, or add to its attributes."""
    import zarr

    part = within(store, path) if path else store
    attributes = read_attributes(part)
    # Plates and wells have a version of their own, in 0.5 beside that of the group.
    wanted = {key: {**value, "version": version} for key, value in wanted.items()}
    if version != "0.4" and wanted:
        said = attributes.get("ome")
        held = said if isinstance(said, Mapping) else {}
        wanted = {"ome": {**held, "version": version, **wanted}}
    group = zarr.open_group(
        part, mode="a", zarr_format=2 if version == "0.4" else 3, attributes={}
    )
    if wanted:
        group.attrs.put({**attributes, **wanted})
