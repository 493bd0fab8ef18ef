"""A plan as JSON values, and the fields of a plan out of these."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from dask_pyramid.factors import plain, restored
from dask_pyramid.geometry import Reach
from dask_pyramid.levels import Level
from dask_pyramid.methods import find_method
from dask_pyramid.nodata import Nodata
from dask_pyramid.passes import Pass, PassLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.plan import PyramidPlan

__all__ = ["plan_fields", "plan_record"]

# Fields of levels that hold whole numbers or fractions.
_FACTORS = frozenset(("factors", "steps"))
# Figures of a plan that follow from its fields, for whoever reads the JSON.
_DERIVED = (
    "n_tasks",
    "task_memory",
    "peak_memory",
    "device",
    "gpu_places",
    "device_memory",
    "bytes_read",
    "bytes_written",
    "n_objects",
    "decode_amplification",
)


def plan_record(plan: PyramidPlan) -> dict[str, Any]:
    """Return what `PyramidPlan.to_json` returns."""
    record = asdict(plan)
    record["method"] = plan.method.name
    for level, entry in zip(plan.levels, record["levels"], strict=True):
        entry["n_objects"] = level.n_objects
        entry |= {"factors": plain(level.factors), "steps": plain(level.steps)}
    for sweep, entry in zip(plan.passes, record["passes"], strict=True):
        for member, noted in zip(sweep.levels, entry["levels"], strict=True):
            noted["steps"] = plain(member.steps)
        entry["grid"] = sweep.grid
        entry["n_units"] = sweep.n_units
    for name in _DERIVED:
        record[name] = getattr(plan, name)
    return record


def plan_fields(kind: type[PyramidPlan], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the plan that `plan_record` gave.

    Raises
    ------
    ValueError
        If it is not a plan, or its method is not one of `METHODS`.
    """
    try:
        known = {item.name: _tuples(record[item.name]) for item in fields(kind)}
        known["method"] = find_method(record["method"])
        known["nodata"] = Nodata.from_json(record["nodata"])
        known["levels"] = tuple(_restored(Level, e) for e in record["levels"])
        known["passes"] = tuple(
            _restored(Pass, {**e, "levels": [_restored_member(m) for m in e["levels"]]})
            for e in record["passes"]
        )
        return known
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"a stored plan must have all its fields, got one that this version "
            f"cannot read: {error!r}; start again with mode='w'"
        ) from error


def _restored(kind: type[Any], entry: Mapping[str, Any]) -> Any:
    """Return a frozen value from its JSON; what is derived is left out."""
    found = {item.name: _tuples(entry[item.name]) for item in fields(kind)}
    exactly = {name: restored(found[name]) for name in _FACTORS & found.keys()}
    return kind(**found | exactly)


def _restored_member(entry: Mapping[str, Any]) -> PassLevel:
    reaches = tuple(Reach(**reach) for reach in entry["reaches"])
    member: PassLevel = _restored(PassLevel, {**entry, "reaches": reaches})
    return member


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
