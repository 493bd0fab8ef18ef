"""The fused kernels: their text, built for the host, against the kernels of the CPU."""

import mmap

import numpy as np
import pytest

from dask_pyramid import downsample
from dask_pyramid.geometry import Span, ceil_div, needed
from dask_pyramid.kernels import fused, fused_filters, launching, reduce_block
from dask_pyramid.methods import METHODS
from dask_pyramid.nodata import Nodata
from drawn import values

pytestmark = pytest.mark.once

INTEGERS = "uint8 int8 uint16 int16 uint32 int32".split()
ARITHMETIC = ("bool", *INTEGERS, "float32", "float64")
SORTED = ("bool", *INTEGERS, "uint64", "int64")
SUMS = ("gaussian", "gaussian-stride", "mean")
FUSED = [
    *((m, dtype) for m in SUMS for dtype in ARITHMETIC),
    *((m, dtype) for m in ("min", "max") for dtype in (*SORTED, "float32", "float64")),
    *((m, dtype) for m in ("median", "mode") for dtype in SORTED),
]


@pytest.fixture(autouse=True)
def _on_the_host(host_kernels, monkeypatch):
    monkeypatch.setattr(launching, "compile_kernel", host_kernels)


def reduction_of(method, factors, sigma=None):
    axes = [str(i) for i in range(len(factors))]
    return METHODS[method].reduction(factors, axes=axes, sigma=sigma)


def both(array, reduction, ranges):
    """Return the samples of the fused kernel and of the CPU's."""
    region = tuple(
        needed(*span, step=step, reach=reach, size=n)
        for span, step, reach, n in zip(
            ranges, reduction.steps, reduction.reaches, array.shape, strict=True
        )
    )
    spans = [
        Span(first=a, stop=b, size=n)
        for (a, b), n in zip(ranges, array.shape, strict=True)
    ]
    block = array[region]
    assert fused.has_kernel(block.dtype, reduction)
    return fused.reduce_block(block, reduction, spans), reduce_block(
        block, reduction, spans
    )


def assert_same_bytes(array, reduction, ranges):
    ours, theirs = both(array, reduction, ranges)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes(), (array.shape, reduction, ranges)


def whole(array, reduction):
    return [
        (0, ceil_div(n, f)) for n, f in zip(array.shape, reduction.steps, strict=True)
    ]


def some(rng, array, reduction):
    """Draw a range of samples along each axis: to a border, or in the middle."""
    ranges = []
    for _, stop in whole(array, reduction):
        first = int(rng.integers(0, stop))
        ranges.append((first, int(rng.integers(first + 1, stop + 1))))
    return ranges


@pytest.mark.parametrize(("method", "dtype"), FUSED)
def test_fused_kernels_give_the_bytes_of_the_cpu(method, dtype):
    number = FUSED.index((method, dtype))
    rng = np.random.default_rng(number)
    ndim = int(rng.integers(2, 5))
    # What is built depends on the factors, and on where rows begin: one of each here.
    factors = tuple(int(f) for f in rng.integers(1, 5 if method in SUMS else 4, ndim))
    factors = (1,) * (ndim - 3) + factors[-3:]
    reduction = reduction_of(method, factors)
    longest = {2: 300, 3: 40, 4: 14}[ndim]
    for style in ("any", "extremes"):
        shape = [int(n) for n in rng.integers(4, longest, ndim)]
        shape[-1] = shape[-1] // 16 * 16 + 16 + number % 2
        array = values(shape, dtype, seed=1, style=style)
        assert_same_bytes(array, reduction, whole(array, reduction))
        assert_same_bytes(array, reduction, some(rng, array, reduction))


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 2, 2), (1, 1, 2), (2, 1, 1)])
@pytest.mark.parametrize("method", ["gaussian", "mean"])
def test_volumes_of_several_tiles_give_the_bytes_of_the_cpu(method, factors):
    array = values((19, 21, 403), "uint16")
    reduction = reduction_of(method, factors)
    assert_same_bytes(array, reduction, whole(array, reduction))


def test_a_march_of_several_chunks_gives_the_bytes_of_the_cpu(monkeypatch):
    monkeypatch.setattr(fused_filters, "_CHUNK", 3)
    array = values((9, 31, 20), "uint8")
    reduction = reduction_of("gaussian", (2, 2, 2))
    assert_same_bytes(array, reduction, whole(array, reduction))
    assert_same_bytes(array, reduction, [(1, 3), (2, 16), (0, 9)])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    ("shape", "factors", "sigma"),
    [
        ((30, 41, 52), (2, 3, 4), 5),
        ((3, 300), (2, 7), 12),
        ((200,), (16,), None),
        ((3, 4, 9, 8), (2, 1, 2, 2), None),
    ],
)
def test_filters_too_long_for_registers_go_axis_by_axis(shape, factors, sigma, dtype):
    array = values(shape, dtype)
    reduction = reduction_of("gaussian", factors, sigma)
    assert_same_bytes(array, reduction, whole(array, reduction))
    assert_same_bytes(
        array, reduction, some(np.random.default_rng(0), array, reduction)
    )


