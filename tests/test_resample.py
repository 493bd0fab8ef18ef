"""`dp.resample`: spacing and place, the same pixels from every engine, writing."""

import dataclasses
import pickle

import dask.array as da
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import rescale

import dask_pyramid as dp
from dask_pyramid.cli import main
from dask_pyramid.sources.identity import identify
from dask_pyramid.sources.resampled import ResampledReader


def stack(shape=(12, 30, 28), dtype="uint16", **options):
    pixels = np.random.default_rng(0).integers(0, 1000, shape).astype(dtype)
    options = {"unit": "um", "scale": (1.5, 0.5, 0.5)} | options
    return dp.open_image(pixels, **options)


def pixels_of(image):
    return np.asarray(image.data.compute(scheduler="synchronous"))


class Tracing:
    """A reader that notes what is read of it."""

    locations = ()

    def __init__(self, pixels, chunks):
        self.pixels, self.chunks = pixels, chunks
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self.regions = []

    def read(self, region):
        self.regions.append(region)
        return self.pixels[region].copy()


# --- shapes, spacing and place ---------------------------------------------------


def embryo():
    pixels = np.broadcast_to(np.uint8(0), (86, 396, 393))
    return dp.open_image(pixels, unit="um", scale=(1, 0.202, 0.202))


@pytest.mark.parametrize(
    ("wanted", "shape"),
    [
        ({"isotropic": "coarsest"}, (86, 80, 79)),
        ({"isotropic": "coarsest", "zoom": 2}, (172, 160, 159)),
        ({"isotropic": "finest"}, (426, 396, 393)),
        ({"isotropic": 1.0}, (86, 80, 79)),
        ({"isotropic": "500 nm"}, (172, 160, 159)),
        ({"scale": 0.5}, (172, 160, 159)),
        ({"scale": {"z": "0.5 um"}}, (172, 396, 393)),
        ({"factor": 0.5}, (43, 198, 196)),
        ({"factor": (2, 1, 0.001)}, (172, 396, 1)),
        ({"shape": {"y": 100, "x": 100}}, (86, 100, 100)),
        ({"shape": (43, 99, 393)}, (43, 99, 393)),
    ],
)
def test_each_way_to_say_it_gives_its_shape(wanted, shape):
    assert dp.resample(embryo(), **wanted).shape == shape


def test_odd_extents_are_halved_half_to_even():
    image = np.zeros((1025, 1024), "uint8")
    assert dp.resample(image, factor=0.5).shape == (512, 512)


def test_the_spacing_asked_for_is_kept_to_the_last_bit():
    image = dp.resample(embryo(), scale=0.3)
    assert image.scale == (0.3, 0.3, 0.3)
    assert image.translation == pytest.approx((-0.35, 0.049, 0.049))
    assert dp.resample(embryo(), shape={"x": 100}).scale[2] == 0.202 * 3.93


def test_units_of_axes_may_differ():
    pixels = np.zeros((10, 20, 20), "uint8")
    image = dp.open_image(
        pixels, scale=(1, 250, 250), unit=("um", "nm", "nm"), axes="zyx"
    )
    fine = dp.resample(image, isotropic="finest")
    assert fine.shape == (40, 20, 20)
    assert fine.scale == (0.25, 250, 250)


def test_how_large_it_gets_is_known_before_anything_is_read():
    image = dp.resample(embryo(), isotropic="finest", zoom=20)
    plan = dp.plan_pyramid(image, memory_limit="1 GiB", workers=1)
    assert image.nbytes == 8515 * 7920 * 7860
    assert plan.levels[0].shape == image.shape
    assert plan.peak_memory <= 2**30


@pytest.mark.parametrize("zoom", [1, 20, 300])
def test_a_chunk_that_grows_large_is_made_in_parts(zoom):
    source = Tracing(np.broadcast_to(np.uint16(0), (64, 512, 512)), (64, 128, 128))
    image = dataclasses.replace(stack((64, 512, 512)), reader=source)
    large = dp.resample(image, isotropic="finest", zoom=zoom)
    assert np.prod(large.chunks) <= 2**21
    assert np.prod(large.block_shape()) <= 2**26
    plan = dp.plan_pyramid(large, memory_limit="1 GiB", workers=1)
    assert plan.peak_memory <= 2**30


