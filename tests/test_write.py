import json
import shutil
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore, ObjectStore

from dask_pyramid import (
    METHODS,
    Progress,
    build_pyramid,
    downsample,
    open_image,
    open_pyramid,
    write_pyramid,
)
from drawn import small_world, stored_levels, values, viewers_may_refuse

VERSIONS = ("0.4", "0.5", "0.6")
SMALL = {"scale_factors": [2, 4], "chunks": 8, "shards": False, "workers": 2}


def volume(dtype="uint16", shape=(20, 30, 40)):
    return values(shape, dtype, 3)


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def objects_of(folder):
    """The files but the metadata, which name the source."""
    return {
        name: data
        for name, data in files_of(folder).items()
        if Path(name).name not in ("zarr.json", ".zattrs")
    }


def store_in(folder, array, chunks=16):
    stored = zarr.create_array(
        str(folder), shape=array.shape, dtype=array.dtype, chunks=(chunks,) * array.ndim
    )
    stored[...] = array
    return stored


# --- placed ----------------------------------------------------------------------


def written_transforms(folder, version):
    """Scale and translation of each level, read from the JSON without the package."""
    if version == "0.4":
        attributes = json.loads((folder / ".zattrs").read_text())
    else:
        attributes = json.loads((folder / "zarr.json").read_text())["attributes"]["ome"]
    for dataset in attributes["multiscales"][0]["datasets"]:
        transforms = dataset["coordinateTransformations"]
        found = {}
        for transform in transforms:
            parts = transform.get("transformations", [transform])
            found |= {part["type"]: part.get(part["type"]) for part in parts}
        n = len(found["scale"])
        yield dataset["path"], found["scale"], found.get("translation", [0.0] * n)


LINEAR = [name for name, method in METHODS.items() if method.linear]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", LINEAR)
@pytest.mark.parametrize(
    "factors",
    [[2, 4], [3, 9], [{"y": 2, "x": 2}, {"z": 2, "y": 4, "x": 6}], [2, 3]],
)
def test_a_linear_ramp_in_world_coordinates_is_reproduced_at_every_level(
    version, method, factors, tmp_path
):
    scale, origin = (2.5, 0.4, 0.3), (-17.0, 250.0, 3.25)
    slopes = (1.0, -3.0, 0.7)
    shape = (59, 96, 110)
    ramp = np.zeros(shape)
    for axis, n in enumerate(shape):
        world = origin[axis] + scale[axis] * np.arange(n)
        ramp += (slopes[axis] * world).reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
    with viewers_may_refuse():
        write_pyramid(
            ramp,
            tmp_path / "a.zarr",
            method=method,
            scale_factors=factors,
            chunks=32,
            version=version,
            scale=scale,
            translation=origin,
            unit="um",
        )
    levels = list(written_transforms(tmp_path / "a.zarr", version))
    assert len(levels) == len(factors) + 1
    for path, spacing, start in levels:
        values = zarr.open_array(tmp_path / "a.zarr" / path, mode="r")[...]
        expected = np.zeros(values.shape)
        for axis, n in enumerate(values.shape):
            world = start[axis] + spacing[axis] * np.arange(n)
            expected += (slopes[axis] * world).reshape(
                [-1 if a == axis else 1 for a in range(3)]
            )
        # A filter mirrors at the border: two samples at each level feel it.
        inner = tuple(slice(3, -3) for _ in values.shape)
        assert values[inner].size
        np.testing.assert_allclose(values[inner], expected[inner], rtol=0, atol=1e-6)


def drift(image, method):
    """The largest change of the mean grey value through five levels."""
    factors = [2, 4, 8, 16, 32]
    levels = build_pyramid(image, method=method, scale_factors=factors).levels
    means = [level.mean() for level in dask.compute(*levels)]
    return max(abs(mean - image.mean()) for mean in means)


@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize(
    ("shape", "stop"), [((2048, 2048), 256), ((256, 256, 256), 255)]
)
def test_five_levels_of_random_uint8_keep_their_mean(method, shape, stop):
    image = np.random.default_rng(7).integers(0, stop, shape, dtype="uint8")
    assert drift(image, method) < 0.05


def test_a_volume_whose_mean_is_a_half_goes_to_the_even_side_and_no_further():
    # 32768 voxels into one: level 5 holds only 127 and 128, and each tie at 127.5 goes
    # to 128. That is the rule (half to even, as TensorStore's), worth 0.08 grey levels;
    # rounding half up would drift at every level, truncation by 1.9 in all.
    image = np.random.default_rng(7).integers(0, 256, (256, 256, 256), dtype="uint8")
    assert drift(image, "gaussian") < 0.05
    assert drift(image, "mean") < 0.1


