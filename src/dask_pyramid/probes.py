"""What a reduction does to waves and to noise: probes go in, numbers come out.

Knows nothing of methods: a reduction is any function from an array to a smaller one, so
that those of other packages are measured by the same probes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Response", "band_limited", "probe"]

Array = np.ndarray[Any, Any]

# Voxels of a probe: its energies are then right to about one per cent.
_VOXELS = 2**19
_MOST_SAMPLES, _FEWEST_SAMPLES = 4096, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a reduction lets through."""

    kept: float
    """Variance that is left of the part of white noise below the new Nyquist
    frequency, of all the variance that goes in."""
    aliased: float
    """The same of the part above it, which the result shows as what it is not."""
    transfer: float
    """Amplitude that is left of a wave at half the new Nyquist frequency; the geometric
    mean over the axes that are reduced."""

    @property
    def aliasing(self) -> float:
        """Energy that is folded back, over energy that is kept."""
        return self.aliased / self.kept if self.kept else math.inf

    @property
    def noise(self) -> float:
        """Standard deviation that is left of white noise."""
        return math.sqrt(self.kept + self.aliased)


def probe(
    reduce: Callable[[Array], Array], factors: Sequence[float], *, seed: int = 0
) -> Response:
    """Measure a reduction with noise and with waves.

    Parameters
    ----------
    reduce : callable
        Takes an array of float32 with an axis for each factor, and gives the reduced
        array.
    factors : sequence of float
        Factor along each axis; 1 is an axis that stays.
    seed : int
        Of the phases of the noise.

    Returns
    -------
    Response
        Energies and transfer.

    Notes
    -----
    The noise has the same amplitude at every frequency, and random phases. Its parts
    below and above the new Nyquist frequency, ``1 / (2 * factor)`` cycles for each
    voxel along every axis, go in one after the other. Of methods that are not linear
    (`median`, `min`, `max`) this tells what they do to such noise, not to a sum.

    Examples
    --------
    >>> response = probe(lambda a: a.reshape(-1, 2).mean(axis=1), (2,))
    >>> round(response.aliasing, 2), round(response.noise**2, 2)
    (0.22, 0.5)
    """
    shape = _shape(factors)
    below, above = _noise(shape, factors, np.random.default_rng(seed))
    return Response(
        kept=float(np.var(reduce(below), dtype=np.float64)),
        aliased=float(np.var(reduce(above), dtype=np.float64)),
        transfer=_transfer(reduce, factors),
    )


def band_limited(
    array: Array, factor: float, *, axis: int, offset: float, count: int
) -> Array:
    """Return samples of the part of an array that lies below a new Nyquist frequency.

    Parameters
    ----------
    array : numpy.ndarray
        Any real dtype.
    factor : float
        Spacing of the samples in voxels; waves shorter than twice that are removed.
    axis : int
        Axis that is filtered.
    offset : float
        Where the first sample lies, in voxels.
    count : int
        Number of samples.

    Returns
    -------
    numpy.ndarray of float64
        `count` entries along `axis`.

    Notes
    -----
    The array is mirrored at its borders: its cosine series is cut, then summed where
    the samples lie.

    Examples
    --------
    >>> band_limited(np.full(8, 3.0), 4, axis=0, offset=1.5, count=2).round(6).tolist()
    [3.0, 3.0]
    """
    size = array.shape[axis]
    places = offset + factor * np.arange(count)
    waves = np.arange(math.floor(size / factor) + 1)[:size]
    weights = np.full(len(waves), 2.0 / size)
    weights[0] = 1.0 / size
    if len(waves) - 1 == size / factor:
        weights[-1] /= 2  # half of what lies on the edge
    analysis = np.cos(np.pi / size * np.outer(waves, np.arange(size) + 0.5))
    synthesis = np.cos(np.pi / size * np.outer(places + 0.5, waves)) * weights
    moved = np.moveaxis(array.astype(np.float64), axis, -1)
    return np.moveaxis(moved @ (synthesis @ analysis).T, -1, axis)


def _shape(factors: Sequence[float]) -> tuple[int, ...]:
    """Return a shape that is reduced to whole samples, a multiple of 4 of them."""
    reduced = sum(f > 1 for f in factors)
    room = (_VOXELS / math.prod(factors)) ** (1 / max(reduced, 1))
    samples = int(min(max(room, _FEWEST_SAMPLES), _MOST_SAMPLES)) // 4 * 4
    return tuple(round(samples * f) if f > 1 else 1 for f in factors)


def _noise(
    shape: Sequence[int], factors: Sequence[float], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return noise of variance 1 in two parts: below and above the new Nyquist."""
    below = np.ones((1,) * len(shape))
    for axis, (n, factor) in enumerate(zip(shape, factors, strict=True)):
        bins = np.abs(np.fft.fftfreq(n, 1 / n)) * 2 * factor
        part = np.where(np.isclose(bins, n), 0.5, np.where(bins < n, 1.0, 0.0))
        if factor > 1:
            below = below * np.expand_dims(
                part, [i for i in range(len(shape)) if i != axis]
            )
    # The phases of real noise are those of a real array, so that no half is redundant.
    spectrum = np.fft.fftn(rng.standard_normal(shape))
    spectrum *= math.sqrt(math.prod(shape)) / np.maximum(np.abs(spectrum), 1e-12)
    parts = (np.fft.ifftn(spectrum * np.sqrt(p)).real for p in (below, 1 - below))
    low, high = (part.astype(np.float32) for part in parts)
    return low, high


def _transfer(reduce: Callable[[Array], Array], factors: Sequence[float]) -> float:
    """Send a wave along each reduced axis, the others constant."""
    gains = []
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        shape = [round(f * (32 if i == axis else 1)) for i, f in enumerate(factors)]
        phase = np.arange(shape[axis]) * math.pi / (2 * factor)
        energy = 0.0
        for start in (0.0, math.pi / 2):
            wave = np.cos(phase - start).astype(np.float32)
            others = [i for i in range(len(shape)) if i != axis]
            block = np.broadcast_to(np.expand_dims(wave, others), shape).copy()
            result = np.moveaxis(reduce(block), axis, 0).astype(np.float64)
            quarter = len(result) // 4
            energy += float(np.var(result[quarter : quarter + len(result) // 2]))
        gains.append(math.sqrt(energy))
    return math.prod(gains) ** (1 / len(gains)) if gains else 1.0
