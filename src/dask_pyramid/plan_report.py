"""What a plan prints: levels, storage, passes and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_pyramid.drawing import levels_svg
from dask_pyramid.tables import (
    Table,
    bytes_text,
    html_block,
    numbers_text,
    table_text,
    vectors,
)
from dask_pyramid.wording import other_axes, spatial, unit_text

if TYPE_CHECKING:
    from dask_pyramid.plan import PyramidPlan

__all__ = ["plan_html", "plan_text"]

_X = " x "


def plan_text(plan: PyramidPlan) -> str:
    """Return a plan as text of at most about 100 columns.

    Parameters
    ----------
    plan : PyramidPlan
        The plan.

    Returns
    -------
    str
        Levels, storage, passes and cost.
    """
    blocks = [
        _plan_title(plan),
        *(table_text(table) for table in _plan_tables(plan)),
    ]
    return "\n\n".join(blocks)


def plan_html(plan: PyramidPlan) -> str:
    """Return a plan as HTML: the tables of `plan_text` and a drawing to scale.

    Parameters
    ----------
    plan : PyramidPlan
        The plan.

    Returns
    -------
    str
        A ``<div>``.
    """
    svg = levels_svg(
        spatial(plan.axes, [level.shape for level in plan.levels]),
        spatial(plan.axes, [level.objects for level in plan.levels]),
    )
    return html_block(_plan_title(plan), *_plan_tables(plan), svg=svg)


def _plan_title(plan: PyramidPlan) -> str:
    n = len(plan.levels)
    return (
        f"Plan of {n} level{'s' if n > 1 else ''}, {plan.dtype} "
        f"({', '.join(plan.axes)}), OME-Zarr {plan.version}"
    )


def _plan_tables(plan: PyramidPlan) -> tuple[Table, Table, Table, Table]:
    return _geometry(plan), _storage(plan), _passes(plan), _costs(plan)


def _geometry(plan: PyramidPlan) -> Table:
    levels = plan.levels
    unit = unit_text(plan.axes, plan.unit)
    return Table(
        header=(
            "level",
            "shape",
            "factors",
            f"scale [{unit}]",
            f"translation [{unit}]",
        ),
        rows=tuple(
            zip(
                (level.path for level in levels),
                vectors([level.shape for level in levels], _X),
                vectors(spatial(plan.axes, [level.factors for level in levels]), _X),
                vectors(spatial(plan.axes, [level.scale for level in levels])),
                vectors(spatial(plan.axes, [level.translation for level in levels])),
                strict=True,
            )
        ),
        right=frozenset({0}),
    )


def _storage(plan: PyramidPlan) -> Table:
    levels = plan.levels
    return Table(
        header=("level", "chunks", "shards", "objects", "bytes, raw", "graph tasks"),
        rows=tuple(
            zip(
                (level.path for level in levels),
                vectors([level.chunks for level in levels], _X),
                vectors([level.shards for level in levels], _X),
                (str(level.n_objects) for level in levels),
                (bytes_text(level.size * plan.itemsize) for level in levels),
                map(str, plan.graph_tasks),
                strict=True,
            )
        ),
        right=frozenset({0, 3, 4, 5}),
    )


def _passes(plan: PyramidPlan) -> Table:
    rows = []
    extents = vectors([sweep.read_extent for sweep in plan.passes], _X)
    for number, (sweep, extent) in enumerate(zip(plan.passes, extents, strict=True)):
        written = [str(level.level) for level in sweep.levels if level.written]
        rows.append(
            (
                str(number),
                f"level {sweep.levels[0].level}" if sweep.stored else "source",
                ", ".join(written),
                str(sweep.n_units),
                extent,
                plan.axes[sweep.axis],
            )
        )
    return Table(
        header=(
            "pass",
            "reads",
            "writes levels",
            "units",
            "unit, in voxels read",
            "streamed along",
        ),
        rows=tuple(rows),
        right=frozenset({0, 3}),
    )


def _costs(plan: PyramidPlan) -> Table:
    first = plan.levels[0]
    rows = [
        ("method", f"{plan.method.name}: {plan.method.description}"),
        ("sigma", _sigma_text(plan)),
        ("not counted", "" if plan.nodata is None else str(plan.nodata)),
        (
            "other axes",
            other_axes(plan.axes, first.scale, first.translation, plan.unit),
        ),
        (
            "tasks",
            f"{plan.n_tasks} to write; {sum(plan.graph_tasks)} in the lazy graph",
        ),
        (
            "decoding",
            f"{plan.decode_amplification:.2f} times each chunk of the source "
            f"({numbers_text(plan.source_chunks, _X)})",
        ),
        (
            "bytes, raw",
            f"{bytes_text(plan.bytes_read)} read, {bytes_text(plan.bytes_written)} "
            f"written to {plan.n_objects} object{'s' if plan.n_objects > 1 else ''}",
        ),
        (
            "memory",
            f"{bytes_text(plan.task_memory)} for a task, "
            f"{bytes_text(plan.peak_memory)} in all with {plan.workers} "
            f"worker{'s' if plan.workers > 1 else ''}; "
            f"limit {bytes_text(plan.memory_limit)}",
        ),
        ("GPU memory", _device_text(plan)),
    ]
    return Table(header=(), rows=tuple(row for row in rows if row[1]))


def _device_text(plan: PyramidPlan) -> str:
    """Return what is held on a GPU; empty if levels are made on the host."""
    if not plan.gpu_memory:
        return ""
    places = plan.gpu_places
    return (
        f"{bytes_text(plan.device_memory)} for {places} unit{'s' if places > 1 else ''}"
        f" at a time, of each process; limit {bytes_text(plan.gpu_memory)}"
    )


def _sigma_text(plan: PyramidPlan) -> str:
    """Return the standard deviations that are used; empty for other methods."""
    asked = plan.sigma or (None,) * len(plan.axes)
    found: dict[str, list[str]] = {}
    for level in plan.levels[1:]:
        sigmas = [
            f"{axis} {numbers_text([given if given is not None else default])}"
            for axis, step, given, default in zip(
                plan.axes,
                level.steps,
                asked,
                plan.method.default_sigmas(level.steps),
                strict=True,
            )
            if step > 1 and default is not None
        ]
        if sigmas:
            found.setdefault(", ".join(sigmas), []).append(level.path)
    if not found:
        return ""
    parts = [
        text if len(found) == 1 else f"level {', '.join(levels)}: {text}"
        for text, levels in found.items()
    ]
    return "; ".join(parts) + " (voxels of the level that is reduced)"