@pytest.mark.parametrize("method", ["mode", "nearest"])
@pytest.mark.parametrize("version", VERSIONS)
def test_label_ids_above_2_to_the_53_survive_and_none_is_invented(
    method, version, tmp_path
):
    ids = np.array([0, 2**53 + 1, 2**60 + 7, 2**64 - 1], "uint64")
    rng = np.random.default_rng(0)
    labels = np.kron(rng.choice(ids, (6, 7, 8)), np.ones((5, 5, 5), "uint64"))
    assert labels.dtype == "uint64"
    write_pyramid(labels, tmp_path / "a.zarr", method=method, version=version, **SMALL)
    for level in stored_levels(tmp_path / "a.zarr", version, 3):
        assert level.dtype == np.uint64
        assert set(np.unique(level)) == set(ids)


# --- modes -----------------------------------------------------------------------


def test_what_exists_is_left_alone_by_default(tmp_path):
    write_pyramid(volume(), tmp_path / "a.zarr", **SMALL)
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match=r"target must not exist, got .*a\.zarr"):
        write_pyramid(volume("uint8"), tmp_path / "a.zarr", **SMALL)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pyramid_that_is_replaced_leaves_nothing_behind(version, tmp_path):
    first = {**SMALL, "scale_factors": [2, 4, 8]}
    write_pyramid(volume(), tmp_path / "a.zarr", version="0.5", **first)
    write_pyramid(
        volume("uint8"),
        tmp_path / "a.zarr",
        mode="w",
        version=version,
        name="n",
        chunks=16,
        scale_factors=[2],
    )
    write_pyramid(
        volume("uint8"),
        tmp_path / "b.zarr",
        version=version,
        name="n",
        chunks=16,
        scale_factors=[2],
    )
    assert files_of(tmp_path / "a.zarr") == files_of(tmp_path / "b.zarr")
    assert {path.name for path in tmp_path.iterdir()} == {"a.zarr", "b.zarr"}


def test_a_pyramid_can_be_replaced_again_and_again(tmp_path):
    for seed in range(4):
        array = values((20, 30, 40), "uint16", seed)
        write_pyramid(array, tmp_path / "a.zarr", mode="w", **SMALL)
        stored = stored_levels(tmp_path / "a.zarr", "0.5", 3)
        np.testing.assert_array_equal(stored[0], array)


