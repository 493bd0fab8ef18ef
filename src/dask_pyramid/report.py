"""What an image and a pyramid print, as text and as HTML for Jupyter.

Only numbers that are known already are shown: no pixel is read and nothing is computed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from dask_pyramid.drawing import levels_svg
from dask_pyramid.locations import is_url, public_url
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
    from dask_pyramid.image import Image
    from dask_pyramid.pyramid import Pyramid

__all__ = [
    "html_page",
    "image_html",
    "pyramid_html",
    "pyramid_text",
]

_X = " x "

# A page has no theme: its colours are those that the reader's system prefers, and names
# of Jupyter's theme stand for those of the drawings.
_PAGE = (
    ":root{color-scheme:light dark;--jp-brand-color1:#1f6fb2;--jp-error-color1:#c4202b}"
    "@media(prefers-color-scheme:dark)"
    "{:root{--jp-brand-color1:#6cb2f0;--jp-error-color1:#ff7b72}}"
    "body{font:14px/1.5 system-ui,sans-serif;margin:2em}"
)


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
        f"<title>dask-pyramid</title><style>{_PAGE}</style>"
        f"<body>{shown._repr_html_()}</body></html>\n"
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
    spacing = numbers_text(spatial(image.axes, [image.scale])[0])
    origin = numbers_text(spatial(image.axes, [image.translation])[0])
    rows = [
        ("shape", f"{numbers_text(image.shape, _X)} ({', '.join(image.axes)})"),
        ("dtype", f"{image.dtype}{', labels' if image.labels else ''}"),
        ("size", bytes_text(image.nbytes)),
        ("voxel size", f"{spacing} {unit_text(image.axes, image.unit)}"),
        ("first voxel at", f"{origin} {unit_text(image.axes, image.unit)}"),
        ("chunks", numbers_text(image.chunks, _X)),
        ("read from", _source_text(image)),
    ]
    others = other_axes(image.axes, image.scale, image.translation, image.unit)
    if others:
        rows.append(("other axes", others))
    svg = levels_svg(*(spatial(image.axes, [v]) for v in (image.shape, image.chunks)))
    return html_block(
        f"Image {image.name!r}", Table(header=(), rows=tuple(rows)), svg=svg
    )


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
    svg = levels_svg(spatial(pyramid.axes, pyramid.shapes))
    sizes = [math.prod(shape) * pyramid.dtype.itemsize for shape in pyramid.shapes]
    table = _pyramid_table(pyramid).beside("memory", map(bytes_text, sizes))
    facts = f"{bytes_text(sum(sizes))} of memory for all levels; {_parts(pyramid)}"
    return html_block(_pyramid_title(pyramid), table, facts=facts, svg=svg)


def _parts(pyramid: Pyramid) -> str:
    """Return what is held of a pyramid that is not read as a whole."""
    if pyramid.plan is not None:
        plan = pyramid.plan
        workers = f"{plan.workers} worker{'s' if plan.workers > 1 else ''}"
        return f"{bytes_text(plan.peak_memory)} to write it, with {workers}"
    voxels = (math.prod(map(max, level.blocks)) for level in pyramid.stored)
    return f"{bytes_text(max(voxels) * pyramid.dtype.itemsize)} for a block, at most"


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
                vectors(spatial(pyramid.axes, pyramid.scale)),
                vectors(spatial(pyramid.axes, pyramid.translation)),
                strict=True,
            )
        ),
        right=frozenset({0}),
    )
