"""Which factors the levels have: as asked for, by halves, or to isotropic voxels.

Factors are relative to level 0, one for each axis, and increase from level to level.
They are whole numbers or exact fractions: a float stands for the simplest fraction that
it is nearest to, so that ``1 / 0.202`` is 500/101 and twice that is 1000/101.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from dask_pyramid.axes import SPATIAL
from dask_pyramid.geometry import Factor, reduced_shape

__all__ = [
    "ScaleFactors",
    "absolute_factors",
    "auto_factors",
    "exact",
    "is_whole",
    "isotropic_factors",
    "plain",
    "restored",
]

ScaleFactors = str | Mapping[str, Any] | Sequence[float | str | Mapping[str, Any]]
"""``"auto"``, ``"isotropic"``, ``{"isotropic": spacing}``, or factors by level."""

Factors = tuple[Factor, ...]

# Far beyond any pyramid; the taps of a filter grow with the factor.
_MOST = 2**15

# The largest denominator that is tried for a float before its decimals are taken.
_SIMPLE = 10**6

# Spacings within this ratio of each other cannot come closer by halving one of them.
_MIDDLE = math.sqrt(2)

_STORED = re.compile(r"\d{1,64}(/[1-9]\d{0,63})?", re.ASCII)


def exact(value: Any) -> Factor:
    """Return a number as an int if it is whole, else as a fraction.

    Parameters
    ----------
    value : int, float, Fraction or str
        Finite; a text may be ``"500/101"``.

    Returns
    -------
    int or Fraction
        For a float the fraction with a denominator up to a million that rounds to it,
        if there is one, else its shortest decimals.

    Raises
    ------
    ValueError
        If it is not a number.

    Examples
    --------
    >>> exact(2.0), exact(1 / 0.202), exact("9.9"), exact("500/101")
    (2, Fraction(500, 101), Fraction(99, 10), Fraction(500, 101))
    """
    if isinstance(value, int | Fraction):
        number = Fraction(value)
    else:
        number = Fraction(str(value))
        simple = number.limit_denominator(_SIMPLE)
        if float(simple) == float(number):
            number = simple
    return number.numerator if number.denominator == 1 else number


def is_whole(factors: Sequence[Factor]) -> bool:
    """Return whether all factors are whole numbers."""
    return all(isinstance(factor, int) for factor in factors)


def plain(factors: Sequence[Factor]) -> list[int | str]:
    """Return factors as JSON values: fractions as texts, exact.

    Examples
    --------
    >>> plain((1, Fraction(500, 101)))
    [1, '500/101']
    """
    return [f if isinstance(f, int) else str(f) for f in factors]


def restored(values: Iterable[Any]) -> Factors:
    """Return the factors that `plain` gave.

    Raises
    ------
    ValueError
        If one is not a positive number.

    Examples
    --------
    >>> restored([1, "500/101"])
    (1, Fraction(500, 101))
    """
    found = []
    for value in values:
        whole = isinstance(value, int) and not isinstance(value, bool)
        # What is stored may be anything: "1e999999999" would be computed for ever.
        if not whole and not (isinstance(value, str) and _STORED.fullmatch(value)):
            raise ValueError(f"a factor must be a number or a fraction, got {value!r}")
        found.append(exact(value))
    if any(factor < 1 for factor in found):
        raise ValueError(f"factors must be at least 1, got {found!r}")
    return tuple(found)


def absolute_factors(
    scale_factors: Iterable[Any], axes: Sequence[str]
) -> tuple[Factors, ...]:
    """Check a list of factors and spread each over the axes.

    Parameters
    ----------
    scale_factors : iterable of number or dict by axis
        Factors relative to level 0. A number reduces all spatial axes; an axis that a
        dict does not name keeps its factor of level 0, 1.
    axes : sequence of str
        Axes in storage order.

    Returns
    -------
    tuple of tuple of int or Fraction
        One factor for each axis, for each level but level 0.

    Raises
    ------
    ValueError
        If a factor is not a number of at least 1, names an axis that is not there or is
        not spatial, or the factors do not increase.

    Examples
    --------
    >>> absolute_factors([2, {"y": 4, "x": 4, "z": 2}], ("z", "y", "x"))
    ((2, 2, 2), (2, 4, 4))
    >>> absolute_factors([1.5, 3], ("y", "x"))
    ((Fraction(3, 2), Fraction(3, 2)), (3, 3))
    >>> absolute_factors([2, 2], ("y", "x"))
    Traceback (most recent call last):
    ...
    ValueError: scale_factors must increase, got (2, 2); they are relative to level 0, \
