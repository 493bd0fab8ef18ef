"""A verification as text and as HTML, in the look of the other reports."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dask_pyramid.tables import Table, bytes_text, table_html, table_text, vectors

if TYPE_CHECKING:
    from dask_pyramid.verify.findings import Finding, Verification

__all__ = ["title", "verification_html", "verification_text"]

# Marks that can be told apart without colour, and colours that suit light and dark.
_MARKS = {
    "error": ("x", "#d1242f"),
    "warning": ("!", "#bf8700"),
    "note": ("-", "#6e7781"),
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
    rows = "".join(map(_finding_html, found.findings))
    levels = table_html(_levels(found)) if found.levels else ""
    return (
        '<div style="color:inherit;background:transparent">'
        f'<div style="font-weight:600">{escape(title(found))}</div>'
        f'<div style="margin:4px 0">{escape(_facts(found))}</div>'
        f"{levels}{rows}</div>"
    )


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
