import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dask_pyramid as dp
from dask_pyramid.geometry import needed
from dask_pyramid.levels import make_levels
from dask_pyramid.methods import METHODS
from dask_pyramid.windows import dependent_parts, nothing, whole, whole_objects
from drawn import spatial, values

FACTORS = ([2], [2, 4], [3, 6], [2, 6], [2, 3], [4])


@st.composite
def changes(draw, methods):
    """Draw levels of a float image and a box of level 0."""
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(1, {2: 40, 3: 13}[ndim])) for _ in range(ndim))
    method = METHODS[draw(st.sampled_from(methods))]
    chunks = [
        tuple(draw(st.integers(1, 7)) for _ in shape) for _ in range(draw(st.just(3)))
    ]
    image = dp.open_image(values(shape, "float64", draw(st.integers(0, 99))))
    factors = draw(st.sampled_from(FACTORS))
    levels = make_levels(
        image,
        method,
        scale_factors=factors,
        chunks=chunks[: len(factors) + 1],
        shards=False,
    )
    region = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        region.append((start, draw(st.integers(start + 1, n))))
    return image, method, levels, tuple(region)


def reductions(method, levels):
    return [
        method.reduction(level.steps, axes=spatial(level.shape)) for level in levels
    ]


def computed(array, method, levels):
    """All levels, each reduced whole from its parent."""
    made = [array]
    for level in levels[1:]:
        made.append(dp.downsample(made[level.parent], level.steps, method))
    return made


def mask(part, shape):
    box = np.zeros(shape, bool)
    box[tuple(slice(*r) for r in part)] = True
    return box


def objects(box, level):
    """Positions of the storage objects that hold a voxel of a mask."""
    return {
        tuple(i // o for i, o in zip(at, level.objects, strict=True))
        for at in np.argwhere(box).tolist()
    }


@given(case=changes(sorted(METHODS)))
@settings(max_examples=60)
def test_whatever_changes_depends_on_the_region(case):
    image, method, levels, region = case
    before = image.reader.read(tuple(slice(0, n) for n in image.shape))
    after = np.where(mask(region, image.shape), before + 1000, before)
    parts = dependent_parts(levels, reductions(method, levels), region)
    for level, part, a, b in zip(
        levels,
        parts,
        computed(before, method, levels),
        computed(after, method, levels),
        strict=True,
    ):
        assert not (a != b)[~mask(part, level.shape)].any()


@given(case=changes(["gaussian", "mean"]))
@settings(max_examples=60)
def test_all_that_depends_on_the_region_changes_where_every_voxel_has_a_weight(case):
    image, method, levels, region = case
    before = image.reader.read(tuple(slice(0, n) for n in image.shape))
    after = np.where(mask(region, image.shape), before + 1e6, before)
    parts = dependent_parts(levels, reductions(method, levels), region)
    for level, part, a, b in zip(
        levels,
        parts,
        computed(before, method, levels),
        computed(after, method, levels),
        strict=True,
    ):
        box = mask(whole_objects(part, level), level.shape)
        assert objects(a != b, level) == objects(box, level)


@given(case=changes(sorted(METHODS)))
@settings(max_examples=60)
def test_parts_are_the_voxels_whose_need_meets_the_part_of_the_parent(case):
    _, method, levels, region = case
    made = reductions(method, levels)
    parts = dependent_parts(levels, made, region)
    for level, reduction, part in zip(levels[1:], made[1:], parts[1:], strict=True):
        below = levels[level.parent]
        for axis, n in enumerate(level.shape):
            dirty = set(range(*parts[level.parent][axis]))
            wanted = []
            for j in range(n):
                need = needed(
                    j,
                    j + 1,
                    step=level.steps[axis],
                    reach=reduction.reaches[axis],
                    size=below.shape[axis],
                )
                if dirty & set(range(need.start, need.stop)):
                    wanted.append(j)
            assert list(range(*part[axis])) == wanted


@given(case=changes(["gaussian"]))
@settings(max_examples=60)
def test_whole_objects_are_the_smallest_box_of_objects(case):
    _, method, levels, region = case
    for level, part in zip(
        levels, dependent_parts(levels, reductions(method, levels), region), strict=True
    ):
        box = whole_objects(part, level)
        for (start, stop), (first, last), o, n in zip(
            box, part, level.objects, level.shape, strict=True
        ):
            assert start % o == 0
            assert stop % o == 0 or stop == n
            assert start <= first < start + o
            assert stop - o < last <= stop
        for axis, (a, b) in itertools.product(range(len(box)), box):
            assert 0 <= a < b, axis


@pytest.mark.parametrize("method", ["gaussian", "gaussian-stride", "mean", "nearest"])
@pytest.mark.parametrize("old", [1, 2, 5, 8, 9])
def test_what_is_new_along_an_axis_reaches_all_that_the_old_end_had_shaped(method, old):
    rng = np.random.default_rng(old)
    array = rng.normal(size=(23, 9))
    record = METHODS[method]
    new = make_levels(
        dp.open_image(array), record, scale_factors=[2, 6], chunks=4, shards=False
    )
    parts = dependent_parts(new, reductions(record, new), ((old, 23), (0, 9)))
    small = computed(array[:old], record, new)
    for part, a, b in zip(parts, small, computed(array, record, new), strict=True):
        kept = part[0][0]
        assert np.array_equal(a[:kept], b[:kept])
        assert part[0][1] == len(b)


def test_nothing_has_no_voxel_and_no_objects():
    level = make_levels(
        dp.open_image(np.zeros((7, 5))), METHODS["mean"], scale_factors=[], chunks=4,
        shards=False,
    )[0]  # fmt: skip
    assert whole(level) == ((0, 7), (0, 5))
    assert whole_objects(nothing(level), level) == nothing(level)
