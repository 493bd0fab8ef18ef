"""What an image, a plan and a pyramid print, as text and as HTML for Jupyter.

Only numbers that are known already are shown: no pixel is read and nothing is computed.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Protocol, TypeVar

from dask_pyramid.axes import SPATIAL
from dask_pyramid.drawing import levels_svg
from dask_pyramid.locations import is_url, public_url
from dask_pyramid.tables import (
    Table,
    bytes_text,
    numbers_text,
    table_html,
    table_text,
    vectors,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask_pyramid.image import Image
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.pyramid import Pyramid

__all__ = [
    "html_page",
    "image_html",
    "plan_html",
    "plan_text",
    "pyramid_html",
    "pyramid_text",
    "unit_text",
]

_X = " x "

T = TypeVar("T")


class HasHtml(Protocol):
    """What a notebook can show."""

    def _repr_html_(self) -> str: ...


def html_page(shown: HasHtml) -> str:
    """Return a page that holds what a value looks like in a notebook.

    Parameters
    ----------
    shown : object with _repr_html_
        A plan, a pyramid or a verification.

    Returns
    -------
    str
        A whole document, in light or dark as the reader's system is.
    """
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8">'
        '<meta name="color-scheme" content="light dark"><title>dask-pyramid</title>'
        f'<body style="font-family:sans-serif">{shown._repr_html_()}</body></html>\n'
    )


def image_html(image: Image) -> str:
    """Return an image as HTML: what it measures, and a drawing to scale.

    Parameters
    ----------
    image : Image
        The image; nothing is read.

    Returns
    -------
    str
        A ``<div>``.
    """
    spacing = numbers_text(_spatial(image.axes, [image.scale])[0])
    origin = numbers_text(_spatial(image.axes, [image.translation])[0])
    rows = [
        ("shape", f"{numbers_text(image.shape, _X)} ({', '.join(image.axes)})"),
        ("dtype", f"{image.dtype}{', labels' if image.labels else ''}"),
        ("size", bytes_text(image.nbytes)),
        ("voxel size", f"{spacing} {unit_text(image.axes, image.unit)}"),
        ("first voxel at", f"{origin} {unit_text(image.axes, image.unit)}"),
        ("chunks", numbers_text(image.chunks, _X)),
        ("read from", _source_text(image)),
    ]
    others = _other_axes(image.axes, image.scale, image.translation, image.unit)
    if others:
        rows.append(("other axes", others))
    svg = levels_svg(*(_spatial(image.axes, [v]) for v in (image.shape, image.chunks)))
    return _html(f"Image {image.name!r}", svg, Table(header=(), rows=tuple(rows)))


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
        _spatial(plan.axes, [level.shape for level in plan.levels]),
        _spatial(plan.axes, [level.objects for level in plan.levels]),
    )
    return _html(_plan_title(plan), svg, *_plan_tables(plan))


def pyramid_text(pyramid: Pyramid) -> str:
    """Return a pyramid as a few lines: what it is, then a line for each level.

    Parameters
    ----------
    pyramid : Pyramid
        The pyramid; nothing is read.

    Returns
    -------
    str
        Shape, scale and translation of each level.
    """
    title = _pyramid_title(pyramid)
    return f"{title}\n{table_text(_pyramid_table(pyramid))}"


def pyramid_html(pyramid: Pyramid) -> str:
    """Return a pyramid as HTML: a row for each level and a drawing to scale.

    Parameters
    ----------
    pyramid : Pyramid
        The pyramid; nothing is read.

    Returns
    -------
    str
        A ``<div>``.
    """
    svg = levels_svg(_spatial(pyramid.axes, pyramid.shapes))
    return _html(_pyramid_title(pyramid), svg, _pyramid_table(pyramid))


def unit_text(axes: Sequence[str], units: Sequence[str | None]) -> str:
    """Return the unit of the spatial axes.

    Parameters
    ----------
    axes : sequence of str
        Axes in storage order.
    units : sequence of str or None
        Unit of each axis.

    Returns
    -------
    str
        One word if all have the same, else one for each.

    Examples
    --------
    >>> unit_text("tyx", ("second", "micrometer", "micrometer"))
    'micrometer'
    >>> unit_text("yx", (None, "nanometer"))
    'y pixels, x nanometer'
    """
    pairs = zip(axes, units, strict=True)
    words = {a: u or "pixels" for a, u in pairs if a in SPATIAL}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{axis} {word}" for axis, word in words.items())


def _html(title: str, svg: str, *tables: Table) -> str:
    rows = "".join(table_html(table) for table in tables)
    return (
        '<div style="color:inherit;background:transparent">'
        f'<div style="font-weight:600">{escape(title)}</div>'
        f'<div style="margin:6px 0">{svg}</div>{rows}</div>'
    )


def _spatial(axes: Sequence[str], values: Sequence[Sequence[T]]) -> list[tuple[T, ...]]:
    """Keep the entries of spatial axes."""
    return [
        tuple(v for v, axis in zip(vector, axes, strict=True) if axis in SPATIAL)
        for vector in values
    ]


def _other_axes(
    axes: Sequence[str],
    scale: Sequence[float],
    translation: Sequence[float],
    unit: Sequence[str | None],
) -> str:
    """Return what t and c measure, where it is not 1 from 0; no level changes it."""
    parts = []
    for axis, s, t, word in zip(axes, scale, translation, unit, strict=True):
        if axis not in SPATIAL and (word or (s, t) != (1.0, 0.0)):
            start = f" from {numbers_text([t])}" if t else ""
            parts.append(f"{axis}: {numbers_text([s])} {word or ''}".rstrip() + start)
    return "; ".join(parts)


def _source_text(image: Image) -> str:
    if image.reader is None:
        assert image.graph is not None  # by construction: one of the two is there
        return f"a dask graph of {len(image.graph.dask)} tasks"
    places = [_public(place) for place in image.reader.locations]
    if not places:
        return "memory"
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"


def _public(location: str) -> str:
    return public_url(location) if is_url(location) else location


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
                vectors(_spatial(plan.axes, [level.factors for level in levels]), _X),
                vectors(_spatial(plan.axes, [level.scale for level in levels])),
                vectors(_spatial(plan.axes, [level.translation for level in levels])),
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
            _other_axes(plan.axes, first.scale, first.translation, plan.unit),
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


def _pyramid_title(pyramid: Pyramid) -> str:
    n = len(pyramid.shapes)
    parts = [
        f"{pyramid.name}: {n} level{'s' if n > 1 else ''}",
        f"{pyramid.dtype} ({', '.join(pyramid.axes)})",
        f"method {pyramid.method}" if pyramid.method else "method unknown",
        _public(pyramid.location) if pyramid.location else "not stored",
    ]
    return ", ".join(parts)


def _pyramid_table(pyramid: Pyramid) -> Table:
    unit = unit_text(pyramid.axes, pyramid.unit)
    return Table(
        header=("level", "shape", f"scale [{unit}]", f"translation [{unit}]"),
        rows=tuple(
            zip(
                map(str, range(len(pyramid.shapes))),
                vectors(pyramid.shapes, _X),
                vectors(_spatial(pyramid.axes, pyramid.scale)),
                vectors(_spatial(pyramid.axes, pyramid.translation)),
                strict=True,
            )
        ),
        right=frozenset({0}),
    )
