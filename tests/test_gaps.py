"""Voxels that do not count where steps are no whole numbers, and coarser masks."""

import itertools
import math
from fractions import Fraction

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import dask_pyramid as dp
import oracle
from dask_pyramid.geometry import Span, reduced_shape
from dask_pyramid.kernels import reduce_block
from dask_pyramid.methods import METHODS
from dask_pyramid.nodata import Nodata
from drawn import small_world, values, viewers_may_refuse

STEPS = (Fraction(3, 2), Fraction(5, 2), Fraction(11, 10), Fraction(500, 101))


def reduced(array, steps, method, *, ignore=None, mask=None, shape=None):
    """Reduce a whole array by the kernels."""
    shape = shape or reduced_shape(array.shape, steps)
    spans = [
        Span(first=0, stop=m, size=n) for m, n in zip(shape, array.shape, strict=True)
    ]
    axes = [str(i) for i in range(len(steps))]
    reduction = METHODS[method].reduction(steps, axes=axes, ignore=ignore)
    return reduce_block(array, reduction, spans, mask=mask)


def touched(shape, steps):
    """Yield each sample with the voxels that its window touches."""
    for index in np.ndindex(*reduced_shape(shape, steps)):
        yield (
            index,
            tuple(
                slice(math.floor(s * i), min(n, math.ceil(s * (i + 1))))
                for i, s, n in zip(index, steps, shape, strict=True)
            ),
        )


def any_touched(mask, steps, shape):
    out = np.zeros(shape, bool)
    for index, window in touched(mask.shape, steps):
        if np.less(index, shape).all():  # or it lies beyond level 0
            out[index] = mask[window].any()
    return out


@st.composite
def gaps(draw, dtypes):
    shape = tuple(draw(st.integers(1, 14)) for _ in range(draw(st.integers(1, 3))))
    steps = tuple(draw(st.sampled_from([1, 2, *STEPS])) for _ in shape)
    steps = (draw(st.sampled_from(STEPS)), *steps[1:])
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    array = values(shape, draw(st.sampled_from(dtypes)), seed, "any")
    array[rng.random(shape) < draw(st.sampled_from([0, 0.5, 0.95]))] = array.flat[0]
    mask = rng.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    return array, steps, mask if draw(st.booleans()) else None


@given(case=gaps(("uint8", "int32", "float32", "float64")))
@settings(max_examples=60)
def test_between_voxels_it_is_the_ratio_of_two_dense_resamplings(case):
    array, steps, mask = case
    ignore = Nodata(value=array.flat[0].item())
    counts = oracle.counting(array, ignore.value, False, mask)
    result = reduced(array, steps, "gaussian", ignore=ignore, mask=mask)
    real = np.where(counts, array, 0).astype(np.float64)
    total = reduced(real, steps, "gaussian")
    weight = reduced(counts.astype(np.float64), steps, "gaussian")
    for index, window in touched(array.shape, steps):
        inside = counts[window]
        if not inside.any():
            assert result[index] == ignore.value
            continue
        if weight[index] > 1e-6:
            expected = total[index] / weight[index]
        else:
            expected = real[window][inside].mean()
        slack = 0.5 if array.dtype.kind != "f" else 0
        largest = np.abs(real).max(initial=0)
        assert abs(float(result[index]) - expected) <= slack + 1e-5 * largest


@pytest.mark.parametrize("dtype", ["uint64", "bool"])
@given(data=st.data())
@settings(max_examples=30)
def test_ids_between_voxels_are_the_nearest_that_counts_else_the_first(dtype, data):
    array, steps, mask = data.draw(gaps((dtype,)))
    ignore = Nodata(value=array.flat[0].item())
    counts = oracle.counting(array, ignore.value, False, mask)
    result = reduced(array, steps, "mode", ignore=ignore, mask=mask)
    near = reduced(np.arange(array.size).reshape(array.shape), steps, "mode")
    for index, window in touched(array.shape, steps):
        expected = np.append(array[window][counts[window]], ignore.value)[0]
        if counts.flat[near[index]]:
            expected = array.flat[near[index]]
        assert result[index] == expected


@pytest.mark.parametrize("method", ["gaussian", "mode"])
def test_every_kind_of_array_gives_the_bytes_of_numpy_between_voxels(method, xp):
    array = values((9, 8, 7), "uint8", style="few")
    mask = np.random.default_rng(0).random(array.shape) < 0.4
    ignore, steps = Nodata(value=0), (1, Fraction(5, 2), Fraction(3, 2))
    expected = reduced(array, steps, method, ignore=ignore, mask=mask)
    given = {"ignore": ignore, "mask": xp.array(mask)}
    assert (
        xp.to_numpy(reduced(xp.array(array), steps, method, **given)) == expected
    ).all()


def dense(array, plan, mask=None):
    """Make all levels of whole arrays, by the steps of a plan."""
    under = [mask]
    first = array if mask is None else np.where(mask, array, plan.nodata.fill)
    levels = [first.astype(array.dtype)]
    for level in plan.levels[1:]:
        below, inside = levels[level.parent], under[level.parent]
        given = {"ignore": plan.nodata, "mask": inside, "shape": level.shape}
        levels.append(reduced(below, level.steps, plan.method.name, **given))
        under.append(
            None if mask is None else any_touched(inside, level.steps, level.shape)
        )
    return levels


