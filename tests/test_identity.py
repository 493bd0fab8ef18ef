"""Three ways, one result: lazy levels, the writer, and the whole array in memory."""

import math
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_pyramid import (
    METHODS,
    build_pyramid,
    downsample,
    open_image,
    open_pyramid,
    plan_pyramid,
    write_pyramid,
)
from drawn import (
    DTYPES,
    partitions,
    small_world,
    spatial,
    stored_levels,
    values,
    viewers_may_refuse,
)

LONGEST = {2: 41, 3: 19, 4: 9, 5: 6}


@dataclass(frozen=True)
class Drawn:
    """One case: an image, how it comes, how it goes, and how finely it is cut."""

    shape: tuple
    axes: str
    dtype: str
    seed: int
    method: str
    factors: tuple
    kind: str
    source_chunks: tuple
    chunks: tuple
    shards: object
    version: str
    world: tuple
    workers: int
    compiled: bool
    sigma: object

    def array(self):
        return values(
            self.shape, self.dtype, self.seed, "few" if self.seed % 2 else "any"
        )

    def source(self, array, folder):
        if self.kind == "numpy":
            return array
        if self.kind == "transposed":
            return np.asfortranarray(array)
        if self.kind == "dask":
            return da.from_array(array, chunks=self.source_chunks)
        chunks = tuple(max(sizes) for sizes in self.source_chunks)
        stored = zarr.create_array(
            str(folder / "source.zarr"),
            shape=array.shape,
            dtype=array.dtype,
            chunks=chunks,
            zarr_format=2 if self.kind == "zarr2" else 3,
            shards=tuple(2 * c for c in chunks) if self.kind == "sharded" else None,
        )
        stored[...] = array
        return stored

    def options(self):
        return {
            "method": self.method,
            "scale_factors": list(self.factors),
            "sigma": self.sigma if METHODS[self.method].sigma is not None else None,
        }


@st.composite
def drawn_cases(draw):
    ndim = draw(st.integers(2, 5))
    shape = tuple(draw(st.integers(1, LONGEST[ndim])) for _ in range(ndim))
    axes = (
        draw(st.sampled_from([spatial(shape), "cyx", "tzyx"])) if ndim in (3, 4) else ""
    )
    axes = axes if len(axes) == ndim else spatial(shape)
    factor = dict.fromkeys(axes, 1)
    factors = []
    for _ in range(draw(st.integers(1, 3))):
        steps = {a: draw(st.sampled_from([2, 2, 3, 4, 1])) for a in axes if a in "zyx"}
        if set(steps.values()) == {1}:
            steps["x"] = 2
        factor = {a: f * steps.get(a, 1) for a, f in factor.items()}
        factors.append(factor)
    version = draw(st.sampled_from(["0.4", "0.5", "0.6"]))
    chunks = tuple(draw(st.integers(1, 8)) for _ in shape)
    shards = False
    if version != "0.4":
        many = tuple(c * draw(st.integers(1, 3)) for c in chunks)
        shards = draw(st.sampled_from([False, None, many, many]))
    small = st.sampled_from([1, 300, 10**9])
    return Drawn(
        shape=shape,
        axes=axes,
        dtype=draw(st.sampled_from(DTYPES)),
        seed=draw(st.integers(0, 2**16)),
        method=draw(st.sampled_from(sorted(METHODS))),
        factors=tuple(factors),
        kind=draw(
            st.sampled_from(
                ["numpy", "transposed", "dask", "dask", "zarr2", "zarr", "sharded"]
            )
        ),
        source_chunks=tuple(draw(partitions(n)) for n in shape),
        chunks=chunks,
        shards=shards,
        version=version,
        world=(*tuple(draw(small) for _ in range(5)), draw(st.integers(0, 3))),
        workers=draw(st.integers(1, 2)),
        compiled=draw(st.booleans()),
        sigma=draw(st.sampled_from([None, None, 0, 1.3])),
    )


def world_of(case):
    unit, slab, block, kernel, encode, fused = case.world
    return small_world(
        unit=unit, slab=slab, block=block, kernel=kernel, encode=encode, fused=fused
    )


