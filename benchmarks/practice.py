"""Practice 1: a stack of (100, 2040, 3300) made about nine times smaller in y and x.

NumPy, SciPy, scikit-image and this package reduce the same array in memory, in slabs of
20 planes, on one thread and in one run. Ten planes of fibres with photon and read
noise, repeated. Told of each: seconds for the stack; mean over standard deviation of
the result, which is what practice calls signal to noise; and signal over error in
decibels, against the noise-free image without its part above the new Nyquist frequency.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.transform import downscale_local_mean, rescale

import dask_pyramid as dp
from dask_pyramid.probes import band_limited

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from phantoms import filaments  # examples are no package

if TYPE_CHECKING:
    from collections.abc import Callable

FACTOR, STEP = 0.108333, 9
SIGMA = (1 / FACTOR - 1) / 2
SLAB = 20


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one way to reduce the stack costs, and what it is worth."""

    label: str
    ours: bool
    seconds: float
    mean_over_std: float
    decibels: float


def theirs() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what is used today."""

    def rescaled(slab: np.ndarray, *, smooth: bool) -> np.ndarray:
        factors = (1, FACTOR, FACTOR)
        return rescale(slab, factors, anti_aliasing=smooth, preserve_range=True)

    def smoothed(slab: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(slab, (0, SIGMA, SIGMA))[:, ::STEP, ::STEP]

    return {
        "NumPy slices": lambda slab: slab[:, ::STEP, ::STEP].copy(),
        "skimage rescale": lambda slab: rescaled(slab, smooth=False),
        "skimage rescale, anti-aliased": lambda slab: rescaled(slab, smooth=True),
        "skimage local mean": lambda slab: downscale_local_mean(slab, (1, STEP, STEP)),
        "SciPy Gaussian, then slices": smoothed,
    }


def ours() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what this package offers."""

    def down(method: str, sigma: float | None = None) -> Callable[..., np.ndarray]:
        spread = None if sigma is None else (0, sigma, sigma)
        return lambda slab: dp.downsample(slab, (1, STEP, STEP), method, sigma=spread)

    def resampled(slab: np.ndarray) -> np.ndarray:
        # By default order 1 and the Gaussian of rescale; one thread, as the others.
        image = dp.resample(slab, factor={"y": FACTOR, "x": FACTOR})
        return image.data.compute(scheduler="synchronous")

    return {
        "nearest": down("nearest"),
        "mean": down("mean"),
        "gaussian": down("gaussian"),
        # As wide, with its local mean, as the Gaussian of rescale.
        "gaussian, sigma 3.3": down("gaussian", 3.3),
        "gaussian-stride": down("gaussian-stride"),
        "resample, anti-aliased": resampled,
    }


def measured(
    label: str,
    reduce: Callable[[np.ndarray], np.ndarray],
    *,
    stack: np.ndarray,
    clean: np.ndarray,
    repeat: int,
) -> Row:
    """Reduce the stack, the fast ones several times."""
    slabs = [stack[i : i + SLAB] for i in range(0, len(stack), SLAB)]
    reduce(slabs[0])
    best = math.inf
    for _ in range(repeat):
        started = time.perf_counter()
        results = [reduce(slab) for slab in slabs]
        best = min(best, time.perf_counter() - started)
        if best > 5:
            break
    result = np.concatenate(results)
    return Row(
        label=label,
        ours=label in ours(),
        seconds=best,
        mean_over_std=float(result.mean() / result.std()),
        decibels=decibels(result[: len(clean)], clean, label),
    )


def decibels(result: np.ndarray, clean: np.ndarray, label: str) -> float:
    """Return signal over error, at the samples where the method has them."""
    first = "slices" in label or "stride" in label or label == "nearest"
    ideal = clean
    for axis in (1, 2):
        n, count = clean.shape[axis], result.shape[axis]
        factor = n / count if "rescale" in label else STEP
        factor = 1 / FACTOR if "resample" in label else factor
        offset = 0 if first else (factor - 1) / 2
        ideal = band_limited(ideal, factor, axis=axis, offset=offset, count=count)
    error = np.mean((result.astype("float64") - ideal) ** 2)
    return float(10 * np.log10(np.var(ideal) / error))


def told(rows: list[Row]) -> str:
    """Return the table, times also as multiples of the default method's."""
    default = next(row.seconds for row in rows if row.label == "gaussian")
    lines = [f"{'':32}{'seconds':>8}{'times':>8}{'mean/std':>10}{'SNR [dB]':>10}"]
    lines += [
        f"{('* ' if r.ours else '  ') + r.label:32}{r.seconds:8.3f}"
        f"{r.seconds / default:8.2f}{r.mean_over_std:10.3f}{r.decibels:10.2f}"
        for r in rows
    ]
    return "\n".join([*lines, "* this package; times: those of its gaussian"])


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=[100, 2040, 3300])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--toy", action="store_true", help="(4, 90, 180), once")
    options = parser.parse_args()
    if options.toy:
        options.shape, options.repeat = [4, 90, 180], 1
    drawn = min(options.shape[0], 10)
    noisy, clean = filaments((drawn, *options.shape[1:]))
    stack = np.tile(noisy, (-(-options.shape[0] // drawn), 1, 1))[: options.shape[0]]
    clean = clean[:4]
    rows = []
    for label, reduce in {**theirs(), **ours()}.items():
        rows.append(
            measured(label, reduce, stack=stack, clean=clean, repeat=options.repeat)
        )
    print(f"{tuple(stack.shape)} {stack.dtype}, factor {FACTOR} (1/{STEP}) in y and x")
    print(told(rows))
    if options.json:
        stated = {"shape": list(stack.shape), "factor": FACTOR, "step": STEP}
        stated["rows"] = [asdict(row) for row in rows]
        options.json.write_text(json.dumps(stated, indent=2) + "\n")


if __name__ == "__main__":
    main()
