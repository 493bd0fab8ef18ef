"""Bar charts of a comparison, below pieces of its results; needs matplotlib."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.canvas import FAINT, PAGE, TEXT, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dask_pyramid.comparison import Comparison

__all__ = ["plot_comparison"]

# Figures that differ by powers of ten, and those of which less is better.
_LOGARITHMIC = frozenset({"aliasing", "seconds", "noise"})
_LESS_IS_BETTER = frozenset({"aliasing", "seconds", "noise"})

_BAR, _BEST = "#4c8dae", "#e0a458"

# Pixels of a piece, pieces side by side; inches: title, bar, letter, between panels.
_PIECE, _MOST_ACROSS = 128, 6
_TITLE, _BAR_HEIGHT, _LETTER, _PAD = 0.35, 0.26, 0.068, 0.12


def plot_comparison(comparison: Comparison, *, width: float) -> Figure:
    """Draw a piece of each result above, and a bar chart of each figure below.

    Parameters
    ----------
    comparison : Comparison
        The figures and results.
    width : float
        Width of the figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each result, then one for each figure; the best bar of each
        chart has a colour of its own.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    n = len(comparison.figures)
    beside = -(-n // -(-n // _MOST_ACROSS))
    across = (width - _PAD) / beside
    pieces = -(-n // beside) * (across + _TITLE)
    charts = n * _BAR_HEIGHT + 2 * _TITLE
    height = pieces + charts + _TITLE
    figure = new_figure(width, height, verb="plot")
    figure.suptitle(comparison.title, color=TEXT, fontsize=10, y=1 - 0.1 / height)
    _draw_pieces(figure, comparison, beside, top=height - _TITLE)
    columns = comparison.columns
    labels = max(len(entry.label) for entry in comparison.figures) * _LETTER + 2 * _PAD
    room = (width - labels) / len(columns)
    for i, (name, title) in enumerate(columns.items()):
        place = (labels + i * room, _TITLE, room - _PAD, charts - 2 * _TITLE)
        panel = figure.add_axes(_fractions(place, width, height))
        _draw_bars(panel, comparison, name)
        panel.set_title(title, color=TEXT, fontsize=9)
        if not i:
            panel.set_yticks(range(n), [e.label for e in comparison.figures])
    return figure


def _draw_pieces(
    figure: Figure, comparison: Comparison, columns: int, *, top: float
) -> None:
    width, height = figure.get_size_inches()
    across = (width - _PAD) / columns
    pieces = {k: _piece(result) for k, result in comparison.results.items()}
    grey = np.concatenate([piece.ravel() for piece in pieces.values()])
    low, high = np.percentile(grey, (1, 99.5))
    for i, (label, piece) in enumerate(pieces.items()):
        row, column = divmod(i, columns)
        bottom = top - (row + 1) * (across - _PAD + _TITLE)
        place = (_PAD + column * across, bottom, across - _PAD, across - _PAD)
        panel = figure.add_axes(_fractions(place, width, height))
        panel.imshow(piece, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        panel.set_title(label, color=TEXT, fontsize=8)
        panel.set_axis_off()


def _piece(result: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the centre of the central plane."""
    plane = result[tuple(n // 2 for n in result.shape[:-2])]
    starts = [max(0, (n - _PIECE) // 2) for n in plane.shape]
    y, x = (slice(start, start + _PIECE) for start in starts)
    piece: np.ndarray[Any, Any] = np.nan_to_num(plane[y, x].astype("float64"))
    return piece


def _draw_bars(panel: Axes, comparison: Comparison, name: str) -> None:
    values = [getattr(entry, name) for entry in comparison.figures]
    finite = [v if np.isfinite(v) else 0.0 for v in values]
    best = (min if name in _LESS_IS_BETTER else max)(finite)
    colours = [_BEST if math.isclose(v, best, rel_tol=0.01) else _BAR for v in finite]
    panel.barh(range(len(values)), finite, color=colours, height=0.7)
    if name in _LOGARITHMIC and best > 0:
        panel.set_xscale("log")
        panel.set_xlim(best / 2, max(finite) * 12)
    else:
        panel.set_xlim(min(0.0, *finite), max(*finite, 1e-9) * 1.35)
    for i, value in enumerate(values):
        text = f" {value:.3g}" if abs(value) < 999.5 else f" {value:.0f}"
        panel.text(max(finite[i], 0), i, text, color=TEXT, fontsize=8, va="center")
    panel.set_yticks([])
    panel.invert_yaxis()
    panel.set_facecolor(PAGE)
    panel.tick_params(which="both", labelcolor=TEXT, labelsize=8, length=0, pad=4)
    panel.tick_params(axis="x", which="both", labelbottom=False)
    for side, spine in panel.spines.items():
        spine.set_visible(side == "left")
        spine.set_color(FAINT)


def _fractions(
    place: tuple[float, float, float, float], width: float, height: float
) -> tuple[float, float, float, float]:
    x, y, w, h = place
    return x / width, y / height, w / width, h / height
