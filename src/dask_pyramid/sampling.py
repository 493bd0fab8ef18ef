"""Resampling along one axis as numbers: positions, weights, and what they need.

Sample j of the new axis sits at ``a * j + b`` of the old one, and is a weighted sum of
voxels around it. The weights are those of SciPy's interpolating splines, of a local
mean, and of a Gaussian before either, all in one: a decimating or interpolating filter.

SciPy makes an interpolating spline by a recursive filter over the whole axis. Here the
response of that filter is written out and cut where it is nothing any more, so that a
sample depends on the voxels around it alone, and has the same bits in whatever block it
is computed. Weights come from the index of the sample in the whole axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from dask_pyramid.filters import gaussian_weights
from dask_pyramid.geometry import Factor, Reach, Span, ceil_div

__all__ = [
    "BOUNDARIES",
    "AxisSampler",
    "Between",
    "Sampling",
    "check_order",
    "check_way",
    "pass_order",
]

Array = np.ndarray[Any, Any]

Between = Literal["linear", "nearest"]
"""How a sample is made where its window ends between two voxels."""

BOUNDARIES = ("reflect", "mirror", "nearest")
"""How an axis goes on beyond its ends; names of `scipy.ndimage`."""

# Where the response of the spline's recursive filter is cut, of its largest value.
_PRECISION = 1e-9
# A position this close below the middle of two voxels counts as the middle: 0.5 / 0.1
# must not depend on rounding.
_TIE = 1e-6


def check_order(order: int) -> None:
    """Refuse what is no order of a spline.

    Raises
    ------
    ValueError
        If it is not 0 to 5, as in `scipy.ndimage`.
    """
    if isinstance(order, bool) or order not in range(6):
        raise ValueError(f"order must be 0 to 5, got {order!r}")


def check_way(*, sigma: Any, smooth: bool, averages: bool, labels: bool) -> None:
    """Refuse a way of making samples that contradicts itself, or averages labels.

    Parameters
    ----------
    sigma : object
        Width of the Gaussian as it was given; None if it was not.
    smooth, averages : bool
        Whether there is a Gaussian, and whether anything else averages.
    labels : bool
        Whether values are ids.

    Raises
    ------
    ValueError
        If there is a width and no Gaussian, or labels would be averaged.
    """
    if sigma is not None and not smooth:
        raise ValueError(
            f"sigma must go with a Gaussian, got {sigma!r} and none; leave it out, or "
            "take anti_aliasing=True or method 'gaussian'"
        )
    if labels and (smooth or averages):
        raise ValueError(
            "labels must be copied and not averaged, got a way that averages; leave "
            "out order, anti_aliasing, sigma and method"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How one axis is resampled; everything in voxels of the axis that is read.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> half = Sampling(size_in=8, size_out=4, a=2.0, b=0.5)
    >>> half.needed(1, 3)
    slice(2, 6, None)
    >>> index, weights = half.taps(1, 3)
    >>> index.tolist(), weights.tolist()
    ([[2, 3], [4, 5]], [[0.5, 0.5], [0.5, 0.5]])
    """

    size_in: int
    """Extent of the axis that is read."""
    size_out: int
    """Extent of the axis that is made."""
    a: float
    """Distance of two samples."""
    b: float
    """Position of sample 0."""
    order: int = 1
    """Order of the spline, 0 to 5."""
    box: bool = False
    """Whether a sample is the mean over its own extent `a`, in place of a spline."""
    sigma: float = 0.0
    """Standard deviation of the Gaussian that goes before; 0 for none."""
    boundary: str = "reflect"
    """Out of `BOUNDARIES`."""

    def __post_init__(self) -> None:
        if min(self.size_in, self.size_out) < 1:
            raise ValueError(
                f"sizes must be at least 1, got {self.size_in} and {self.size_out}"
            )
        if not (math.isfinite(self.a) and self.a > 0 and math.isfinite(self.b)):
            raise ValueError(
                f"a must be positive, and a and b finite, got {self.a} and {self.b}"
            )
        check_order(self.order)
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(f"sigma must be zero or more, got {self.sigma!r}")
        if self.boundary not in BOUNDARIES:
            raise ValueError(
                f"boundary must be one of {', '.join(BOUNDARIES)}, "
                f"got {self.boundary!r}"
            )

    @property
    def identity(self) -> bool:
        """Whether every sample is the voxel of its own number."""
        same = self.a == 1 and self.b == 0 and self.size_in == self.size_out
        return same and not self.sigma

    @property
    def gather(self) -> bool:
        """Whether every sample is one voxel, unchanged: safe for labels."""
        return not self.sigma and not self.box and self.order == 0

    @property
    def n_taps(self) -> int:
        """Voxels that a sample is made of."""
        return self._core + len(_response(self.order, self.sigma, self.box)) - 1

    @property
    def _core(self) -> int:
        """Weights that depend on where between voxels a sample sits."""
        return math.ceil(self.a) + 1 if self.box else self.order + 1

    def positions(self, first: int, stop: int) -> Array:
        """Return where samples ``[first, stop)`` sit, in float64.

        Examples
        --------
        >>> Sampling(size_in=6, size_out=4, a=1.5, b=0.25).positions(2, 4).tolist()
        [3.25, 4.75]
        """
        return self.a * np.arange(first, stop, dtype=np.float64) + self.b

    def needed(self, first: int, stop: int) -> slice:
        """Return the voxels that samples ``[first, stop)`` are made of.

        Parameters
        ----------
        first, stop : int
            Half-open range of samples, not empty.

        Returns
        -------
        slice
            Half-open range of voxels, perhaps one more than is used.

        Examples
        --------
        >>> Sampling(size_in=99, size_out=198, a=0.5, b=-0.25, order=3).needed(80, 81)
        slice(22, 58, None)
        """
        if self.identity:
            return slice(first, stop)
        low = int(self._starts(first, first + 1)[0][0])
        high = int(self._starts(stop - 1, stop)[0][0]) + self.n_taps
        size = self.size_in
        if self.boundary == "nearest":
            return slice(min(max(0, low), size - 1), max(1, min(size, high)))
        # What lies beyond an end stands for as many voxels before it.
        beyond = (min(low, 2 * size - 1 - high), max(high, 1 - low))
        start = min(max(0, beyond[0] if high > size else low), size - 1)
        return slice(start, max(start + 1, min(size, beyond[1] if low < 0 else high)))

    def taps(self, first: int, stop: int) -> tuple[Array, Array]:
        """Return the voxels and weights of samples ``[first, stop)``.

        Parameters
        ----------
        first, stop : int
            Half-open range of samples.

        Returns
        -------
        index : array of int64, shape (stop - first, n_taps)
            Voxels of the axis, folded into it at its ends.
        weights : array of float64, same shape
            Weights; those of a sample sum to 1.

        Notes
        -----
        A row does not depend on the range that it is asked for with.
        """
        starts, core = self._starts(first, stop)
        response = _response(self.order, self.sigma, self.box)
        weights = np.zeros((stop - first, self.n_taps))
        for i in range(core.shape[1]):
            weights[:, i : i + len(response)] += core[:, i : i + 1] * response
        index = starts[:, None] + np.arange(self.n_taps)
        return _folded(index, self.size_in, self.boundary), weights

    def _starts(self, first: int, stop: int) -> tuple[Array, Array]:
        """Return first voxels, perhaps outside, and the weights before the response."""
        x = self.positions(first, stop)
        if self.box:
            starts, core = _box_weights(x, self.a, self._core)
        else:
            tie = _TIE if self.order == 0 else 0.0
            floor = np.floor(x - (self.order - 1) / 2 + tie)
            starts = floor.astype(np.int64)
            core = _spline_weights(x - (self.order - 1) / 2 - floor, self.order)
        reach = len(_response(self.order, self.sigma, self.box)) // 2
        return starts - reach, core


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisSampler:
    """How a reduction resamples one axis, whatever the extent of that is.

    Sample j is at the centre of its window ``[step * j, step * (j + 1))``.
    """

    step: Factor
    """Window in voxels."""
    between: Between
    """How the voxels around a sample become one."""
    sigma: float
    """Standard deviation of the Gaussian that goes before; 0 for none."""

    @property
    def reach(self) -> Reach:
        """What is needed beyond the window, at most."""
        if self.step == 1 or self.between == "nearest":
            return Reach()
        radius = len(gaussian_weights(self.sigma)) // 2 + 1
        # The last window may lie beyond the border, but for a part of its first voxel.
        return Reach(before=radius + math.ceil(self.step), after=radius)

    def sampling(self, span: Span) -> Sampling:
        """Return the same for an axis whose extent is known.

        Examples
        --------
        >>> from fractions import Fraction
        >>> sampler = AxisSampler(step=Fraction(5, 2), between="nearest", sigma=0.0)
        >>> sampler.sampling(Span(first=0, stop=2, size=8)).taps(0, 2)[0].tolist()
        [[1], [3]]
        """
        return Sampling(
            size_in=span.size,
            size_out=ceil_div(span.size, self.step),
            a=float(self.step),
            b=float((self.step - 1) / 2),
            order=0 if self.between == "nearest" else 1,
            sigma=self.sigma,
            boundary="nearest" if self.between == "nearest" else "reflect",
        )


