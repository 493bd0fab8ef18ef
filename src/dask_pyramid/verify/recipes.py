"""Ways in which a level may have been made: our methods, and what others do instead."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dask_pyramid.geometry import Reach, Span, needed
from dask_pyramid.kernels import reduce_block
from dask_pyramid.methods import METHODS, Method

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dask_pyramid.geometry import Factor
    from dask_pyramid.image import Region
    from dask_pyramid.methods import Reduction
    from dask_pyramid.nodata import Nodata

__all__ = ["RECIPES", "Recipe", "hinted"]

Variant = Literal["", "truncated", "half-up", "zero-padded", "middle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to make a level from the one below."""

    name: str
    """What to call it."""
    method: Method
    """The method of this package that it is, or is a variant of."""
    sigma: tuple[float | None, ...] | None = None
    """Standard deviation of a Gaussian, None for the method's own."""
    nodata: Nodata | None = None
    """Voxels that do not count."""
    variant: Variant = ""
    """How it differs from the method."""

    def offsets(self, steps: Sequence[Factor]) -> tuple[float, ...]:
        """Return where a sample sits, in voxels from the first of its window."""
        if self.variant == "middle":
            return tuple(float(step // 2) for step in steps)
        return self.method.offsets(steps)

    def region(
        self, region: Region, steps: Sequence[Factor], shape: Sequence[int]
    ) -> Region:
        """Return what is needed of the level below, which has `shape`."""
        reaches = self.reduction(steps).reaches
        if self.variant:
            reaches = (Reach(),) * len(steps)
        return tuple(
            needed(r.start, r.stop, step=step, reach=reach, size=n)
            for r, step, reach, n in zip(region, steps, reaches, shape, strict=True)
        )

    def voxels(self, steps: Sequence[Factor]) -> int:
        """Return how many voxels one sample is made of."""
        return math.prod(
            math.ceil(step) + reach.before + reach.after
            for step, reach in zip(steps, self.reduction(steps).reaches, strict=True)
        )

    def compute(
        self,
        block: Any,
        region: Region,
        *,
        steps: Sequence[Factor],
        shape: Sequence[int],
        mask: Any = None,
        compiled: bool = False,
    ) -> Any:
        """Return the voxels of `region`, made from what `self.region` asks for.

        `mask` says which of it count, for a recipe with a mask.
        """
        if self.variant == "middle":
            return _middle(block, region, steps)
        if self.variant:
            return _mean(block, steps, self.variant)
        spans = [
            Span(first=r.start, stop=r.stop, size=n)
            for r, n in zip(region, shape, strict=True)
        ]
        return reduce_block(
            block, self.reduction(steps), spans, mask=mask, compiled=compiled
        )

    @property
    def masked(self) -> bool:
        """Whether what counts is decided by a mask, too."""
        return self.nodata is not None and self.nodata.masked

    @property
    def needs_mask(self) -> bool:
        """Whether values alone do not tell what counts."""
        nodata = self.nodata
        plain = nodata is not None and nodata.value is None and not nodata.nan
        return plain and self.masked

    def reduction(self, steps: Sequence[Factor]) -> Reduction:
        """Return the reduction by `steps`."""
        names = [str(i) for i in range(len(steps))]
        return self.method.reduction(
            steps, axes=names, sigma=self.sigma, ignore=self.nodata
        )


def _middle(block: Any, region: Region, steps: Sequence[Factor]) -> Any:
    for axis, (part, step) in enumerate(zip(region, map(int, steps), strict=True)):
        at = np.arange(part.stop - part.start) * step + step // 2
        block = np.take(block, np.minimum(at, block.shape[axis] - 1), axis=axis)
    return block


_ROUNDINGS: dict[str, Callable[[Any], Any]] = {
    "truncated": np.trunc,
    "half-up": lambda values: np.floor(values + 0.5),
    "zero-padded": np.rint,
}


def _mean(block: Any, steps: Sequence[Factor], variant: str) -> Any:
    """Return local means whose rounding or border is another than ours."""
    total = block.astype(np.float64)
    for axis, step in enumerate(map(int, steps)):
        starts = np.arange(0, block.shape[axis], step)
        total = np.add.reduceat(total, starts, axis=axis)
        if variant != "zero-padded":
            counts = np.minimum(step, block.shape[axis] - starts)
            shape = [1] * block.ndim
            shape[axis] = -1
            total /= counts.reshape(shape)
    if variant == "zero-padded":
        total /= math.prod(steps)
    if block.dtype.kind == "f":
        return total.astype(block.dtype)
    return _ROUNDINGS[variant](total).astype(block.dtype)


_MEAN, _NEAREST = METHODS["mean"], METHODS["nearest"]

RECIPES: tuple[Recipe, ...] = (
    # Parents are tried, too: a method that is not chained is one that is, from level 0.
    *(Recipe(name=m.name, method=m) for m in METHODS.values() if m.chain),
    Recipe(name="mean, truncated", method=_MEAN, variant="truncated"),
    Recipe(name="mean, rounded half up", method=_MEAN, variant="half-up"),
    Recipe(name="mean, zeros beyond the border", method=_MEAN, variant="zero-padded"),
    Recipe(name="nearest, voxel step // 2", method=_NEAREST, variant="middle"),
)
"""What is tried on a pyramid whose method is not known, likeliest first."""

# What the `type` of other tools says: ome-zarr, ngff-zarr, bioformats2raw, TensorStore,
# neuroglancer, scikit-image. The first word that occurs decides.
_HINTS = (
    ("gaussian", None),
    ("laplacian", None),
    ("bin_shrink", "mean"),
    ("bin-shrink", "mean"),
    ("local_mean", "mean"),
    ("local-mean", "mean"),
    ("average", "mean"),
    ("mean", "mean"),
    ("nearest", "nearest"),
    ("stride", "nearest"),
    ("decimat", "nearest"),
    ("simple", "nearest"),
    ("label", "mode"),
    ("mode", "mode"),
    ("median", "median"),
)


def hinted(kind: str | None) -> str | None:
    """Return the method of ours that another tool's `type` names, if it is one.

    Examples
    --------
    >>> hinted("itkwasm_bin_shrink"), hinted("itkwasm_gaussian"), hinted("max")
    ('mean', None, 'max')
    """
    word = (kind or "").lower()
    for part, method in _HINTS:
        if part in word:
            return method
    return word if word in METHODS else None
