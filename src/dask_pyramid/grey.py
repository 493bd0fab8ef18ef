"""Grey values of an image: least, greatest and a histogram, added up over units.

The histogram counts voxels on a lattice that depends on the shape of the image alone,
so that any way to cut the image gives the same counts. Its bins follow the floating
point: values below 256 have a bin each, larger ones share it within 0.8 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import SPATIAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dask_pyramid.image import Region

__all__ = ["Grey", "lattice", "measure"]

# Voxels that the histogram of an image counts, about; and its coarsest lattice.
_COUNTED = 2**24
_COARSEST = 8

# A float32 without the last 16 bits of its mantissa: sign, exponent, 7 bits.
_DROPPED_BITS = 16


@dataclass(slots=True)
class Grey:
    """Least, greatest and histogram of the finite values of a channel."""

    least: float = math.inf
    """Least value; infinity if there is none."""
    greatest: float = -math.inf
    """Greatest value."""
    counts: dict[int, int] = field(default_factory=dict)
    """Voxels on the lattice by bin; bins are in the order of their values."""

    def add(self, other: Grey) -> None:
        """Take in what was measured elsewhere in the channel."""
        self.least = min(self.least, other.least)
        self.greatest = max(self.greatest, other.greatest)
        for bin_, count in other.counts.items():
            self.counts[bin_] = self.counts.get(bin_, 0) + count

    def window(self, low: float, high: float) -> tuple[float, float]:
        """Return the grey values between two quantiles, as start < end.

        Parameters
        ----------
        low, high : float
            Quantiles, 0 to 1.
        """
        if not self.counts:
            return (0.0, 1.0)
        start = max(_edge(self._bin(low)), self.least)
        end = min(_edge(self._bin(high) + 1), self.greatest)
        if _is_exact(end):
            end = max(_edge(self._bin(high)), self.least)
        if end > start:
            return (start, end)
        # Beyond 2**53 one more is no more: floats are further apart.
        return (start, max(start + 1, float(np.nextafter(start, np.inf))))

    def _bin(self, quantile: float) -> int:
        total = sum(self.counts.values())
        below = 0
        for bin_ in sorted(self.counts):
            below += self.counts[bin_]
            if below >= quantile * total:
                return bin_
        raise AssertionError("the last bin reaches every quantile")

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: `least` and `greatest` are null where there are none."""
        empty = not math.isfinite(self.least)
        return {
            "least": None if empty else self.least,
            "greatest": None if empty else self.greatest,
            "bins": list(self.counts),
            "counts": list(self.counts.values()),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Grey:
        """Return what `to_json` gave."""
        if entry["least"] is None:
            return cls()
        pairs = zip(entry["bins"], entry["counts"], strict=True)
        return cls(
            least=entry["least"],
            greatest=entry["greatest"],
            counts={int(bin_): int(count) for bin_, count in pairs},
        )


def _is_exact(value: float) -> bool:
    """Return whether integers up to `value` have bins of their own."""
    return value == round(value) and abs(value) <= 2 ** (24 - _DROPPED_BITS)


def lattice(shape: Sequence[int], axes: Sequence[str]) -> tuple[int, ...]:
    """Return the spacing of the voxels that the histogram counts.

    Parameters
    ----------
    shape : sequence of int
        Extent of level 0 in voxels.
    axes : sequence of str
        Its axes; only spatial ones are thinned out.

    Examples
    --------
    >>> lattice((1024, 1024, 1024), "zyx"), lattice((60, 256, 256), "zyx")
    ((4, 4, 4), (1, 1, 1))
    """
    spacing = [1] * len(shape)
    for _ in range(_COARSEST.bit_length() - 1):
        counted = math.prod(n // s for n, s in zip(shape, spacing, strict=True))
        if counted <= _COUNTED:
            break
        for i, axis in enumerate(axes):
            if axis in SPATIAL and shape[i] >= 16 * spacing[i]:
                spacing[i] *= 2
    return tuple(spacing)


def measure(
    values: np.ndarray[Any, Any], region: Region, spacing: Sequence[int]
) -> Grey:
    """Measure voxels of one channel.

    Parameters
    ----------
    values : numpy.ndarray
        Voxels of `region`; bool, integer or float.
    region : tuple of slice
        Where they are in the image.
    spacing : sequence of int
        From `lattice`.

    Returns
    -------
    Grey
        Of the finite values.
    """
    if not values.size:
        return Grey()
    on_lattice = tuple(
        slice(-part.start % step, None, step)
        for part, step in zip(region, spacing, strict=True)
    )
    sample = values[on_lattice]
    least, greatest = values.min(), values.max()
    if values.dtype.kind == "f" and not (np.isfinite(least) and np.isfinite(greatest)):
        finite = values[np.isfinite(values)]
        if not finite.size:
            return Grey()
        least, greatest = finite.min(), finite.max()
        sample = sample[np.isfinite(sample)]
    return Grey(float(least), float(greatest), _histogram(sample))


def _histogram(values: np.ndarray[Any, Any]) -> dict[int, int]:
    if values.dtype.itemsize == 1 or values.dtype == np.uint16:
        # Counted as they are, then binned: there are few different values.
        offset = -128 if values.dtype == np.int8 else 0
        counts = np.bincount(values.ravel().astype(np.intp) - offset)
        different = np.flatnonzero(counts)
        return _gathered(_bins(different + offset), counts[different])
    bins = _bins(values.ravel())
    return _gathered(*np.unique(bins, return_counts=True))


def _gathered(bins: Iterable[Any], counts: Iterable[Any]) -> dict[int, int]:
    found: dict[int, int] = {}
    for bin_, count in zip(bins, counts, strict=True):
        found[int(bin_)] = found.get(int(bin_), 0) + int(count)
    return found


def _bins(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the bin of each value; the order of bins is that of the values."""
    limit = float(np.finfo(np.float32).max)
    if values.dtype == np.float64:
        values = np.clip(values, -limit, limit)
    bits = np.ascontiguousarray(values, np.float32).view(np.int32) >> _DROPPED_BITS
    # The bits of negative floats grow with their size: turn them round.
    return np.where(bits < 0, -(bits & 0x7FFF) - 1, bits)


def _edge(bin_: int) -> float:
    """Return the least value of a bin that is not negative, the greatest otherwise."""
    bits = bin_ if bin_ >= 0 else (-bin_ - 1) | 0x8000
    value = np.array([bits << _DROPPED_BITS], np.uint32).view(np.float32)[0]
    return float(value) if np.isfinite(value) else math.copysign(math.inf, value)
