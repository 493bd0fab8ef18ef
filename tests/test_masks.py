"""Voxels that do not count: `nodata`, NaN and masks, held against dense loops."""

import dataclasses
import math
import shutil

import dask.array as da
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import dask_pyramid as dp
import oracle
from dask_pyramid import cli
from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.kernels import reduce_block
from dask_pyramid.methods import METHODS
from dask_pyramid.nodata import Nodata
from drawn import (
    DTYPES,
    FLOATS,
    INTEGERS,
    cases,
    odd_floats,
    small_world,
    values,
    viewers_may_refuse,
)

# Of each kind of kernel, sample and parent one.
STORED = ("gaussian", "gaussian-stride", "mean", "nearest", "mode-exact")
WINDOWS = ("mean", "median", "mode", "min", "max", "nearest")
FILTERS = ("gaussian", "gaussian-stride")
# Numba compiles for each dtype: what differs in size, sign or kind, none twice.
COMPILED = ("uint8", "int16", "uint64", "float32")


def reduction_of(method, factors, ignore, sigma=None):
    axes = [str(i) for i in range(len(factors))]
    return METHODS[method].reduction(factors, axes=axes, sigma=sigma, ignore=ignore)


def whole(array, factors, method, *, ignore, mask=None, compiled=False, sigma=None):
    """Reduce a whole array by the kernels."""
    spans = [
        Span(first=0, stop=ceil_div(n, f), size=n)
        for n, f in zip(array.shape, factors, strict=True)
    ]
    reduction = reduction_of(method, factors, ignore, sigma)
    return reduce_block(array, reduction, spans, mask=mask, compiled=compiled)


def same(a, b):
    """Bit for bit, but that one NaN is as good as another."""
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@st.composite
def gaps(draw, dtypes=DTYPES, dims=(1, 4), styles=("any", "few", "extremes")):
    """Draw (array, factors, ignore, mask): some, all or no voxels count."""
    array, factors = draw(cases(dtypes=dtypes, dims=dims, styles=styles))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    share = st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0])
    value = None
    if draw(st.booleans()):
        value = array.flat[rng.integers(array.size)].item()
        array[rng.random(array.shape) < draw(share)] = value
    nan = array.dtype.kind == "f" and draw(st.booleans())
    if nan:
        array[rng.random(array.shape) < draw(share)] = np.nan
    masked = not (nan or value is not None) or draw(st.booleans())
    mask = rng.random(array.shape) < draw(share) if masked else None
    return array, factors, Nodata(value=value, nan=nan), mask


def oracle_counts(array, ignore, mask):
    return oracle.counting(array, ignore.value, ignore.nan, mask)


@pytest.mark.parametrize("method", WINDOWS)
@given(case=gaps(dtypes=("bool", *INTEGERS)))
def test_windows_of_integers_are_those_of_what_counts(method, case):
    array, factors, ignore, mask = case
    result = whole(array, factors, method, ignore=ignore, mask=mask)
    expected = oracle.masked_window_reduced(
        array,
        factors,
        method,
        counts=oracle_counts(array, ignore, mask),
        fill=ignore.fill,
    )
    assert same(result, expected)


@pytest.mark.parametrize("method", WINDOWS)
@given(case=gaps(dtypes=FLOATS))
@settings(max_examples=50)
def test_windows_of_floats_are_those_of_what_counts(method, case):
    array, factors, ignore, mask = case
    result = whole(array, factors, method, ignore=ignore, mask=mask)
    expected = oracle.masked_window_reduced(
        array,
        factors,
        method,
        counts=oracle_counts(array, ignore, mask),
        fill=ignore.fill,
    )
    ulp = np.finfo(array.dtype).eps if method == "mean" else 0
    largest = np.nanmax(np.abs(array.astype(float)), initial=0)
    np.testing.assert_allclose(result, expected, rtol=ulp, atol=ulp * largest)


