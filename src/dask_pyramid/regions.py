"""Write parts of a complete pyramid again, from its source on.

Level 0 is written where its objects meet the region, and of the other levels the
objects that depend on these. All else stays as it is.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from dask_pyramid import growing
from dask_pyramid.growth import plan_rewritten
from dask_pyramid.intents import look, rewritten
from dask_pyramid.sameness import check_same_job
from dask_pyramid.store.inplace import open_existing
from dask_pyramid.windows import parse_region

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.execution import Execution
    from dask_pyramid.passes import Part
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.session import Order

__all__ = ["check_selection", "rewrite"]

_VERB = "write_pyramid"


def check_selection(
    region: Any, units: Sequence[int] | None, *, mode: str, labels: Any = None
) -> bool:
    """Return whether parts are selected, and refuse what does not go with it.

    Raises
    ------
    ValueError
        If so.
    """
    if region is None and units is None:
        return False
    if region is not None and units is not None:
        raise ValueError(
            f"region and units must not both be given, got {region!r} and {units!r}"
        )
    if mode == "w" or labels is not None:
        what = f"mode {mode!r}" if mode == "w" else "labels"
        raise ValueError(
            f"region and units must go without labels and mode 'w', got {what}; they "
            "change a pyramid that stays, write_labels(region=) a label image"
        )
    return True


def rewrite(
    order: Order,
    execution: Execution,
    *,
    region: Mapping[str, Any] | Sequence[Any] | None,
    units: Sequence[int] | None,
) -> None:
    """Write a region, or what units of the first pass own, of a complete pyramid.

    Parameters
    ----------
    order : Order
        What has been written, with a target that was opened with mode ``"a"``.
    execution : Execution
        How to run.
    region, units
        As for `dask_pyramid.write_pyramid`.

    Raises
    ------
    FileNotFoundError
        If there is no complete pyramid.
    ValueError
        If it is of another job, or an argument breaks a rule.
    OSError
        If a unit fails or another process writes; the same call goes on.
    """
    image, place, plan = order.image, order.target, order.job.plan
    if place.state != "complete":
        raise FileNotFoundError(
            f"region and units must be of a pyramid that is complete, got {place}, "
            f"which is {place.state}; write it without them, with mode='a' if a run "
            "was interrupted"
        )
    if units is None:
        parts = [parse_region(region, image.shape, image.axes)]
    else:
        parts = [_owned(plan, number) for number in plan.units.checked(units)]
    check_same_job(image, order.job, place, mask=order.mask, changed=True)
    target = open_existing(place.store or place.location, options=place.options)
    site = look(target)
    site.check(_VERB)
    if site.found is not None and site.found.published:
        site = growing.settle(site, break_lock=execution.break_lock)
    if site.found is not None and site.found.region is not None:
        # What an interrupted call has left half done comes first.
        parts.insert(0, site.found.region)
    for part in dict.fromkeys(parts):
        growth = rewritten(
            site,
            image,
            plan_rewritten(
                site.existing, image, part, mask=order.mask, crew=order.team.crew
            ),
            region=part,
            read={name: order.job.parameters[name] for name in ("source", "mask")},
            mask=order.mask,
        )
        growing.grow(dataclasses.replace(growth, team=order.team), execution)
        site = look(target)


def _owned(plan: PyramidPlan, number: int) -> Part:
    """Return the voxels of level 0 that a unit writes."""
    unit, first = plan.units[number], plan.passes[0]
    if unit.sweep:
        raise ValueError(
            f"units must be of the first pass, 0 to {first.n_units - 1}, got {number}; "
            "what others make follows from these"
        )
    ranges = (first.ranges(axis, i)[0][0] for axis, i in enumerate(unit.index))
    return tuple(ranges)
