"""`Dataset` and `Multiscales`: an OME-Zarr image's levels, the same for all versions.

Values only: `metadata` turns them into JSON and back. What breaks a rule that all
versions share cannot be made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Dataset", "Multiscales", "check_path", "listed_paths", "ome_of", "overlap"]

# Backslashes and drives would leave the group on Windows; no store takes the others.
_FORBIDDEN = frozenset("\\:") | frozenset(map(chr, range(32)))

# Metadata of a node, and the folder of the chunks of an array of Zarr v3.
_TAKEN = frozenset(
    ("c", "zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata", ".dask-pyramid")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One level: where its array is and where its voxels are.

    Examples
    --------
    >>> Dataset(path="1", scale=(6.0, 4.0), translation=(1.5, 1.0)).scale
    (6.0, 4.0)
    """

    path: str
    """Path of the array relative to the group, `/` between its parts."""
    scale: tuple[float, ...]
    """Spacing of voxel centres along each axis, in the unit of the axis."""
    translation: tuple[float, ...]
    """World position of the centre of voxel 0, in the unit of the axis."""

    def __post_init__(self) -> None:
        check_path(self.path)
        if len(self.scale) != len(self.translation):
            raise ValueError(
                f"scale and translation of dataset {self.path!r} must have one entry "
                f"for each axis, got {self.scale!r} and {self.translation!r}"
            )
        if not all(0 < number < math.inf for number in self.scale):
            raise ValueError(
                f"scale of dataset {self.path!r} must be positive and finite, "
                f"got {self.scale!r}"
            )
        if not all(math.isfinite(number) for number in self.translation):
            raise ValueError(
                f"translation of dataset {self.path!r} must be finite, "
                f"got {self.translation!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiscales:
    """An entry of `multiscales`, the same for all versions.

    The axes stand in the order of the arrays; parsing keeps names that the package does
    not know, so that the caller can rename them.
    """

    version: str
    """Version of OME-Zarr: "0.4", "0.5" or "0.6" (older ones only when parsed)."""
    axes: tuple[str, ...]
    """Axis names in the order of the arrays."""
    unit: tuple[str | None, ...]
    """UDUNITS word for each axis, or None."""
    datasets: tuple[Dataset, ...]
    """Levels, full resolution first."""
    name: str | None = None
    """What viewers call the image."""
    type: str | None = None
    """The downscaling method."""
    metadata: Mapping[str, Any] | None = field(default=None, hash=False)
    """More about the method: description, method, version, args, kwargs."""
    omero: Mapping[str, Any] | None = field(default=None, hash=False)
    """Rendering metadata of the group."""
    image_label: Mapping[str, Any] | None = field(default=None, hash=False)
    """The `image-label` of a labels image; None for an intensity image."""

    def __post_init__(self) -> None:
        # "The length of 'axes' must be between 2 and 5" (multiscales, 0.4 to 0.6).
        if not 2 <= len(self.axes) <= 5 or len(set(self.axes)) != len(self.axes):
            raise ValueError(f"axes must be 2 to 5 different names, got {self.axes!r}")
        if len(self.unit) != len(self.axes):
            raise ValueError(
                f"unit must have one entry for each of {self.axes!r}, got {self.unit!r}"
            )
        if not self.datasets:
            raise ValueError("datasets must hold at least one level, got none")
        paths = [dataset.path for dataset in self.datasets]
        if any(overlap(a, b) for a, b in itertools.combinations(paths, 2)):
            raise ValueError(
                f"paths of datasets must be unique and lie apart, got {paths!r:.200}"
            )
        # "Each 'datasets' dictionary MUST have the same number of dimensions" (same).
        for dataset in self.datasets:
            if len(dataset.scale) != len(self.axes):
                raise ValueError(
                    f"scale of dataset {dataset.path!r} must have one entry for each "
                    f"axis of {self.axes!r}, got {dataset.scale!r}"
                )
        # "The 'path's MUST be ordered from largest (i.e. highest resolution) to
        # smallest" (same). The tolerance is for scales that were computed as floats.
        for finer, coarser in zip(self.datasets, self.datasets[1:], strict=False):
            pairs = zip(finer.scale, coarser.scale, strict=True)
            if any(b < a * (1 - 1e-6) for a, b in pairs):
                raise ValueError(
                    "datasets must be ordered from the finest to the coarsest, got "
                    f"scale {coarser.scale!r} ({coarser.path!r}) after "
                    f"{finer.scale!r} ({finer.path!r})"
                )


def check_path(path: str) -> None:
    """Refuse the path of a dataset that leaves its group.

    Parameters
    ----------
    path : str
        What stands in the metadata; anything else than a text is refused, too.

    Raises
    ------
    ValueError
        If a part is empty or consists of dots, the path is absolute, or a part is the
        name of metadata or of a folder of chunks.

    Examples
    --------
    >>> check_path("labels/nuclei/0")
    >>> check_path("../0")
    Traceback (most recent call last):
    ...
    ValueError: path of a dataset must be relative and stay within its group, got '../0'
    >>> check_path("0/c")
    Traceback (most recent call last):
    ...
    ValueError: path of a dataset must not be a name that Zarr uses itself, got '0/c'
    """
    # "the path to the array for this resolution relative to the current zarr group"
    # (multiscales, 0.4 to 0.6). Drives and backslashes would leave it on Windows.
    parts = path.split("/") if isinstance(path, str) else [""]
    if any(not part.strip(". ") or set(part) & _FORBIDDEN for part in parts):
        raise ValueError(
            "path of a dataset must be relative and stay within its group, "
            f"got {path!r:.200}"
        )
    if set(parts) & _TAKEN:
        raise ValueError(
            f"path of a dataset must not be a name that Zarr uses itself, got {path!r}"
        )


def ome_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the OME-Zarr metadata of a group: `ome`, or the attributes themselves.

    Examples
    --------
    >>> ome_of({"ome": {"version": "0.5"}}), ome_of({"plate": {}})
    ({'version': '0.5'}, {'plate': {}})
    """
    found = attributes.get("ome")
    return found if isinstance(found, Mapping) else attributes


def listed_paths(holder: Any, name: str) -> list[tuple[str | None, Any]]:
    """Return what the list of a plate or a well holds: the path of each, and the entry.

    The path is None where there is none, or one that `check_path` refuses.

    Examples
    --------
    >>> listed_paths({"images": [{"path": "0"}, {"path": "../1"}]}, "images")
    [('0', {'path': '0'}), (None, {'path': '../1'})]
    """
    entries = holder.get(name) if isinstance(holder, Mapping) else None
    found: list[tuple[str | None, Any]] = []
    for entry in entries if isinstance(entries, list) else []:
        path = entry.get("path") if isinstance(entry, Mapping) else None
        try:
            check_path(path)  # type: ignore[arg-type]  # it refuses what is no text
        except ValueError:
            path = None
        found.append((path, entry))
    return found


def overlap(a: str, b: str) -> bool:
    """Return whether two paths are the same, or one lies within the other.

    Examples
    --------
    >>> overlap("0", "0/1"), overlap("1", "10")
    (True, False)
    """
    return f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/")
