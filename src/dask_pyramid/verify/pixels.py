"""Read boxes of all levels of an image, compare them, and tell what is wrong."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from dask_pyramid.kernels import pays_to_compile
from dask_pyramid.sources.opened import region_text
from dask_pyramid.verify.boxes import box_region, box_shape, boxes_at, chosen_boxes
from dask_pyramid.verify.content import Comparison, read_box
from dask_pyramid.verify.diagnosis import diagnose
from dask_pyramid.verify.plausible import Resemblance
from dask_pyramid.verify.presence import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dask_pyramid.image import Region
    from dask_pyramid.verify.boxes import Effort
    from dask_pyramid.verify.content import Compared
    from dask_pyramid.verify.engine import Engine
    from dask_pyramid.verify.findings import Log
    from dask_pyramid.verify.part import Part
    from dask_pyramid.verify.plausible import Likeness

__all__ = ["check_absent", "check_likeness", "check_pixels"]

# Absent objects of a level that a sample looks at in any case.
_ABSENT = 64

# Voxels that one sample may be made of: a filter of a few hundred along three axes.
_MOST_VOXELS = 2**25


def check_pixels(
    part: Part, effort: Effort, *, engine: Engine, seed: int, log: Log
) -> None:
    """Read boxes of all levels and compare those whose making is known.

    Parameters
    ----------
    part : Part
        The image.
    effort : Effort
        How much.
    engine : Engine
        Runs the reading.
    seed : int
        Makes the choice of boxes.
    log : Log
        Told what is wrong.
    """
    plans = [
        _boxes(part, k, effort, seed=seed, log=log) for k in range(len(part.levels))
    ]
    total = sum(n for n, _ in plans)
    tasks = itertools.chain.from_iterable(tasks for _, tasks in plans)
    puzzles: dict[int, Compared] = {}
    for result in engine.run(tasks, total):
        counts = part.counts[result.level]
        counts["blocks"] += 1
        counts["bytes"] += result.bytes
        counts["compared"] += result.compared
        if result.parent is not None:
            part.counts[result.parent]["bytes"] += result.parent_bytes
        bad = result.wrong or result.unreadable or result.parent_unreadable
        counts["wrong"] += bool(bad)
        if result.wrong:
            if not _tell_missing(part, result, log):
                puzzles.setdefault(result.level, result)
                _tell_wrong(part, result, log)
        elif result.unreadable:
            _tell_unreadable(
                part, result.level, result.region, log, why=result.unreadable
            )
        elif result.parent_unreadable:
            _tell_parent(part, result, log)
    for result in puzzles.values():
        text = diagnose(part, result)
        if text:
            level = part.levels[result.level].path
            log.add("content-cause", text, level=level)


def _boxes(
    part: Part, number: int, effort: Effort, *, seed: int, log: Log
) -> tuple[int, Iterator[Comparison]]:
    """Return how many boxes of a level are read, and the tasks that do it."""
    level = part.levels[number]
    making = part.making
    way = None if making is None else making.way(number, part.readers)
    if way is not None and way.voxels > _MOST_VOXELS:
        text = f"a voxel is made of {way.voxels} others, too many to recompute"
        log.add("content-unchecked", text, level=level.path)
        way = None
    ones = (1,) * len(level.shape)
    box = box_shape(level, way.steps if way else ones, full=effort.full)
    total = math.prod(-(-n // b) for n, b in zip(level.shape, box, strict=True))
    if effort.full and way is None and _is_read_from_above(part, number):
        return 0, iter(())
    boxes = effort.boxes(total)
    if way is not None:
        voxels = boxes * math.prod(box) * math.ceil(math.prod(way.steps))
        way = replace(way, compiled=pays_to_compile(voxels))
    also = [] if effort.full else list(_suspects(part, number, box))
    chosen = chosen_boxes(level, box, effort, seed=seed, also=also)
    tasks = (
        Comparison(
            level=number,
            reader=part.reader_of(number, box_region(level, box, index)),
            region=box_region(level, box, index),
            way=way,
            exact=making is not None and making.stated,
            fill=level.fill,
        )
        for index in chosen
    )
    return max(boxes, len(also)), tasks


def _is_read_from_above(part: Part, number: int) -> bool:
    """Return whether recomputing another level reads every voxel of this one."""
    if part.making is None:
        return False
    return any(
        derivation.parent == number
        and all(
            f * n >= m
            for f, n, m in zip(
                derivation.steps,
                part.levels[child].shape,
                part.levels[number].shape,
                strict=True,
            )
        )
        for child, derivation in part.making.derivations.items()
    )


def _suspects(part: Part, number: int, box: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield boxes in absent objects of a level, and those made from such objects."""
    level, presence = part.levels[number], part.presences[number]
    if presence is not None:
        for at in itertools.islice(presence.absent(), _ABSENT):
            yield from boxes_at(box, box_region(level, level.objects, at))
    making = part.making
    if making is None or number not in making.derivations:
        return
    derivation = making.derivations[number]
    parent, below = part.levels[derivation.parent], part.presences[derivation.parent]
    if below is None:
        return
    for at in itertools.islice(below.absent(), _ABSENT):
        region = box_region(parent, parent.objects, at)
        above = tuple(
            slice(min(r.start // f, n - 1), min(-(-r.stop // f), n))
            for r, f, n in zip(region, derivation.steps, level.shape, strict=True)
        )
        yield from boxes_at(box, above)


def _objects_of(part: Part, number: int, region: Region) -> list[tuple[int, ...]]:
    """Return the first objects that a region touches."""
    grid = (
        range(r.start // o, -(-r.stop // o))
        for r, o in zip(region, part.levels[number].objects, strict=True)
    )
    return list(itertools.islice(itertools.product(*grid), 256))


def _absent_in(part: Part, number: int, region: Region) -> list[tuple[int, ...]]:
    presence = part.presences[number]
    if presence is None:
        return []
    touched = _objects_of(part, number, region)
    return [at for at in touched if not presence.there[at]]


def _tell_missing(part: Part, result: Compared, log: Log) -> bool:
    """Note that an object is missing, if that is why a box is wrong."""
    level = part.levels[result.level]
    at = tuple(slice(i, i + 1) for i in result.first)
    for index in _absent_in(part, result.level, at):
        log.add(
            "object-missing",
            "reads as fill value; the level below is not empty there",
            level=level.path,
            part=key_of(level, index),
        )
        return True
    assert part.making is not None  # or nothing would have been compared
    derivation = part.making.derivations[result.level]
    below = part.levels[derivation.parent]
    region = part.making.recipe.region(at, derivation.steps, below.shape)
    for index in _absent_in(part, derivation.parent, region):
        log.add(
            "object-missing",
            f"reads as fill value; {level.path!r} is not what it makes",
            level=below.path,
            part=key_of(below, index),
        )
        return True
    return False


def _tell_wrong(part: Part, result: Compared, log: Log) -> None:
    level = part.levels[result.level]
    size = math.prod(r.stop - r.start for r in result.region)
    assert part.making is not None  # as above
    below = part.levels[part.making.derivations[result.level].parent]
    log.add(
        "content-wrong",
        f"{result.wrong} of {size} voxels are not the {part.making.recipe.name} of "
        f"{below.path!r}; the first, {result.first}, is {result.stored:.6g} and should "
        f"be {result.expected:.6g}",
        level=level.path,
        part=region_text(result.region),
    )


def _tell_unreadable(
    part: Part, number: int, region: Region, log: Log, *, why: str
) -> None:
    """Name the objects of a region that cannot be decoded."""
    level, reader = part.levels[number], part.checked_readers[number]
    named = False
    for index in _objects_of(part, number, region):
        inner = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(
                region, box_region(level, level.objects, index), strict=True
            )
        )
        try:
            read_box(reader, inner)
        except OSError as error:
            named = True
            log.add(
                "object-undecodable",
                str(error),
                level=level.path,
                part=key_of(level, index),
            )
    if not named:
        place = region_text(region)
        log.add("object-undecodable", why, level=level.path, part=place)


def _tell_parent(part: Part, result: Compared, log: Log) -> None:
    assert part.making is not None  # as above
    derivation = part.making.derivations[result.level]
    below = part.levels[derivation.parent]
    region = part.making.recipe.region(result.region, derivation.steps, below.shape)
    _tell_unreadable(part, derivation.parent, region, log, why=result.parent_unreadable)


def check_absent(part: Part, effort: Effort, log: Log) -> None:
    """Tell of absent objects that nothing proves to be empty on purpose."""
    for level, presence in zip(part.levels, part.presences, strict=True):
        if presence is None or part.record(level.number) is not None:
            continue
        absent = presence.there.size - presence.count
        checked = part.making is not None and level.number in part.making.derivations
        if checked and effort.reads:
            absent = 0 if effort.full else max(0, absent - _ABSENT)
        if absent:
            log.add(
                "object-absent",
                f"{absent} of {presence.there.size} objects: cannot tell from empty",
                level=level.path,
            )


def check_likeness(
    part: Part, effort: Effort, *, engine: Engine, seed: int, log: Log
) -> None:
    """Check that levels whose making is not known resemble the level below."""
    found: dict[int, list[Likeness]] = {}
    tasks = [
        task
        for k in range(1, len(part.levels))
        for task in _resemblances(part, k, effort, seed=seed)
    ]
    for result in engine.run(tasks, len(tasks)):
        if result.correlations:
            found.setdefault(result.level, []).append(result)
    for k, results in found.items():
        _tell_likeness(part, k, results, log)


def _resemblances(
    part: Part, number: int, effort: Effort, *, seed: int
) -> Iterator[Resemblance]:
    level, below = part.levels[number], part.levels[number - 1]
    ratios = tuple(n / m for n, m in zip(below.shape, level.shape, strict=True))
    if level.scale and below.scale:
        ratios = tuple(b / a for a, b in zip(below.scale, level.scale, strict=True))
    if max(ratios) > 64 or min(ratios) < 1 / 64:
        return
    first = (0.0,) * len(ratios)
    offsets = [first, tuple((a - 1) / 2 for a in ratios)]
    if level.translation and below.translation and below.scale:
        pairs = zip(level.translation, below.translation, below.scale, strict=True)
        offsets.insert(0, tuple((t - u) / s for t, u, s in pairs))
    box = box_shape(level, [max(1, math.ceil(a)) for a in ratios], full=False)
    for index in chosen_boxes(level, box, effort, seed=seed):
        yield Resemblance(
            level=number,
            reader=part.readers[number],
            region=box_region(level, box, index),
            parent=part.readers[number - 1],
            ratios=ratios,
            offsets=tuple(offsets),
        )


def _tell_likeness(part: Part, number: int, results: list[Likeness], log: Log) -> None:
    level = part.levels[number]
    count = len(results[0].correlations)
    middle = [
        sorted(result.correlations[i] for result in results)[len(results) // 2]
        for i in range(count)
    ]
    chance = sorted(result.by_chance for result in results)[len(results) // 2]
    if max(middle) < chance:
        log.add(
            "content-implausible",
            f"correlation {max(middle):.2f} with {part.levels[number - 1].path!r}",
            level=level.path,
        )
    elif count == 3 and 1 - max(middle) < 0.5 * (1 - middle[0]):
        where = ("first in its window", "at its centre")[middle.index(max(middle)) - 1]
        log.add(
            "content-offset",
            f"sampled {where} (correlation {max(middle):.4f}) and not where the "
            f"translation says ({middle[0]:.4f})",
            level=level.path,
        )
