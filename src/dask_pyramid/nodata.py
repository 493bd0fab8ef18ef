"""Voxels that do not count: a value for "nothing was measured", NaN, outside of a mask.

Every method is computed over the voxels that count: window methods over those of the
window, Gaussians as a normalised convolution. A voxel of a level counts if its window
holds a voxel that does; else it gets the fill value. A result that happens to equal the
value is kept as it is, and does not count for the next level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Nodata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodata:
    """Which voxels do not count; always at least one kind."""

    value: int | float | None = None
    """A value that does not count; None: there is none. Never NaN."""
    nan: bool = False
    """Whether NaN does not count."""
    masked: bool = False
    """Whether voxels outside of a mask do not count."""

    @property
    def fill(self) -> int | float:
        """What is written where nothing counts."""
        if self.value is not None:
            return self.value
        return math.nan if self.nan else 0

    def __str__(self) -> str:
        kinds = [str(self.value)] if self.value is not None else []
        kinds += ["NaN"] * self.nan + ["what is outside of the mask"] * self.masked
        return ", ".join(kinds)

    @classmethod
    def parse(
        cls,
        nodata: float | None,
        skip_nan: bool,
        dtype: np.dtype[Any],
        *,
        masked: bool = False,
        name: str = "nodata",
    ) -> Nodata | None:
        """Check what the user asks for.

        Parameters
        ----------
        nodata : int, float or None
            A value that does not count; NaN is the same as `skip_nan`.
        skip_nan : bool
            Whether NaN does not count.
        dtype : numpy.dtype
            Data type of the image, which must hold the value.
        masked : bool
            Whether there is a mask.
        name : str
            What to call the value in a message.

        Returns
        -------
        Nodata or None
            None if all voxels count. The value is rounded to `dtype`, as voxels are.

        Raises
        ------
        ValueError
            If the image cannot hold the value, or NaN.

        Examples
        --------
        >>> Nodata.parse(0.1, False, np.dtype("float32"))
        Nodata(value=0.10000000149011612, nan=False, masked=False)
        >>> Nodata.parse(None, True, np.dtype("uint8"))
        Traceback (most recent call last):
        ...
        ValueError: skip_nan must be False for uint8, got True; integers have no NaN, \
nodata= names a value that does not count
        """
        dtype = np.dtype(dtype)
        if skip_nan and dtype.kind != "f":
            raise ValueError(
                f"skip_nan must be False for {dtype}, got {skip_nan!r}; integers have "
                "no NaN, nodata= names a value that does not count"
            )
        value = None if nodata is None else _held(nodata, dtype, name)
        is_nan = value is not None and math.isnan(value)
        if value is None and not skip_nan and not masked:
            return None
        return cls(
            value=None if is_nan else value,
            nan=bool(skip_nan) or is_nan,
            masked=masked,
        )

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the user that `parse` reads."""
        return {"nodata": self.value, "skip_nan": self.nan}

    @property
    def note(self) -> dict[str, Any]:
        """What `noted` reads, JSON values."""
        return {**self.options, "mask": self.masked}

    @classmethod
    def noted(cls, options: Mapping[str, Any]) -> Nodata | None:
        """Return what `options` of a finished image say; None if nothing."""
        value, nan = options.get("nodata"), options.get("skip_nan", False)
        masked = options.get("mask", False)
        if value is None and not nan and not masked:
            return None
        return cls.from_json({"value": value, "nan": nan, "masked": masked})

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"value": self.value, "nan": self.nan, "masked": self.masked}

    @classmethod
    def from_json(cls, entry: Any) -> Nodata | None:
        """Return what `to_json` gave, or None for None.

        Raises
        ------
        ValueError
            If it is neither.
        """
        if entry is None:
            return None
        found = entry if isinstance(entry, Mapping) else {}
        value = found.get("value")
        kinds = [found.get("nan"), found.get("masked")]
        known = value is None or isinstance(value, int | float)
        if not known or not all(isinstance(kind, bool) for kind in kinds):
            raise ValueError(
                f"nodata must hold value, nan and masked, got {entry!r:.200}"
            )
        return cls(value=value, nan=found["nan"], masked=found["masked"])


def _held(value: Any, dtype: np.dtype[Any], name: str) -> int | float:
    """Return a value as voxels of a data type hold it.

    Raises
    ------
    ValueError
        If they cannot, or it is infinite.
    """
    try:
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                number = float(dtype.type(value))
            if math.isinf(number):
                raise ValueError
            return number
        whole = int(value)
        low, high = (0, 1) if dtype.kind == "b" else _limits(dtype)
        if whole != value or not low <= whole <= high:
            raise ValueError
        return whole
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name} must be a finite value that {dtype} can hold"
            f"{', or NaN' if dtype.kind == 'f' else ''}, got {value!r}; it is compared "
            "with the voxels of the image"
        ) from None


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)
