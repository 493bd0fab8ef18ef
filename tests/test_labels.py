"""Label images: ids that stay ids, in the group of their image, found by readers."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore as ObjectMemory
from zarr.storage import MemoryStore, ObjectStore

import dask_pyramid as dp
from dask_pyramid import cli, idents, units
from digests import digest
from drawn import small_world, viewers_may_refuse
from oracle import window_reduced

DATA = Path(__file__).parent.parent / "examples" / "data"
SMALL = {"scale_factors": [2, 4], "chunks": 8, "shards": False, "workers": 1}
SHAPE = (20, 33, 40)


def image(shape=SHAPE):
    return np.random.default_rng(1).integers(0, 2**12, shape).astype("uint16")


def blobs(shape=SHAPE, dtype="uint32", most=9):
    """Ids in runs, mostly background, as a segmentation has them."""
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, most + 1, [-(-n // 5) for n in shape])
    for axis in range(len(shape)):
        coarse = coarse.repeat(5, axis=axis)
    return coarse[tuple(slice(n) for n in shape)].astype(dtype)


def mode(array, factors):
    return window_reduced(array, factors, "mode")


def stored(place):
    return [level.compute() for level in dp.open_pyramid(place).levels]


def attributes(group):
    found = zarr.open_group(group, mode="r").attrs.asdict()
    return found.get("ome", found)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def place(tmp_path):
    """A stored image."""
    place = str(tmp_path / "a.ome.zarr")
    scale = (0.3, 0.2, 0.2)
    dp.write_pyramid(image(), place, **SMALL, scale=scale, unit="um")
    return place


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_labels_have_the_levels_and_places_of_their_image(tmp_path, version):
    place = tmp_path / "a.ome.zarr"
    options = {"version": version, "scale": (0.3, 0.2, 0.2), "unit": "um"}
    pyramid = dp.write_pyramid(
        image(), place, labels={"cells": blobs()}, **SMALL, **options
    )
    cells = pyramid.labels["cells"]
    assert cells.shapes == pyramid.shapes
    assert (cells.scale, cells.translation) == (pyramid.scale, pyramid.translation)
    assert (cells.unit, cells.method) == (pyramid.unit, "mode")
    once = mode(blobs(), (2, 2, 2))
    for found, wanted in zip(
        stored(f"{place}/labels/cells"),
        [blobs(), once, mode(once, (2, 2, 2))],
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)
    assert attributes(place / "labels")["labels"] == ["cells"]
    said = attributes(place / "labels" / "cells")["image-label"]
    assert said["source"] == {"image": "../../"}
    assert [entry["label-value"] for entry in said["colors"]] == list(range(1, 10))
    assert ("version" in said) == (version == "0.4")
    found = dp.verify_pyramid(place, sample="full")
    assert not found.errors + found.warnings, str(found)
    assert {level.path for level in found.levels} >= {"0", "labels/cells/2"}


def test_labels_have_the_levels_of_an_isotropic_pyramid(tmp_path):
    place = tmp_path / "a.ome.zarr"
    isotropic = {**SMALL, "scale_factors": "isotropic", "scale": (0.9, 0.2, 0.2)}
    pyramid = dp.write_pyramid(
        image(), place, labels={"cells": blobs()}, **isotropic, unit="um"
    )
    cells = pyramid.labels["cells"]
    assert (0.9,) * 3 in cells.scale
    assert cells.shapes == pyramid.shapes
    assert (cells.scale, cells.translation) == (pyramid.scale, pyramid.translation)
    levels = stored(f"{place}/labels/cells")
    assert all(set(np.unique(level)) <= set(range(10)) for level in levels)
    found = dp.verify_pyramid(place, sample="full")
    assert not found.errors + found.warnings, str(found)


@pytest.mark.parametrize("recorded", [True, False])
def test_labels_have_levels_of_any_factor(tmp_path, recorded):
    place = tmp_path / "a.ome.zarr"
    written = dp.write_pyramid(image(), place, **SMALL | {"scale_factors": [2.6, 4]})
    if not recorded:  # as by another tool
        group = zarr.open_group(place)
        group.attrs.put({"ome": group.attrs["ome"]})
    assert dp.write_labels(place, blobs()).shapes == written.shapes


def test_a_fault_in_a_level_of_labels_is_found_by_verifying_the_image(place):
    dp.write_labels(place, blobs(), name="cells")
    zarr.open_array(f"{place}/labels/cells/2")[1, 2, 3] += 1
    found = dp.verify_pyramid(place, sample="full")
    assert not found.ok
    assert {finding.level for finding in found.errors} == {"labels/cells/2"}


def test_the_real_labels_of_the_nuclei_keep_their_ids(tmp_path):
    place = tmp_path / "nuclei.ome.zarr"
    pyramid = dp.write_pyramid(
        DATA / "nuclei.tif",
        place,
        scale=(0.29, 0.26, 0.26),
        unit="um",
        labels=DATA / "nuclei_label.tif",
    )
    ids = set(np.unique(tifffile.imread(DATA / "nuclei_label.tif")))
    levels = [level.compute() for level in pyramid.labels["labels"].levels]
    assert set(np.unique(levels[0])) == ids
    assert all(set(np.unique(level)) <= ids for level in levels)
    assert dp.verify_pyramid(place, sample="full").ok


def test_a_mask_is_stored_as_0_and_1_that_viewers_take(place):
    mask = blobs() > 4
    pyramid = dp.write_labels(place, mask, name="mask")
    assert pyramid.dtype == np.uint8
    levels = stored(f"{place}/labels/mask")
    np.testing.assert_array_equal(levels[0], mask)
    assert all(set(np.unique(level)) == {0, 1} for level in levels)
    np.testing.assert_array_equal(levels[1], mode(mask, (2, 2, 2)))
    again = dp.write_labels(place, dp.open_image(mask).data, name="lazy")
    np.testing.assert_array_equal(again.levels[2], levels[2])


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_ids_beyond_the_whole_numbers_of_floats_survive(place, dtype):
    first = 2**62 if dtype == "int64" else 2**63 + 2**62
    many = (blobs() + np.uint64(first)).astype(dtype)
    with viewers_may_refuse():
        pyramid = dp.write_labels(place, many)
    for level in pyramid.levels:
        assert set(np.unique(level.compute())) <= set(range(first, first + 10))
    colours = attributes(f"{place}/labels/labels")["image-label"]["colors"]
    assert colours[0]["label-value"] == first
    assert dp.verify_pyramid(place, sample="full").ok


@pytest.mark.parametrize(
    ("labels", "options", "error", "words"),
    [
        (blobs().astype("float32"), {}, TypeError, r"float32; convert .*astype"),
        (
            blobs((20, 33, 41)),
            {},
            ValueError,
            "y 33, x 40 .*got z 20, y 33, x 41",
        ),
        (blobs((33, 40)), {}, ValueError, "got y 33, x 40"),
        (blobs((2, *SHAPE)), {}, ValueError, "got c 2, z 20, y 33, x 40"),
        (blobs(), {"name": "../a"}, ValueError, "name of a label image"),
        (blobs(), {"name": "c"}, ValueError, "a name that Zarr uses"),
        (blobs(), {"name": "n" * 300}, ValueError, "at most 240 bytes, got 300 in"),
        (blobs(), {"method": "mean"}, ValueError, "use 'mode', 'mode-exact' or"),
        (blobs(), {"ignore": "0"}, ValueError, "ignore must be .*, got '0'"),
        (dp.open_image(blobs(), scale=(3, 2, 2), unit="um"), {}, ValueError, "spacing"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    place, labels, options, error, words
):
    before = digest(place)
    with pytest.raises(error, match=words):
        dp.write_labels(place, labels, **options)
    assert digest(place) == before
    other = f"{place}-new"
    if not options:
        scale = (0.3, 0.2, 0.2)
        with pytest.raises(error, match=words):
            dp.write_pyramid(image(), other, labels=labels, scale=scale, unit="um")
        assert not Path(other).exists()


def test_labels_with_a_unit_for_an_image_without_one_are_told_the_way_out(tmp_path):
    place = str(tmp_path / "a.ome.zarr")
    dp.write_pyramid(image(), place, scale=(3, 2, 2), **SMALL)
    labels = dp.open_image(blobs(), scale=(3, 2, 2), unit="um")
    with pytest.raises(ValueError, match=r"3.0 \(no unit\), got 3.0 micrometer; write"):
        dp.write_labels(place, labels)
    assert dp.write_labels(place, labels.data).unit == (None,) * 3


def test_the_longest_name_can_be_written_and_replaced(place):
    name = "n" * 240
    dp.write_labels(place, blobs(), name=name)
    dp.write_labels(place, blobs() + 1, name=name, mode="w")
    assert list(dp.open_pyramid(place).labels) == [name]


def test_nearest_levels_begin_where_level_0_does(tmp_path):
    place = str(tmp_path / "a.ome.zarr")
    dp.write_pyramid(image(), place, **SMALL)
    labels = dp.write_labels(place, blobs(), method="nearest")
    assert labels.translation == ((0.0, 0.0, 0.0),) * 3


def test_labels_may_lack_the_channels_and_times_of_their_image(tmp_path):
    place = tmp_path / "a.ome.zarr"
    dp.write_pyramid(image((3, 2, *SHAPE)), place, axes="tczyx", **SMALL)
    assert dp.write_labels(place, blobs(), name="zyx").axes == ("z", "y", "x")
    times = blobs((3, *SHAPE))
    assert dp.write_labels(place, times, name="tzyx", axes="tzyx").axes[0] == "t"
    one = blobs((3, 1, *SHAPE))
    assert dp.write_labels(place, one, name="one").shapes[1] == (3, 1, 10, 17, 20)
    found = dp.verify_pyramid(place, sample="full")
    assert not found.errors + found.warnings, str(found)


def majority_lost():
    """A block whose majority the majorities of its parts do not have."""
    block = np.zeros((4, 4), "uint8")
    block[:2, :2] = [[1, 1], [2, 3]]
    block[:2, 2:] = [[1, 1], [2, 3]]
    block[2:, :2] = 2
    block[2:, 2:] = [[2, 2], [4, 5]]
    return block


def test_the_exact_mode_is_that_of_the_whole_window(tmp_path):
    labels = majority_lost().repeat(4, axis=0).repeat(4, axis=1)[:15, :13]
    labels[3:9, 2:11] = blobs((6, 9), "uint8")
    place = tmp_path / "a.ome.zarr"
    dp.write_pyramid(image(labels.shape), place, **SMALL)
    chained = dp.write_labels(place, labels, name="chained")
    exact = dp.write_labels(place, labels, name="exact", method="mode-exact")
    once = mode(labels, (2, 2))
    np.testing.assert_array_equal(chained.levels[2], mode(once, (2, 2)))
    np.testing.assert_array_equal(exact.levels[1], once)
    np.testing.assert_array_equal(exact.levels[2], mode(labels, (4, 4)))
    assert (exact.levels[2] != chained.levels[2]).any().compute()
    assert exact.method == "mode-exact"
    found = dp.verify_pyramid(place, sample="full")
    assert not found.errors + found.warnings, str(found)
    lazy = dp.build_pyramid(labels, method="mode-exact", scale_factors=[2, 4])
    np.testing.assert_array_equal(lazy.levels[2], mode(labels, (4, 4)))


@pytest.mark.parametrize("method", ["mode", "mode-exact"])
def test_a_background_that_is_ignored_wins_only_where_it_is_alone(place, method):
    sparse = np.zeros(SHAPE, "uint32")
    sparse[:, 7, 9] = 5
    sparse[4, 4:6, 4:30] = 8
    pyramid = dp.write_labels(place, sparse, name="s", method=method, ignore=0)
    for level, factor in zip(pyramid.levels[1:], (2, 4), strict=True):
        level = level.compute()
        blocks = window_reduced(sparse, (factor,) * 3, "max") > 0
        np.testing.assert_array_equal(level > 0, blocks)
        assert set(np.unique(level)) == {0, 5, 8}
    found = dp.verify_pyramid(place, sample="full")
    assert not found.errors + found.warnings, str(found)


@settings(max_examples=15)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 2),
    slab=st.sampled_from([1, 10**6]),
    most=st.integers(0, 40),
)
def test_colours_do_not_depend_on_how_the_image_is_cut(
    tmp_path_factory, shape, slab, most
):
    labels = blobs(shape, most=most)
    place = tmp_path_factory.mktemp("cut") / "a.ome.zarr"
    with small_world(slab=slab):
        dp.write_pyramid(image(shape), place, labels=labels, **SMALL)
    said = attributes(place / "labels" / "labels")["image-label"]
    ids = sorted(set(labels.ravel().tolist()) - {0})
    assert [c["label-value"] for c in said.get("colors", [])] == ids
    assert said.get("colors", []) == idents.label_colours(ids)


def test_each_id_has_a_colour_of_its_own_and_too_many_have_none(tmp_path):
    colours = idents.label_colours(range(1, idents.MOST + 1))
    assert len({tuple(colour["rgba"]) for colour in colours}) == idents.MOST
    assert not idents.label_colours(range(1, idents.MOST + 2))
    many = np.arange(4096, dtype="uint16").reshape(64, 64)
    place = tmp_path / "a.ome.zarr"
    dp.write_pyramid(image((64, 64)), place, labels={"many": many}, **SMALL)
    assert "colors" not in attributes(place / "labels" / "many")["image-label"]


def test_a_label_image_keeps_the_colours_and_properties_that_it_comes_with(place):
    dp.write_labels(place, blobs(), name="first")
    group = zarr.open_group(f"{place}/labels/first")
    said = group.attrs.asdict()
    said["ome"]["image-label"]["colors"] = [{"label-value": 1, "rgba": [1, 2, 3, 4]}]
    said["ome"]["image-label"]["properties"] = [{"label-value": 1, "kind": "cell"}]
    group.attrs.put(said)
    dp.write_labels(place, f"{place}/labels/first", name="second")
    wanted = said["ome"]["image-label"]
    assert attributes(f"{place}/labels/second")["image-label"] == wanted


class StopError(Exception):
    """An interruption of a test's own."""