@pytest.mark.parametrize("method", FILTERS)
@given(case=gaps(), sigma=st.sampled_from([None, 1.0, 3.0]))
def test_filters_are_the_normalised_convolution_of_scipy(method, case, sigma):
    array, factors, ignore, mask = case
    counts = oracle_counts(array, ignore, mask)
    result = whole(array, factors, method, ignore=ignore, mask=mask, sigma=sigma)
    sigmas = None if sigma is None else (sigma,) * len(factors)
    expected = oracle.normalised(array, factors, method, counts=counts, sigma=sigmas)
    found = ~np.isnan(expected)
    np.testing.assert_array_equal(
        result[~found], np.full(array.shape, ignore.fill, array.dtype).flat[0]
    )
    if array.dtype.kind == "f":
        rtol = 1e-3 if array.dtype == np.float16 else 2e-5
        slack = rtol * np.nanmax(np.abs(array.astype(float)), initial=0)
    else:
        bits = 8 * array.dtype.itemsize
        slack = 0.6 if bits < 64 else 1 + 2.0**15
    np.testing.assert_allclose(
        result[found].astype(float), expected[found], rtol=0, atol=slack
    )


@pytest.mark.parametrize("dtype", COMPILED)
@pytest.mark.parametrize("method", METHODS)
def test_compiled_kernels_equal_the_generic_ones_bit_for_bit(method, dtype):
    rng = np.random.default_rng(1)
    for trial in range(24):
        shape = tuple(rng.integers(1, 14, rng.integers(2, 5)))
        factors = tuple(
            1 if i < len(shape) - 3 else int(rng.integers(1, 5))
            for i in range(len(shape))
        )
        array = values(shape, dtype, trial, ("any", "few", "extremes")[trial % 3])
        ignore = Nodata(value=array.flat[0].item(), nan=array.dtype.kind == "f")
        share = (0.0, 0.5, 0.95)[trial // 3 % 3]
        array[rng.random(shape) < share] = array.flat[0]
        if ignore.nan:
            array[rng.random(shape) < 0.3] = np.nan
        mask = rng.random(shape) < 0.5 if trial % 2 else None
        given = {"ignore": ignore, "mask": mask}
        fast = whole(array, factors, method, compiled=True, **given)
        assert same(fast, whole(array, factors, method, **given)), (shape, factors)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["median", "mode"])
def test_floats_that_sort_alike_give_the_same_bits(method, dtype):
    array = odd_floats((9, 11, 40), dtype)
    ignore = Nodata.parse(1.0, False, array.dtype)
    mask = np.random.default_rng(1).random(array.shape) < 0.7
    for factors in ((2, 2, 2), (1, 1, 3), (3, 2, 5)):
        fast, generic = (
            whole(array, factors, method, ignore=ignore, mask=mask, compiled=compiled)
            for compiled in (True, False)
        )
        assert fast.tobytes() == generic.tobytes(), factors
        assert np.isnan(fast).any() or method == "mode"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "uint64", "float32", "bool"])
def test_every_kind_of_array_gives_the_bytes_of_numpy(method, dtype, xp):
    array = values((7, 6, 5), dtype, style="few")
    mask = np.random.default_rng(0).random(array.shape) < 0.4
    for under in (None, mask):
        ignore = Nodata.parse(array[0, 0, 0], array.dtype.kind == "f", array.dtype)
        expected = whole(array, (2, 3, 2), method, ignore=ignore, mask=under)
        given = None if under is None else xp.array(under)
        result = whole(xp.array(array), (2, 3, 2), method, ignore=ignore, mask=given)
        assert type(result) is type(xp.array(array))
        assert same(xp.to_numpy(result), expected)


# --- the value --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodata", "skip_nan", "dtype", "text"),
    [
        (256, False, "uint8", r"nodata must be .*uint8 can hold, got 256"),
        (-1, False, "uint16", r"nodata must be .*got -1"),
        (0.5, False, "int32", r"nodata must be .*got 0.5"),
        (2, False, "bool", r"nodata must be .*got 2"),
        (np.nan, False, "uint8", r"nodata must be .*got nan"),
        (np.inf, False, "float32", r"nodata must be .*or NaN, got inf"),
        (1e300, False, "float32", r"nodata must be .*got 1e\+300"),
        ("a", False, "float32", r"nodata must be .*got 'a'"),
        (None, True, "uint8", r"skip_nan must be False for uint8, got True"),
    ],
)
def test_a_value_that_voxels_cannot_have_is_refused(nodata, skip_nan, dtype, text):
    with pytest.raises(ValueError, match=text):
        dp.downsample(np.zeros((4, 4), dtype), 2, nodata=nodata, skip_nan=skip_nan)


