"""The `multiscales` of a group: version, name, method, axes and datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_pyramid import multiscales
from dask_pyramid.provenance import is_unfinished, read_provenance
from dask_pyramid.verify.axes import check_axes
from dask_pyramid.verify.datasets import check_common, check_datasets
from dask_pyramid.verify.described import Axis, Described
from dask_pyramid.verify.nodes import shown

if TYPE_CHECKING:
    from dask_pyramid.provenance import Provenance
    from dask_pyramid.verify.findings import Log
    from dask_pyramid.verify.nodes import Node

__all__ = ["describe", "ome_of"]

_KNOWN = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")


def ome_of(node: Node) -> Mapping[str, Any]:
    """Return the OME-Zarr metadata of a group: `ome`, or the attributes themselves."""
    return multiscales.ome_of(node.attributes)


def describe(node: Node, log: Log) -> Described | None:
    """Check the metadata of an image.

    Parameters
    ----------
    node : Node
        The group.
    log : Log
        Told what is wrong.

    Returns
    -------
    Described or None
        The first multiscales as far as it could be read; None if there is none.
    """
    level = node.path
    if is_unfinished(node.attributes):
        log.add(
            "unfinished",
            "the group is marked as being written; its writer has not finished",
            level=level,
        )
    ome = ome_of(node)
    entry = _entry(ome, log, level=level)
    if entry is None:
        return None
    version = _version(node, entry, log)
    _check_described(entry, log, level=level)
    axes = _axes(entry, log, version=version, level=level)
    ndim = None if axes is None else len(axes)
    check_common(entry, log, ndim=ndim, version=version, level=level)
    kind, metadata = entry.get("type"), entry.get("metadata")
    return Described(
        path=level,
        version=version,
        zarr_format=node.zarr_format,
        axes=axes,
        datasets=check_datasets(entry, log, ndim=ndim, version=version, level=level),
        type=kind if isinstance(kind, str) else None,
        metadata=metadata if isinstance(metadata, Mapping) else {},
        group=ome,
        record=_record(node, log),
    )


def _entry(ome: Mapping[str, Any], log: Log, *, level: str) -> Any:
    """Return the first multiscales, None if there is none."""
    entries = ome.get("multiscales")
    if entries is None:
        log.add(
            "multiscales-missing",
            f"the group has the attributes {sorted(map(str, ome))!r:.80}",
            level=level,
        )
        return None
    if not isinstance(entries, list) or not entries:
        log.add("multiscales-invalid", f"got {shown(entries)}", level=level)
        return None
    if not isinstance(entries[0], Mapping):
        log.add("multiscales-invalid", f"got {shown(entries[0])}", level=level)
        return None
    if len(entries) > 1:
        log.add("more-multiscales", f"{len(entries)}, one is checked", level=level)
    return entries[0]


def _record(node: Node, log: Log) -> Provenance | None:
    try:
        return read_provenance(node.attributes)
    except (ValueError, TypeError, OverflowError) as error:
        log.add("record-wrong", str(error), level=node.path)
        return None


def _version(node: Node, entry: Mapping[str, Any], log: Log) -> str:
    level = node.path
    in_ome = isinstance(node.attributes.get("ome"), Mapping)
    if in_ome:
        stated = node.attributes["ome"].get("version")
        if "version" in entry:
            log.add("version-misplaced", "'version' in the multiscales", level=level)
    else:
        stated = entry.get("version")
        if stated is None:
            log.add("version-missing", "the multiscales has none", level=level)
            stated = "0.4"
    default = "0.5" if in_ome else "0.4"
    if not isinstance(stated, str):
        log.add("version-wrong", f"got {shown(stated)}", level=level)
        return "0.6" if "coordinateSystems" in entry else default
    version = stated[:3]
    fits = (version in ("0.5", "0.6")) == in_ome
    if version not in _KNOWN or not fits:
        log.add(
            "version-wrong",
            f"one of 0.1 to 0.4 for metadata at the top, 0.5 or 0.6 within 'ome', got "
            f"{shown(stated)}",
            level=level,
        )
        version = default
    if ("coordinateSystems" in entry) != (version == "0.6"):
        log.add(
            "version-wrong",
            f"coordinateSystems belong to 0.6, axes to those before, got {stated!r}",
            level=level,
        )
        version = "0.6" if "coordinateSystems" in entry else default
    _check_format(node, version, log)
    return version


def _check_format(node: Node, version: str, log: Log) -> None:
    level = node.path
    if node.zarr_format != (3 if version >= "0.5" else 2):
        log.add(
            "zarr-format",
            f"OME-Zarr {version} in a group of Zarr v{node.zarr_format}",
            level=level,
        )
    if version < "0.4":
        log.add("version-old", f"version {version}", level=level)


def _check_described(entry: Mapping[str, Any], log: Log, *, level: str) -> None:
    for key, kind in (("name", str), ("type", str), ("metadata", Mapping)):
        value = entry.get(key)
        if not isinstance(value, kind) or not value:
            log.add(f"{key}-missing", f"got {shown(value)}", level=level)


def _axes(
    entry: Mapping[str, Any], log: Log, *, version: str, level: str
) -> tuple[Axis, ...] | None:
    if version in ("0.1", "0.2"):
        kinds = ("time", "channel", "space", "space", "space")
        pairs = zip("tczyx", kinds, strict=True)
        return tuple(Axis(name=n, kind=k, unit=None) for n, k in pairs)
    if version != "0.6":
        return check_axes(entry.get("axes"), log, level=level)
    system = _system(entry, log, level=level)
    return None if system is None else check_axes(system.get("axes"), log, level=level)


def _system(
    entry: Mapping[str, Any], log: Log, *, level: str
) -> Mapping[str, Any] | None:
    """Return the coordinate system that the levels of a 0.6 image lead to."""
    systems = entry.get("coordinateSystems")
    if (
        not isinstance(systems, list)
        or not systems
        or not all(
            isinstance(s, Mapping) and isinstance(s.get("name"), str) for s in systems
        )
    ):
        log.add("systems-invalid", f"got {shown(systems)}", level=level)
        return None
    names = [system["name"] for system in systems]
    if len(set(names)) < len(names):
        log.add("systems-invalid", f"names must be unique: {names!r:.80}", level=level)
    outputs = list(_outputs(entry))
    if len(set(map(str, outputs))) != 1 or outputs[0] not in names:
        log.add(
            "transformation-ends",
            f"all levels must lead to one of {names!r:.80}, got {shown(outputs)}",
            level=level,
        )
        return dict(systems[0])
    found: Mapping[str, Any] = systems[names.index(outputs[0])]
    return found


def _outputs(entry: Mapping[str, Any]) -> list[Any]:
    datasets = entry.get("datasets")
    outputs = []
    for dataset in datasets if isinstance(datasets, list) else []:
        steps = isinstance(dataset, Mapping) and dataset.get(
            "coordinateTransformations"
        )
        if isinstance(steps, list) and steps and isinstance(steps[0], Mapping):
            output = steps[0].get("output")
            outputs.append(
                output.get("name") if isinstance(output, Mapping) else output
            )
    return outputs
