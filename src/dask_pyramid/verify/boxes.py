"""Which boxes of voxels of a level are read: all, or a sample that can be repeated."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dask_pyramid.geometry import Factor
    from dask_pyramid.image import Region
    from dask_pyramid.verify.described import StoredLevel

__all__ = ["Effort", "box_region", "box_shape", "boxes_at", "chosen_boxes"]

# Voxels of the level below that a box is made from: bounds the memory of a task.
_SAMPLED_VOXELS = 2**21
_FULL_VOXELS = 2**24

DEFAULT_SAMPLE = 16
"""Boxes of each level that are read if nothing else is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is read."""

    text: str
    """As the user says it."""
    count: int | None = None
    """Boxes of each level; None if it is a fraction."""
    fraction: float | None = None
    """Part of the boxes of each level."""

    @property
    def reads(self) -> bool:
        """Whether any pixel is read."""
        return self.count is not None or self.fraction is not None

    @property
    def full(self) -> bool:
        """Whether all are."""
        return self.fraction == 1

    def boxes(self, total: int) -> int:
        """Return how many boxes out of `total` are read."""
        if self.fraction is not None:
            return math.ceil(self.fraction * total)
        return min(self.count or 0, total)

    @classmethod
    def parse(cls, sample: str | float) -> Effort:
        """Read what the user asks for.

        Raises
        ------
        ValueError
            If it is none of ``"structure"``, ``"full"``, a positive whole number and
            a fraction up to 1.

        Examples
        --------
        >>> Effort.parse(0.1).boxes(95), Effort.parse(8).boxes(5)
        (10, 5)
        """
        if sample == "structure":
            return cls(text="structure")
        if sample == "full":
            return cls(text="full", fraction=1.0)
        whole = isinstance(sample, int) and not isinstance(sample, bool)
        if whole and sample >= 1:  # type: ignore[operator]  # an int
            return cls(text=f"{sample} boxes of a level", count=int(sample))
        if isinstance(sample, float) and 0 < sample <= 1:
            text = "full" if sample == 1 else f"{100 * sample:g} % of the boxes"
            return cls(text=text, fraction=sample)
        raise ValueError(
            "sample must be 'structure', 'full', a number of boxes or a fraction up to "
            f"1, got {sample!r}; 16 reads sixteen boxes of each level"
        )


def box_shape(
    level: StoredLevel, steps: Sequence[Factor], *, full: bool
) -> tuple[int, ...]:
    """Return the extent of a box: a chunk, cut or (to read all) joined to a budget.

    Parameters
    ----------
    level : StoredLevel
        The level.
    steps : sequence of int or Fraction
        Voxels of the level below along each axis that a voxel is made from.
    full : bool
        Whether all boxes will be read, so that larger ones pay.
    """
    budget = (_FULL_VOXELS if full else _SAMPLED_VOXELS) // max(
        math.ceil(math.prod(steps)), 1
    )
    box = [min(c, n) for c, n in zip(level.chunks, level.shape, strict=True)]
    while math.prod(box) > max(budget, 1):
        axis = box.index(max(box))
        box[axis] = -(-box[axis] // 2)
    for axis in reversed(range(len(box))):
        while full and box[axis] < level.shape[axis] and 2 * math.prod(box) <= budget:
            box[axis] = min(2 * box[axis], level.shape[axis])
    return tuple(box)


def box_region(level: StoredLevel, box: Sequence[int], index: Sequence[int]) -> Region:
    """Return the voxels of a box."""
    return tuple(
        slice(i * b, min((i + 1) * b, n))
        for i, b, n in zip(index, box, level.shape, strict=True)
    )


def chosen_boxes(
    level: StoredLevel,
    box: Sequence[int],
    effort: Effort,
    *,
    seed: int,
    also: Iterable[tuple[int, ...]] = (),
) -> Iterator[tuple[int, ...]]:
    """Yield the boxes to read: corners and the middle first, then others at random.

    Parameters
    ----------
    level : StoredLevel
        The level.
    box : sequence of int
        Extent of a box.
    effort : Effort
        How many.
    seed : int
        Makes the choice; the same seed gives the same boxes.
    also : iterable of tuple of int
        Boxes that are read in any case.
    """
    grid = [-(-n // b) for n, b in zip(level.shape, box, strict=True)]
    total = math.prod(grid)
    wanted = effort.boxes(total)
    if wanted >= total:
        yield from itertools.product(*map(range, grid))
        return
    rng = np.random.default_rng([seed, level.number])
    chosen: dict[tuple[int, ...], None] = dict.fromkeys(also)
    rest = wanted - len(chosen)
    ends = [sorted({0, n - 1}) for n in grid]
    corners = list(itertools.product(*ends))
    rng.shuffle(corners)
    corners.insert(1, [n // 2 for n in grid])  # type: ignore[arg-type]  # tuples below
    for corner in corners[: max(1, min(rest, 2 + wanted // 2))]:
        chosen.setdefault(tuple(int(i) for i in corner))
    while len(chosen) < wanted:
        chosen.setdefault(tuple(int(rng.integers(n)) for n in grid))
    yield from chosen


def boxes_at(box: Sequence[int], region: Region) -> Iterator[tuple[int, ...]]:
    """Yield the first and the middle box of a region."""
    first = tuple(r.start // b for r, b in zip(region, box, strict=True))
    yield first
    middle = tuple(
        (r.start + r.stop - 1) // 2 // b for r, b in zip(region, box, strict=True)
    )
    if middle != first:
        yield middle