def test_nan_as_nodata_is_skip_nan():
    kind = np.dtype("float32")
    assert Nodata.parse(np.nan, False, kind) == Nodata.parse(None, True, kind)
    assert Nodata.parse(None, False, kind) is None


def test_ids_above_2_to_the_53_are_told_from_nodata():
    ids = np.array([[2**63 + 1, 2**63 + 3], [2**63 + 3, 2**63 + 1]], "uint64")
    result = dp.downsample(ids, 2, "mode", nodata=2**63 + 1)
    assert result.item() == 2**63 + 3


def test_a_sigma_that_leaves_voxels_without_weight_is_refused():
    with pytest.raises(ValueError, match=r"sigma must reach all voxels .*got 0\.1"):
        dp.downsample(np.zeros(9), 3, "gaussian-stride", sigma=0.1, nodata=0)


def test_background_wins_only_where_there_is_nothing_else():
    labels = np.zeros((4, 4), "uint32")
    labels[1, 1] = 7
    assert dp.downsample(labels, 2, "mode").tolist() == [[0, 0], [0, 0]]
    sparse = dp.downsample(labels, 2, "mode", nodata=0)
    assert sparse.tolist() == [[7, 0], [0, 0]]


# --- both engines -----------------------------------------------------------------

VALUES = {"uint16": 7, "float32": -1.0, "int64": 2**60, "bool": 0}


def holes(shape, dtype, seed=0, share=0.5):
    """Voxels of which some are the value, and for floats some are NaN."""
    rng = np.random.default_rng(seed)
    array = values(shape, dtype, seed)
    array[rng.random(shape) < share] = VALUES[dtype]
    if array.dtype.kind == "f":
        array[rng.random(shape) < share / 4] = np.nan
    return array