so halvings are (2, 4)
    """
    given = tuple(scale_factors)
    spread = tuple(_spread(entry, axes) for entry in given)
    previous: Factors = (1,) * len(axes)
    for entry, factors in zip(given, spread, strict=True):
        if max(factors) == 1:
            raise ValueError(
                "scale_factors must be above 1 along some axis for each further level, "
                f"got {entry!r}; level 0 is there anyway, so leave it out"
            )
        grows = factors != previous
        if not grows or any(f < p for f, p in zip(factors, previous, strict=True)):
            halvings = tuple(2 ** (k + 1) for k in range(len(given)))
            raise ValueError(
                f"scale_factors must increase, got {given!r}; they are relative to "
                f"level 0, so halvings are {halvings!r}"
            )
        previous = factors
    return spread


def _spread(entry: Any, axes: Sequence[str]) -> Factors:
    if isinstance(entry, Mapping):
        for axis, factor in entry.items():
            _check_axis(axis, factor, axes)
        return tuple(_checked(entry.get(axis, 1)) for axis in axes)
    factor = _checked(entry)
    return tuple(factor if axis in SPATIAL else 1 for axis in axes)


def _check_axis(axis: str, factor: Any, axes: Sequence[str]) -> None:
    if axis not in axes:
        raise ValueError(
            f"scale_factors must name axes of the image ({''.join(axes)}), got {axis!r}"
        )
    if axis not in SPATIAL and factor != 1:
        raise ValueError(
            f"scale_factors must leave axis {axis!r} alone, got {factor!r}; "
            "only z, y and x are reduced"
        )


def _checked(factor: Any) -> Factor:
    try:
        size = float(Fraction(factor) if isinstance(factor, str) else factor)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        size = math.nan
    if isinstance(factor, bool) or not 1 <= size < math.inf:
        raise ValueError(
            f"scale_factors must be numbers of at least 1, got {factor!r}; 2 halves "
            "every spatial axis, {'y': 2, 'x': 2} halves y and x"
        )
    if size > _MOST:
        raise ValueError(f"scale_factors must be at most {_MOST}, got {factor!r}")
    return exact(factor)


def auto_factors(
    shape: Sequence[int],
    scale: Sequence[float],
    *,
    axes: Sequence[str],
    chunks: Sequence[int],
) -> tuple[Factors, ...]:
    """Choose factors that first make voxels isotropic, then keep them so.

    Each level halves the spatial axes whose spacing is at most sqrt(2) times the
    finest one; levels are added until the spatial part fits into one chunk.

    Parameters
    ----------
    shape : sequence of int
        Extent of level 0.
    scale : sequence of float
        Spacing of level 0.
    axes : sequence of str
        Axes in storage order.
    chunks : sequence of int
        Extent of a chunk.

    Returns
    -------
    tuple of tuple of int
        Factors from level 0, for each level but level 0; empty for a small image.

    Notes
    -----
    Only axes longer than one voxel are halved, and only they are looked at to find the
    finest spacing: the z of a single plane says nothing.

    Examples
    --------
    >>> auto_factors((60, 512, 512), (1.0, 0.25, 0.25), axes="zyx", chunks=(64,) * 3)
    ((1, 2, 2), (1, 4, 4), (2, 8, 8))
    """
    return tuple(_halvings(shape, scale, [1] * len(axes), axes=axes, chunks=chunks))


def _halvings(
    shape: Sequence[int],
    scale: Sequence[float | Fraction],
    factors: Sequence[Factor],
    *,
    axes: Sequence[str],
    chunks: Sequence[int],
) -> Iterator[Factors]:
    """Yield what follows on a level until one fits into a chunk."""
    factors = list(factors)
    while True:
        now = reduced_shape(shape, factors)
        live = _live(now, axes)
        if all(now[i] <= chunks[i] for i in live):
            return
        finest = min(scale[i] * factors[i] for i in live)
        for i in live:
            # A hair of tolerance: 2 * 0.1 / (0.2 * 2**0.5) must not depend on rounding.
            if scale[i] * factors[i] <= finest * _MIDDLE * (1 + 1e-9):
                factors[i] *= 2
        yield tuple(factors)


def _live(shape: Sequence[int], axes: Sequence[str]) -> list[int]:
    return [i for i, axis in enumerate(axes) if axis in SPATIAL and shape[i] > 1]


def isotropic_factors(
    shape: Sequence[int],
    scale: Sequence[Fraction],
    *,
    axes: Sequence[str],
    chunks: Sequence[int],
    spacing: Fraction | None = None,
) -> tuple[Factors, ...]:
    """Choose factors of which one makes voxels isotropic, exactly.

    Parameters
    ----------
    shape : sequence of int
        Extent of level 0.
    scale : sequence of Fraction
        Spacing of level 0, in one unit.
    axes : sequence of str
        Axes in storage order.
    chunks : sequence of int
        Extent of a chunk.
    spacing : Fraction, optional
        Spacing of the isotropic level; by default that of the coarsest axis, or twice
        that if the level would keep more than half of the voxels of the level below.

    Returns
    -------
    tuple of tuple of int or Fraction
        Factors from level 0, for each level but level 0. The isotropic one is always
        among them, if level 0 is not; after it, all axes are halved until the spatial
        part fits into one chunk.

    Raises
    ------
    ValueError
        If `spacing` is finer than an axis of level 0.

    Notes
    -----
    Before the isotropic level the finest axes are halved as long as at least a factor
    of sqrt(2) is left for its own step, which therefore is between sqrt(2) and its
    double along the axes that were finest. As in `auto_factors`, only axes longer than
    one voxel count.

    Examples
    --------
    >>> spacings = (Fraction(1), Fraction("0.202"), Fraction("0.202"))
    >>> for factors in isotropic_factors(
    ...     (86, 396, 393), spacings, axes="zyx", chunks=(64,) * 3
    ... ):
    ...     print(*factors)
    1 2 2
    1 500/101 500/101
    2 1000/101 1000/101
    """
    live = _live(shape, axes)
    if not live:
        return ()
    coarsest = max(scale[i] for i in live)
    if spacing is not None and spacing < coarsest:
        raise ValueError(
            "the isotropic spacing must be at least that of the coarsest axis, "
            f"{float(coarsest):g}, got {float(spacing):g}; dask_pyramid.resample makes "
            "voxels finer"
        )
    path = _approach(scale, spacing or coarsest, live)
    if spacing is None and not _is_worthwhile(path):
        path = _approach(scale, 2 * coarsest, live)
    after = _halvings(shape, scale, path[-1], axes=axes, chunks=chunks)
    return tuple(tuple(map(exact, factors)) for factors in (*path[1:], *after))


def _approach(
    scale: Sequence[Fraction], spacing: Fraction, live: Sequence[int]
) -> list[Factors]:
    """Return the factors from level 0 to the isotropic level, both included."""
    goal = [spacing / s if i in live else Fraction(1) for i, s in enumerate(scale)]
    path: list[Factors] = [(1,) * len(scale)]
    while path[-1] != tuple(goal):
        now = path[-1]
        finest = min(scale[i] * now[i] for i in live)
        # Squares, because they are exact: at least twice _MIDDLE is left.
        halved = [
            i
            for i in live
            if (goal[i] / now[i]) ** 2 >= 8
            and (scale[i] * now[i]) ** 2 <= 2 * finest**2
        ]
        nearer = tuple(2 * f if i in halved else f for i, f in enumerate(now))
        path.append(nearer if halved else tuple(goal))
    return path


def _is_worthwhile(path: Sequence[Factors]) -> bool:
    """Return whether the last level is at most half as large as the one before."""
    if len(path) == 1:
        return True
    steps = (f / Fraction(p) for f, p in zip(path[-1], path[-2], strict=True))
    return math.prod(steps) >= 2