def test_time_and_channel_stay_as_they_are():
    image = dp.open_image(np.zeros((2, 3, 8, 8), "uint8"), axes="tcyx")
    assert dp.resample(image, factor=2).shape == (2, 3, 16, 16)
    assert dp.resample(image, shape=(2, 3, 4, 4)).shape == (2, 3, 4, 4)
    with pytest.raises(ValueError, match="factor must leave axis 'c' alone, got 2"):
        dp.resample(image, factor={"c": 2})


def test_a_shape_beside_a_spacing_says_whether_extents_round_up():
    image = dp.open_image(np.zeros((11, 7), "uint8"), scale=(0.5, 0.5))
    for spacing in ({"factor": 0.25}, {"scale": 2}):
        assert dp.resample(image, **spacing).shape == (3, 2)
        for shape in ((3, 2), (2, 1)):
            made = dp.resample(image, shape=shape, **spacing)
            assert (made.shape, made.scale) == (shape, (2.0, 2.0))
        assert dp.resample(image, shape={"y": 2}, **spacing).shape == (2, 2)
    up = dp.resample(image, factor=1 / 4, shape=(3, 2), order=3, anti_aliasing=True)
    expected = dp.downsample(image, 4, order=3)
    np.testing.assert_array_equal(up.data.compute(), expected.data.compute())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 0.5, "shape": (9, 9, 9)}, "shape must be what the spacing gives"),
        ({}, "exactly one of scale, factor, shape and isotropic .* got none"),
        ({"scale": 1, "factor": 2}, "got scale, factor"),
        ({"factor": 2, "zoom": 2}, "zoom must go with isotropic"),
        ({"factor": 0}, "factor must be positive, got 0"),
        ({"factor": {"x": "two"}}, "factor must be positive, got 'two'"),
        ({"factor": (1, 2)}, "factor must have one entry for each axis"),
        ({"shape": 5}, "shape must be a dict by axis or a sequence, got 5"),
        ({"shape": {"x": 1.5}}, "shape must hold whole numbers"),
        ({"scale": "1 parrot"}, "got 'parrot'"),
        ({"scale": "fast"}, "a length must be a number with a unit"),
        ({"isotropic": "best"}, "isotropic must be 'finest', 'coarsest' or a spacing"),
        ({"isotropic": "0.5 qm"}, "unit"),
        ({"isotropic": "1 um", "zoom": 2}, "zoom must go with a spacing that is a"),
        ({"factor": 2, "order": 6}, "order must be 0 to 5, got 6"),
        ({"factor": 2, "boundary": "wrap"}, "boundary must be one of reflect"),
        ({"factor": 2, "method": "median"}, "made of whole windows"),
        ({"factor": 0.5, "method": "nearest", "order": 1}, "order must be 0"),
        ({"factor": 0.5, "method": "mean", "anti_aliasing": True}, "with a method"),
        ({"factor": 0.5, "anti_aliasing": False, "sigma": 1}, "sigma must go with"),
        ({"factor": 0.5, "method": "mean", "order": 3}, "order must not be given"),
        ({"factor": 0.5, "sigma": -1}, "sigma must be zero or more, got -1"),
        ({"factor": 0.5, "sigma": 1e6}, "sigma must be at most 64 voxels"),
        ({"factor": 1e-9}, "factor must make .* got 1e-09 for axis 'z'"),
        ({"factor": {"x": 5e-324}}, "factor must make .* got 5e-324 for axis 'x'"),
        ({"factor": 1e300}, r"factor must make .* got 1e\+300"),
        ({"scale": 1e17}, r"scale must make .* got 1e\+17"),
        ({"shape": {"x": 10**400}}, "shape must make .* for axis 'x'"),
        ({"isotropic": "finest", "zoom": 1e300}, "isotropic must make"),
    ],
)
def test_what_breaks_a_rule_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dp.resample(stack(), **options)


def test_a_text_needs_an_image_with_a_unit():
    with pytest.raises(ValueError, match="scale must be a number where the image has"):
        dp.resample(np.zeros((4, 4), "uint8"), scale="1 um")


# --- pixels ----------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.37, 2.3])
def test_by_default_a_gaussian_goes_before_where_axes_shrink(factor):
    image = stack(dtype="float64")
    a = 1 / factor
    smooth = pixels_of(image)
    if a > 1:
        smooth = ndimage.gaussian_filter(smooth, (a - 1) / 2)
    found = dp.resample(image, factor=factor)
    at = np.meshgrid(
        *(np.arange(n) * a + (a - 1) / 2 for n in found.shape), indexing="ij"
    )
    expected = ndimage.map_coordinates(smooth, at, order=1, mode="reflect")
    np.testing.assert_allclose(pixels_of(found), expected, atol=1e-6 * 1000)