def dense_levels(array, factors, method, *, ignore, mask=None):
    """Reduce whole arrays level by level, the mask beside them."""
    first = array if mask is None else np.where(mask, array, ignore.fill)
    levels, masks = [first.astype(array.dtype)], [mask]
    every = ((1,) * array.ndim, *((factor,) * array.ndim for factor in factors))
    for k, factor in enumerate(every[1:], 1):
        below = k - 1 if METHODS[method].chain else 0
        steps = tuple(f // b for f, b in zip(factor, every[below], strict=True))
        given = {"ignore": ignore, "mask": masks[below]}
        levels.append(whole(levels[below], steps, method, **given))
        masks.append(None if mask is None else oracle.any_under(masks[below], steps))
    return levels


@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("method", STORED)
def test_units_and_graphs_store_what_dense_arrays_give(method, dtype, tmp_path):
    array = holes((13, 21, 18), dtype)
    nan = array.dtype.kind == "f"
    ignore = Nodata(value=VALUES[dtype], nan=nan)
    options = {
        "method": method,
        "nodata": VALUES[dtype],
        "skip_nan": nan,
        "scale_factors": [2, 4],
        "chunks": 4,
    }
    expected = dense_levels(array, (2, 4), method, ignore=ignore)
    with small_world(unit=600), viewers_may_refuse():
        lazy = dp.build_pyramid(da.from_array(array, chunks=(5, 8, 7)), **options)
        stored = dp.write_pyramid(array, tmp_path / "a.zarr", shards=8, **options)
    for level, by_graph, by_units in zip(
        expected, lazy.levels, stored.levels, strict=True
    ):
        assert same(by_graph.compute(scheduler="synchronous"), level)
        assert same(by_units.compute(scheduler="synchronous"), level)
    found = dp.verify_pyramid(tmp_path / "a.zarr", sample="full", progress=False)
    assert found.ok, str(found)
    assert found.levels[1].compared


def digests_of(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and "/c/" in file.as_posix()
    }


def test_a_wrong_voxel_of_a_pyramid_with_gaps_is_found(tmp_path):
    array = holes((24, 24, 24), "uint16")
    dp.write_pyramid(array, tmp_path / "a.zarr", nodata=7, scale_factors=[2])
    level = zarr.open_group(tmp_path / "a.zarr", mode="r+")["1"]
    level[3, 4, 5] = int(level[3, 4, 5]) + 1
    found = dp.verify_pyramid(tmp_path / "a.zarr", sample="full", progress=False)
    assert "content-wrong" in {finding.code for finding in found.findings}


def test_a_run_goes_on_only_with_the_same_nodata(tmp_path):
    array = holes((24, 24, 24), "uint16")
    options = {"scale_factors": [2], "mode": "a"}
    dp.write_pyramid(array, tmp_path / "a.zarr", nodata=7, **options)
    with pytest.raises(ValueError, match=r"nodata"):
        dp.write_pyramid(array, tmp_path / "a.zarr", **options)


def test_blocks_of_nodata_are_not_stored_and_read_as_nodata(tmp_path):
    array = np.full((32, 32), -1.0, "float32")
    array[:8, :8] = 5
    dp.write_pyramid(
        array, tmp_path / "a.zarr", nodata=-1, chunks=8, shards=False, scale_factors=[2]
    )
    assert sorted(digests_of(tmp_path / "a.zarr")) == [
        "0/c/0/0",
        "1/c/0/0",
    ]
    levels = dp.open_pyramid(tmp_path / "a.zarr").levels
    np.testing.assert_array_equal(levels[0].compute(), array)
    assert levels[1][5, 5].compute() == -1


def test_levels_that_are_added_count_as_those_that_are_there(tmp_path):
    array = holes((40, 40), "float32")
    options = {"nodata": -1, "skip_nan": True, "chunks": 16}
    dp.write_pyramid(array, tmp_path / "a.zarr", scale_factors=[2, 4, 8], **options)
    dp.write_pyramid(array, tmp_path / "b.zarr", scale_factors=[2], **options)
    dp.add_levels(tmp_path / "b.zarr", scale_factors=[2, 4, 8])
    assert digests_of(tmp_path / "a.zarr") == digests_of(tmp_path / "b.zarr")
    array[3:9, 3:9] = -1
    zarr.open_group(tmp_path / "b.zarr", mode="r+")["0"][:] = array
    dp.update_pyramid(tmp_path / "b.zarr", {"y": (3, 9), "x": (3, 9)})
    dp.write_pyramid(
        array, tmp_path / "a.zarr", scale_factors=[2, 4, 8], mode="w", **options
    )
    wanted, got = digests_of(tmp_path / "a.zarr"), digests_of(tmp_path / "b.zarr")
    assert wanted.pop("0/c/0/0") != got.pop("0/c/0/0")  # zarr orders shards otherwise
    assert wanted == got
    found = dp.verify_pyramid(tmp_path / "b.zarr", sample="full", progress=False)
    assert found.ok, str(found)


# --- masks ------------------------------------------------------------------------


def cell(shape, share=0.2, seed=0):
    """A mask that leaves whole parts empty, with specks."""
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < share / 20
    mask[..., : int(shape[-1] * share) + 1] = True
    return mask


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("method", STORED)
def test_masked_units_and_graphs_store_what_dense_arrays_give(method, dtype, tmp_path):
    shape = (13, 21, 38)
    array = values(shape, dtype)
    array[np.random.default_rng(3).random(shape) < 0.3] = 0  # zeros that count
    mask = cell(shape)
    options = {"method": method, "scale_factors": [2, 4, 8], "chunks": 4}
    ignore = Nodata(masked=True)
    expected = dense_levels(array, (2, 4, 8), method, ignore=ignore, mask=mask)
    lazy_mask = da.from_array(mask.astype("uint8"), chunks=(4, 9, 11))
    with small_world(unit=600, fused=2), viewers_may_refuse():
        lazy = dp.build_pyramid(
            da.from_array(array, chunks=(5, 8, 7)), mask=lazy_mask, **options
        )
        stored = dp.write_pyramid(
            array, tmp_path / "a.zarr", mask=mask, shards=8, **options
        )
    for level, by_graph, by_units in zip(
        expected, lazy.levels, stored.levels, strict=True
    ):
        assert same(by_graph.compute(scheduler="synchronous"), level)
        assert same(by_units.compute(scheduler="synchronous"), level)


@st.composite
def masked_jobs(draw):
    """Draw (array, mask, factors, options): any chunking, density and gaps."""
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(1, {2: 24, 3: 11}[ndim])) for _ in range(ndim))
    dtype = draw(st.sampled_from(["uint8", "int64", "float32"]))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    array = values(shape, dtype, seed, draw(st.sampled_from(["any", "few"])))
    share = draw(st.sampled_from([0.0, 0.03, 0.4, 1.0]))
    mask = rng.random(shape) < share
    options = {"method": draw(st.sampled_from(sorted(METHODS)))}
    if draw(st.booleans()):
        options["nodata"] = array.flat[0].item()
    if dtype == "float32" and draw(st.booleans()):
        options["skip_nan"] = True
        array[rng.random(shape) < 0.3] = np.nan
    options["chunks"] = draw(st.integers(1, 6))
    factors = draw(st.sampled_from([(2,), (3,), (2, 4), (2, 6)]))
    return array, mask, factors, options