@pytest.mark.parametrize("mode", ["w-", "w"])
def test_what_is_not_a_pyramid_is_never_touched(mode, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "thesis.txt").write_text("unique")
    file = tmp_path / "file.zarr"
    file.write_text("unique")
    array = tmp_path / "array.zarr"
    store_in(array, volume())
    before = files_of(tmp_path)
    for target in (folder, file, array):
        with pytest.raises(FileExistsError, match="target must"):
            write_pyramid(volume(), target, mode=mode, **SMALL)
    with pytest.raises(ValueError, match="target must lie in a folder"):
        write_pyramid(volume(), file / "a.zarr", mode=mode, **SMALL)
    assert files_of(tmp_path) == before


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"mode must be one of .*got 'x'"):
        write_pyramid(volume(), tmp_path / "a.zarr", mode="x", **SMALL)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_can_be_the_target(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    write_pyramid(volume(), tmp_path / "a.zarr", **SMALL)
    assert open_pyramid(tmp_path / "a.zarr").shapes[0] == (20, 30, 40)


def test_a_target_that_is_a_link_stays_one(tmp_path):
    (tmp_path / "far").mkdir()
    link = tmp_path / "a.zarr"
    write_pyramid(volume(), tmp_path / "far" / "b.zarr", **SMALL)
    link.symlink_to(tmp_path / "far" / "b.zarr")
    write_pyramid(volume("uint8"), link, mode="w", **SMALL)
    assert link.is_symlink()
    assert open_pyramid(link).dtype == np.uint8
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["b.zarr"]


# --- source and target -----------------------------------------------------------


@pytest.mark.parametrize("mode", ["w-", "w"])
def test_a_target_at_in_or_around_the_source_is_refused(mode, tmp_path):
    source = tmp_path / "deep" / "a.zarr"
    write_pyramid(volume(), source, **SMALL)
    (tmp_path / "link.zarr").symlink_to(source)
    before = files_of(tmp_path)
    for target in (
        source,
        source / "0",
        source / "inner.zarr",
        tmp_path / "deep",
        tmp_path / "link.zarr",
        tmp_path / "link.zarr" / "x",
        tmp_path / "deep" / ".." / "deep" / "a.zarr",
        f"file://{source}",
    ):
        for image in (source, tmp_path / "link.zarr", zarr.open_array(source / "0")):
            with pytest.raises((ValueError, FileExistsError), match="target"):
                write_pyramid(image, target, mode=mode, **SMALL)
    assert files_of(tmp_path) == before


def test_an_array_and_its_pyramid_can_share_a_plain_group(tmp_path):
    group = zarr.create_group(str(tmp_path / "experiment.zarr"))
    raw = group.create_array("raw", shape=(20, 30), dtype="uint8", chunks=(8, 8))
    raw[...] = 3
    write_pyramid(raw, tmp_path / "experiment.zarr" / "pyramid", **SMALL)
    assert open_pyramid(tmp_path / "experiment.zarr" / "pyramid").dtype == np.uint8


def test_a_target_beside_a_source_of_the_same_beginning_is_fine(tmp_path):
    write_pyramid(volume(), tmp_path / "a", **SMALL)
    write_pyramid(tmp_path / "a", tmp_path / "ab", **SMALL)
    assert objects_of(tmp_path / "a") == objects_of(tmp_path / "ab")


def test_a_missing_source_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source must exist, got .*no\.tif"):
        write_pyramid(tmp_path / "no.tif", tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"method": "cubic"},
        {"scale_factors": [2, 2]},
        {"axes": "qyx"},
        {"unit": "furlong"},
        {"scale": (0, 1, 1)},
        {"version": "0.4", "shards": 32},
        {"chunks": 32, "shards": 48},
        {"compressors": "rar"},
        {"memory_limit": "1 KiB"},
        {"mode": "a+"},
    ],
)
def test_an_error_in_an_argument_leaves_no_trace(options, tmp_path):
    with pytest.raises(ValueError, match=f"{next(reversed(options))}|version|shards"):
        write_pyramid(volume(), tmp_path / "a.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_an_empty_image_and_complex_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must not be empty, got shape"):
        write_pyramid(np.zeros((0, 4)), tmp_path / "a.zarr")
    with pytest.raises(TypeError, match=r"dtype must be .*complex128.*channels"):
        write_pyramid(np.zeros((4, 4), complex), tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


# --- what is left ----------------------------------------------------------------


class FailingReader:
    """Another reader that cannot read one region until it is mended."""

    def __init__(self, reader, fails_at):
        self.reader, self.fails_at = reader, fails_at
        self.shape, self.dtype = reader.shape, reader.dtype
        self.chunks, self.locations = reader.chunks, reader.locations

    def read(self, region):
        if self.fails_at is not None and all(
            r.start <= v < r.stop for r, v in zip(region, self.fails_at, strict=True)
        ):
            raise OSError("disk on fire")
        return self.reader.read(region)


def failing(array, at):
    image = open_image(array)
    return replace(image, reader=FailingReader(image.reader, at))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_finished_pyramid_holds_its_levels_and_nothing_else(version, tmp_path):
    write_pyramid(volume(), tmp_path / "a.zarr", version=version, **SMALL)
    names = {path.name for path in (tmp_path / "a.zarr").iterdir()}
    metadata = {".zgroup", ".zattrs"} if version == "0.4" else {"zarr.json"}
    assert names == {"0", "1", "2", *metadata}
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_source_that_fails_leaves_nothing_published_and_names_the_unit(tmp_path):
    image = failing(volume(), (17, 5, 5))
    with small_world(), pytest.raises(OSError, match="disk on fire") as error:
        write_pyramid(image, tmp_path / "a.zarr", **SMALL)
    assert any(
        note.startswith("in unit 0-") and "level 0, z 0:20, y 0:30, x 0:" in note
        for note in error.value.__notes__
    ), error.value.__notes__
    attributes = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs.asdict()
    assert "multiscales" not in json.dumps(attributes)
    with pytest.raises(ValueError, match="must be complete"):
        open_pyramid(tmp_path / "a.zarr")


def test_a_replacement_that_fails_leaves_the_old_pyramid_as_it_was(tmp_path):
    write_pyramid(volume(), tmp_path / "a.zarr", **SMALL)
    before = files_of(tmp_path / "a.zarr")
    image = failing(volume(), (17, 5, 5))
    with small_world(), pytest.raises(OSError, match="disk on fire"):
        write_pyramid(image, tmp_path / "a.zarr", mode="w", **SMALL)
    assert files_of(tmp_path / "a.zarr") == before


@pytest.mark.parametrize("again", ["w", "removed"])
def test_after_a_failure_the_same_process_can_write_the_same_target(again, tmp_path):
    array = volume()
    image = failing(array, (17, 25, 35))
    target = tmp_path / "a.zarr"
    with small_world(), pytest.raises(OSError, match="disk on fire"):
        write_pyramid(image, target, **SMALL)
    if again == "removed":
        shutil.rmtree(target)
    image.reader.fails_at = None
    with small_world():
        write_pyramid(image, target, mode="w" if again == "w" else "w-", **SMALL)
    stored = stored_levels(target, "0.5", 3)
    np.testing.assert_array_equal(stored[0], array)
    np.testing.assert_array_equal(stored[1], downsample(array, 2, "gaussian"))


def test_after_two_failures_a_replacement_is_complete(tmp_path):
    array = volume()
    target = tmp_path / "a.zarr"
    write_pyramid(array // 2, target, **SMALL)
    image = failing(array, (17, 25, 35))
    for _ in range(2):
        with small_world(), pytest.raises(OSError, match="disk on fire"):
            write_pyramid(image, target, mode="w", **SMALL)
    image.reader.fails_at = None
    with small_world():
        write_pyramid(image, target, mode="w", **SMALL)
    np.testing.assert_array_equal(stored_levels(target, "0.5", 3)[0], array)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_failing_block_of_a_dask_graph_stops_the_run_and_names_the_unit(tmp_path):
    def fail(block, block_id=None):
        if block_id == (1, 1, 1):
            raise RuntimeError("no such block")
        return block

    lazy = da.from_array(volume(), chunks=10).map_blocks(
        fail, dtype="uint16", meta=np.empty((0,) * 3, "uint16")
    )
    with small_world(), pytest.raises(RuntimeError, match="no such block") as error:
        write_pyramid(lazy, tmp_path / "a.zarr", **SMALL)
    assert any("in unit 0-" in note for note in error.value.__notes__)


# --- objects ---------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shards", [False, 16])
def test_objects_that_hold_only_the_fill_value_are_not_stored(
    version, shards, tmp_path
):
    if version == "0.4" and shards:
        pytest.skip("Zarr v2 has no shards")
    array = np.zeros((32, 32, 32), "uint8")
    array[:8, :8, :8] = 9
    options = {**SMALL, "shards": shards, "method": "nearest", "version": version}
    write_pyramid(array, tmp_path / "a.zarr", **options)
    for k in range(3):
        assert len(objects_of(tmp_path / "a.zarr" / str(k))) == (
            1 + (version == "0.4")  # .zarray
        )
    stored = stored_levels(tmp_path / "a.zarr", version, 3)
    np.testing.assert_array_equal(stored[0], array)
    empty = np.zeros((32, 32, 32), "uint8")
    write_pyramid(empty, tmp_path / "b.zarr", **options)
    assert not stored_levels(tmp_path / "b.zarr", version, 3)[1].any()


def test_there_are_as_many_objects_as_the_plan_says(tmp_path):
    for shards in (False, 16, None):
        target = tmp_path / f"{shards}.zarr"
        options = {**SMALL, "shards": shards}
        plan = build_pyramid(volume(), scale_factors=[2, 4]).plan
        write_pyramid(volume() | 1, target, **options)
        from dask_pyramid import plan_pyramid

        plan = plan_pyramid(open_image(volume()), **options)
        assert len(objects_of(target)) == plan.n_objects


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compressors", [None, "blosc", "zstd", "lz4", "gzip", "none"])
def test_every_compressor_gives_the_same_pixels(version, compressors, tmp_path):
    array = volume(shape=(9, 20, 20))
    write_pyramid(
        array,
        tmp_path / "a.zarr",
        version=version,
        compressors=compressors,
        scale_factors=[2],
        chunks=8,
    )
    stored = stored_levels(tmp_path / "a.zarr", version, 2)
    np.testing.assert_array_equal(stored[0], array)
    np.testing.assert_array_equal(stored[1], downsample(array, 2, "gaussian"))


@pytest.mark.parametrize("version", ["0.5", "0.6"])
def test_a_flipped_bit_is_an_error_and_not_a_wrong_pixel(version, tmp_path):
    write_pyramid(volume(), tmp_path / "a.zarr", version=version, **SMALL)
    objects = sorted((tmp_path / "a.zarr" / "0" / "c").rglob("*"))
    file = next(path for path in objects if path.is_file())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(Exception, match=r"(?i)checksum|crc32c"):
        open_pyramid(tmp_path / "a.zarr").levels[0].compute()


# --- where -----------------------------------------------------------------------


def test_a_store_in_memory_holds_the_objects_of_a_folder(tmp_path):
    for version in VERSIONS:
        store, options = MemoryStore(), {**SMALL, "version": version, "name": "n"}
        written = write_pyramid(volume(), store, **options)
        again = open_pyramid(store)
        write_pyramid(volume(), tmp_path / version, **options)
        for k, level in enumerate(stored_levels(tmp_path / version, version, 3)):
            np.testing.assert_array_equal(written.levels[k].compute(), level)
            np.testing.assert_array_equal(again.levels[k].compute(), level)
        with pytest.raises(FileExistsError, match="target must not exist"):
            write_pyramid(volume(), store, **options)
        write_pyramid(
            volume("uint8"), store, mode="w", **{**options, "scale_factors": [2]}
        )
        assert len(open_pyramid(store).levels) == 2
        assert not any(key.startswith("2/") for key in store._store_dict)


def test_two_stores_in_memory_are_told_apart():
    stores = [MemoryStore() for _ in range(3)]
    arrays = [values((9, 20), "uint8", seed) for seed in range(3)]
    for store, array in zip(stores, arrays, strict=True):
        write_pyramid(array, store, **SMALL)
    for store, array in zip(stores, arrays, strict=True):
        np.testing.assert_array_equal(open_pyramid(store).levels[0].compute(), array)


def test_an_object_store_holds_the_pixels_of_a_folder(tmp_path):
    from obstore.store import LocalStore

    (tmp_path / "bucket").mkdir()
    store = ObjectStore(LocalStore(tmp_path / "bucket"))
    options = {**SMALL, "shards": 16, "name": "n"}
    write_pyramid(volume(), store, **options)
    write_pyramid(volume(), tmp_path / "a.zarr", **options)
    for found, expected in zip(
        stored_levels(tmp_path / "bucket", "0.5", 3),
        stored_levels(tmp_path / "a.zarr", "0.5", 3),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    files = [path for path in (tmp_path / "bucket").rglob("*") if path.is_file()]
    assert not any(".dask-pyramid" in path.parts for path in files)


def test_what_is_no_place_is_refused():
    with pytest.raises(TypeError, match=r"target must be a path, .*got int"):
        write_pyramid(volume(), 3)
    with pytest.raises(ValueError, match="target must be a path or URL, got an empty"):
        write_pyramid(volume(), "")


# --- what the user sees ----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "int64", "float64"])
def test_a_dtype_that_viewers_refuse_is_a_warning_at_the_callers_line(dtype, tmp_path):
    with pytest.warns(UserWarning, match=f"many viewers refuse {dtype}") as caught:
        write_pyramid(volume(dtype), tmp_path / "a.zarr", **SMALL)
    assert [Path(w.filename).name for w in caught] == ["test_write.py"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32", "uint64"])
def test_other_dtypes_are_no_warning(dtype, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_pyramid(volume(dtype), tmp_path / "a.zarr", **SMALL)


def test_a_callback_is_told_of_the_start_and_each_unit_in_the_callers_thread(tmp_path):
    told = []

    def callback(progress):
        assert threading.current_thread() is threading.main_thread()
        told.append(progress)

    with small_world():
        write_pyramid(volume(), tmp_path / "a.zarr", progress=callback, **SMALL)
    n = told[-1].total
    assert [p.done for p in told] == list(range(n + 1))
    assert {p.total for p in told} == {n}
    assert all(isinstance(p, Progress) for p in told)
    total = 2 * sum(level.size for level in open_pyramid(tmp_path / "a.zarr").levels)
    assert told[-1].bytes_written == total


def test_progress_prints_nothing_unless_asked(tmp_path, capsys):
    write_pyramid(volume(), tmp_path / "a.zarr", progress=False, **SMALL)
    write_pyramid(volume(), tmp_path / "b.zarr", **SMALL)
    assert capsys.readouterr() == ("", "")
    write_pyramid(volume(), tmp_path / "c.zarr", progress=True, **SMALL)
    captured = capsys.readouterr()
    assert not captured.out
    assert "unit" in captured.err
    with pytest.raises(TypeError, match="progress must be True, False or a callable"):
        write_pyramid(volume(), tmp_path / "d.zarr", progress="yes", **SMALL)


def test_a_pyramid_that_was_built_is_written_as_it_was_built(tmp_path):
    pyramid = build_pyramid(volume(), method="mean", scale_factors=[2, 6])
    pyramid.write(tmp_path / "a.zarr", chunks=8)
    stored = open_pyramid(tmp_path / "a.zarr")
    assert stored.method == "mean"
    assert stored.shapes == pyramid.shapes
    assert stored.scale == pyramid.scale
    assert stored.translation == pyramid.translation
    for found, built in zip(stored.levels, pyramid.levels, strict=True):
        np.testing.assert_array_equal(found.compute(), built.compute())


def test_axes_scale_unit_and_name_are_written_and_read_back(tmp_path):
    array = values((6, 20, 30, 3), "uint8")
    for version in VERSIONS:
        target = tmp_path / version
        write_pyramid(
            array,
            target,
            axes="tyxc",
            scale={"t": 0.5, "y": 2, "x": 3},
            translation={"y": -1},
            unit={"t": "s", "y": "um", "x": "um"},
            name="cells",
            version=version,
            scale_factors=[2],
            method="mean",
        )
        stored = open_pyramid(target)
        assert stored.axes == ("t", "c", "y", "x")
        assert stored.scale == ((0.5, 1, 2, 3), (0.5, 1, 4, 6))
        assert stored.translation == ((0, 0, -1, 0), (0, 0, 0, 1.5))
        assert stored.unit == ("second", None, "micrometer", "micrometer")
        assert stored.name == "cells"
        assert stored.method == "mean"
        np.testing.assert_array_equal(
            stored.levels[0].compute(), array.transpose(0, 3, 1, 2)
        )


# --- clusters --------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    # Tornado and asyncio warn of what they do to each other when a cluster stops.
    with (
        warnings.catch_warnings(),
        dask.config.set({"distributed.worker.memory.terminate": False}),
    ):
        warnings.simplefilter("ignore")
        with (
            distributed.LocalCluster(
                processes=True,
                n_workers=2,
                threads_per_worker=1,
                dashboard_address=":0",
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client


@pytest.mark.parametrize("kind", ["zarr", "dask", "numpy"])
@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_a_cluster_writes_the_bytes_that_threads_write(kind, method, client, tmp_path):
    array = volume()
    source = {
        "zarr": lambda: store_in(tmp_path / "in.zarr", array, 12),
        "dask": lambda: da.from_array(array, chunks=(7, 11, 13)),
        "numpy": lambda: array,
    }[kind]()
    options = {**SMALL, "shards": 16, "method": method, "name": "n"}
    del options["workers"]
    with small_world(block=3000):
        write_pyramid(source, tmp_path / "a.zarr", workers=2, **options)
        write_pyramid(source, tmp_path / "b.zarr", client=client, **options)
    assert files_of(tmp_path / "a.zarr") == files_of(tmp_path / "b.zarr")


def test_a_cluster_can_replace_a_pyramid_again_and_again(client, tmp_path):
    options = {name: value for name, value in SMALL.items() if name != "workers"}
    for seed in range(4):
        array = values((20, 30, 40), "uint16", seed)
        with small_world(block=3000):
            write_pyramid(
                array, tmp_path / "a.zarr", mode="w", client=client, **options
            )
        stored = stored_levels(tmp_path / "a.zarr", "0.5", 3)
        np.testing.assert_array_equal(stored[0], array)


def test_a_failure_on_a_cluster_names_the_unit(client, tmp_path):
    stored = store_in(tmp_path / "in.zarr", volume())
    chunk = sorted((tmp_path / "in.zarr" / "c").rglob("*"))[-1]
    chunk.write_bytes(b"torn")
    options = {name: value for name, value in SMALL.items() if name != "workers"}
    with small_world(), pytest.raises(OSError, match="cannot read") as error:
        write_pyramid(stored, tmp_path / "a.zarr", client=client, **options)
    assert any("in unit 0-" in note for note in getattr(error.value, "__notes__", []))


def test_what_is_no_client_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"client must be a distributed.Client .*got 3"):
        write_pyramid(volume(), tmp_path / "a.zarr", client=3)
    assert not list(tmp_path.iterdir())
