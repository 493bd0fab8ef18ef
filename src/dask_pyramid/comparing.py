"""Compare ways to reduce an image: what each is worth for it, and what it costs."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.axes import SPATIAL
from dask_pyramid.comparison import Comparison, MethodFigures
from dask_pyramid.contenders import Contender, find_contenders
from dask_pyramid.device import to_host
from dask_pyramid.factors import absolute_factors, is_whole
from dask_pyramid.probes import band_limited, probe
from dask_pyramid.sources import open_image
from dask_pyramid.windows import parse_region

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dask_pyramid.image import Image
    from dask_pyramid.passes import Part

__all__ = ["compare_methods"]

Array = np.ndarray[Any, Any]

# More than the caches hold, and slow methods of others still end within a second.
_SAMPLE_VOXELS = 2**24
# Quick methods are timed for as long as this, so that a busy moment does not tell.
_LEAST_SECONDS = 0.05


def compare_methods(
    image: Any,
    factors: int | Mapping[str, int],
    methods: Iterable[Any] | Mapping[str, Any] | None = None,
    *,
    reference: Any = None,
    region: Mapping[str, Any] | Sequence[Any] | None = None,
    repeats: int = 3,
) -> Comparison:
    """Compare ways to reduce an image: signal to noise, aliasing, sharpness, time.

    Parameters
    ----------
    image : Image, or what `open_image` takes
        The image; not labels.
    factors : int or dict by axis
        Factor of the reduction; an int is that of all spatial axes.
    methods : iterable or dict by label, optional
        What is compared; by default all linear methods. Each entry is a name out of
        `METHODS`, a `Method`, ``(method, sigma)``, a function that takes a NumPy array
        and gives the reduced one, or a dict of options: ``method`` and ``sigma``;
        ``order``, ``anti_aliasing`` and ``sigma`` of `resample`; or ``function`` and
        ``sample`` (``"centre"``, or ``"first"`` if the function keeps first voxels).
    reference : Image, or what `open_image` takes, optional
        The same image without noise, if that is known.
    region : dict by axis or sequence of slice or (start, stop), optional
        The sample that is read. By default the centre, at most 2**24 voxels, of the
        first time and channel.
    repeats : int
        How often each is timed at least, after a call that is not counted; the quick
        ones more often.

    Returns
    -------
    Comparison
        A table that prints, with `records`, `to_json` and `plot`.

    Raises
    ------
    ValueError
        If the image holds labels, nothing is reduced, the sample is smaller than a
        window, or a function gives another number of axes or more samples.

    Notes
    -----
    ``mean / std`` is the mean of the reduced sample over its standard deviation, the
    signal-to-noise ratio that is customary for pictures without a reference. It counts
    the structure of the image as noise, too: a method that blurs more has more of it.

    ``SNR [dB]``, with a reference, is ``10 * log10(signal / error)``: the variance of
    the ideal result over the mean square of the difference to it. The ideal result is
    the reference without all waves above the new Nyquist frequency, sampled where the
    method has its samples. Noise, aliasing, blur and rounding all count as error.

    ``noise left``, ``aliased / kept`` and ``sharpness`` belong to the method alone.
    White noise in two parts, below and above the new Nyquist frequency, and waves at
    half that frequency are sent through it: the standard deviation that is left of
    noise of standard deviation 1; the energy that is folded back, over the energy that
    is kept; and the amplitude that is left of a wave, the geometric mean over the axes.

    ``s / Gvoxel`` is the best time of the sample in memory, on one thread and with
    compiled kernels for methods of this package, for 10**9 voxels of input.

    The sample is cut to whole windows. It is read once and held in memory, with its
    results; with a reference, in float64.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(100, 10, (256, 256)).astype("float32")
    >>> found = compare_methods(noise, 2, ["nearest", "mean"], repeats=1)
    >>> [round(entry.noise, 1) for entry in found.figures]
    [1.0, 0.5]
    """
    opened = open_image(image)
    steps = _steps(opened, factors)
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats!r}")
    contenders = find_contenders(methods, steps, axes=opened.axes)
    part = _sample(opened, steps, region)
    block = _read(opened, part)
    truth = None if reference is None else _read(_same(opened, reference), part)
    timed = {c.label: _timed(c, block, repeats) for c in contenders}
    figures = []
    for contender in contenders:
        result, seconds = timed[contender.label]
        ideal = None if truth is None else _ideal(truth, result, contender, steps)
        response = probe(contender.respond, steps)
        figures.append(
            MethodFigures(
                label=contender.label,
                shape=result.shape,
                snr=_mean_over_std(result),
                snr_db=None if ideal is None else _decibels(result, ideal),
                noise=response.noise,
                aliasing=response.aliasing,
                sharpness=response.transfer,
                seconds=seconds * 1e9 / block.size,
            )
        )
    return Comparison(
        figures=tuple(figures),
        name=opened.name,
        dtype=str(opened.dtype),
        axes=opened.axes,
        factors=steps,
        region=part,
        repeats=repeats,
        results={label: result for label, (result, _) in timed.items()},
    )


def _steps(image: Image, factors: int | Mapping[str, int]) -> tuple[int, ...]:
    if image.labels:
        raise ValueError(
            f"image must hold intensities, got the labels {image.name!r}; "
            "for ids there are mode and nearest, and no noise to compare"
        )
    if factors == 1 or (isinstance(factors, dict) and set(factors.values()) <= {1}):
        raise ValueError(
            f"factors must be above 1 along some axis, got {factors!r}; 2 halves all "
            "spatial axes"
        )
    if isinstance(factors, dict | int):
        (steps,) = absolute_factors([factors], image.axes)
        if is_whole(steps):
            return tuple(map(int, steps))
    raise ValueError(
        f"factors must be a whole number or a dict by axis, got {factors!r}; "
        "{'y': 2, 'x': 2} halves y and x"
    )


def _sample(image: Image, steps: Sequence[int], region: Any) -> Part:
    """Return what is read: whole windows only."""
    if region is None:
        part = _centre(image, steps)
    else:
        part = parse_region(region, image.shape, image.axes)
    extents = [
        (stop - start) // f * f for (start, stop), f in zip(part, steps, strict=True)
    ]
    if 0 in extents:
        axis = extents.index(0)
        raise ValueError(
            f"region must hold a whole window of {steps[axis]} voxels along axis "
            f"{image.axes[axis]!r}, got {part[axis]!r}"
        )
    return tuple(
        (start, start + n) for (start, _), n in zip(part, extents, strict=True)
    )


def _centre(image: Image, steps: Sequence[int]) -> Part:
    """Return the centre: less of what stays first, then of what shrinks."""
    spatial = [axis in SPATIAL for axis in image.axes]
    extents = [n if s else 1 for n, s in zip(image.shape, spatial, strict=True)]
    for stays in (True, False):
        axes = [i for i, f in enumerate(steps) if spatial[i] and (f == 1) is stays]
        while axes and math.prod(extents) > _SAMPLE_VOXELS:
            longest = max(axes, key=lambda i: extents[i])
            if extents[longest] <= steps[longest]:
                break
            extents[longest] = max(extents[longest] // 2, steps[longest])
    starts = [
        (n - extent) // 2 // f * f if s else 0
        for n, extent, f, s in zip(image.shape, extents, steps, spatial, strict=True)
    ]
    return tuple((a, a + n) for a, n in zip(starts, extents, strict=True))


def _same(image: Image, reference: Any) -> Image:
    other = open_image(reference)
    if other.shape != image.shape:
        raise ValueError(
            f"reference must have the shape of the image, {image.shape}, "
            f"got {other.shape}"
        )
    return other


def _read(image: Image, part: Part) -> Array:
    region = tuple(slice(*edges) for edges in part)
    if image.reader is not None:
        return np.ascontiguousarray(image.reader.read(region))
    return np.ascontiguousarray(to_host(image.data[region].compute()))


def _timed(contender: Contender, block: Array, repeats: int) -> tuple[Array, float]:
    result = to_host(contender.reduce(block))
    if result.ndim != block.ndim or any(
        m > n for m, n in zip(result.shape, block.shape, strict=True)
    ):
        raise ValueError(
            f"methods must make an array of {block.shape} smaller, and keep its axes; "
            f"{contender.label!r} gives {result.shape}"
        )
    seconds: list[float] = []
    while len(seconds) < repeats or sum(seconds) < _LEAST_SECONDS:
        started = time.perf_counter()
        contender.reduce(block)
        seconds.append(time.perf_counter() - started)
    return result, min(seconds)


def _mean_over_std(result: Array) -> float:
    mean, std = (
        float(result.mean(dtype=np.float64)),
        float(result.std(dtype=np.float64)),
    )
    return mean / std if std else math.inf


def _ideal(
    truth: Array, result: Array, contender: Contender, steps: Sequence[int]
) -> Array:
    """Return what is below the new Nyquist frequency, at the samples of a result."""
    ideal = truth
    for axis, (n, count) in enumerate(zip(truth.shape, result.shape, strict=True)):
        if steps[axis] > 1:
            factor = n / count
            offset = (factor - 1) / 2 if contender.sample == "centre" else 0.0
            ideal = band_limited(ideal, factor, axis=axis, offset=offset, count=count)
    return ideal


def _decibels(result: Array, ideal: Array) -> float:
    error = float(np.mean((result.astype(np.float64) - ideal) ** 2))
    signal = float(np.var(ideal))
    return 10 * math.log10(signal / error) if error and signal else math.inf