class Runs:
    """Counts the units that are run; stops at one of them."""

    count, stop = 0, None


@pytest.fixture
def runs(monkeypatch):
    counted = Runs()
    real = units.run_unit

    def run(job, unit, *more):
        if counted.count == counted.stop:
            raise StopError
        counted.count += 1
        return real(job, unit, *more)

    monkeypatch.setattr("dask_pyramid.runner.tasks.run_unit", run)
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**12)
    return counted


@pytest.mark.parametrize("mode", ["w-", "w"])
def test_a_run_that_is_stopped_goes_on_to_the_same_bytes(tmp_path, runs, mode):
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, image())
    options = {"labels": {"a": blobs(), "b": blobs() > 2}, **SMALL}
    dp.write_pyramid(source, tmp_path / "whole.zarr", **options)
    whole = runs.count
    for after in (0, whole // 3 - 1, whole // 3, whole // 3 + 3, whole - 1):
        place = tmp_path / f"{after}.zarr"
        if mode == "w":
            dp.write_pyramid(source, place, **{**options, "labels": {"b": blobs()}})
        runs.count, runs.stop = 0, after
        with pytest.raises(StopError):
            dp.write_pyramid(source, place, mode=mode, **options)
        runs.stop = None
        for group in list((place / "labels").glob("zarr.json")):
            for name in json.loads(group.read_text())["attributes"]["ome"]["labels"]:
                stored(place / "labels" / name)  # what is listed is complete
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*whether it holds this array")
            dp.write_pyramid(source, place, mode="a", **options)
        assert runs.count == whole
        assert content(place) == content(tmp_path / "whole.zarr")


def test_labels_are_replaced_only_if_they_are_given_again(tmp_path, place):
    dp.write_labels(place, blobs(), name="cells")
    with pytest.raises(FileExistsError, match="mode='w' replaces"):
        dp.write_labels(place, blobs(), name="cells")
    dp.write_labels(place, blobs()[::-1].copy(), name="cells", mode="w")
    np.testing.assert_array_equal(
        dp.open_pyramid(place).labels["cells"].levels[0], blobs()[::-1]
    )
    dp.write_labels(place, blobs() > 0, name="mine")
    before = digest(place)
    with pytest.raises(FileExistsError, match="also holds labels"):
        dp.write_pyramid(image(), place, labels={"cells": blobs()}, mode="w", **SMALL)
    assert digest(place) == before
    both = {"cells": blobs(), "mine": blobs()}
    pyramid = dp.write_pyramid(image(), place, labels=both, mode="w", **SMALL)
    assert list(pyramid.labels) == ["cells", "mine"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ome.zarr"]


def test_labels_are_made_lazily_of_the_image_that_they_go_into(place):
    pyramid = dp.open_pyramid(place)
    bright = pyramid.levels[0] > 2000
    dp.write_labels(place, bright, name="bright")
    labels = dp.open_pyramid(place).labels["bright"]
    np.testing.assert_array_equal(labels.levels[0], image() > 2000)
    with pytest.raises(ValueError, match="a source is never modified"):
        dp.write_labels(place, labels.levels[0] + 1, name="bright", mode="w")


def test_the_image_is_not_touched_and_others_keep_what_they_say(place):
    def of_image():
        return {k: v for k, v in content(place).items() if not k.startswith("labels")}

    before = of_image()
    group = zarr.open_group(f"{place}/labels", mode="w")
    group.attrs.put({"mine": 1, "ome": {"version": "0.5", "labels": [], "more": 2}})
    dp.write_labels(place, blobs(), name="a")
    dp.write_labels(place, blobs(), name="b")
    assert of_image() == before
    assert zarr.open_group(f"{place}/labels").attrs.asdict() == {
        "mine": 1,
        "ome": {"version": "0.5", "labels": ["a", "b"], "more": 2},
    }


def test_labels_go_into_an_image_of_another_tool(tmp_path):
    writer = pytest.importorskip("ome_zarr.writer")
    place = str(tmp_path / "theirs.ome.zarr")
    writer.write_image(
        image(), place, axes="zyx", scale_factors=[2, 4], storage_options={"chunks": 8}
    )
    before = {k: v for k, v in content(place).items() if "labels" not in k}
    theirs = dp.open_pyramid(place)
    pyramid = dp.write_labels(place, blobs(), name="cells")
    assert len(pyramid.shapes) == len(theirs.shapes)
    assert dp.verify_pyramid(f"{place}/labels/cells", sample="full").ok
    assert {k: v for k, v in content(place).items() if "labels" not in k} == before


def test_consolidated_metadata_show_new_labels(place):
    with pytest.warns(UserWarning, match="Consolidated metadata"):
        zarr.consolidate_metadata(place)
    dp.write_labels(place, blobs(), name="cells")
    group = zarr.open_group(place, mode="r", use_consolidated=True)
    assert "labels/cells/2" in group


@pytest.mark.parametrize("kind", ["zarr", "obstore"])
def test_labels_go_into_stores_of_any_kind_with_the_same_bytes(tmp_path, kind):
    options = {"labels": {"cells": blobs()}, "name": "a", **SMALL}
    dp.write_pyramid(image(), tmp_path / "a.zarr", **options)
    store = MemoryStore() if kind == "zarr" else ObjectStore(ObjectMemory())
    pyramid = dp.write_pyramid(image(), store, **options)
    dp.write_pyramid(image(), store, mode="w", **options)
    np.testing.assert_array_equal(pyramid.labels["cells"].levels[0], blobs())
    assert dp.verify_pyramid(store, sample="full").ok
    from dask_pyramid.store import objects

    keys = {key for key, _ in objects.list_sizes(store, "")}
    found = {key: objects.get(store, key) for key in keys}
    assert found == content(tmp_path / "a.zarr")


def test_labels_go_to_s3_beside_an_image_there(moto, tmp_path):
    bucket = moto.bucket()
    place = f"s3://{bucket}/a.zarr"
    options = {"name": "a", **SMALL}
    dp.write_pyramid(image(), place, storage_options=moto.options, **options)
    dp.write_labels(place, blobs(), name="cells", storage_options=moto.options)
    dp.write_pyramid(image(), tmp_path / "a", labels={"cells": blobs()}, **options)
    found = {k.removeprefix("a.zarr/"): v for k, v in moto.objects(bucket).items()}
    assert found == content(tmp_path / "a")
    opened = dp.open_pyramid(place, storage_options=moto.options)
    assert opened.labels["cells"].shapes == opened.shapes


def test_two_writers_of_labels_are_both_listed(place):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: dp.write_labels(place, blobs(), name=n), "abde"))
    assert sorted(dp.open_pyramid(place).labels) == list("abde")