def chained(array, axes, factors, method, sigma=None):
    """Reduce the whole array in memory, level after level or each from the whole."""
    levels = [array]
    one = before = dict.fromkeys(axes, 1)
    for factor in factors:
        below = levels[-1] if METHODS[method].chain else array
        steps = [factor[a] // before[a] for a in axes]
        options = {} if sigma is None else {"sigma": [sigma] * len(axes)}
        levels.append(downsample(below, steps, method, **options))
        before = factor if METHODS[method].chain else one
    return levels


def assert_same(found, expected, what):
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), (what, number)
        assert a.tobytes() == b.tobytes(), (what, number)


@given(case=drawn_cases())
@settings(max_examples=50)
def test_lazy_levels_the_writer_and_the_whole_array_give_the_same_bytes(case):
    array = case.array()
    options = case.options()
    expected = chained(array, case.axes, case.factors, case.method, options["sigma"])
    with tempfile.TemporaryDirectory() as name, world_of(case) as patch:
        folder = Path(name)
        if case.compiled:
            patch.setattr("dask_pyramid.kernels._COMPILE_VOXELS", 0)
        image = open_image(case.source(array, folder), axes=case.axes)
        lazy = build_pyramid(image, chunks=case.chunks, **options)
        with dask.config.set(scheduler="synchronous"):
            assert_same(dask.compute(*lazy.levels), expected, "lazy")
        target = folder / "out.ome.zarr"
        with viewers_may_refuse():
            written = write_pyramid(
                image,
                target,
                chunks=case.chunks,
                shards=case.shards,
                version=case.version,
                workers=case.workers,
                progress=False,
                **options,
            )
        stored = stored_levels(target, case.version, len(expected))
        assert_same(stored, expected, "written")
        with dask.config.set(scheduler="synchronous"):
            assert_same(dask.compute(*written.levels), expected, "opened")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "factors", [[2, 4, 8], [3, 9], [2, 3, 4], [4, 6], [4, 16], [7]]
)
def test_levels_that_do_not_divide_the_one_below_are_made_from_one_that_does(
    method, factors, tmp_path
):
    array = values((13, 38, 29), "uint16")
    pyramid = build_pyramid(array, method=method, scale_factors=factors)
    levels = {1: array}
    for level in pyramid.plan.levels[1:]:
        factor = level.factors[0]
        chain = METHODS[method].chain
        parent = max(f for f in levels if factor % f == 0) if chain else 1
        levels[factor] = downsample(levels[parent], factor // parent, method)
    expected = list(levels.values())
    assert_same([level.compute() for level in pyramid.levels], expected, "lazy")
    with small_world(unit=1):
        pyramid.write(tmp_path / "a.zarr", chunks=8, shards=16)
    assert_same(
        stored_levels(tmp_path / "a.zarr", "0.5", len(expected)), expected, "file"
    )


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_choice_of_kernel_does_not_show_in_the_store(method, is_compiled, tmp_path):
    array = values((21, 45, 50), "uint16")
    with small_world(unit=30_000, slab=2**12) as patch:
        patch.setattr(
            "dask_pyramid.kernels._COMPILE_VOXELS", 0 if is_compiled else 2**62
        )
        write_pyramid(
            array, tmp_path / "a.zarr", method=method, scale_factors=[2, 4], chunks=8
        )
    expected = chained(
        array, "zyx", [dict.fromkeys("zyx", 2), dict.fromkeys("zyx", 4)], method
    )
    assert_same(stored_levels(tmp_path / "a.zarr", "0.5", 3), expected, "file")


@pytest.mark.parametrize("method", ["mean", "gaussian", "mode"])
@pytest.mark.parametrize("unit", [1, 20_000, 10**9])
def test_each_block_of_a_dask_graph_is_computed_once(method, unit, tmp_path):
    array = values((23, 50, 61), "uint8")
    blocks = ((5, 13, 5), (17, 4, 29), (61,))
    times, lock = Counter(), threading.Lock()

    def compute(block, block_id=None):
        with lock:
            times[block_id] += 1
        return block

    source = da.from_array(array, chunks=blocks).map_blocks(
        compute, dtype="uint8", meta=np.empty((0,) * 3, "uint8")
    )
    with small_world(unit=unit):
        write_pyramid(
            source,
            tmp_path / "a.zarr",
            method=method,
            scale_factors=[2, 4],
            chunks=8,
            shards=False,
            workers=2,
        )
    assert dict(times) == dict.fromkeys(np.ndindex(3, 3, 1), 1)
    expected = chained(
        array, "zyx", [dict.fromkeys("zyx", 2), dict.fromkeys("zyx", 4)], method
    )
    assert_same(stored_levels(tmp_path / "a.zarr", "0.5", 3), expected, "file")


class CountingReader:
    """Another reader, and how often each of its chunks was decoded."""

    def __init__(self, reader):
        self.reader, self.times, self.lock = reader, Counter(), threading.Lock()
        self.shape, self.dtype = reader.shape, reader.dtype
        self.chunks, self.locations = reader.chunks, reader.locations

    def count(self, region):
        grid = [
            range(r.start // c, -(-r.stop // c))
            for r, c in zip(region, self.chunks, strict=True)
        ]
        with self.lock:
            for index in np.ndindex(*map(len, grid)):
                self.times[tuple(g[i] for g, i in zip(grid, index, strict=True))] += 1

    def read(self, region):
        self.count(region)
        return self.reader.read(region)

    def read_into(self, region, out):
        self.count(region)
        self.reader.read_into(region, out)


@pytest.mark.parametrize("unit", [1, 3000, 10**9])
@pytest.mark.parametrize("slab", [1, 2000, 2**24])
@pytest.mark.parametrize("method", ["mean", "gaussian", "gaussian-stride"])
def test_a_store_is_decoded_as_often_as_the_plan_says(method, slab, unit, tmp_path):
    array = values((23, 50, 41), "uint8")
    stored = zarr.create_array(
        str(tmp_path / "in.zarr"), shape=array.shape, dtype="uint8", chunks=(6, 7, 20)
    )
    stored[...] = array
    image = open_image(stored)
    counting = CountingReader(image.reader)
    image = replace(image, reader=counting)
    options = {"method": method, "scale_factors": [2, 4], "chunks": 8, "shards": False}
    with small_world(unit=unit, slab=slab):
        plan = plan_pyramid(image, workers=2, **options)
        write_pyramid(image, tmp_path / "out.zarr", workers=2, **options)
    total = math.prod(-(-n // c) for n, c in zip(array.shape, (6, 7, 20), strict=True))
    assert len(counting.times) == total
    assert sum(counting.times.values()) == round(plan.decode_amplification * total)
    if method == "mean" and unit == 10**9:
        assert plan.decode_amplification == 1


@given(
    data=st.data(),
    method=st.sampled_from(sorted(METHODS)),
    dtype=st.sampled_from(["uint8", "float32", "int64"]),
    sigma=st.sampled_from([None, 4]),
)
@settings(max_examples=60)
def test_downsample_of_any_chunking_gives_the_bytes_of_the_whole_array(
    data, method, dtype, sigma
):
    shape = tuple(data.draw(st.integers(1, 25)) for _ in range(2))
    factors = tuple(data.draw(st.integers(1, 4)) for _ in shape)
    array = values(shape, dtype, data.draw(st.integers(0, 99)))
    chunks = tuple(data.draw(partitions(n, parts=6)) for n in shape)
    options = {"sigma": sigma} if METHODS[method].sigma is not None else {}
    with small_world(), dask.config.set(scheduler="synchronous"):
        lazy = downsample(
            da.from_array(array, chunks=chunks), factors, method, **options
        )
        assert_same(
            [lazy.compute()], [downsample(array, factors, method, **options)], ""
        )


def test_what_is_written_can_be_the_source_of_the_same_pyramid(tmp_path):
    array = values((20, 40, 50), "uint16")
    options = {"method": "gaussian", "scale_factors": [2, 4], "chunks": 16}
    write_pyramid(array, tmp_path / "a.zarr", name="image", **options)
    write_pyramid(tmp_path / "a.zarr", tmp_path / "b.zarr", name="image", **options)
    write_pyramid(
        open_pyramid(tmp_path / "a.zarr").image,
        tmp_path / "c.zarr",
        name="image",
        **options,
    )
    for other in ("b.zarr", "c.zarr"):
        files = {p.relative_to(tmp_path / other) for p in (tmp_path / other).rglob("*")}
        for name in files:
            if (tmp_path / other / name).is_file() and "c" in name.parts:
                assert (tmp_path / other / name).read_bytes() == (
                    tmp_path / "a.zarr" / name
                ).read_bytes()
