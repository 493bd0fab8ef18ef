"""N5, read by TensorStore: every codec of the specification, block by block.

Axes come out in the reverse order of the file, whose first axis is x. A group that
holds one image, with or without levels `s0`, `s1`, ..., is opened as that image. A
block that is missing reads as zeros.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.axes import STORAGE_ORDER, default_axes, normalise_unit
from dask_pyramid.sources.files import FileReader, only_array
from dask_pyramid.sources.opened import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from dask_pyramid.image import Region

__all__ = ["open_blocks", "open_n5"]

_ATTRIBUTES = "attributes.json"


def open_n5(path: str, axes: tuple[str, ...] | None) -> Opened:
    """Open an N5 dataset, or the one image that a group holds.

    Parameters
    ----------
    path : str
        Folder of the dataset or group.
    axes : tuple of str, optional
        Names that the caller gave, in the order in which the array comes out.

    Raises
    ------
    ValueError
        If there is no dataset, several to choose from, or its attributes are damaged.
    """
    folder = Path(path)
    if "dimensions" not in _attributes(folder):
        folder = folder / only_array(path, dict(_datasets(folder)))
    found = _attributes(folder)
    # Paintera and BigDataViewer describe the levels in their group.
    described = {**_attributes(folder.parent), **found}
    names = _axes(described, len(found["dimensions"]))
    given = tuple(reversed(axes or names or default_axes(len(found["dimensions"]))))
    scale, translation, unit = _place(described, given)
    return Opened(
        pixels=FileReader(open_blocks, str(folder), stamped=str(folder / _ATTRIBUTES)),
        axes=names,
        scale=scale,
        translation=translation,
        unit=unit,
        name=folder.parent.name if _is_level(folder.name) else None,
    )


def open_blocks(path: str, part: str) -> _Blocks:
    """Return a dataset, its axes reversed."""
    import tensorstore

    return _Blocks(
        tensorstore.open(
            {"driver": "n5", "kvstore": {"driver": "file", "path": path}}, read=True
        ).result()
    )


class _Blocks:
    """A dataset as an array of NumPy's kind."""

    def __init__(self, store: Any) -> None:
        self._store = store.T
        self.shape = tuple(self._store.shape)
        self.dtype = self._store.dtype.numpy_dtype
        self.chunks = tuple(self._store.chunk_layout.read_chunk.shape)

    def __getitem__(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`."""
        block: np.ndarray[Any, Any] = self._store[region].read().result()
        return block


def _attributes(folder: Path) -> dict[str, Any]:
    file = folder / _ATTRIBUTES
    if not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def _datasets(folder: Path, name: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the datasets below a group, of levels only the first."""
    children = sorted(child.name for child in folder.iterdir() if child.is_dir())
    if "s0" in children and all(_is_level(child) for child in children):
        children = ["s0"]
    for child in children:
        found = _attributes(folder / child)
        inner = f"{name}/{child}".lstrip("/")
        if "dimensions" not in found:
            yield from _datasets(folder / child, inner)
        elif len(found["dimensions"]) >= 2:
            yield inner, tuple(reversed(found["dimensions"]))


def _is_level(name: str) -> bool:
    return name[:1] == "s" and name[1:].isdigit()


def _axes(found: Mapping[str, Any], ndim: int) -> tuple[str, ...] | None:
    """Return names in the order in which the array comes out, if all are known."""
    transform = found.get("transform")
    if isinstance(transform, dict) and transform.get("axes"):
        # The one of COSEM is "C" ordered unless it says "F".
        listed = [str(name).lower() for name in transform["axes"]]
        names = listed if transform.get("ordering", "C") == "C" else listed[::-1]
    else:
        names = [str(name).lower() for name in reversed(found.get("axes") or [])]
    known = len(names) == ndim == len(set(names)) and set(names) <= set(STORAGE_ORDER)
    return tuple(names) if known else None


def _place(
    found: Mapping[str, Any], names: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, float], dict[str, str | None]]:
    """Return spacing, translation and units; `names` are in the order of the file."""
    transform = found.get("transform")
    if isinstance(transform, dict):
        listed = [str(name).lower() for name in transform.get("axes", [])]
        scale = _by_axis(transform.get("scale"), listed)
        offset = _by_axis(transform.get("translate"), listed)
        return _positive(scale), offset, _units(transform.get("units"), listed)
    sizes = found.get("pixelResolution", found.get("resolution"))
    units = found.get("units", found.get("unit"))
    if isinstance(sizes, dict):
        units = sizes.get("unit")
        sizes = sizes.get("dimensions")
    scale = _positive(_by_axis(sizes, names))
    offset = _by_axis(found.get("offset"), names)
    factors = _by_axis(found.get("downsamplingFactors"), names)
    for axis, factor in factors.items():
        step = scale.get(axis, 1.0)
        if factor > 1:
            scale[axis] = step * factor
            offset[axis] = offset.get(axis, 0.0) + step * (factor - 1) / 2
    return scale, offset, _units(units, names)


def _by_axis(values: Any, names: Any) -> dict[str, float]:
    if not isinstance(values, list):
        return {}
    return {
        name: float(value)
        for name, value in zip(names, values, strict=False)
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _positive(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value > 0 and name != "c"}


def _units(units: Any, names: Any) -> dict[str, str | None]:
    listed = [units] * len(names) if isinstance(units, str) else units
    found: dict[str, str | None] = {}
    for name, unit in zip(names, listed or (), strict=False):
        with suppress(ValueError, KeyError):
            found[name] = normalise_unit(str(unit), name)
    return found
