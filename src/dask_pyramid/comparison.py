"""`Comparison`: the figures of some reductions of one image, as text, HTML and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dask_pyramid.tables import Table, html_block, numbers_text, table_text

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

__all__ = ["COLUMNS", "Comparison", "MethodFigures"]

COLUMNS = {
    "snr": "mean / std",
    "snr_db": "SNR [dB]",
    "noise": "noise left",
    "aliasing": "aliased / kept",
    "sharpness": "sharpness",
    "seconds": "s / Gvoxel",
}
"""The figures, and what their columns are called."""

_LEGEND = (
    "mean / std: of the reduced image. ",
    "SNR: against the noise-free image without its waves above the new Nyquist "
    "frequency. ",
    "Noise left: of white noise, standard deviation. Aliased / kept: energy of white "
    "noise from above the new Nyquist frequency, over that from below. Sharpness: "
    "amplitude left of a wave at half of that frequency. Time: the best of {repeats}.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFigures:
    """What one reduction is worth, and what it costs."""

    label: str
    """What was compared."""
    shape: tuple[int, ...]
    """Extent of the reduced sample."""
    snr: float
    """Mean over standard deviation of the reduced sample; inf for a constant."""
    snr_db: float | None
    """Signal over error in decibels; None without a noise-free reference."""
    noise: float
    """Standard deviation that is left of white noise, of 1."""
    aliasing: float
    """Energy folded back from above the new Nyquist frequency, over energy kept."""
    sharpness: float
    """Amplitude that is left of a wave at half the new Nyquist frequency."""
    seconds: float
    """Best time for a gigavoxel of input, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of `compare_methods`; prints as text, and as HTML in Jupyter."""

    figures: tuple[MethodFigures, ...] = field(repr=False)
    """One for each method, in the order in which they were given."""
    name: str
    """Of the image."""
    dtype: str
    """Data type of the image."""
    axes: tuple[str, ...]
    """Axes in storage order."""
    factors: tuple[int, ...]
    """Factor along each axis."""
    region: tuple[tuple[int, int], ...]
    """The sample: range along each axis, in voxels of the image."""
    repeats: int
    """How often each was timed."""
    results: dict[str, np.ndarray[Any, Any]] = field(repr=False, compare=False)
    """The reduced sample by label."""

    def __getitem__(self, label: str) -> MethodFigures:
        for entry in self.figures:
            if entry.label == label:
                return entry
        raise KeyError(label)

    def records(self) -> list[dict[str, Any]]:
        """Return a dict for each method, as `pandas.DataFrame` takes them.

        Returns
        -------
        list of dict
            The fields of `MethodFigures`.
        """
        return [asdict(entry) for entry in self.figures]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values, without pixels.

        Returns
        -------
        dict
            The fields but `results`; a figure that is not finite is None.
        """
        return {
            "name": self.name,
            "dtype": self.dtype,
            "axes": "".join(self.axes),
            "factors": list(self.factors),
            "region": [list(edges) for edges in self.region],
            "repeats": self.repeats,
            "methods": [
                {key: _plain(value) for key, value in record.items()}
                for record in self.records()
            ],
        }

    def plot(self, *, width: float = 12.0) -> Figure:
        """Draw a piece of each result, and a bar chart of each figure.

        Parameters
        ----------
        width : float
            Width of the figure in inches.

        Returns
        -------
        matplotlib.figure.Figure
            Pieces above, charts below.
        """
        from dask_pyramid.charts import plot_comparison

        return plot_comparison(self, width=width)

    @property
    def columns(self) -> dict[str, str]:
        """The figures that are known, and what their columns are called."""
        known = all(entry.snr_db is not None for entry in self.figures)
        return {k: v for k, v in COLUMNS.items() if k != "snr_db" or known}

    @property
    def title(self) -> str:
        """What was compared, in one line."""
        steps = ", ".join(
            f"{axis} {factor}"
            for axis, factor in zip(self.axes, self.factors, strict=True)
            if factor > 1
        )
        extent = numbers_text([stop - start for start, stop in self.region], " x ")
        return f"{self.name}: {extent} {self.dtype} reduced by {steps}"

    def _table(self) -> Table:
        columns = self.columns
        rows = tuple(
            (entry.label, *(_text(getattr(entry, name)) for name in columns))
            for entry in self.figures
        )
        return Table(
            header=("method", *columns.values()),
            rows=rows,
            right=frozenset(range(1, len(columns) + 1)),
        )

    def _legend(self) -> str:
        first, reference, rest = _LEGEND
        known = reference if "snr_db" in self.columns else ""
        return first + known + rest.format(repeats=self.repeats)

    def __str__(self) -> str:
        return f"{self.title}\n\n{table_text(self._table())}"

    def _repr_html_(self) -> str:
        return html_block(self.title, self._table(), facts=self._legend())


def _text(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:.0f}"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return list(value) if isinstance(value, tuple) else value