@given(job=masked_jobs(), blocks=st.integers(1, 9))
@settings(max_examples=40)
def test_any_mask_gives_what_dense_arrays_give(job, blocks):
    array, mask, factors, options = job
    ignore = Nodata.parse(
        options.get("nodata"), options.get("skip_nan", False), array.dtype, masked=True
    )
    expected = dense_levels(array, factors, options["method"], ignore=ignore, mask=mask)
    store = MemoryStore()
    with small_world(unit=100), viewers_may_refuse():
        given = {**options, "scale_factors": list(factors), "mask": mask}
        lazy = dp.build_pyramid(da.from_array(array, chunks=blocks), **given)
        stored = dp.write_pyramid(
            array, store, shards=False, client="synchronous", **given
        )
    for level, by_graph, by_units in zip(
        expected, lazy.levels, stored.levels, strict=True
    ):
        assert same(by_graph.compute(scheduler="synchronous"), level)
        assert same(by_units.compute(scheduler="synchronous"), level)


def test_a_mask_may_lack_t_and_c_or_have_one_of_them():
    array = values((2, 3, 4, 6, 8), "uint8")
    mask = cell((4, 6, 8))
    expected = np.where(mask, array, 0)
    for other in (
        mask,
        mask[None, None],
        dp.open_image(mask[None], axes="czyx"),
        da.from_array(np.broadcast_to(mask, array.shape), chunks=3),
    ):
        lazy = dp.build_pyramid(array, mask=other, scale_factors=[2])
        np.testing.assert_array_equal(lazy.levels[0].compute(), expected)
        level = lazy.levels[1].compute(scheduler="synchronous")
        under = oracle.any_under(mask, (2, 2, 2))
        assert (level[..., ~under] == 0).all()
        stored = dp.write_pyramid(
            array, MemoryStore(), mask=other, scale_factors=[2], client="synchronous"
        )
        assert same(stored.levels[1].compute(scheduler="synchronous"), level)


@pytest.mark.parametrize("shape", [(4, 6, 7), (2, 3, 4), (6, 8), (2, 4, 6, 8)])
def test_a_mask_of_other_extents_is_refused(shape):
    with pytest.raises(ValueError, match=r"mask must have the spatial .*got"):
        dp.build_pyramid(np.zeros((4, 6, 8)), mask=np.ones(shape))


class Counted:
    """A reader that notes what is read."""

    def __init__(self, reader):
        self.reader, self.regions = reader, []

    in_memory = False

    def __getattr__(self, name):
        return getattr(self.reader, name)

    @property
    def locations(self):
        return ()

    shape = property(lambda self: self.reader.shape)
    dtype = property(lambda self: self.reader.dtype)
    chunks = property(lambda self: (8, 8, 8))

    def read(self, region):
        self.regions.append(region)
        return self.reader.read(region)


def test_what_is_not_under_the_mask_is_neither_read_nor_stored(tmp_path):
    image = dp.open_image(values((32, 32, 32), "uint16"))
    counted = Counted(image.reader)
    image = dataclasses.replace(image, reader=counted)
    mask = np.zeros((32, 32, 32), bool)
    mask[:4, :4, :4] = True
    with small_world(unit=8**3, fused=1):
        dp.write_pyramid(
            image,
            tmp_path / "a.zarr",
            mask=mask,
            method="mean",
            chunks=8,
            shards=False,
            scale_factors=[2, 4],
            workers=1,
        )
    voxels = [math.prod(p.stop - p.start for p in r) for r in counted.regions]
    assert sum(voxels) <= 32**3 // 4
    assert sorted(digests_of(tmp_path / "a.zarr")) == [
        f"{level}/c/0/0/0" for level in range(3)
    ]


