"""How levels were made: as the record says, or as their content explains it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dask_pyramid.factors import restored
from dask_pyramid.geometry import reduced_shape
from dask_pyramid.levels import parent_of, steps_between
from dask_pyramid.methods import METHODS
from dask_pyramid.nodata import Nodata
from dask_pyramid.verify.boxes import Effort, box_region, box_shape, chosen_boxes
from dask_pyramid.verify.content import Explanation, Way
from dask_pyramid.verify.geometry import Derivation, likely_steps
from dask_pyramid.verify.nodes import shown
from dask_pyramid.verify.recipes import RECIPES, Recipe, hinted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.geometry import Factor
    from dask_pyramid.masks import Mask
    from dask_pyramid.sources.zarr_arrays import ZarrReader
    from dask_pyramid.verify.content import Explained
    from dask_pyramid.verify.described import Described, StoredLevel
    from dask_pyramid.verify.engine import Engine
    from dask_pyramid.verify.findings import Log

__all__ = ["Making", "explained", "stated", "ways_of"]

# Boxes that decide which method explains a level.
_BALLOTS = 6


@dataclass(frozen=True, kw_only=True)
class Making:
    """How the levels of an image were made."""

    recipe: Recipe
    """The kernel, the same for all levels."""
    derivations: dict[int, Derivation]
    """For each level that was derived, by its place: from which, by which steps."""
    stated: bool
    """Whether the maker says so, and it is this package."""
    factors: tuple[tuple[Factor, ...], ...] = ()
    """Voxels of level 0 for each voxel of the levels, if the maker says so."""
    mask: Mask | None = None
    """The mask, if there was one and it is at hand."""

    def way(self, number: int, readers: Sequence[ZarrReader]) -> Way | None:
        """Return how a level was made, None if that is not known."""
        if number not in self.derivations:
            return None
        derivation = self.derivations[number]
        return Way(
            parent=derivation.parent,
            reader=readers[derivation.parent],
            steps=derivation.steps,
            recipe=self.recipe,
            mask=self.mask,
            chain=self._chain(derivation.parent),
        )

    def _chain(self, number: int) -> tuple[tuple[Factor, ...], ...]:
        """Return how a level is made of level 0, as `levels.chain_of` does."""
        chain = []
        while number in self.derivations:
            chain.append(self.derivations[number].steps)
            number = self.derivations[number].parent
        return tuple(chain)


def stated(image: Described, levels: Sequence[StoredLevel], log: Log) -> Making | None:
    """Return how this package says that it has made an image, None if it does not."""
    if not image.is_ours or image.axes is None:
        return None
    kwargs = image.made_with
    name = image.record.method if image.record else kwargs.get("method")
    sigma: Any = image.record.sigma if image.record else kwargs.get("sigma")
    if image.type is not None and image.type != name:
        log.add(
            "content-method",
            f"type is {image.type!r}, but the maker says {shown(name)}",
            level=image.path,
        )
    if name not in METHODS:
        log.add("record-wrong", f"no method {shown(name)}", level=image.path)
        return None
    method = METHODS[name]
    factors = _factors(image)
    if factors is None or len(levels) != len(image.datasets):
        return None
    if not _has_made(factors, levels, log, level=image.path):
        return None
    derivations = _derivations(factors, chain=method.chain)
    try:
        recipe = Recipe(
            name=method.name,
            method=method,
            sigma=_sigma(sigma, factors[0]),
            nodata=_nodata(image, levels[0]),
        )
        _check_steps(recipe, derivations)
    except ValueError as error:
        log.add("record-wrong", str(error), level=image.path)
        return None
    return Making(
        recipe=recipe, derivations=derivations, stated=True, factors=tuple(factors)
    )


def _has_made(
    factors: Sequence[Sequence[Factor]],
    levels: Sequence[StoredLevel],
    log: Log,
    *,
    level: str,
) -> bool:
    """Whether factors give the levels that are stored; a finding tells if not."""
    if len(factors) != len(levels):
        log.add(
            "record-wrong",
            f"{len(factors)} levels were made, {len(levels)} are there",
            level=level,
        )
        return False
    for factor, stored in zip(factors, levels, strict=True):
        shape = reduced_shape(levels[0].shape, factor)
        if shape != stored.shape:
            log.add(
                "record-wrong",
                f"shape {stored.shape}; factors {factor} give {shape}",
                level=stored.path,
            )
            return False
    return True


def _derivations(
    factors: Sequence[Sequence[Factor]], *, chain: bool
) -> dict[int, Derivation]:
    """Return how each level is made, as `levels.make_levels` does."""
    derivations = {}
    for k, factor in enumerate(factors):
        parent = parent_of(factors, k, chain=chain)
        if parent is not None:
            steps = steps_between(factor, factors[parent])
            derivations[k] = Derivation(parent=parent, steps=steps)
    return derivations


def _check_steps(recipe: Recipe, derivations: Mapping[int, Derivation]) -> None:
    """Refuse steps that the method cannot take, as it does itself."""
    for derivation in derivations.values():
        recipe.reduction(derivation.steps)


def _sigma(sigma: Any, one: Sequence[Factor]) -> tuple[float | None, ...] | None:
    if not isinstance(sigma, list | tuple) or len(sigma) != len(one):
        return None
    known = all(
        s is None or (isinstance(s, int | float) and 0 <= s < 1e4) for s in sigma
    )
    return tuple(sigma) if known else None


def _nodata(image: Described, level: StoredLevel) -> Nodata | None:
    """Return which voxels do not count.

    Raises
    ------
    ValueError
        If that cannot be.
    """
    found = Nodata.noted(image.made_with)
    if image.record is not None:
        found = image.record.nodata
    if found is not None:
        found = Nodata.parse(found.value, found.nan, level.dtype, masked=found.masked)
    return found


def _factors(image: Described) -> list[tuple[Factor, ...]] | None:
    """Return the factors of all levels, from the record or the arguments noted."""
    assert image.axes is not None  # by `stated`
    ndim = len(image.axes)
    found: list[tuple[Factor, ...]]
    if image.record is not None:
        found = [record.factors for record in image.record.levels]
    else:
        entries = image.made_with.get("scale_factors")
        if not isinstance(entries, list):
            return None
        found = [(1,) * ndim]
        for entry in entries:
            if not isinstance(entry, Mapping):
                return None
            try:
                found.append(restored(entry.get(axis.name, 1) for axis in image.axes))
            except ValueError:
                return None
    known = all(len(factors) == ndim and max(factors) <= 2**15 for factors in found)
    return found if known else None


def ways_of(
    number: int, levels: Sequence[StoredLevel], readers: Sequence[ZarrReader]
) -> tuple[Way, ...]:
    """Return all ways that are tried to explain a level, likeliest first."""
    parents = dict.fromkeys((number - 1, 0))
    return tuple(
        Way(parent=parent, reader=readers[parent], steps=steps, recipe=recipe)
        for parent in parents
        for steps in likely_steps(levels[parent], levels[number])
        for recipe in RECIPES
        if not (recipe.variant and levels[number].dtype.kind == "b")
    )


def explained(
    image: Described,
    levels: Sequence[StoredLevel],
    readers: Sequence[ZarrReader],
    *,
    engine: Engine,
    seed: int,
    log: Log,
) -> Making | None:
    """Return the way that explains the levels of an image best, None if none does.

    Parameters
    ----------
    image : Described
        The image; its `type` decides between ways that explain as much.
    levels : sequence of StoredLevel
        The levels.
    readers : sequence of ZarrReader
        One for each level.
    engine : Engine
        Runs the reading.
    seed : int
        Makes the choice of boxes.
    log : Log
        Told what was found.
    """
    votes: Counter[Recipe] = Counter()
    ballots = 0
    by_level: dict[int, Counter[Way]] = {}
    ways = {k: ways_of(k, levels, readers) for k in range(1, len(levels))}
    tasks = [
        task
        for k in ways
        for task in _ballots(k, levels, readers, ways=ways[k], seed=seed)
    ]
    for result in engine.run(tasks, len(tasks)):
        ballots += result.telling
        _count(result, ways[result.level], votes, by_level)
    hint = hinted(image.type)
    best = max(
        votes,
        key=lambda r: (votes[r], r.method.name == hint, -RECIPES.index(r)),
        default=None,
    )
    if best is None or 2 * votes[best] < ballots:
        return None
    if hint is not None and all(r.method.name != hint for r in _as_good(votes, best)):
        log.add(
            "content-method",
            f"type is {image.type!r}, but the content equals {best.name!r}",
            level=image.path,
        )
    derivations = {}
    for k, counts in by_level.items():
        fitting = [way for way in counts if way.recipe == best]
        if fitting:
            way = max(fitting, key=lambda w: counts[w])
            derivations[k] = Derivation(parent=way.parent, steps=way.steps)
    for k in ways:
        usual = [way for way in ways[k] if way.recipe == best]
        if usual:  # a level that nothing explains is held against what others are
            default = Derivation(parent=usual[0].parent, steps=usual[0].steps)
            derivations.setdefault(k, default)
    return Making(recipe=best, derivations=derivations, stated=False)


def _as_good(votes: Counter[Recipe], best: Recipe) -> list[Recipe]:
    return [recipe for recipe in votes if votes[recipe] == votes[best]]


def _count(
    result: Explained,
    ways: Sequence[Way],
    votes: Counter[Recipe],
    by_level: dict[int, Counter[Way]],
) -> None:
    if not result.telling:
        return
    fitting = [ways[number] for number in result.ways]
    votes.update({way.recipe for way in fitting})
    by_level.setdefault(result.level, Counter()).update(fitting)


def _ballots(
    number: int,
    levels: Sequence[StoredLevel],
    readers: Sequence[ZarrReader],
    *,
    ways: tuple[Way, ...],
    seed: int,
) -> list[Explanation]:
    if not ways:
        return []
    level = levels[number]
    steps = max((way.steps for way in ways), key=math.prod)
    box = box_shape(level, steps, full=False)
    effort = Effort(text="", count=_BALLOTS)
    return [
        Explanation(
            level=number,
            reader=readers[number],
            region=box_region(level, box, index),
            ways=ways,
        )
        for index in chosen_boxes(level, box, effort, seed=seed)
    ]
