"""On which device the levels of a plan are made, and what they take of it.

Whatever is stored goes through the codecs of the host, and everything that a GPU makes
levels of goes through its bus. So it pays only where reductions are a large part of the
work. How long they take on the host was measured; what a bus carries is the figure of
PCIe 4 with 16 lanes, halved, and kernels are taken to be no slower than that: neither
was measured here.
"""

from __future__ import annotations

import itertools
import logging
import math
from typing import TYPE_CHECKING, Any

from dask_pyramid.geometry import Span
from dask_pyramid.holdings import device_tile, device_use
from dask_pyramid.kernels.scratch import scratch_bytes
from dask_pyramid.sampling import pass_order

if TYPE_CHECKING:
    from dask_pyramid.crew import Offer
    from dask_pyramid.methods import Reduction
    from dask_pyramid.passes import Pass
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.tiles import Tile

__all__ = ["pays", "reduce_time", "taken", "tile", "use"]

_log = logging.getLogger("dask_pyramid")

# Nanoseconds of one core for each voxel that is read (README, "What it costs"): what a
# multiplication and addition of a filter takes, and the kernels without taps.
_TAP = 0.09
_WINDOWS: dict[str, float] = {
    "mean": 0.2,
    "first": 0.1,
    "min": 0.6,
    "max": 0.6,
    "median": 1.6,
    "mode": 2.8,
}
# Of samplings, whose taps are gathered (benchmarks/resample.py, down by 2.5).
_GATHERED_TAP = 0.5
# Filters where not all voxels count go over values and weights.
_TWICE = 2
# Of floats, which are sorted otherwise.
_FLOAT_WINDOWS = {"median": 11.0, "mode": 11.0}
# Decoding and encoding with Blosc (zstd, level 3), nanoseconds of one core.
_CODECS = 1.0 + 3.4
# Bytes in a nanosecond, not measured.
_BUS = 12.0
# Starting CUDA and compiling kernels takes seconds.
_FEW_VOXELS = 2**28
# A GPU must save this part of the time: the figures are rough.
_GAIN = 0.25


def reduce_time(reduction: Reduction, *, floats: bool) -> float:
    """Return how long a core reduces, in nanoseconds for each voxel that it reads.

    Parameters
    ----------
    reduction : Reduction
        The reduction; a filter works on what the axes before it have left.
    floats : bool
        Whether voxels are floats.

    Examples
    --------
    >>> from dask_pyramid import METHODS
    >>> round(reduce_time(METHODS["gaussian"].reduction((2, 2, 2), axes="zyx"),
    ...                   floats=False), 2)
    0.47
    """
    if reduction.samplers:
        return _GATHERED_TAP * _taps_of_samplers(reduction)
    if reduction.filters:
        left = itertools.accumulate(reduction.steps, lambda n, step: n * step)
        taps = (
            len(filt.taps(filt.step)) / done
            for filt, done in zip(reduction.filters, left, strict=True)
            if filt.step > 1
        )
        total: float = sum(taps)
        return _TAP * total * (1 if reduction.ignore is None else _TWICE)
    windows = {**_WINDOWS, **_FLOAT_WINDOWS} if floats else _WINDOWS
    return windows.get(reduction.kernel, 0.0)


def _taps_of_samplers(reduction: Reduction) -> float:
    """Return the taps for each voxel that is read; of axes that are long."""
    long = Span(first=0, stop=1, size=2**20)
    samplings = tuple(sampler.sampling(long) for sampler in reduction.samplers)
    total, left = 0.0, 1.0
    for axis in pass_order(samplings):
        left /= samplings[axis].a
        total += samplings[axis].n_taps * left
    return total


def pays(
    reduction: Reduction | None,
    *,
    dtype: str,
    n_voxels: int,
    workers: int,
    on_gpu: bool,
) -> tuple[bool, str]:
    """Return whether a GPU is worth its bus, and why.

    Parameters
    ----------
    reduction : Reduction or None
        What makes level 1; None if there is only level 0.
    dtype : str
        Data type of the voxels.
    n_voxels : int
        Voxels that are read.
    workers : int
        Units that run at a time, on a core each.
    on_gpu : bool
        Whether the voxels lie on a GPU already.

    Returns
    -------
    taken : bool
        Whether to take the GPU.
    why : str
        The reason, for the log.

    Notes
    -----
    The GPU is taken

    - if voxels are there already: whoever has put them there uses it anyway;
    - else not for small jobs, which end before CUDA has started;
    - else if it saves a quarter of the time. On the host alone, cores decode, reduce
      and encode in turn; with a GPU they decode and encode while the bus carries
      voxels, and the slower of the two sets the pace. So long filters, `mode` and
      `median` speak for the GPU, and many cores, wide voxels and short filters against.
    """
    if reduction is None:
        return False, "no level is to be made"
    if on_gpu:
        return True, "the blocks are on a GPU already"
    if n_voxels < _FEW_VOXELS:
        return False, f"{n_voxels} voxels are done before a GPU has started"
    kind = dtype.rstrip("0123456789")
    bits = dtype[len(kind) :] or "8"
    reducing = reduce_time(reduction, floats=kind == "float")
    host = (_CODECS + reducing) / workers
    bus = int(bits) / 8 / _BUS
    device = max(_CODECS / workers, bus)
    share = math.floor(100 * reducing / (_CODECS + reducing))
    figures = (
        f"reductions are about {share} % of the work of {workers} cores, "
        f"{host:.2g} ns for a voxel, against {device:.2g} ns with a GPU"
    )
    return device <= (1 - _GAIN) * host, figures


def taken(offer: Offer, reduction: Reduction | None, **work: Any) -> int:
    """Return how much GPU memory a process takes of what is offered; 0: none.

    Parameters
    ----------
    offer : Offer
        What is asked for, and what there is.
    reduction : Reduction or None
        As for `pays`.
    **work
        Further arguments of `pays`, for ``"auto"``; what it takes and why is logged.
    """
    takes, why = offer.device == "gpu", offer.missing
    if offer.device == "auto":
        if offer.memory:
            takes, why = pays(reduction, **work)
        _log.info("device %s: %s", "gpu" if takes else "cpu", why)
    return offer.memory if takes else 0


def use(plan: PyramidPlan) -> tuple[int, int]:
    """Return how many units of a process are on a GPU at a time, and their bytes.

    Parameters
    ----------
    plan : PyramidPlan
        The plan; both are 0 on the host.
    """
    return device_use(
        plan.passes,
        itemsize=plan.itemsize,
        memory=plan.gpu_memory,
        scratch=[_scratch(plan, sweep) for sweep in plan.passes],
    )


def tile(plan: PyramidPlan, sweep: Pass) -> Tile:
    """Return how much a unit makes on a GPU at a time.

    Parameters
    ----------
    plan : PyramidPlan
        The plan, for a GPU.
    sweep : Pass
        The pass of the unit.
    """
    return device_tile(
        sweep,
        itemsize=plan.itemsize,
        memory=plan.gpu_memory // plan.gpu_places,
        scratch=_scratch(plan, sweep),
    )[0]


def _scratch(plan: PyramidPlan, sweep: Pass) -> float:
    """Return what kernels hold on a GPU for each voxel that they read, at most."""
    return max(
        (
            scratch_bytes(plan.dtype, plan.reduction(level.level), on_gpu=True)
            for level in sweep.levels[1:]
        ),
        default=0,
    )