def test_units_of_other_processes_open_the_mask_again(tmp_path):
    array, mask = values((20, 24, 24), "uint8"), cell((20, 24, 24))
    for name, data in (("image", array), ("mask", mask)):
        zarr.create_array(tmp_path / f"{name}.zarr", data=data)
    options = {"scale_factors": [2, 4], "chunks": 8, "mode": "w"}
    dp.write_pyramid(array, tmp_path / "a.ome.zarr", mask=mask, **options)
    source, place = tmp_path / "image.zarr", str(tmp_path / "mask.zarr")
    dp.prepare_pyramid(source, tmp_path / "b.ome.zarr", mask=place, **options)
    for i in range(2):
        dp.run_units(tmp_path / "b.ome.zarr", shard=(i, 2))
    dp.finish_pyramid(tmp_path / "b.ome.zarr")
    wanted = digests_of(tmp_path / "a.ome.zarr")
    assert digests_of(tmp_path / "b.ome.zarr") == wanted
    with pytest.raises(ValueError, match="mask must be a path"):
        dp.prepare_pyramid(source, tmp_path / "c.ome.zarr", mask=mask, **options)


def test_a_run_goes_on_only_with_the_same_mask(tmp_path):
    array, mask = values((20, 24, 24), "uint8"), cell((20, 24, 24))
    options = {"scale_factors": [2], "chunks": 8}
    dp.write_pyramid(array, tmp_path / "a.zarr", mask=mask, **options)
    with pytest.raises(ValueError, match="mask"):
        dp.write_pyramid(array, tmp_path / "a.zarr", mode="a", **options)


@pytest.fixture
def masked(tmp_path):
    """A masked pyramid, what it is made of, and how."""
    array, mask = values((20, 24, 24), "uint8"), cell((20, 24, 24))
    options = {"mask": mask, "chunks": 8, "shards": False, "name": "a"}
    dp.write_pyramid(array, tmp_path / "a.zarr", scale_factors=[2], **options)
    return tmp_path / "a.zarr", array, options


def test_a_masked_pyramid_grows_by_levels_with_its_mask(masked, tmp_path):
    place, array, options = masked
    dp.write_pyramid(array, tmp_path / "b.zarr", scale_factors=[2, 4], **options)
    dp.add_levels(place, scale_factors=[2, 4], mask=options["mask"])
    assert digests_of(place) == digests_of(tmp_path / "b.zarr")


def test_a_region_of_a_masked_pyramid_is_taken_up(masked, tmp_path):
    place, array, options = masked
    region = {"z": (3, 12), "y": (0, 9), "x": (1, 5)}
    array = array.copy()
    array[3:12, 0:9, 1:5] //= 2
    dp.write_pyramid(array, tmp_path / "b.zarr", scale_factors=[2], **options)
    copy = tmp_path / "c.zarr"
    shutil.copytree(place, copy)
    before = digests_of(place)
    dp.write_pyramid(array, place, scale_factors=[2], region=region, **options)
    after = digests_of(place)
    assert after == digests_of(tmp_path / "b.zarr")
    assert all(name[4] in "01" for name in after if before[name] != after[name])
    for name in after:
        if name.startswith("0/"):
            (copy / name).write_bytes(after[name])
    dp.update_pyramid(copy, region, mask=options["mask"])
    assert digests_of(copy) == after
    assert dp.verify_pyramid(place, sample="full", mask=options["mask"]).ok


def test_a_mask_of_a_coarse_level_goes_to_processes_and_commands(tmp_path):
    array, mask = values((20, 24, 24), "uint8"), cell((20, 24, 24))[::4, ::4, ::4]
    for name, data in (("in", array), ("mask", mask)):
        zarr.create_array(tmp_path / f"{name}.zarr", data=data, chunks=(5, 6, 6))
    source, path = str(tmp_path / "in.zarr"), str(tmp_path / "mask.zarr")
    options = {"chunks": 8, "shards": False}
    a, b = tmp_path / "a.zarr", str(tmp_path / "b.zarr")
    dp.write_pyramid(array, a, mask=mask, scale_factors=[2, 4, 8], **options)
    dp.prepare_pyramid(source, b, mask=path, scale_factors=[2, 4], **options)
    dp.run_units(b)
    dp.finish_pyramid(b)
    words = ["add-levels", b, "--factors", "2,4,8", "--mask", path]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    assert digests_of(a) == digests_of(tmp_path / "b.zarr")
    with pytest.raises(ValueError, match="labels must be left out of a plan"):
        dp.prepare_pyramid(source, tmp_path / "c.zarr", labels=path)


