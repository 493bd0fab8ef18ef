"""Tasks that read: compare a box with what the level below makes of it, or explain it.

Each is a small value that pickles, and runs in a thread or on a worker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.verify.doubt import guessed_mask, mixed

if TYPE_CHECKING:
    from dask_pyramid.geometry import Factor
    from dask_pyramid.image import Region
    from dask_pyramid.masks import Mask
    from dask_pyramid.sources.zarr_arrays import ZarrReader
    from dask_pyramid.verify.recipes import Recipe

__all__ = ["Compared", "Comparison", "Way", "different", "explain_box", "read_box"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way in which a level may have come about."""

    parent: int
    """Place of the level that it was made from."""
    reader: ZarrReader
    """Reads that level."""
    steps: tuple[Factor, ...]
    """Window along each axis."""
    recipe: Recipe
    """The kernel."""
    compiled: bool = False
    """Whether to use compiled kernels; the result is the same."""
    mask: Mask | None = None
    """The mask, if there was one and it is at hand."""
    chain: tuple[tuple[Factor, ...], ...] = ()
    """How the parent is made of level 0, to read the mask."""

    @property
    def voxels(self) -> int:
        """How many voxels of the level below one sample is made of."""
        return self.recipe.voxels(self.steps)

    def bytes(self, region: Region) -> int:
        """Return how many bytes of the level below are needed."""
        needed = self.recipe.region(region, self.steps, self.reader.shape)
        voxels = math.prod(r.stop - r.start for r in needed)
        return int(voxels * self.reader.dtype.itemsize)

    def made(self, region: Region) -> Any:
        """Return what this way makes of `region`.

        Raises
        ------
        OSError
            If the level below cannot be read.
        """
        shape = self.reader.shape
        wanted = self.recipe.region(region, self.steps, shape)
        block = read_box(self.reader, wanted)
        mask = None
        if self.recipe.masked:
            mask = self._counting(block, wanted)
        with np.errstate(all="ignore"):  # NaN and overflow are data here
            return self.recipe.compute(
                block,
                region,
                steps=self.steps,
                shape=shape,
                mask=mask,
                compiled=self.compiled,
            )

    def _counting(self, block: Any, wanted: Region) -> Any:
        if self.mask is not None:
            return self.mask.read(wanted, self.chain)
        assert self.recipe.nodata is not None  # or there would be no mask
        return guessed_mask(block, self.recipe.nodata.fill)

    def doubtful(self, region: Region) -> Any:
        """Return which voxels of `region` cannot be made without the mask, or False."""
        if self.mask is not None or not self.recipe.needs_mask:
            return False
        shape = self.reader.shape
        wanted = self.recipe.region(region, self.steps, shape)
        return mixed(
            self._counting(read_box(self.reader, wanted), wanted),
            region,
            steps=self.steps,
            reaches=self.recipe.reduction(self.steps).reaches,
            shape=shape,
        )


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What came of one box."""

    level: int
    """Place of the level."""
    region: Region
    """Voxels of the box."""
    bytes: int = 0
    """Bytes decoded of the level."""
    parent: int | None = None
    """Place of the level below."""
    parent_bytes: int = 0
    """Bytes decoded of the level below."""
    unreadable: str = ""
    """Why the box cannot be read."""
    parent_unreadable: str = ""
    """Why the level below cannot be read there."""
    compared: bool = False
    """Whether it was compared."""
    wrong: int = 0
    """Voxels that differ."""
    first: tuple[int, ...] = ()
    """The first of them, in voxels of the level."""
    stored: float = 0
    """Its value."""
    expected: float = 0
    """What it should be."""
    empty: bool = False
    """Whether the level below gives nothing but fill value."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A box to read, and to compare if it is known how it was made."""

    level: int
    """Place of the level."""
    reader: ZarrReader
    """Reads it."""
    region: Region
    """Voxels of the box."""
    way: Way | None
    """How it was made; None to read only."""
    exact: bool
    """Whether floats must be equal to the last bit."""
    fill: Any
    """What a missing object reads as."""

    def run(self) -> Compared:
        """Read and compare."""
        place: dict[str, Any] = {"level": self.level, "region": self.region}
        try:
            stored = read_box(self.reader, self.region)
        except OSError as error:
            return Compared(**place, unreadable=str(error))
        place["bytes"] = stored.nbytes
        if self.way is None:
            return Compared(**place)
        place["parent"] = self.way.parent
        place["parent_bytes"] = self.way.bytes(self.region)
        try:
            expected = self.way.made(self.region)
            doubtful = self.way.doubtful(self.region)
        except OSError as error:
            return Compared(**place, parent_unreadable=str(error))
        wrong = different(stored, expected, exact=self.exact) & ~np.asarray(doubtful)
        count = int(np.count_nonzero(wrong))
        if count:
            at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            place |= {
                "first": tuple(
                    int(i) + r.start for i, r in zip(at, self.region, strict=True)
                ),
                "stored": stored[at].item(),
                "expected": expected[at].item(),
                "empty": not different(expected, np.asarray(self.fill or 0)).any(),
            }
        return Compared(**place, compared=True, wrong=count)


def read_box(reader: ZarrReader, region: Region) -> Any:
    """Read a region, whatever goes wrong being an `OSError`."""
    try:
        return reader.read(region)
    except OSError:
        raise
    except Exception as error:  # codecs raise of all kinds on damaged objects
        raise OSError(f"{type(error).__name__}: {error}") from error


def different(a: Any, b: Any, *, exact: bool = True) -> Any:
    """Return where two blocks differ; NaN equals NaN."""
    if a.dtype.kind == "f" and not exact:
        size = float(np.nanmax(np.abs(a[np.isfinite(a)]), initial=0.0))
        apart = ~np.isclose(a, b, rtol=1e-5, atol=1e-6 * size, equal_nan=True)
    else:
        apart = a != b
        if a.dtype.kind == "f":
            apart &= ~(np.isnan(a) & np.isnan(b))
    return apart


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Which ways explain a box."""

    level: int
    """Place of the level."""
    ways: tuple[int, ...] = ()
    """Places of those that do."""
    telling: bool = False
    """Whether any of them does not: a constant box tells nothing."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A box, and the ways that may explain it."""

    level: int
    """Place of the level."""
    reader: ZarrReader
    """Reads it."""
    region: Region
    """Voxels of the box."""
    ways: tuple[Way, ...]
    """What to try."""

    def run(self) -> Explained:
        """Read and try all ways."""
        return Explained(level=self.level, **explain_box(self))


def explain_box(task: Explanation) -> dict[str, Any]:
    """Return which ways explain a box, and whether others do not."""
    try:
        stored = read_box(task.reader, task.region)
        fitting = tuple(
            number
            for number, way in enumerate(task.ways)
            if not different(stored, way.made(task.region), exact=False).any()
        )
    except OSError:
        return {}  # told when the box is compared
    return {"ways": fitting, "telling": len(fitting) < len(task.ways)}
