"""OME-Zarr `multiscales` and `omero`: dict in, dict out; nothing is read or written.

Parsing accepts versions 0.1 to 0.6 and is lenient where no pixel moves (an unknown
unit is dropped, a missing name is filled); building accepts 0.4, 0.5 and 0.6 and is
strict. Plates, wells, and the non-linear transformations of 0.6 are refused.

Sections are those of the specification at https://ngff.openmicroscopy.org.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from dask_pyramid.axes import (
    STORAGE_ORDER,
    axis_type,
    normalise_unit,
    parse_axes,
    parse_units,
    storage_permutation,
)
from dask_pyramid.multiscales import Dataset, Multiscales, check_path
from dask_pyramid.omero import default_omero

__all__ = [
    "VERSIONS",
    "Dataset",
    "Multiscales",
    "build_attributes",
    "check_path",
    "common_transformation",
    "dataset_entry",
    "default_omero",
    "parse_multiscales",
]

VERSIONS = ("0.4", "0.5", "0.6")
"""Versions of OME-Zarr that can be written."""

# The coordinate system that all levels of a 0.6 image map to.
_SYSTEM = "physical"

_log = logging.getLogger("dask_pyramid")


def parse_multiscales(attributes: Mapping[str, Any]) -> Multiscales:
    """Read the first `multiscales` entry of a group's attributes.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group: `multiscales` at the top (0.4 and older), or within
        `ome` (0.5, 0.6).

    Returns
    -------
    Multiscales
        Levels with their transformations composed to one scale and one translation.
        Units are full words; one that the specification does not list becomes None.

    Raises
    ------
    ValueError
        If there is no `multiscales`, or it breaks a rule that decides where voxels are.

    Examples
    --------
    >>> attributes = {"multiscales": [{
    ...     "version": "0.4",
    ...     "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
    ...     "datasets": [{"path": "0", "coordinateTransformations": [
    ...         {"type": "scale", "scale": [3, 2]}]}]}]}
    >>> parse_multiscales(attributes).datasets[0]
    Dataset(path='0', scale=(3.0, 2.0), translation=(0.0, 0.0))
    """
    group = attributes.get("ome", attributes)
    entries = group.get("multiscales") if isinstance(group, Mapping) else None
    if not isinstance(entries, list) or not entries or not _all_mappings(entries):
        raise ValueError(
            "attributes must hold a list 'multiscales' of objects, got the keys "
            f"{sorted(map(str, attributes))!r}; is this group an OME-Zarr image?"
        )
    # "using the first multiscale as a fallback" (multiscales, 0.4 to 0.6).
    entry = entries[0]
    version = _version(attributes, entry)
    datasets = entry.get("datasets")
    if not isinstance(datasets, list) or not _all_mappings(datasets):
        raise ValueError(f"datasets must be a list of objects, got {datasets!r}")
    axes, unit = _parse_axes(entry, version)
    common = common_transformation(entry, len(axes), version)
    name, kind = entry.get("name"), entry.get("type")
    return Multiscales(
        version=version,
        axes=axes,
        unit=unit,
        datasets=tuple(
            _parse_dataset(dataset, common, len(axes), version) for dataset in datasets
        ),
        name=name if isinstance(name, str) and name else None,
        type=kind if isinstance(kind, str) else None,
        metadata=_mapping(entry.get("metadata")),
        omero=_mapping(group.get("omero")),
        image_label=_mapping(group.get("image-label")),
    )


def _all_mappings(entries: list[Any]) -> bool:
    return all(isinstance(entry, Mapping) for entry in entries)


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return dict(value) if isinstance(value, Mapping) else None


def _version(attributes: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    if "coordinateSystems" in entry:
        return "0.6"  # also written as 0.6rc0 and 0.6.dev4
    if "ome" in attributes:
        return str(attributes["ome"].get("version", "0.5"))
    return str(entry.get("version", "0.4"))


def _parse_axes(
    entry: Mapping[str, Any], version: str
) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    axes = _system(entry)["axes"] if version == "0.6" else entry.get("axes")
    if axes is None and version in ("0.1", "0.2"):
        axes = list(STORAGE_ORDER)  # five axes, not named, before 0.3
    if not isinstance(axes, list):
        raise ValueError(f"axes must be a list, got {axes!r}")
    # Plain names in 0.3.
    objects = [{"name": axis} if isinstance(axis, str) else axis for axis in axes]
    if not all(isinstance(axis, Mapping) and "name" in axis for axis in objects):
        raise ValueError(f"axes must each have a name, got {axes!r}")
    names = tuple(str(axis["name"]) for axis in objects)
    units = (_parse_unit(axis.get("unit"), str(axis["name"])) for axis in objects)
    return names, tuple(units)


def _parse_unit(unit: Any, axis: str) -> str | None:
    # "The value SHOULD be one of the following strings" (axes, 0.4 to 0.6): a reader
    # may meet any other, and then knows the number but not what it counts.
    if not isinstance(unit, str) or axis.lower() not in set(STORAGE_ORDER):
        return None
    try:
        return normalise_unit(unit, axis.lower())
    except ValueError as error:
        _log.info("unit dropped: %s", error)
        return None


def _system(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the coordinate system that the levels of a 0.6 image map to."""
    systems = entry.get("coordinateSystems")
    if not isinstance(systems, list) or not systems or not _all_mappings(systems):
        raise ValueError(f"coordinateSystems must be a list, got {systems!r}")
    names = set()
    for dataset in entry["datasets"]:
        for step in _transformations(dataset)[:1]:
            output = step.get("output")
            names.add(
                str(output.get("name") if isinstance(output, Mapping) else output)
            )
    found = [system for system in systems if str(system.get("name")) in names]
    # All levels must end in the same coordinate system ("multiscales", 0.6).
    if len(names) != 1 or len(found) != 1 or "axes" not in found[0]:
        raise ValueError(
            "datasets must all map to one of the coordinateSystems, got output "
            f"{sorted(names)!r} with coordinateSystems "
            f"{[system.get('name') for system in systems]!r}"
        )
    system: Mapping[str, Any] = found[0]
    return system