def pass_order(samplings: tuple[Sampling, ...]) -> tuple[int, ...]:
    """Return the axes that are resampled, in the order that is the least work.

    Those that shrink most go first, those that grow most last. The order depends on
    nothing else, for the bits of a float sum depend on it.

    Examples
    --------
    >>> up = Sampling(size_in=4, size_out=8, a=0.5, b=-0.25)
    >>> down = Sampling(size_in=8, size_out=4, a=2.0, b=0.5)
    >>> pass_order((up, down, down, up))
    (1, 2, 3, 0)
    """
    live = [i for i, sampling in enumerate(samplings) if not sampling.identity]

    def rank(axis: int) -> tuple[float, int]:
        # Rows of the last axis are the slowest: few of them, before or after.
        a = samplings[axis].a
        return (-a, axis if a >= 1 else -axis)

    return tuple(sorted(live, key=rank))


def _folded(index: Array, size: int, boundary: str) -> Array:
    """Return positions of the endless axis as voxels of the axis itself."""
    if boundary == "nearest" or size == 1:
        return np.asarray(np.clip(index, 0, size - 1))
    period = 2 * size if boundary == "reflect" else 2 * size - 2
    index = index % period
    last = period - 1 if boundary == "reflect" else period
    return np.asarray(np.minimum(index, last - index))