def test_a_masked_pyramid_does_not_grow_with_another_mask(masked, tmp_path):
    place, array, options = masked
    zarr.create_array(tmp_path / "mask.zarr", data=options["mask"])
    other = str(tmp_path / "mask.zarr")
    for grow, more in (
        (dp.add_levels, {"scale_factors": [2, 4]}),
        (dp.update_pyramid, {"region": {"y": (3, 9)}}),
    ):
        with pytest.raises(ValueError, match=r"mask must be given .*got none"):
            grow(place, **more)
        with pytest.raises(ValueError, match="mask must be that of the stored levels"):
            grow(place, mask=other, **more)
    with pytest.raises(ValueError, match=r"append must be to .*without a mask"):
        dp.append(place, array, "z")
    dp.write_pyramid(array, tmp_path / "plain.zarr", scale_factors=[2])
    with pytest.raises(ValueError, match=r"mask must be given .*got one"):
        dp.update_pyramid(tmp_path / "plain.zarr", {}, mask=options["mask"])


def test_a_target_that_is_the_mask_is_refused(tmp_path):
    zarr.create_array(tmp_path / "mask.zarr", data=np.ones((8, 8), "uint8"))
    with pytest.raises(ValueError, match="source"):
        dp.write_pyramid(
            np.ones((8, 8)),
            tmp_path / "mask.zarr",
            mask=str(tmp_path / "mask.zarr"),
            mode="w",
        )


# --- verifying what was made with a mask ------------------------------------------


def codes_of(store, **options):
    found = dp.verify_pyramid(store, sample="full", progress=False, **options)
    return {finding.code for finding in found.findings}, found


@pytest.mark.parametrize("method", ["gaussian", "gaussian-stride", "mean", "mode"])
@pytest.mark.parametrize("nodata", [None, 3])
def test_a_masked_pyramid_is_verified_with_and_without_its_mask(
    method, nodata, tmp_path
):
    shape = (12, 30, 40)
    array = values(shape, "uint8", style="few")  # many zeros that count
    mask = cell(shape, share=0.5)
    dp.write_pyramid(
        array,
        tmp_path / "a.zarr",
        mask=mask,
        nodata=nodata,
        method=method,
        scale_factors=[2, 4],
        chunks=8,
    )
    for options in ({}, {"mask": mask}):
        codes, found = codes_of(tmp_path / "a.zarr", **options)
        assert found.ok, str(found)
        assert ("content-mask" in codes) == (nodata is None and not options)


def test_a_wrong_voxel_within_the_mask_is_found_without_it(tmp_path):
    array = values((24, 24, 40), "uint8")
    array[array == 0] = 1
    mask = cell(array.shape, share=0.5)
    dp.write_pyramid(array, tmp_path / "a.zarr", mask=mask, scale_factors=[2])
    level = zarr.open_group(tmp_path / "a.zarr", mode="r+")["1"]
    kept = level[5, 5, 4]
    level[5, 5, 4] = int(kept) ^ 1
    assert "content-wrong" in codes_of(tmp_path / "a.zarr")[0]
    level[5, 5, 4] = kept
    level[5, 5, 10] = int(level[5, 5, 10]) ^ 1  # at the border of the mask
    assert "content-wrong" in codes_of(tmp_path / "a.zarr", mask=mask)[0]


def test_a_mask_for_a_pyramid_without_one_is_refused(tmp_path):
    dp.write_pyramid(np.eye(16, dtype="uint8"), tmp_path / "a.zarr", scale_factors=[2])
    with pytest.raises(ValueError, match=r"mask must be that of a pyramid"):
        dp.verify_pyramid(tmp_path / "a.zarr", mask=np.ones((16, 16)))