@pytest.mark.parametrize("sigma", [0, 0.5, 1.1])
def test_arrays_shorter_than_their_filter_are_mirrored(sigma):
    reduction = reduction_of("gaussian", (2, 2, 2), sigma)
    for shape in ((1, 1, 1), (1, 2, 3), (2, 5, 1), (3, 3, 3)):
        array = values(shape, "int16")
        assert_same_bytes(array, reduction, whole(array, reduction))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["gaussian", "mean", "min", "max"])
def test_nan_and_infinity_give_the_bytes_of_the_cpu(method, dtype):
    array = values((7, 9, 31), dtype)
    array[3, 4, 5] = np.nan
    array[6, 8, 30] = np.inf
    reduction = reduction_of(method, (2, 2, 2))
    assert_same_bytes(array, reduction, whole(array, reduction))


@pytest.mark.parametrize("method", ["gaussian", "mean", "mode"])
def test_blocks_of_any_strides_give_the_bytes_of_the_cpu(method):
    array = values((9, 10, 22), "uint8")
    reduction = reduction_of(method, (2, 2, 2))
    views = (
        array[::-1],
        array[..., ::2],
        array.transpose(1, 0, 2),
        array.T,
        array[1:8, 2:7, 3:18],
        np.broadcast_to(array[:1], array.shape),
    )
    for view in views:
        assert_same_bytes(view, reduction, whole(view, reduction))


@pytest.mark.parametrize("method", ["gaussian", "mean", "mode"])
def test_samples_are_written_where_they_belong(method):
    array = values((3, 8, 9, 10), "uint16")
    reduction = reduction_of(method, (1, 2, 2, 2))
    spans = [
        Span(first=0, stop=stop, size=n)
        for (_, stop), n in zip(whole(array, reduction), array.shape, strict=True)
    ]
    expected = reduce_block(array, reduction, spans)
    for memory in (np.zeros((3, 4, 5, 5), "u2"), np.zeros((3, 6, 5, 7), "u2")):
        out = memory[:, :4, :, :5]
        assert fused.reduce_block(array, reduction, spans, out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    "method", ["gaussian", "gaussian-stride", "mean", "max", "mode"]
)
def test_voxels_beyond_2_to_the_31_are_found(method):
    # A plane of 2**31 voxels and a few: only those that are touched take memory.
    plane, row = 2**31 + 2**20 + 64, 2**28 + 4096
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # no memory is set aside
    try:
        memory = mmap.mmap(-1, 6 * plane, flags=flags)
    except OSError as error:
        pytest.skip(f"the system gives no address space: {error}")
    flat = np.frombuffer(memory, "u1")
    block = np.lib.stride_tricks.as_strided(flat, (6, 7, 40), (plane, row, 1))
    block[...] = values(block.shape, "uint8")
    reduction = reduction_of(method, (2, 2, 2))
    expected = values(block.shape, "uint8")
    ours, _ = both(block, reduction, whole(block, reduction))
    np.testing.assert_array_equal(
        ours, both(expected, reduction, whole(block, reduction))[1]
    )


def test_more_blocks_than_a_launch_takes_are_refused(monkeypatch):
    monkeypatch.setattr(launching, "_INT", 1)
    array = np.zeros((4, 4), "u1")
    spans = [Span(first=0, stop=2, size=4)] * 2
    with pytest.raises(ValueError, match="make it smaller"):
        fused.reduce_block(array, reduction_of("mean", (2, 2)), spans)


def test_what_has_no_fused_kernel_is_known():
    for dtype, method, factors in (
        ("float16", "mean", (2, 2)),
        ("int64", "mean", (2, 2)),
        ("int64", "gaussian", (2, 2)),
        ("float32", "median", (2, 2)),
        ("uint8", "nearest", (2, 2)),
        ("uint8", "mode", (5, 5, 5)),
        ("uint8", "mean", (2, 1, 1, 1)),
        ("uint8", "max", (1, 17)),
        (">u2", "mean", (2, 2)),
    ):
        assert not fused.has_kernel(np.dtype(dtype), reduction_of(method, factors))
    dtype = np.dtype("uint8")
    ignoring = METHODS["mode"].reduction(
        (2, 2), axes="yx", ignore=Nodata.parse(0, False, dtype)
    )
    assert not fused.has_kernel(dtype, ignoring)


def test_kernels_of_a_gpu_are_found_through_the_public_function(like_cupy):
    array = values((9, 8, 7), "uint8")
    result = downsample(like_cupy.asarray(array), 2)
    assert type(result) is like_cupy.ndarray
    np.testing.assert_array_equal(result.get(), downsample(array, 2))


@pytest.mark.parametrize("method", METHODS)
def test_voxels_that_do_not_count_are_left_out_on_a_gpu_too(method, like_cupy):
    array = values((9, 8, 7), "int16", style="few")
    options = {"method": method, "nodata": 0}
    result = downsample(like_cupy.asarray(array), 2, **options)
    np.testing.assert_array_equal(result.get(), downsample(array, 2, **options))
