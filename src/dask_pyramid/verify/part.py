"""`Part`: one image of a store while it is being checked, with what is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dask_pyramid.tables import numbers_text
from dask_pyramid.verify.findings import Checked

if TYPE_CHECKING:
    from dask_pyramid.image import Region
    from dask_pyramid.provenance import LevelRecord
    from dask_pyramid.sources.zarr_arrays import ZarrReader
    from dask_pyramid.verify.described import Described, StoredLevel
    from dask_pyramid.verify.making import Making
    from dask_pyramid.verify.presence import Presence

__all__ = ["Part"]


@dataclass(kw_only=True, eq=False)
class Part:
    """An image, or a label image below it."""

    image: Described
    """What its metadata say."""
    levels: tuple[StoredLevel, ...]
    """Levels that can be opened."""
    readers: tuple[ZarrReader, ...] = ()
    """One for each level."""
    checked_readers: tuple[ZarrReader, ...] = ()
    """The same, slower: no checksum is left out where a chunk is read in part."""
    presences: tuple[Presence | None, ...] = ()
    """What is stored of each level."""
    making: Making | None = None
    """How levels were made."""
    mask: Any = None
    """What the user gives as the mask that it was made with."""
    counts: list[Counter[str]] = field(default_factory=list)
    """Numbers of `Checked`, for each level."""

    def __post_init__(self) -> None:
        self.counts = [Counter() for _ in self.levels]

    @property
    def masked(self) -> bool:
        """Whether the image was made with a mask."""
        return self.making is not None and self.making.recipe.masked

    def record(self, number: int) -> LevelRecord | None:
        """Return the record of a level, if it fits to what is there."""
        if self.image.record is None:
            return None
        level = self.levels[number]
        prefix = f"{self.image.path}/" if self.image.path else ""
        for record in self.image.record.levels:
            if record.path == level.path.removeprefix(prefix):
                return record if record.grid == level.grid else None
        return None

    def reader_of(self, number: int, region: Region) -> ZarrReader:
        """Return the reader that notices all damage of what a region touches."""
        level = self.levels[number]
        whole = all(
            r.start % c == 0 and r.stop % c == 0
            for r, c in zip(region, level.chunks, strict=True)
        )
        return (self.readers if whole else self.checked_readers)[number]

    def checked(self) -> list[Checked]:
        """Return what was looked at."""
        found = []
        for level, presence, counts in zip(
            self.levels, self.presences, self.counts, strict=True
        ):
            objects = 1
            for n in level.grid:
                objects *= n
            found.append(
                Checked(
                    path=level.path,
                    shape=level.shape,
                    dtype=level.dtype.name,
                    objects=objects,
                    stored=None if presence is None else presence.count,
                    **counts,
                    content=self._content(level.number),
                    scale=level.scale or (),
                    spatial=tuple(axis.is_space for axis in self.image.axes or ()),
                    unit=tuple(axis.unit for axis in self.image.axes or ()),
                )
            )
        return found

    def _content(self, number: int) -> str:
        if self.making is None or number not in self.making.derivations:
            return "full resolution" if not number else ""
        derivation = self.making.derivations[number]
        parent = self.levels[derivation.parent].path
        steps = numbers_text(derivation.steps, " x ")
        how = "stated" if self.making.stated else "found"
        return f"{self.making.recipe.name} of {parent} by {steps} ({how})"
