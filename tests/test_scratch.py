"""What kernels hold beside what they read and make is what they are said to."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.kernels import fused, reduce_block
from dask_pyramid.kernels.scratch import scratch_bytes
from dask_pyramid.methods import METHODS
from dask_pyramid.nodata import Nodata
from drawn import values

SHAPE = (40, 48, 56)
ISOTROPIC = (Fraction(5, 4), Fraction(5, 2), Fraction(5, 2))


def reduction_of(method, *, steps=(2, 2, 2), sigma=None, dtype=None):
    """Return a reduction; with a dtype, zeros do not count."""
    ignore = None if dtype is None else Nodata.parse(0, False, np.dtype(dtype))
    return METHODS[method].reduction(steps, axes="zyx", sigma=sigma, ignore=ignore)


def spans_of(reduction):
    return [
        Span(first=0, stop=ceil_div(n, step), size=n)
        for n, step in zip(SHAPE, reduction.steps, strict=True)
    ]


CASES = [
    *(reduction_of(method) for method in METHODS),
    reduction_of("gaussian", sigma=3),
    reduction_of("mean", steps=(4, 4, 4)),
    *(reduction_of(method, steps=ISOTROPIC) for method in ("gaussian", "nearest")),
]


@pytest.mark.parametrize("counts", ["all", "some"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "uint64", "float64"])
def test_generic_kernels_hold_no_more_than_they_are_said_to(dtype, counts):
    cases = CASES
    if counts == "some":
        cases = [
            *(reduction_of(method, dtype=dtype) for method in METHODS),
            *(
                reduction_of(method, steps=ISOTROPIC, dtype=dtype)
                for method in ("gaussian", "nearest")
            ),
        ]
    block = values(SHAPE, dtype)
    for reduction in cases:
        reduce_block(block, reduction, spans_of(reduction))  # what is cached
        tracemalloc.start()
        try:
            samples = reduce_block(block, reduction, spans_of(reduction))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        said = scratch_bytes(dtype, reduction) * block.size
        assert peak - samples.nbytes <= said + 2**12, reduction


@pytest.mark.parametrize("in_one_piece", [True, False])
@pytest.mark.parametrize(
    ("method", "dtype", "sigma"),
    [
        ("mean", "uint8", None),
        ("gaussian", "uint16", None),
        ("gaussian", "float32", 5),
        ("gaussian", "uint8", 5),
    ],
)
def test_fused_kernels_hold_no_more_than_they_are_said_to(
    method, dtype, sigma, in_one_piece, like_cupy
):
    reduction = reduction_of(method, sigma=sigma)
    spans = spans_of(reduction)
    block = like_cupy.asarray(values(SHAPE, dtype))
    assert fused.has_kernel(block.dtype, reduction)
    shape = [span.count for span in spans]
    memory = like_cupy.empty([shape[0], shape[1] + (not in_one_piece), shape[2]], dtype)
    like_cupy.memory.peak = before = like_cupy.memory.held
    reduce_block(block, reduction, spans, out=memory[:, : shape[1]])
    taken = like_cupy.memory.peak - before
    tables = 2**10  # of the weights
    said = scratch_bytes(dtype, reduction, on_gpu=True) * block.size
    assert taken <= said + tables
    if in_one_piece and sigma is None:
        assert taken == 0


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        *((method, (2, 2, 2)) for method in METHODS),
        ("gaussian", ISOTROPIC),
        ("nearest", ISOTROPIC),
    ],
)
def test_voxels_that_do_not_count_take_no_more_on_a_gpu_than_is_said(
    method, steps, like_cupy
):
    reduction = reduction_of(method, steps=steps, dtype="float32")
    block = like_cupy.asarray(values(SHAPE, "float32"))
    mask = like_cupy.asarray(values(SHAPE, "bool"))
    like_cupy.memory.peak = before = like_cupy.memory.held
    samples = reduce_block(block, reduction, spans_of(reduction), mask=mask)
    taken = like_cupy.memory.peak - before - samples.nbytes
    said = scratch_bytes("float32", reduction, on_gpu=True) * block.size
    assert taken <= said