def common_transformation(
    entry: Mapping[str, Any], ndim: int, version: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the scale and translation that a `multiscales` entry adds to all levels.

    From 0.6 on, the transformations of the entry lead from the coordinate system of the
    levels to others, and are not applied.
    """
    common = [] if version == "0.6" else _transformations(entry)
    return _compose(common, ndim, "multiscales")


def _parse_dataset(
    dataset: Mapping[str, Any],
    common: tuple[tuple[float, ...], tuple[float, ...]],
    ndim: int,
    version: str,
) -> Dataset:
    path = dataset.get("path")
    steps = _transformations(dataset)
    if not steps and version in VERSIONS:
        # "They MUST contain exactly one scale transformation" (multiscales, 0.4, 0.5).
        raise ValueError(
            "coordinateTransformations of a dataset must hold one scale, "
            f"got none for {path!r}"
        )
    scale, translation = _compose(steps, ndim, path)
    # "are applied after them" (multiscales, 0.4, 0.5).
    after, offset = common
    return Dataset(
        path=path,  # type: ignore[arg-type]  # checked by Dataset
        scale=tuple(a * b for a, b in zip(scale, after, strict=True)),
        translation=tuple(
            t * s + o for t, s, o in zip(translation, after, offset, strict=True)
        ),
    )


def _transformations(
    holder: Mapping[str, Any], key: str = "coordinateTransformations"
) -> list[Mapping[str, Any]]:
    steps = holder.get(key) or []
    if not isinstance(steps, list) or not _all_mappings(steps):
        raise ValueError(f"{key} must be a list of objects, got {steps!r}")
    return steps


def _compose(
    steps: list[Mapping[str, Any]], ndim: int, place: Any
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if len(steps) == 1 and steps[0].get("type") == "sequence":
        steps = _transformations(steps[0], "transformations")
    kinds = [step.get("type") for step in steps]
    # "exactly one scale ... MAY contain exactly one translation ... MUST be listed
    # after scale" (multiscales, 0.4, 0.5); 0.6 adds identity and sequence.
    if kinds not in ([], ["identity"], ["scale"], ["translation"]) and kinds not in (
        ["scale", "translation"],
        ["identity", "translation"],
    ):
        raise ValueError(
            "coordinateTransformations must be one scale and then at most one "
            f"translation, got {kinds!r} in {place!r}"
        )
    found = dict(zip(kinds, steps, strict=True))
    return (
        _numbers(found.get("scale"), "scale", ndim, 1.0),
        _numbers(found.get("translation"), "translation", ndim, 0.0),
    )


def _numbers(
    step: Mapping[str, Any] | None, kind: str, ndim: int, default: float
) -> tuple[float, ...]:
    if step is None:
        return (default,) * ndim
    numbers = step.get(kind)
    if (
        not isinstance(numbers, Sequence)
        or len(numbers) != ndim
        or not all(
            isinstance(n, int | float) and not isinstance(n, bool) for n in numbers
        )
    ):
        raise ValueError(
            f"{kind} must be a list of {ndim} numbers, one for each axis, "
            f"got {dict(step)!r}"
        )
    try:
        return tuple(float(number) for number in numbers)
    except OverflowError as error:
        raise ValueError(f"{kind} must be finite, got {numbers!r:.200}") from error


def build_attributes(multiscales: Multiscales) -> dict[str, Any]:
    """Return the attributes of the group, in the form of its version.

    Parameters
    ----------
    multiscales : Multiscales
        An image with axes in storage order and full unit words.

    Returns
    -------
    dict
        JSON values: `multiscales`, and `omero` and `image-label` where given, at the
        top (0.4) or within `ome` (0.5, 0.6).

    Raises
    ------
    ValueError
        If the version cannot be written, or axes or units break the specification.

    Examples
    --------
    >>> built = build_attributes(Multiscales(
    ...     version="0.5", axes=("y", "x"), unit=("micrometer", None),
    ...     datasets=(Dataset(path="0", scale=(3.0, 2.0), translation=(0.0, 0.0)),)))
    >>> built["ome"]["multiscales"][0]["axes"][0]
    {'name': 'y', 'type': 'space', 'unit': 'micrometer'}
    """
    version = multiscales.version
    if version not in VERSIONS:
        raise ValueError(f"version must be one of {VERSIONS!r}, got {version!r}")
    axes = _checked_axes(multiscales)
    entry: dict[str, Any] = {"version": version} if version == "0.4" else {}
    entry["name"] = multiscales.name or "image"
    if version == "0.6":
        entry["coordinateSystems"] = [{"name": _SYSTEM, "axes": axes}]
    else:
        entry["axes"] = axes
    entry["datasets"] = [
        dataset_entry(level, version) for level in multiscales.datasets
    ]
    # "SHOULD contain the field 'type' ... SHOULD contain the field 'metadata'"
    # (multiscales, 0.4 to 0.6); the strict schemas require both.
    if multiscales.type is not None:
        entry["type"] = multiscales.type
    if multiscales.metadata is not None:
        entry["metadata"] = dict(multiscales.metadata)
    group: dict[str, Any] = {"multiscales": [entry]}
    for key, value in (
        ("omero", multiscales.omero),
        ("image-label", multiscales.image_label),
    ):
        if value is not None:
            group[key] = _of_version(value, version)
    # "the value of which MUST be a string specifying the version" (OME-Zarr metadata).
    return group if version == "0.4" else {"ome": {"version": version, **group}}


def _of_version(value: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return `value` with the version said here in 0.4 and nowhere but above later."""
    kept = {key: entry for key, entry in value.items() if key != "version"}
    return {**kept, "version": version} if version == "0.4" else kept


def _checked_axes(multiscales: Multiscales) -> list[dict[str, str]]:
    axes = multiscales.axes
    parse_axes(axes, len(axes))
    # "ordered by 'type' where the 'time' axis must come first (if present), followed by
    # the 'channel' ... and the axes of type 'space'" (multiscales, 0.4 to 0.6).
    if storage_permutation(axes) != tuple(range(len(axes))):
        raise ValueError(f"axes must be in the order t, c, z, y, x, got {axes!r}")
    if parse_units(multiscales.unit, axes) != multiscales.unit:
        raise ValueError(
            "unit must be full UDUNITS words such as 'micrometer', "
            f"got {multiscales.unit!r}"
        )
    return [
        {"name": axis, "type": axis_type(axis)} | ({"unit": unit} if unit else {})
        for axis, unit in zip(axes, multiscales.unit, strict=True)
    ]


def dataset_entry(
    dataset: Dataset, version: str, *, like: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the entry of a level in the form of its version.

    Parameters
    ----------
    dataset : Dataset
        The level.
    version : str
        Version of OME-Zarr.
    like : mapping, optional
        The entry of another level, whose coordinate system is this one's, too.
    """
    steps: list[dict[str, Any]] = [
        {"type": "scale", "scale": list(dataset.scale)},
        {"type": "translation", "translation": list(dataset.translation)},
    ]
    if version == "0.6":
        # One object, `scale` or `sequence [scale, translation]`, from the array
        # (input by path) to the coordinate system (output by name) (image.schema, 0.6).
        ends = {"input": {"path": dataset.path}, "output": {"name": _SYSTEM}}
        if like is not None:
            first = _transformations(like)[0]
            ends["output"] = first["output"]
            if isinstance(first.get("input"), str):  # as drafts of 0.6 had it
                ends["input"] = dataset.path  # type: ignore[assignment]
        steps = [{"type": "sequence", **ends, "transformations": steps}]
    return {"path": dataset.path, "coordinateTransformations": steps}
