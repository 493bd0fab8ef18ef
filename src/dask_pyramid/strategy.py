"""Which pass makes which levels: the fastest way through that fits into memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dask_pyramid.cost import best_pass
from dask_pyramid.factors import is_whole
from dask_pyramid.geometry import Reach
from dask_pyramid.passes import Part, Pass, PassLevel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dask_pyramid.budgets import Budget
    from dask_pyramid.levels import Level
    from dask_pyramid.methods import Reduction

__all__ = ["Terms", "choose_passes"]

# Levels that one pass makes from what it reads; more gain nothing: the third level is
# a 512th of the image in 3-D.
_FUSED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the passes of a pyramid have to live with."""

    source: Budget
    """Chunks of the image, memory of a task and workers."""
    axes: Sequence[int]
    """Axes along which units may be streamed; the first is the first spatial one."""
    parts: Sequence[Part] | None = None
    """What of each level is to be written, whole objects; nothing of the first levels
    means that they are stored. None: all of all levels."""
    alone: bool = False
    """Whether a pass of its own writes level 0, so that others read what is stored."""


def choose_passes(
    levels: Sequence[Level], reductions: Sequence[Reduction], terms: Terms
) -> tuple[tuple[Pass, ...] | None, int]:
    """Choose how many levels each pass makes, by dynamic programming from the top.

    Parameters
    ----------
    levels : sequence of Level
        All levels.
    reductions : sequence of Reduction
        How each is made from its parent; unused for level 0.
    terms : Terms
        Memory, workers and what is known of the source.

    Returns
    -------
    passes : tuple of Pass or None
        In the order in which they run; None if nothing fits.
    memory : int
        Bytes that one task would need at least, if nothing fits.
    """
    best: dict[int, tuple[float, tuple[Pass, ...]]] = {len(levels): (0.0, ())}
    first = _first(terms)
    for start in range(len(levels) - 1, first - 1, -1):
        options = []
        needs = []
        for stop in _stops(levels, reductions, start, terms):
            members = tuple(
                _members(levels, reductions, start=start, stop=stop, parts=terms.parts)
            )
            budget = terms.source
            if start:
                budget = replace(
                    budget,
                    chunks=levels[members[0].level].chunks,
                    direct=True,
                    working=0,
                    read_once=False,
                )
            sweep, cost, memory = best_pass(
                members, stored=start > 0, axes=terms.axes, budget=budget
            )
            needs.append(memory)
            if math.isfinite(cost):
                later, tail = best[stop]
                options.append((cost + later, (sweep, *tail)))
        if not options:
            return None, min(needs)
        best[start] = min(options, key=lambda option: option[0])
    return best[first][1], 0


def _first(terms: Terms) -> int:
    """Return the first level that is written."""
    parts = terms.parts or [((0, 1),)]
    empty = [all(start == stop for start, stop in part) for part in parts]
    return empty.index(False) if False in empty else len(parts)


def _stops(
    levels: Sequence[Level],
    reductions: Sequence[Reduction],
    start: int,
    terms: Terms,
) -> Iterator[int]:
    """Yield where a pass that begins with level `start` may end."""
    yield start + 1
    if not start and terms.alone:
        return
    for stop in range(start + 2, min(start + 1 + _FUSED, len(levels)) + 1):
        last = levels[stop - 1]
        if last.parent != stop - 2 or not is_whole(last.steps):
            return
        # A dask graph is computed once: no halo may ask for a block a second time.
        if not start and terms.source.read_once and not reductions[stop - 1].halo_free:
            return
        yield stop


def _members(
    levels: Sequence[Level],
    reductions: Sequence[Reduction],
    *,
    start: int,
    stop: int,
    parts: Sequence[Part] | None,
) -> Iterator[PassLevel]:
    """Yield the levels of a pass that writes levels ``start`` to ``stop - 1``."""
    first = start if start == 0 else levels[start].parent
    assert first is not None  # only level 0 has no parent
    n = len(levels[0].shape)
    for number in (first, *range(max(start, 1), stop)):
        level = levels[number]
        is_first = number == first
        yield PassLevel(
            level=number,
            shape=level.shape,
            objects=level.objects if number >= start else level.chunks,
            written=number >= start,
            steps=(1,) * n if is_first else level.steps,
            reaches=(Reach(),) * n if is_first else reductions[number].reaches,
            window=parts[number] if parts is not None and number >= start else None,
        )
