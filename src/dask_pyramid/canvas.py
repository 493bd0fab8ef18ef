"""An empty figure: matplotlib when it is needed, its colours, how Jupyter shows it."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FAINT", "PAGE", "TEXT", "new_figure"]

# Legible on light and dark pages, because nothing of the page shines through.
PAGE, TEXT, FAINT = "#12161c", "#e6edf3", "#9aa7b4"


def new_figure(width: float, height: float, *, verb: str) -> Figure:
    """Return an empty figure that needs no screen.

    Parameters
    ----------
    width, height : float
        In inches.
    verb : str
        What needs matplotlib, for the message.

    Returns
    -------
    matplotlib.figure.Figure
        Shown by Jupyter as a PNG, also where matplotlib was never set up.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"{verb} needs matplotlib, which is not installed; "
            "pip install 'dask-pyramid[plot]'"
        ) from error
    figure = Figure(figsize=(width, height), facecolor=PAGE)
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()