def test_the_command_writes_labels(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", image())
    tifffile.imwrite(tmp_path / "cells.tif", blobs())
    place = str(tmp_path / "a.ome.zarr")

    def run(*words):
        return CliRunner().invoke(cli.main, [str(word) for word in words])

    source, cells = tmp_path / "in.tif", tmp_path / "cells.tif"
    layout = ("--factors", "2,4", "--chunks", "8", "--shards", "none")
    done = run("write", source, place, *layout, "--labels", f"cells={cells}")
    assert done.exit_code == 0, done.output
    done = run(
        "labels",
        place,
        cells,
        "--name",
        "more",
        "--method",
        "mode-exact",
        "--ignore",
        0,
    )
    assert done.exit_code == 0, done.output
    assert "mode-exact" in done.output
    assert list(dp.open_pyramid(place).labels) == ["cells", "more"]
    done = run("labels", place, source, "--name", "../up")
    assert done.exit_code == 1
    assert "name of a label image" in done.output
    done = run("verify", place, "--full", "--json")
    assert done.exit_code == 0
    assert json.loads(done.output)["ok"]


def test_labels_of_an_isotropic_image_have_its_levels_exactly(tmp_path):
    image = dp.open_image(np.zeros((12, 50, 60), "uint8"), scale=(1, 0.202, 0.202))
    ids = np.zeros(image.shape, "uint16")
    ids[2:4, 10:20, 10:20] = 7
    place = tmp_path / "a"
    pyramid = dp.write_pyramid(image, place, scale_factors="isotropic", chunks=8)
    for ignore in (None, 0):
        labels = dp.write_labels(place, ids, name=f"ids{ignore}", ignore=ignore)
        assert labels.shapes == pyramid.shapes
        assert labels.scale == pyramid.scale
        assert labels.translation == pyramid.translation
    found = dp.verify_pyramid(place, sample="full")
    assert found.ok, str(found)


@pytest.mark.parametrize("dtype", ["uint8", "uint32"])
def test_an_array_that_is_opened_as_labels_is_never_averaged(tmp_path, dtype):
    ids = blobs(dtype=dtype)
    opened = dp.open_image(ids, labels=True)
    assert opened.labels
    assert not dp.open_image(ids).labels
    written = dp.write_pyramid(opened, tmp_path / "a.ome.zarr", **SMALL)
    np.testing.assert_array_equal(written.levels[1].compute(), mode(ids, (2, 2, 2)))
    assert "image-label" in attributes(tmp_path / "a.ome.zarr")
    assert dp.verify_pyramid(tmp_path / "a.ome.zarr", sample="full").ok
    finer = dp.resample(opened, factor=1.5)
    assert set(np.unique(finer.data.compute())) == set(np.unique(ids))
    smaller = dp.downsample(opened, 2).data.compute()
    np.testing.assert_array_equal(smaller, mode(ids, (2, 2, 2)))


def test_what_says_that_it_holds_labels_can_be_opened_as_an_image(place):
    stored = dp.write_labels(place, blobs(), name="a")
    assert dp.open_image(stored.location).labels
    assert not dp.open_image(stored.location, labels=False).labels


def test_bools_are_masks_and_floats_are_no_labels():
    assert not dp.open_image(blobs() > 3, labels=True).labels
    with pytest.raises(TypeError, match="labels must be False for float32, got True"):
        dp.open_image(blobs().astype("float32"), labels=True)


def test_commands_take_an_image_as_labels(tmp_path):
    ids, out = tmp_path / "ids.zarr", [str(tmp_path / name) for name in "abcd"]
    zarr.create_array(str(ids), data=blobs(), chunks=(8, 8, 8))
    common = ["--factors", "2", "--chunks", "16", "--no-progress", "--as-labels"]
    commands = [
        ["write", str(ids), out[0], *common],
        ["resample", str(ids), out[1], "--factor", "1", *common],
        ["plan", str(ids), out[2], *common[:-2], "--as-labels"],
        ["units", out[2], "--no-progress"],
        ["finish", out[2], "--no-progress"],
    ]
    for command in commands:
        ended = CliRunner().invoke(cli.main, command)
        assert ended.exit_code == 0, ended.output
    wanted = mode(blobs(), (2, 2, 2))
    for place in out[:3]:
        np.testing.assert_array_equal(stored(place)[1], wanted)
        assert "image-label" in attributes(place)
    refused = CliRunner().invoke(
        cli.main, ["write", str(ids), out[3], "--as-labels", "--method", "mean"]
    )
    assert "method must keep label values" in refused.output
