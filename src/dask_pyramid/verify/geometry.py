"""Shapes, scales and translations of levels against each other and the method."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dask_pyramid.tables import numbers_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dask_pyramid.geometry import Factor
    from dask_pyramid.verify.described import Axis, Described, StoredLevel
    from dask_pyramid.verify.findings import Log

__all__ = [
    "Derivation",
    "check_derived",
    "check_shapes",
    "check_stated",
    "likely_steps",
]

# Of a voxel of the finer level: what floats may lose, and what no viewer shows.
_TOLERANCE = 1e-3

# Of a window that is tried: 16 along each of three axes.
_MOST_VOXELS = 2**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """How a level was made from another one."""

    parent: int
    """Place of the other level among those that could be opened."""
    steps: tuple[Factor, ...]
    """Window along each axis, in voxels of the parent."""


def check_shapes(levels: Sequence[StoredLevel], axes: Sequence[Axis], log: Log) -> None:
    """Check that levels get smaller, along axes of space alone."""
    for finer, coarser in itertools.pairwise(levels):
        pairs = list(zip(coarser.shape, finer.shape, axes, strict=True))
        if any(b > a for b, a, axis in pairs if axis.is_space):
            log.add(
                "level-larger",
                f"shape {coarser.shape} after {finer.shape} of {finer.path!r}",
                level=coarser.path,
            )
        elif coarser.shape == finer.shape:
            log.add(
                "level-not-reduced",
                f"shape {coarser.shape} as {finer.path!r}",
                level=coarser.path,
            )
        moved = [axis.name for b, a, axis in pairs if b != a and not axis.is_space]
        if moved:
            log.add(
                "axis-reduced",
                f"axis {', '.join(moved)}: shape {coarser.shape} after {finer.shape}",
                level=coarser.path,
            )
        if finer.scale and coarser.scale:
            spacings = zip(finer.scale, coarser.scale, strict=True)
            if any(b < a * (1 - 1e-6) for a, b in spacings):
                log.add(
                    "datasets-order",
                    f"scale {_text(coarser.scale)} after {_text(finer.scale)}",
                    level=coarser.path,
                )


def check_stated(
    levels: Sequence[StoredLevel], axes: Sequence[Axis], log: Log, *, ours: bool
) -> None:
    """Check scale and translation against the shapes, whatever the method.

    A level with factor f covers the one before it to less than one voxel of its own,
    and its first sample lies within the window of the first f voxels. Factors that are
    no whole numbers are doubtful but in images that are `ours`: those say what the
    factors are, and `check_derived` holds them to it.
    """
    for finer, coarser in itertools.pairwise(levels):
        if not (finer.scale and coarser.scale):
            continue
        ratios = [b / a for a, b in zip(finer.scale, coarser.scale, strict=True)]
        for i, (ratio, axis) in enumerate(zip(ratios, axes, strict=True)):
            n, m = finer.shape[i], coarser.shape[i]
            if not axis.is_space and abs(ratio - 1) > 1e-6:
                fits = False
            else:
                fits = abs(n / ratio - m) < 1
            if not fits:
                log.add(
                    "scale-shape",
                    f"axis {axis.name}: {n} voxels of {_text([finer.scale[i]])} become "
                    f"{m} of {_text([coarser.scale[i]])}",
                    level=coarser.path,
                )
            elif not (
                ours
                or abs(ratio - round(ratio)) <= _TOLERANCE
                or math.isclose(ratio, n / m, rel_tol=1e-4)
            ):
                log.add(
                    "scale-doubtful",
                    f"axis {axis.name}: {_text([ratio])} times that of "
                    f"{finer.path!r}, which has {n} voxels for {m}",
                    level=coarser.path,
                )
        _check_first_sample(finer, coarser, axes, log=log)


def _check_first_sample(
    finer: StoredLevel, coarser: StoredLevel, axes: Sequence[Axis], *, log: Log
) -> None:
    if not (finer.translation and coarser.translation):
        return
    assert finer.scale is not None  # by check_stated
    assert coarser.scale is not None
    for i, axis in enumerate(axes):
        a = coarser.scale[i] / finer.scale[i]
        at = (coarser.translation[i] - finer.translation[i]) / finer.scale[i]
        text = (
            f"axis {axis.name}: voxel 0 is at {_text([coarser.translation[i]])}, "
            f"{_text([at])} voxels from that of {finer.path!r}"
        )
        if not -_TOLERANCE <= at <= max(a - 1, 0) + _TOLERANCE * a:
            log.add(
                "translation-wrong", f"{text}, outside its window", level=coarser.path
            )
        elif min(abs(at), abs(at - (a - 1) / 2), abs(at - a // 2)) > _TOLERANCE * a:
            log.add("translation-doubtful", text, level=coarser.path)


def likely_steps(parent: StoredLevel, child: StoredLevel) -> list[tuple[int, ...]]:
    """Return the whole factors that shapes or scales suggest, likeliest first."""
    found: list[tuple[int, ...]] = []
    if parent.scale and child.scale:
        found.append(
            tuple(
                max(1, round(b / a))
                for a, b in zip(parent.scale, child.scale, strict=True)
            )
        )
    for rounding in (round, math.ceil, math.floor):
        found.append(_ratios(parent.shape, child.shape, rounding))
    return [
        steps
        for steps in dict.fromkeys(found)
        if math.prod(steps) <= _MOST_VOXELS
        and all(
            n // f <= m <= -(-n // f)
            for n, m, f in zip(parent.shape, child.shape, steps, strict=True)
        )
    ]


def _ratios(
    shape: Sequence[int], smaller: Sequence[int], rounding: Callable[[float], int]
) -> tuple[int, ...]:
    return tuple(max(1, rounding(n / m)) for n, m in zip(shape, smaller, strict=True))


def check_derived(
    levels: Sequence[StoredLevel],
    derivations: dict[int, Derivation],
    *,
    offsets: Callable[[Sequence[Factor]], tuple[float, ...]],
    image: Described,
    method: str,
    log: Log,
) -> None:
    """Check scale and translation of the levels whose making is known.

    Parameters
    ----------
    levels : sequence of StoredLevel
        The levels.
    derivations : dict
        How each was made; others are left out.
    offsets : callable
        Where samples of windows of so many voxels sit, from their first voxels.
    image : Described
        The image, for the names of axes.
    method : str
        What to call the method.
    log : Log
        Told what is wrong.
    """
    for number, derivation in derivations.items():
        level, parent = levels[number], levels[derivation.parent]
        if not (level.scale and parent.scale and image.axes):
            continue
        steps = derivation.steps
        for i, (axis, step, offset) in enumerate(
            zip(image.axes, steps, offsets(steps), strict=True)
        ):
            spacing = parent.scale[i]
            scale = float(spacing * step)
            if not math.isclose(level.scale[i], scale, rel_tol=1e-6):
                log.add(
                    "scale-wrong",
                    f"axis {axis.name}: {_text([level.scale[i]])} should be "
                    f"{_text([scale])}, {_text([step])} times {parent.path!r} "
                    f"({method})",
                    level=level.path,
                )
            if not (level.translation and parent.translation):
                continue
            place = parent.translation[i] + spacing * offset
            if abs(level.translation[i] - place) > _TOLERANCE * spacing:
                log.add(
                    "translation-wrong",
                    f"axis {axis.name}: {_text([level.translation[i]])} should be "
                    f"{_text([place])} ({method})",
                    level=level.path,
                )


def _text(numbers: Sequence[float | Factor]) -> str:
    return numbers_text([float(n) for n in numbers])
