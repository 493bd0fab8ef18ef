"""A verification as text and as HTML, in the look of the other reports."""

from __future__ import annotations

from html import escape
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

if TYPE_CHECKING:
    from dask_pyramid.verify.findings import Checked, Finding, Verification

__all__ = ["title", "verification_html", "verification_text"]

# Marks that can be told apart without colour, and colours that suit light and dark.
_MARKS = {
    "error": ("x", "var(--jp-error-color1,#d1242f)"),
    "warning": ("!", "var(--jp-warn-color1,#bf8700)"),
    "note": ("-", "var(--jp-border-color1,#6e7781)"),
}


def title(found: Verification) -> str:
    """Return the verdict in one line."""
    counts = [
        f"{len(some)} {word}{'s' if len(some) > 1 else ''}"
        for some, word in (
            (found.errors, "error"),
            (found.warnings, "warning"),
            (found.notes, "note"),
        )
        if some
    ]
    verdict = "no fault found" if found.ok else "faults found"
    return f"{found.location}: {verdict}" + (f" ({', '.join(counts)})" * bool(counts))


def verification_text(found: Verification) -> str:
    """Return a verification as text: verdict, levels, findings with their rules."""
    blocks = [title(found), _facts(found)]
    if found.levels:
        blocks.append(table_text(_levels(found)))
    if found.findings:
        blocks.append("\n".join(map(_finding_text, found.findings)))
    return "\n\n".join(blocks)


def verification_html(found: Verification) -> str:
    """Return a verification as HTML in the colours of the page."""
    return html_block(
        title(found),
        _levels(found).beside("voxel size", map(_voxel_text, found.levels)),
        facts=_facts(found),
        svg=_drawing(found),
        below="".join(map(_finding_html, found.findings)),
    )


def _drawing(found: Verification) -> str:
    """Return the levels of the image to scale; nothing if their axes are not known."""
    levels = [
        (number, level)
        for number, level in enumerate(found.levels)
        if not level.path.startswith("labels/")
    ]
    shapes = [
        tuple(n for n, space in zip(level.shape, level.spatial, strict=True) if space)
        for _, level in levels
        if len(level.spatial) == len(level.shape)
    ]
    if len(shapes) < len(levels) or not all(2 <= len(shape) <= 3 for shape in shapes):
        return ""
    named = {finding.level for finding in found.errors}
    wrong = [i for i, (_, level) in enumerate(levels) if level.path in named]
    return levels_svg(shapes, wrong=wrong) if shapes else ""


def _voxel_text(level: Checked) -> str:
    entries = zip(level.scale, level.spatial, level.unit, strict=False)
    sizes = [(size, word or "pixels") for size, space, word in entries if space]
    if len({word for _, word in sizes}) == 1:
        return f"{numbers_text([size for size, _ in sizes])} {sizes[0][1]}"
    return ", ".join(f"{numbers_text([size])} {word}" for size, word in sizes) or "-"


def _facts(found: Verification) -> str:
    read = sum(level.bytes for level in found.levels)
    wrong = sum(level.wrong for level in found.levels)
    compared = sum(level.compared for level in found.levels)
    parts = [
        f"OME-Zarr {found.version or 'of unknown version'}",
        f"effort {found.sample}",
        f"{sum(level.stored or 0 for level in found.levels)} objects listed",
        f"{sum(level.hashed for level in found.levels)} hashed",
        f"{compared} blocks recomputed, {wrong} wrong",
        f"{bytes_text(read)} read",
    ]
    return ", ".join(parts)


def _levels(found: Verification) -> Table:
    levels = found.levels
    shapes = [
        vectors([level.shape], " x ")[0] if level.shape else "-" for level in levels
    ]
    return Table(
        header=(
            "level",
            "shape",
            "dtype",
            "stored",
            "hashed",
            "read",
            "compared",
            "wrong",
            "content",
        ),
        rows=tuple(
            (
                level.path,
                shape,
                level.dtype,
                f"{'?' if level.stored is None else level.stored} of {level.objects}",
                str(level.hashed),
                str(level.blocks),
                str(level.compared),
                str(level.wrong),
                level.content or "-",
            )
            for level, shape in zip(levels, shapes, strict=True)
        ),
        right=frozenset({3, 4, 5, 6, 7}),
    )


def _where(finding: Finding) -> str:
    return " ".join(filter(None, (finding.level, finding.part)))


def _finding_text(finding: Finding) -> str:
    mark, _ = _MARKS[finding.severity]
    where = _where(finding)
    return (
        f"{mark} {finding.severity} {finding.code}"
        f"{f' at {where}' if where else ''}: {finding.message}\n"
        f"    rule: {finding.rule}"
    )


def _finding_html(finding: Finding) -> str:
    _, colour = _MARKS[finding.severity]
    where = _where(finding)
    return (
        f'<div style="margin:4px 0;padding-left:8px;border-left:3px solid {colour}">'
        f"<b>{finding.severity}</b> <code>{escape(finding.code)}</code> "
        f"{escape(where)} {escape(finding.message)}"
        f'<div style="opacity:.7">{escape(finding.rule)}</div></div>'
    )
