"""Numbers as text, and tables as aligned text or HTML; knows nothing of pyramids."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

__all__ = [
    "Table",
    "bytes_text",
    "clock_text",
    "count_text",
    "html_block",
    "numbers_text",
    "table_html",
    "table_text",
    "vectors",
]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

_PREFIXES = ("", "k", "M", "G", "T", "P")

# Text takes the colour of the page, so that light and dark both work; lines that of
# Jupyter's theme where there is one. Styles stand in the elements, for notebooks that
# are not trusted and pages like GitHub's drop whatever else there is.
_CELL = (
    "padding:2px 16px 2px 0;white-space:nowrap;border:0;vertical-align:top;"
    "border-bottom:1px solid var(--jp-border-color2,rgba(128,128,128,.35))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as text."""

    header: tuple[str, ...]
    """Names of the columns; empty for a table of names and values."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, as many in each row as there are columns."""
    right: frozenset[int] = frozenset()
    """Columns that are aligned on the right."""

    def beside(self, name: str, cells: Iterable[str]) -> Table:
        """Return the table with one more column.

        Parameters
        ----------
        name : str
            What stands above it.
        cells : iterable of str
            One for each row.
        """
        pairs = zip(self.rows, cells, strict=True)
        return Table(
            header=(*self.header, name),
            rows=tuple((*row, cell) for row, cell in pairs),
            right=self.right,
        )


def bytes_text(n_bytes: int) -> str:
    """Return an amount of memory in binary units.

    Parameters
    ----------
    n_bytes : int
        Bytes.

    Returns
    -------
    str
        Two or three significant digits and the unit.

    Examples
    --------
    >>> bytes_text(7864320), bytes_text(1023), bytes_text(0)
    ('7.5 MiB', '1023 B', '0 B')
    """
    exponent = max(0, min((n_bytes.bit_length() - 1) // 10, len(_UNITS) - 1))
    amount = n_bytes / 1024**exponent
    digits = 0 if not exponent or amount >= 100 else 1
    return f"{amount:.{digits}f} {_UNITS[exponent]}"


def count_text(count: float) -> str:
    """Return a number with a decimal prefix, to stand before a unit.

    Examples
    --------
    >>> count_text(3.12e8) + "voxel/s", count_text(999.4) + "voxel/s"
    ('312 Mvoxel/s', '999 voxel/s')
    """
    prefix = 0
    while count >= 999.5 and prefix < len(_PREFIXES) - 1:
        count, prefix = count / 1000, prefix + 1
    digits = 1 if prefix and count < 9.95 else 0
    return f"{count:.{digits}f} {_PREFIXES[prefix]}"


def clock_text(seconds: float) -> str:
    """Return a time as minutes and seconds, with hours and days where there are any.

    Examples
    --------
    >>> clock_text(75), clock_text(3661.6), clock_text(200_000)
    ('1:15', '1:01:02', '2 d 7:33:20')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if not hours:
        return f"{minute}:{second:02}"
    days, hour = divmod(hours, 24)
    return f"{days} d " * bool(days) + f"{hour}:{minute:02}:{second:02}"


def numbers_text(values: Sequence[float | Fraction], separator: str = ", ") -> str:
    """Return numbers with at most six significant digits, whole ones as they are.

    Examples
    --------
    >>> numbers_text((0.29, 0.43499999999999994, 10000000))
    '0.29, 0.435, 10000000'
    """
    return separator.join(_number(value) for value in values)


def _number(value: float | Fraction) -> str:
    return str(value) if isinstance(value, int) else f"{float(value):.6g}"


def vectors(
    values: Sequence[Sequence[float | Fraction] | None], separator: str = ", "
) -> tuple[str, ...]:
    """Return one text for each vector, entries aligned below each other.

    Parameters
    ----------
    values : sequence of vectors
        Vectors of one length; None gives ``-``.
    separator : str
        What stands between two entries.

    Returns
    -------
    tuple of str
        One text for each vector.

    Examples
    --------
    >>> vectors([(60, 256), (8, 32), None], " x ")
    ('60 x 256', ' 8 x  32', '-')
    """
    texts = [None if v is None else [_number(x) for x in v] for v in values]
    columns = zip(*(t for t in texts if t is not None), strict=True)
    widths = [max(map(len, column)) for column in columns]
    return tuple(
        "-"
        if text is None
        else separator.join(t.rjust(w) for t, w in zip(text, widths, strict=True))
        for text in texts
    )


def table_text(table: Table) -> str:
    """Return a table as lines of aligned text, without spaces at their ends.

    Examples
    --------
    >>> print(table_text(Table(header=("a", "b"), rows=(("1", "x"), ("20", "y")),
    ...                        right=frozenset({0}))))
     a  b
     1  x
    20  y
    """
    lines = [table.header, *table.rows] if table.header else [*table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in table.right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def table_html(table: Table) -> str:
    """Return a table as HTML in the colours of the page; text is escaped.

    Examples
    --------
    >>> "&lt;b&gt;" in table_html(Table(header=(), rows=(("name", "<b>"),)))
    True
    """
    lines = []
    if table.header:
        lines.append(_row_html("th", table.header, table.right))
    lines += [_row_html("td", row, table.right) for row in table.rows]
    return (
        '<table style="border-collapse:collapse;background:transparent;color:inherit;'
        'border:0;margin:6px 0;font-variant-numeric:tabular-nums">'
        + "".join(lines)
        + "</table>"
    )


def _row_html(tag: str, cells: Sequence[str], right: frozenset[int]) -> str:
    weight = "600" if tag == "th" else "400"
    entries = (
        f'<{tag} style="{_CELL};font-weight:{weight};'
        f'text-align:{"right" if i in right else "left"}">{escape(cell)}</{tag}>'
        for i, cell in enumerate(cells)
    )
    return f'<tr style="background:transparent">{"".join(entries)}</tr>'


def html_block(
    title: str, *tables: Table, facts: str = "", svg: str = "", below: str = ""
) -> str:
    """Return what a value looks like in a notebook: the one look of all of them.

    Parameters
    ----------
    title, facts : str
        A heading, and a line below it; text, which is escaped.
    svg : str
        A drawing.
    *tables : Table
        What is below.
    below : str
        HTML at the end.

    Returns
    -------
    str
        A ``<div>``.
    """
    parts = [f'<div style="font-weight:600">{escape(title)}</div>']
    if facts:
        parts.append(f'<div style="opacity:.75">{escape(facts)}</div>')
    if svg:
        parts.append(f'<div style="margin:8px 0">{svg}</div>')
    parts += [table_html(table) for table in tables if table.rows]
    return (
        '<div style="color:inherit;background:transparent;overflow-x:auto">'
        f"{''.join(parts)}{below}</div>"
    )