@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_methods_of_whole_factors_are_those_of_pyramids(method):
    image = stack((12, 30, 28), dtype="float32")
    expected = dp.downsample(pixels_of(image), 2, method)
    found = dp.resample(image, factor=0.5, method=method)
    np.testing.assert_allclose(pixels_of(found), expected, rtol=1e-6)


def test_nearest_takes_every_ninth_voxel():
    image = stack((4, 90, 99))
    found = dp.resample(image, factor={"y": 1 / 9, "x": 1 / 9}, method="nearest")
    np.testing.assert_array_equal(pixels_of(found), pixels_of(image)[:, 4::9, 4::9])


def test_labels_are_copied():
    ids = np.array([[2**63 + 1, 5], [7, 2**53 + 1]], "uint64")
    image = dp.open_image(ids).with_metadata(labels=True)
    found = dp.resample(image, factor=3)
    np.testing.assert_array_equal(pixels_of(found), ids.repeat(3, 0).repeat(3, 1))
    for wrong in ({"order": 1}, {"sigma": 1}, {"method": "mean"}):
        with pytest.raises(ValueError, match="labels must be copied and not averaged"):
            dp.resample(image, factor=0.5, **wrong)


def test_masks_stay_masks():
    mask = dp.open_image(np.eye(8, dtype=bool))
    assert set(np.unique(pixels_of(dp.resample(mask, factor=0.5)))) <= {False, True}
    soft = pixels_of(dp.resample(mask, factor=2, order=1))
    assert soft.dtype == bool


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("factor", [0.3, 2.7])
def test_a_ramp_stays_a_ramp_in_the_world(order, factor):
    scale, translation = (0.7, 0.2), (3.0, -1.0)
    world = [t + s * np.arange(60) for s, t in zip(scale, translation, strict=True)]
    ramp = 2 * world[0][:, None] + 5 * world[1][None, :]
    image = dp.open_image(ramp, scale=scale, translation=translation)
    found = dp.resample(image, factor=factor, order=order)
    places = [
        t + s * np.arange(n)
        for s, t, n in zip(found.scale, found.translation, found.shape, strict=True)
    ]
    expected = 2 * places[0][:, None] + 5 * places[1][None, :]
    inner = tuple(slice(n // 3, -(n // 3)) for n in found.shape)
    np.testing.assert_allclose(pixels_of(found)[inner], expected[inner], atol=1e-3)


@given(
    shape=st.tuples(*(st.integers(1, 40),) * 3),
    factor=st.tuples(*(st.floats(0.1, 6),) * 3),
    order=st.integers(0, 5),
    data=st.data(),
)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_graph_reader_and_parts_have_the_bits_of_the_whole(shape, factor, order, data):
    pixels = np.random.default_rng(1).integers(0, 1000, shape).astype("uint16")
    chunks = data.draw(st.tuples(*(st.integers(1, n) for n in shape)))
    options = {"factor": factor, "order": order}
    whole = dp.resample(pixels, **options)
    expected = whole.reader.read(tuple(slice(0, n) for n in whole.shape))
    graph = dp.resample(da.from_array(pixels, chunks=chunks), **options)
    np.testing.assert_array_equal(pixels_of(graph), expected)
    tracing = ResampledReader(Tracing(pixels, chunks), whole.reader.samplings)
    region = []
    for n in whole.shape:
        start = data.draw(st.integers(0, n - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, n))))
    np.testing.assert_array_equal(tracing.read(tuple(region)), expected[tuple(region)])


def test_graphs_are_cut_into_blocks_with_what_they_need_of_their_neighbours(
    monkeypatch,
):
    monkeypatch.setattr("dask_pyramid.superblocks._BLOCK_VOXELS", 2**9)
    pixels = np.random.default_rng(2).random((90, 110))
    for factor, order in (((0.4, 2.3), 1), ((1.7, 1.7), 3), ((0.21, 0.21), 0)):
        expected = pixels_of(dp.resample(pixels, factor=factor, order=order))
        lazy = dp.resample(
            da.from_array(pixels, chunks=(17, 50)), factor=factor, order=order
        )
        assert lazy.graph.npartitions > 1
        np.testing.assert_array_equal(pixels_of(lazy), expected)