def _spline_weights(t: Array, order: int) -> Array:
    """Return the values of uniform B-splines, by the recursion of Cox and de Boor.

    Parameters
    ----------
    t : array, shape (n,)
        Position behind the knot, 0 to 1.
    order : int
        Degree of the splines.

    Returns
    -------
    array, shape (n, order + 1)
        Values of the splines that are not zero there, that of the first voxel first.
    """
    weights = np.ones((len(t), 1))
    for degree in range(1, order + 1):
        below = weights
        weights = np.zeros((len(t), degree + 1))
        for i in range(degree):
            weights[:, i + 1] += (t + (degree - 1 - i)) * below[:, i] / degree
            weights[:, i] += (i + 1 - t) * below[:, i] / degree
    return weights


def _box_weights(x: Array, width: float, count: int) -> tuple[Array, Array]:
    """Return first voxels, and which part of a mean over `width` each voxel is."""
    starts = np.floor(x - width / 2 + 0.5)
    voxels = starts[:, None] + np.arange(count)
    low = np.maximum(voxels - 0.5, (x - width / 2)[:, None])
    high = np.minimum(voxels + 0.5, (x + width / 2)[:, None])
    return starts.astype(np.int64), np.maximum(high - low, 0.0) / width


@lru_cache(maxsize=256)
def _response(order: int, sigma: float, box: bool) -> Array:
    """Return the fixed part of the filter: Gaussian, and what makes splines meet."""
    gauss = np.asarray(gaussian_weights(sigma)) if sigma else np.ones(1)
    response = gauss
    if not box:
        for pole in _poles(order):
            reach = math.ceil(math.log(_PRECISION) / math.log(-pole))
            decay = pole ** np.abs(np.arange(-reach, reach + 1))
            response = np.convolve(response, decay / decay.sum())
    response = np.asarray(response / response.sum())
    response.setflags(write=False)
    return response


def _poles(order: int) -> tuple[float, ...]:
    """Return the poles of the filter that turns voxels into spline coefficients.

    References
    ----------
    M. Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal
    Processing Magazine 16 (1999), table 1 (there as powers of z).
    """
    root = math.sqrt
    return {
        2: (root(8) - 3,),
        3: (root(3) - 2,),
        4: (
            root(664 - root(438976)) + root(304) - 19,
            root(664 + root(438976)) - root(304) - 19,
        ),
        5: (
            root(67.5 - root(4436.25)) + root(26.25) - 6.5,
            root(67.5 + root(4436.25)) - root(26.25) - 6.5,
        ),
    }.get(order, ())
