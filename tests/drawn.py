"""What hypothesis draws: arrays, factors, chunkings. Values come from a seed."""

import itertools
import math
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
FLOATS = ("float16", "float32", "float64")
DTYPES = ("bool", *INTEGERS, *FLOATS)

# Extents are drawn so that about a thousand voxels are the most, the oracle being slow.
LONGEST = {1: 60, 2: 29, 3: 11, 4: 6, 5: 4}


def values(shape, dtype, seed=0, style="any"):
    """Random values over the whole range, a few distinct ones, or the extremes."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "f":
        drawn = rng.normal(100, 50, shape)
        return (drawn.round(-2) if style == "few" else drawn).astype(dtype)
    info = np.iinfo(dtype)
    if style == "extremes":
        choices = [info.min, info.min + 1, info.max - 1, info.max]
        return rng.choice(np.array(choices, dtype), shape)
    if style == "few":
        return rng.integers(0, 3, shape, dtype=dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def odd_floats(shape, dtype, seed=0):
    """Zeros, NaN and infinities of both signs, and a few other values."""
    odd = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1, -1], dtype)
    share = (0.3, 0.3, 0.02, 0.02, 0.08, 0.08, 0.1, 0.1)
    return np.random.default_rng(seed).choice(odd, shape, p=share)


@st.composite
def shapes(draw, dims=(1, 5), most=None):
    ndim = draw(st.integers(*dims))
    longest = most or LONGEST[ndim]
    return tuple(draw(st.integers(1, longest)) for _ in range(ndim))


@st.composite
def cases(draw, dtypes=DTYPES, dims=(1, 5), styles=("any", "few", "extremes")):
    """Draw (array, factors); factors 1 to 4, mixed."""
    shape = draw(shapes(dims))
    factors = tuple(draw(st.integers(1, 4)) for _ in shape)
    dtype = draw(st.sampled_from(dtypes))
    seed = draw(st.integers(0, 2**16))
    return values(shape, dtype, seed, draw(st.sampled_from(styles))), factors


@st.composite
def partitions(draw, n, parts=4):
    """Draw a chunking of an axis of extent `n`, regular or not."""
    inner = draw(st.sets(st.integers(1, n - 1), max_size=parts - 1)) if n > 1 else set()
    cuts = [0, *sorted(inner), n]
    return tuple(b - a for a, b in itertools.pairwise(cuts))


def spatial(shape):
    """Return axes, at least two of them spatial, for a shape of 2 to 5 dimensions."""
    return {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}[len(shape)]


def volume(shape):
    return math.prod(shape)


@contextmanager
def small_world(*, unit=1, slab=1, fused=3, block=1, kernel=2**17, encode=1, read=None):
    """Let tiny images be cut as only huge ones are: units, slabs, strips, blocks.

    None of these numbers may show in a pixel; all are internal on purpose.
    """
    from dask_pyramid import cost, image, plan, strategy, superblocks, tiles, units

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "_UNIT_VOXELS", unit)
        patch.setattr(cost, "_PER_UNIT", 0)
        patch.setattr(cost, "_SLAB_BYTES", slab)
        patch.setattr(strategy, "_FUSED", fused)
        patch.setattr(superblocks, "_BLOCK_VOXELS", block)
        patch.setattr(image, "_BLOCK_VOXELS", block if read is None else read)
        patch.setattr(plan, "KERNEL_BYTES", kernel)
        patch.setattr(tiles, "LEAST_KERNEL_BYTES", min(kernel, 2**15))
        patch.setattr(units, "ENCODE_BYTES", encode)
        yield patch


@st.composite
def windows(draw, shape, objects):
    """Draw a box of whole storage objects; it may be empty."""
    box = []
    for n, o in zip(shape, objects, strict=True):
        last = -(-n // o)
        start = draw(st.integers(0, last))
        stop = draw(st.integers(start, last))
        box.append((min(n, start * o), min(n, stop * o)))
    return tuple(box)


@st.composite
def passes(draw, dims=(1, 3)):
    """Draw a pass whose units may be cut anywhere that the rules allow."""
    from dask_pyramid.factors import exact
    from dask_pyramid.geometry import Reach, reduced_shape
    from dask_pyramid.passes import Pass, PassLevel, base_extent, grid_level

    ndim = draw(st.integers(*dims))
    longest = {1: 90, 2: 24, 3: 9}[ndim]
    shape = tuple(draw(st.integers(1, longest)) for _ in range(ndim))
    stored, has_windows = draw(st.booleans()), draw(st.booleans())
    ones = (1,) * ndim
    levels = []
    for number in range(draw(st.integers(1 + stored, 4))):
        steps = ones
        if number:
            steps = tuple(draw(st.integers(1, 4)) for _ in range(ndim))
        if number == 1 and stored and draw(st.booleans()):
            whole = st.integers(1, 4)
            steps = tuple(
                draw(whole | st.fractions(1, 4, max_denominator=9).map(exact))
                for _ in range(ndim)
            )
        shape = reduced_shape(shape, steps)
        reaches = tuple(
            Reach(before=draw(st.integers(0, 4)), after=draw(st.integers(0, 4)))
            if step > 1
            else Reach()
            for step in steps
        )
        objects = tuple(draw(st.integers(1, 8)) for _ in range(ndim))
        written = number > 0 or not stored
        window = None
        if written and has_windows:
            window = draw(windows(shape, objects))
        levels.append(
            PassLevel(
                level=number,
                shape=shape,
                objects=objects,
                written=written,
                steps=steps,
                reaches=reaches,
                window=window,
            )
        )
    assume(any(level.size for level in levels))
    extent = tuple(
        min(base_extent(levels, axis) * draw(st.integers(1, 3)), n)
        for axis, n in enumerate(levels[grid_level(levels)].shape)
    )
    return Pass(
        stored=stored,
        levels=tuple(levels),
        extent=extent,
        axis=draw(st.integers(0, ndim - 1)),
        slab=draw(st.integers(1, 20)),
    )


def stored_levels(path, version, n_levels):
    """Read the levels of a local pyramid with TensorStore."""
    import tensorstore as ts

    driver = "zarr" if version == "0.4" else "zarr3"
    return [
        ts.open(
            {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/{k}/"}}
        )
        .result()
        .read()
        .result()
        for k in range(n_levels)
    ]


@contextmanager
def viewers_may_refuse():
    """Let pass the warning about data types that some viewers refuse."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="many viewers refuse")
        yield