def test_tiles_bound_the_memory_and_change_no_bit(monkeypatch):
    image = stack((20, 60, 50))
    options = {"factor": (2.2, 0.4, 0.3), "order": 3}
    expected = pixels_of(dp.resample(image, **options))
    source = Tracing(pixels_of(image), (8, 16, 16))
    samplings = dp.resample(image, **options).reader.samplings
    monkeypatch.setattr("dask_pyramid.sources.resampled._PIECE_VOXELS", 1)
    monkeypatch.setattr("dask_pyramid.sources.resampled._WORKING_BYTES", 2**19)
    reader = ResampledReader(source, samplings)
    found = reader.read(tuple(slice(0, n) for n in reader.shape))
    np.testing.assert_array_equal(found, expected)
    largest = max(
        np.prod([part.stop - part.start for part in region])
        for region in source.regions
    )
    assert largest * 2 < 2**19
    assert reader.working_bytes == 2**19 + 8 * 16 * 16 * 2 * 5 // 2


def test_a_large_factor_reads_each_chunk_about_once():
    pixels = np.broadcast_to(np.uint8(0), (64, 2048, 2048))
    source = Tracing(pixels, (32, 64, 64))
    samplings = dp.resample(pixels, factor=(1, 0.1, 0.1)).reader.samplings
    reader = ResampledReader(source, samplings)
    reader.read(tuple(slice(0, n) for n in reader.shape))
    decoded = sum(
        np.prod(
            [
                -(-part.stop // c) - part.start // c
                for part, c in zip(region, source.chunks, strict=True)
            ]
        )
        for region in source.regions
    )
    assert decoded < 1.5 * 2 * 32 * 32


@pytest.mark.parametrize("order", [1, 3, 5])
def test_planes_are_not_resampled_one_by_one_by_a_spline_that_reaches_far(order):
    image = stack((60, 256, 256))
    source = Tracing(pixels_of(image), (1, 128, 256))
    samplings = dp.resample(image, factor=2, order=order).reader.samplings
    reader = ResampledReader(source, samplings)
    for size, sampling in zip(reader.chunks, samplings, strict=True):
        held = sampling.needed(0, size)
        assert held.stop - held.start <= 3 * sampling.a * size + 3
    assert np.prod(reader.chunks) <= 2**23


@pytest.mark.parametrize(("chunks", "calls"), [((1, 1, 1), 32), ((1, 256, 256), 8)])
def test_small_chunks_are_read_many_at_a_time_and_planes_one_by_one(chunks, calls):
    pixels = np.broadcast_to(np.uint8(0), (8, 256, 256))
    source = Tracing(pixels, chunks)
    samplings = dp.resample(pixels, factor=(0.9, 0.5, 0.5)).reader.samplings
    reader = ResampledReader(source, samplings)
    reader.read(tuple(slice(0, n) for n in reader.shape))
    assert len(source.regions) <= calls


def test_a_shape_gives_the_pixels_of_scikit_image():
    pixels = np.random.default_rng(4).random((60, 80))
    expected = rescale(pixels, 0.4, order=1, anti_aliasing=True)
    found = pixels_of(dp.resample(pixels, factor=0.4))
    # Its Gaussian mirrors at another place.
    np.testing.assert_allclose(found[4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-9)


# --- writing ---------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path):
    image = stack()
    dp.write_pyramid(image, tmp_path / "in.zarr", scale_factors=[], chunks=8)
    return tmp_path / "in.zarr"


def test_a_written_one_verifies_and_says_how_it_was_made(stored, tmp_path):
    image = dp.resample(str(stored), isotropic="finest", order=3)
    pickle.loads(pickle.dumps(image.reader))
    target = tmp_path / "out.zarr"
    pyramid = dp.write_pyramid(image, target, scale_factors=[2], chunks=8, shards=False)
    assert pyramid.shapes[0] == image.shape
    np.testing.assert_array_equal(pyramid.levels[0].compute(), pixels_of(image))
    assert dp.verify_pyramid(target, sample="full").ok
    assert pyramid.scale[0] == (0.5, 0.5, 0.5)
    made = zarr.open_group(target, mode="r").attrs.asdict()["dask-pyramid"]
    assert made["source"]["resampling"]["0"]["0"]["order"] == 3


def test_units_and_memory_limit_do_not_change_the_bytes(stored, tmp_path):
    image = dp.resample(str(stored), factor=(3.1, 2.3, 0.4))
    a = dp.write_pyramid(
        image, tmp_path / "a.zarr", scale_factors=[2], chunks=8, client="synchronous"
    )
    b = dp.write_pyramid(
        dp.resample(dp.open_image(stored).data, factor=(3.1, 2.3, 0.4)),
        tmp_path / "b.zarr",
        scale_factors=[2],
        chunks=8,
        client="synchronous",
    )
    for one, other in zip(a.levels, b.levels, strict=True):
        np.testing.assert_array_equal(one.compute(), other.compute())


def test_other_processes_open_it_again(stored, tmp_path):
    image = dp.resample(dp.resample(str(stored), factor=(2, 1, 1)), factor=0.7)
    target = tmp_path / "out.zarr"
    dp.prepare_pyramid(image, target, scale_factors=[2], chunks=8)
    with pytest.raises(ValueError, match=r"resampling\.1\.0\.order: 1 there, 3 here"):
        dp.write_pyramid(
            dp.resample(
                dp.resample(str(stored), factor=(2, 1, 1)), factor=0.7, order=3
            ),
            target,
            scale_factors=[2],
            chunks=8,
            mode="a",
        )
    dp.run_units(target)
    pyramid = dp.finish_pyramid(target)
    np.testing.assert_array_equal(pyramid.levels[0].compute(), pixels_of(image))
    assert pyramid.scale[0] == pytest.approx(image.scale)


def test_an_array_is_told_by_its_values_and_what_is_done_to_it():
    pixels = np.random.default_rng(3).integers(0, 99, (20, 40)).astype("uint8")
    known = identify(dp.resample(pixels, factor=1.5))
    assert identify(dp.resample(pixels.copy(), factor=1.5)) == known
    for other in (
        dp.resample(pixels + 1, factor=1.5),
        dp.resample(pixels, factor=1.5, order=2),
        dp.open_image(pixels),
    ):
        assert identify(other) != known


def test_a_target_that_is_the_source_is_refused(stored):
    with pytest.raises(ValueError, match="source"):
        dp.write_pyramid(dp.resample(str(stored), factor=2), stored, mode="w")


def test_an_order_beside_a_method_is_for_the_axes_that_grow():
    by_order = [
        pixels_of(dp.resample(stack(), factor=(2, 0.5, 0.5), method="mean", order=n))
        for n in (1, 3)
    ]
    assert (by_order[0] != by_order[1]).any()


def test_a_petabyte_is_allowed_and_what_no_integer_counts_is_not():
    image = dp.open_image(np.broadcast_to(np.uint8(0), (64, 4096, 4096)))
    assert dp.resample(image, factor=100).nbytes > 2**49
    with pytest.raises(ValueError, match=r"at most 2\*\*63 voxels, got 32768 for"):
        dp.resample(image, factor=32768)


# --- the command -----------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_writes_what_the_verb_makes(stored, tmp_path):
    target = tmp_path / "out.zarr"
    result = run(
        *("resample", stored, target, "--to-scale", "z=0.5um,x=1", "--order", 3),
        *("--smooth", "x=0.6", "--factors", "none", "--chunks", 8),
    )
    assert result.exit_code == 0, result.output
    expected = dp.resample(
        str(stored), scale={"z": "500 nm", "x": 1}, order=3, sigma={"x": 0.6}
    )
    (level,) = dp.open_pyramid(target).levels
    np.testing.assert_array_equal(level.compute(), pixels_of(expected))


def test_the_command_says_how_large_it_gets_and_reads_nothing(stored, tmp_path):
    target = tmp_path / "out.zarr"
    shown = run(
        *("resample", stored, target, "--isotropic", "finest", "--zoom", 30),
        *("--plan", "--memory-limit", "1GiB", "--workers", 1),
    )
    assert shown.exit_code == 0, shown.output
    assert "1080 x 900 x 840" in shown.output
    assert not target.exists()


def test_the_command_refuses_what_is_beyond_all_bounds_before_it_writes(
    stored, tmp_path
):
    target = tmp_path / "out.zarr"
    for extreme in (["--factor", 1e7], ["--factor", 0.5, "--smooth", 1e6]):
        result = run("resample", stored, target, *extreme)
        assert result.exit_code == 1
        assert " must " in result.output
        assert not target.exists()


def test_the_command_tells_wrong_usage(stored, tmp_path):
    result = run("resample", stored, tmp_path / "out.zarr")
    assert result.exit_code == 1
    assert "exactly one of scale, factor, shape and isotropic" in result.output