@st.composite
def jobs(draw):
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(1, {2: 24, 3: 9}[ndim])) for _ in range(ndim))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    dtype = draw(st.sampled_from(["uint8", "float32"]))
    array = values(shape, dtype, seed)
    factors = draw(st.sampled_from([[1.5, 3], [2, 4.5, 9], [2.5, "10/3"], [2, 4]]))
    options = {
        "method": draw(st.sampled_from(["gaussian", "mean", "mode"])),
        "scale_factors": factors,
        "chunks": draw(st.integers(2, 7)),
    }
    if draw(st.booleans()):
        options["nodata"] = array.flat[0].item()
        array[rng.random(shape) < 0.5] = array.flat[0]
    if dtype == "float32":
        options["skip_nan"] = True
        array[rng.random(shape) < 0.3] = np.nan
    coarse = draw(st.sampled_from([1, 1, 2, 3, 4]))
    if {1, *factors}.isdisjoint({coarse}):
        coarse = 1
    extents = [-(-n // coarse) for n in shape]
    mask = rng.random(extents) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    return array, mask, coarse, options


def spread(mask, factor, shape):
    for axis in range(mask.ndim):
        mask = mask.repeat(factor, axis)
    return mask[tuple(slice(0, n) for n in shape)]


@given(job=jobs(), blocks=st.integers(1, 9), lazy=st.booleans())
@settings(max_examples=15)
def test_masks_of_any_level_and_any_steps_give_what_dense_arrays_give(
    job, blocks, lazy
):
    array, mask, coarse, options = job
    levels = dp.plan_pyramid(array, mask=np.ones(array.shape), **options).levels
    fits = [e for e in levels if e.shape == mask.shape]
    if fits[0].number and len(fits) > 1:
        with pytest.raises(ValueError, match="mask must have the spatial extents"):
            dp.plan_pyramid(array, mask=mask, **options)
        return
    given_mask = da.from_array(mask, chunks=blocks) if lazy else mask
    store = MemoryStore()
    with small_world(unit=100), viewers_may_refuse():
        given = {**options, "mask": given_mask}
        graph = dp.build_pyramid(da.from_array(array, chunks=blocks), **given)
        whole = spread(mask, coarse, array.shape)
        if not fits[0].number:
            whole = mask
        expected = dense(array, graph.plan, whole)
        stored = dp.write_pyramid(
            array, store, shards=False, client="synchronous", **given
        )
    for level, by_graph, by_units in itertools.zip_longest(
        expected, graph.levels, stored.levels
    ):
        for found in (by_graph, by_units):
            np.testing.assert_array_equal(found.compute(scheduler="synchronous"), level)


def test_a_coarse_mask_is_verified_and_told_from_others(tmp_path):
    array = values((12, 30, 40), "uint8", style="few")
    mask = np.random.default_rng(1).random((3, 8, 10)) < 0.3
    options = {"scale_factors": [2, 4, 10], "chunks": 8}
    dp.write_pyramid(array, tmp_path / "a.zarr", mask=mask, **options)
    found = dp.verify_pyramid(
        tmp_path / "a.zarr", mask=mask, sample="full", progress=False
    )
    assert found.ok, str(found)
    assert dp.verify_pyramid(tmp_path / "a.zarr", sample="full", progress=False).ok
    dp.write_pyramid(
        array,
        tmp_path / "b.zarr",
        mask=spread(mask, 4, array.shape),
        **options,
    )
    for a, b in zip(
        dp.open_pyramid(tmp_path / "a.zarr").levels,
        dp.open_pyramid(tmp_path / "b.zarr").levels,
        strict=True,
    ):
        np.testing.assert_array_equal(a.compute(), b.compute())


@pytest.mark.parametrize("nodata", [None, 3])
def test_an_isotropic_pyramid_with_gaps_is_verified_with_and_without_its_mask(
    nodata, tmp_path
):
    array = values((12, 50, 60), "uint8", style="few")
    image = dp.open_image(array, scale=(1, 0.3, 0.3))
    mask = np.zeros(array.shape, bool)
    mask[:, 10:40, 5:30] = True
    options = {"scale_factors": "isotropic", "chunks": 8, "nodata": nodata}
    dp.write_pyramid(image, tmp_path / "a.zarr", mask=mask, **options)
    for more in ({}, {"mask": mask}):
        found = dp.verify_pyramid(
            tmp_path / "a.zarr", sample="full", progress=False, **more
        )
        assert found.ok, str(found)
        assert found.levels[2].compared


@pytest.mark.parametrize("block", [2**9, 2**12, 2**24])
@pytest.mark.parametrize("factors", [[2, 4], [1.5, 3]])
@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_the_graph_of_a_masked_image_has_the_tasks_the_plan_says(
    method, factors, block
):
    array = values((20, 60, 70), "uint8")
    with small_world(block=block):
        pyramid = dp.build_pyramid(
            array, mask=array > 99, method=method, scale_factors=[*factors, 12]
        )
        seen, counts = set(), []
        for level in pyramid.levels:
            keys = set(dict(level.__dask_graph__()))
            counts.append(len(keys - seen))
            seen |= keys
    assert counts == list(pyramid.plan.graph_tasks)
