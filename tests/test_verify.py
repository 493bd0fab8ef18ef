"""Good pyramids pass, each single fault is caught, what others wrote is explained."""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import shutil
import threading

import dask
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from distributed import Client, LocalCluster
from obstore.store import MemoryStore as ObstoreMemory
from zarr.storage import MemoryStore, ObjectStore, ZipStore

import dask_pyramid as dp
import mutations
from dask_pyramid import cli
from dask_pyramid.methods import METHODS
from dask_pyramid.verify.boxes import Effort, box_shape, chosen_boxes
from dask_pyramid.verify.described import StoredLevel
from dask_pyramid.verify.rules import RULES
from digests import digest

CASES = list(mutations.cases())
ONCE = pytest.mark.once


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """Give a good store by name; each is built once."""
    folder = tmp_path_factory.mktemp("good")

    @functools.cache
    def build(name):
        path = folder / name.replace(" ", "-")
        mutations.STORES[name](path)
        return path

    return build


def codes(found):
    return {finding.code for finding in found.findings}


def errors(found):
    return {finding.code for finding in found.errors}


# --- faults ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "fault"),
    [
        pytest.param(store, f, id=f"{f.name}-{store}", marks=() if i % 5 == 0 else ONCE)
        for i, (store, f) in enumerate(CASES)
    ],
)
def test_every_single_fault_is_caught(good, tmp_path, store, fault):
    mutations.damaged(good(store), tmp_path / "damaged", fault)
    before = digest(tmp_path)
    found = dp.verify_pyramid(tmp_path / "damaged", sample=fault.sample)
    assert errors(found) & set(fault.codes), str(found)
    assert not found.ok
    assert digest(tmp_path) == before


def test_there_are_many_faults():
    assert len({fault.make.__code__ for fault in mutations.FAULTS}) >= 1
    assert len(mutations.FAULTS) >= 100
    assert len(CASES) >= 350


@pytest.mark.parametrize("sample", ["structure", 16, 0.3, "full"])
@pytest.mark.parametrize("store", mutations.STORES)
def test_good_stores_pass(good, store, sample):
    before = digest(good(store))
    found = dp.verify_pyramid(good(store), sample=sample)
    assert not found.errors + found.warnings, str(found)
    assert digest(good(store)) == before


LAYOUTS = [("0.4", False), ("0.5", False), ("0.5", None), ("0.5", 32), ("0.6", None)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("version", "shards"), LAYOUTS)
def test_all_methods_and_layouts_pass(tmp_path, method, version, shards):
    image = mutations.pixels((9, 41, 50), "int16" if version == "0.4" else "float32")
    dp.write_pyramid(
        image,
        tmp_path / "a.zarr",
        method=method,
        version=version,
        shards=shards,
        chunks=16,
        scale_factors=[2, {"z": 2, "y": 6, "x": 4}, 12],
    )
    found = dp.verify_pyramid(tmp_path / "a.zarr", sample="full")
    assert not found.errors + found.warnings, str(found)
    assert all(level.compared for level in found.levels[1:])
    assert all(level.hashed == level.stored for level in found.levels)


@pytest.mark.parametrize("sigma", [1.5, (0, 1, 2)])
def test_a_sigma_of_its_own_is_known_from_the_record(tmp_path, sigma):
    image = mutations.pixels((9, 41, 50))
    dp.write_pyramid(image, tmp_path / "a.zarr", sigma=sigma, scale_factors=[2])
    found = dp.verify_pyramid(tmp_path / "a.zarr", sample="full")
    assert found.ok, str(found)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    del group.attrs["dask-pyramid"]
    assert dp.verify_pyramid(tmp_path / "a.zarr", sample="full").ok


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "uint64", "float16"])
def test_all_kinds_of_voxels_pass(tmp_path, dtype):
    image = mutations.pixels((40, 50), "int64") > 1000
    if dtype != "bool":
        image = mutations.pixels((40, 50), "int64").astype(dtype)
    with (
        pytest.warns(UserWarning, match="viewers refuse")
        if dtype
        in (
            "bool",
            "int64",
            "float16",
        )
        else mutations.nothing()
    ):
        dp.write_pyramid(image, tmp_path / "a.zarr", scale_factors=[2])
    assert dp.verify_pyramid(tmp_path / "a.zarr", sample="full").ok


def test_nan_equals_nan(tmp_path):
    image = mutations.pixels((40, 50), "float32")
    image[5:9, 5:9] = np.nan
    dp.write_pyramid(image, tmp_path / "a.zarr", scale_factors=[2], method="mean")
    assert dp.verify_pyramid(tmp_path / "a.zarr", sample="full").ok


# --- presence --------------------------------------------------------------------


def sparse(path, *, recorded):
    image = np.zeros((64, 64), "uint16")
    image[:20, :20] = mutations.pixels((20, 20))
    dp.write_pyramid(image, path, chunks=16, shards=False, scale_factors=[2])
    if not recorded:
        with mutations.Store(path).attributes() as found:
            del found["dask-pyramid"]


def test_what_the_record_says_is_empty_is_no_fault(tmp_path):
    sparse(tmp_path / "a.zarr", recorded=True)
    found = dp.verify_pyramid(tmp_path / "a.zarr")
    assert not found.errors + found.warnings, str(found)
    assert found.levels[0].stored < found.levels[0].objects


def test_absent_objects_of_level_0_cannot_be_told_from_empty_ones(tmp_path):
    sparse(tmp_path / "a.zarr", recorded=False)
    found = dp.verify_pyramid(tmp_path / "a.zarr")
    assert found.ok
    assert [finding.code for finding in found.warnings] == ["object-absent"]
    assert "12 of 16 objects" in found.warnings[0].message
    assert found.warnings[0].level == "0"


def test_a_missing_object_is_named(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "a.zarr")
    (path / "1" / "c" / "1" / "0" / "1" / "0").unlink()
    found = dp.verify_pyramid(path)
    assert [(f.code, f.level, f.part) for f in found.errors] == [
        ("object-missing", "1", "c/1/0/1/0")
    ]


def test_a_missing_object_of_level_0_is_named(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "a.zarr")
    (path / "0" / "c" / "1" / "0" / "1" / "0").unlink()
    found = dp.verify_pyramid(path)
    assert {(f.code, f.level, f.part) for f in found.errors} == {
        ("object-missing", "0", "c/1/0/1/0")
    }


def test_an_object_that_cannot_be_decoded_is_named(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "a.zarr")
    (path / "1" / "c" / "1" / "0" / "1" / "0").write_bytes(b"junk")
    found = dp.verify_pyramid(path)
    assert ("object-undecodable", "1", "c/1/0/1/0") in {
        (f.code, f.level, f.part) for f in found.errors
    }


def test_objects_beyond_the_shape_are_a_warning(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "a.zarr")
    file = path / "1" / "c" / "1" / "0" / "1"
    shutil.copy(file / "0", file / "99")
    shutil.copy(file / "0", file / "0.partial")
    found = dp.verify_pyramid(path)
    assert found.ok
    assert {f.part for f in found.warnings} == {"c/1/0/1/99", "c/1/0/1/0.partial"}


# --- content ---------------------------------------------------------------------


def message(found, code):
    return " ".join(f.message for f in found.findings if f.code == code)


def level_1(store):
    return mutations.Store(store).array(1)


def test_another_method_is_named(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "a.zarr")
    level_0 = mutations.Store(path).array(0)[:]
    level_1(path)[...] = dp.downsample(level_0, (1, 2, 2, 2), "max")
    found = dp.verify_pyramid(path)
    assert "it equals max of '0'" in message(found, "content-cause")


def test_a_shift_is_named(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "a.zarr")
    level_1(path)[...] = np.roll(level_1(path)[:], 1, axis=3)
    found = dp.verify_pyramid(path)
    assert "shifted by 1 along axis 3" in message(found, "content-cause")


def plain(path, *levels, translation=0.5, kind=None):
    """Write levels as another tool might."""
    group = zarr.create_group(path, zarr_format=3)
    datasets = []
    for k, values in enumerate(levels):
        group.create_array(
            str(k), data=values, chunks=(16,) * values.ndim, dimension_names=["y", "x"]
        )
        steps = [{"type": "scale", "scale": [2.0**k] * 2}]
        if k:
            at = [translation * (2**k - 1)] * 2
            steps.append({"type": "translation", "translation": at})
        datasets.append({"path": str(k), "coordinateTransformations": steps})
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    entry = {"axes": axes, "datasets": datasets, "name": "a", "metadata": {"a": 1}}
    entry["type"] = kind or "unknown"
    group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}
    return path


IMAGE = mutations.pixels((96, 80))


def mean_of(values):
    total = sum(
        values[i::2, j::2].astype(float) for i, j in itertools.product((0, 1), repeat=2)
    )
    return total / 4


@pytest.mark.parametrize(
    ("name", "reduce", "offset"),
    [
        ("mean, truncated", lambda a: mean_of(a).astype("uint16"), 0.5),
        ("mean, rounded half up", lambda a: (mean_of(a) + 0.5).astype("uint16"), 0.5),
        ("mean", lambda a: np.rint(mean_of(a)).astype("uint16"), 0.5),
        ("nearest", lambda a: a[::2, ::2], 0),
        ("nearest, voxel step // 2", lambda a: a[1::2, 1::2], 1),
        ("max", lambda a: dp.downsample(a, 2, "max"), 0.5),
        ("mode", lambda a: dp.downsample(a, 2, "mode"), 0.5),
        ("gaussian", lambda a: dp.downsample(a, 2, "gaussian"), 0.5),
    ],
)
def test_the_method_of_others_is_found_from_the_content(tmp_path, name, reduce, offset):
    first = IMAGE // 50 if name == "mode" else IMAGE
    once = reduce(first)
    levels = (first, once, reduce(once))
    found = dp.verify_pyramid(plain(tmp_path / "a.zarr", *levels, translation=offset))
    assert found.ok, str(found)
    assert found.levels[1].content == f"{name} of 0 by 2 x 2 (found)"
    wrong = 0.25 if offset != 0.25 else 0.0
    other = dp.verify_pyramid(plain(tmp_path / "b.zarr", *levels, translation=wrong))
    assert errors(other) == {"translation-wrong"}


def test_levels_made_from_level_0_are_recognised(tmp_path):
    levels = (IMAGE, dp.downsample(IMAGE, 2, "max"), dp.downsample(IMAGE, 4, "mean"))
    levels = (IMAGE, np.rint(mean_of(IMAGE)).astype("uint16"), levels[2])
    found = dp.verify_pyramid(plain(tmp_path / "a.zarr", *levels))
    assert found.ok, str(found)
    assert found.levels[2].content == "mean of 0 by 4 x 4 (found)"


def test_a_type_that_contradicts_the_content_is_an_error(tmp_path):
    path = plain(tmp_path / "a.zarr", IMAGE, IMAGE[::2, ::2], kind="local_mean")
    assert "content-method" in errors(dp.verify_pyramid(path))


def test_what_nothing_explains_is_not_checked_and_no_error(tmp_path):
    ndimage = pytest.importorskip("scipy.ndimage")
    smooth = ndimage.zoom(ndimage.gaussian_filter(IMAGE, 0.8), 0.5, order=1)
    found = dp.verify_pyramid(plain(tmp_path / "a.zarr", IMAGE, smooth))
    assert found.ok
    assert "content-unchecked" in codes(found)
    assert "content-implausible" not in codes(found)


def test_a_level_of_another_image_is_implausible(tmp_path):
    other = np.random.default_rng(1).integers(0, 2000, (48, 40)).astype("uint16")
    found = dp.verify_pyramid(plain(tmp_path / "a.zarr", IMAGE, other))
    assert "content-implausible" in codes(found)


def test_a_sample_elsewhere_than_stated_is_a_warning(tmp_path):
    ndimage = pytest.importorskip("scipy.ndimage")
    strided = ndimage.gaussian_filter(IMAGE, 1)[::2, ::2]
    found = dp.verify_pyramid(plain(tmp_path / "a.zarr", IMAGE, strided))
    assert "sampled first in its window" in message(found, "content-offset")
    right = plain(tmp_path / "b.zarr", IMAGE, strided, translation=0)
    assert "content-offset" not in codes(dp.verify_pyramid(right))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("method", ["nearest", "local_mean", "resize"])
def test_pyramids_of_ome_zarr_are_understood(tmp_path, method, version):
    writer = pytest.importorskip("ome_zarr.writer")
    scale = pytest.importorskip("ome_zarr.scale")
    formats = pytest.importorskip("ome_zarr.format")
    if not hasattr(scale, "Methods"):
        pytest.skip("this ome-zarr has no choice of methods")
    image = mutations.pixels((2, 20, 64, 48))
    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="threads"):
        patch.setenv("PYTHONWARNINGS", "ignore")
        with mutations.nothing():
            writer.write_image(
                image,
                str(tmp_path / "a.zarr"),
                axes="czyx",
                fmt=formats.format_from_version(version),
                method=scale.Methods(method),
                scale_factors=[2, 4],
            )
    found = dp.verify_pyramid(tmp_path / "a.zarr", sample="full")
    content = found.levels[1].content
    if method == "resize":
        assert found.ok, str(found)
    elif method == "local_mean":
        # Whole factors, so geometry is right; integers are cut and not rounded.
        assert found.ok, str(found)
        assert content.startswith("mean, truncated of ")
        assert "content-truncated" in codes(found)
    else:
        # It takes the last voxel of each window, and says that it took the centre.
        assert content.startswith("nearest, voxel step // 2 of ")
        assert errors(found) == {"translation-wrong"}


# --- stores ----------------------------------------------------------------------


def copied(path, store):
    """Put the files of a folder into a store."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    prototype = default_buffer_prototype()
    for file in path.rglob("*"):
        if file.is_file():
            value = prototype.buffer.from_bytes(file.read_bytes())
            sync(store.set(file.relative_to(path).as_posix(), value))
    return store


@pytest.mark.parametrize("kind", ["memory", "object", "zip"])
@pytest.mark.parametrize("fault", [None, "gone", "junk"])
def test_stores_of_all_kinds_are_checked(good, tmp_path, kind, fault):
    path = shutil.copytree(good("recorded"), tmp_path / "a.zarr")
    file = path / "1" / "c" / "0" / "0" / "0" / "0"
    if fault == "gone":
        file.unlink()
    elif fault == "junk":
        file.write_bytes(b"junk")
    if kind == "zip":
        store = copied(path, ZipStore(tmp_path / "a.zip", mode="w"))
        store.close()
        store = ZipStore(tmp_path / "a.zip", mode="r")
    else:
        made = MemoryStore() if kind == "memory" else ObjectStore(ObstoreMemory())
        store = copied(path, made)
    found = dp.verify_pyramid(store)
    assert found.ok == (fault is None), str(found)
    assert found.levels[0].stored == found.levels[0].objects
    if kind == "zip":
        store.close()


def test_a_web_server_that_cannot_list_is_read_all_the_same(good):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def list_directory(self, path):
            self.send_error(404)

    handler = functools.partial(Quiet, directory=good("0.5"))

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128  # who waits outside of it waits for seconds

    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = dp.verify_pyramid(f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
    assert found.ok, str(found)
    assert "not-listable" in codes(found)
    assert found.levels[1].stored is None
    assert found.levels[1].compared


def test_workers_of_a_cluster_find_the_same(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "a.zarr")
    (path / "1" / "c" / "0" / "0" / "0" / "0").unlink()
    here = dp.verify_pyramid(path)
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        there = dp.verify_pyramid(path, client=client)
        with pytest.raises(ValueError, match="in reach of the workers"):
            dp.verify_pyramid(MemoryStore(), client=client)
        with pytest.raises(ValueError, match="workers must not be given"):
            dp.verify_pyramid(path, client=client, workers=1)
    assert here.to_json() == there.to_json()


def test_a_group_is_checked_where_it_is(good):
    group = zarr.open_group(good("labels"), mode="r")["labels/cells"]
    found = dp.verify_pyramid(group)
    assert found.ok
    assert [level.path for level in found.levels] == ["0", "1"]


# --- what is an image ------------------------------------------------------------


def test_labels_are_checked_along_with_their_image(good):
    found = dp.verify_pyramid(good("labels"))
    assert [level.path for level in found.levels] == [
        "0",
        "1",
        "labels/cells/0",
        "labels/cells/1",
    ]
    assert found.levels[3].content.startswith("mode of labels/cells/0")
    alone = dp.verify_pyramid(good("labels") / "labels" / "cells")
    listed = dp.verify_pyramid(good("labels") / "labels")
    assert alone.ok
    assert listed.ok
    assert [level.path for level in listed.levels] == ["cells/0", "cells/1"]


def test_labels_with_other_levels_than_their_image_are_a_note(good, tmp_path):
    path = shutil.copytree(good("labels"), tmp_path / "a.zarr")
    assert "label-places" not in {f.code for f in dp.verify_pyramid(path).notes}
    cells = path / "labels" / "cells"
    image = dp.open_image(cells)
    dp.write_pyramid(image, tmp_path / "b.zarr", scale_factors=[{"y": 2, "x": 4}])
    shutil.rmtree(cells)
    shutil.copytree(tmp_path / "b.zarr", cells)
    found = dp.verify_pyramid(path)
    assert found.ok
    [note] = [f for f in found.notes if f.code == "label-places"]
    assert note.level == "labels/cells/1"
    assert note.message == "voxels of z 1 (image 2), y 2 (image 2), x 4 (image 2)"


def test_a_label_image_without_image_label_is_a_warning(good, tmp_path):
    path = shutil.copytree(good("labels"), tmp_path / "a.zarr")
    with mutations.Store(path).ome("labels/cells") as ome:
        del ome["image-label"]
    found = dp.verify_pyramid(path)
    assert [f.code for f in found.warnings] == ["image-label-missing"]


def test_a_group_of_bioformats2raw_is_checked_image_by_image(good, tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    group.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for name in "01":
        shutil.copytree(good("0.5"), tmp_path / "a.zarr" / name)
    found = dp.verify_pyramid(tmp_path / "a.zarr")
    assert found.ok, str(found)
    assert [level.path for level in found.levels][::3] == ["0/0", "1/0"]


@pytest.mark.parametrize("kind", ["plate", "well"])
def test_a_plate_that_lists_nothing_is_a_fault(tmp_path, kind):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    group.attrs["ome"] = {"version": "0.5", kind: {}}
    found = dp.verify_pyramid(tmp_path / "a.zarr")
    assert [finding.code for finding in found.errors] == ["plate-list"]


def test_what_is_not_there_or_no_group_is_refused(good, tmp_path):
    with pytest.raises(FileNotFoundError, match="where there is nothing"):
        dp.verify_pyramid(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="holds no"):
        dp.verify_pyramid(tmp_path)
    with pytest.raises(ValueError, match="got the array"):
        dp.verify_pyramid(good("0.5") / "0")
    with pytest.raises(TypeError, match="store must be a path"):
        dp.verify_pyramid(3)


@pytest.mark.parametrize("sample", ["all", 0, -1, 1.5, 0.0, True, None])
def test_an_amount_that_means_nothing_is_refused(good, sample):
    with pytest.raises(ValueError, match="sample must be"):
        dp.verify_pyramid(good("0.5"), sample=sample)


# --- samples ---------------------------------------------------------------------


def level_of(shape, chunks):
    return StoredLevel(
        number=1,
        path="1",
        shape=shape,
        dtype=np.dtype("uint16"),
        chunks=chunks,
        objects=chunks,
        fill=0,
        separator="/",
        prefix="c",
        scale=None,
        translation=None,
    )


def test_a_sample_is_the_same_again_and_has_a_corner_and_the_middle():
    level = level_of((1000, 2000, 3000), (64, 64, 64))
    box = box_shape(level, (2, 2, 2), full=False)
    effort = Effort.parse(16)
    first = list(chosen_boxes(level, box, effort, seed=0))
    assert first == list(chosen_boxes(level, box, effort, seed=0))
    assert first != list(chosen_boxes(level, box, effort, seed=1))
    assert len(first) == len(set(first)) == 16
    ends = [-(-n // b) - 1 for n, b in zip(level.shape, box, strict=True)]
    assert all(i in (0, end) for i, end in zip(first[0], ends, strict=True))
    assert first[1] == tuple((end + 1) // 2 for end in ends)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("chunks", [(1, 1, 1), (64, 64, 64), (5000, 5000, 5000)])
def test_boxes_stay_within_their_budget(chunks, full):
    level = level_of((5000, 5000, 5000), chunks)
    for steps in ((1, 1, 1), (2, 2, 2), (1, 16, 16)):
        box = box_shape(level, steps, full=full)
        assert np.prod(box) * np.prod(steps) <= 2 ** (24 if full else 21)
        assert min(box) >= 1


def test_structure_reads_no_voxel(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "a.zarr")
    for file in mutations.Store(path).objects(1):
        file.write_bytes(b"no voxels here")
    found = dp.verify_pyramid(path, sample="structure")
    assert found.ok
    assert not any(level.bytes or level.blocks for level in found.levels)


def test_progress_is_told(good):
    told = []
    dp.verify_pyramid(good("0.5"), progress=told.append)
    assert [state.done for state in told] == list(range(1, len(told) + 1))
    assert told[-1].total == told[-1].done
    with pytest.raises(TypeError, match="progress must be"):
        dp.verify_pyramid(good("0.5"), progress="yes")


# --- reports ---------------------------------------------------------------------


@pytest.fixture
def faulty(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "<b>.zarr")
    (path / "1" / "c" / "0" / "0" / "0" / "0").write_bytes(b"junk")
    return path


def test_a_report_is_text_html_and_json(faulty):
    found = dp.verify_pyramid(faulty)
    text, html = str(found), found._repr_html_()
    assert "faults found" in text
    assert "x error object-undecodable at 1 c/0/0/0/0" in text
    assert "rule: every object decodes" in text
    assert "&lt;b&gt;" in html
    assert "<b>.zarr" not in html
    again = json.loads(json.dumps(found.to_json()))
    assert again["ok"] is False
    assert again["findings"][0]["severity"] == "error"
    assert again["levels"][0]["shape"] == list(mutations.SHAPE)


def run(*arguments):
    return CliRunner().invoke(cli.main, ["verify", *map(str, arguments)])


def test_the_command_tells_by_its_exit_status(good, faulty, tmp_path):
    assert run(good("0.5")).exit_code == 0
    assert run(good("0.5"), "--full", "--strict").exit_code == 0
    assert run(faulty).exit_code == 3
    assert run(faulty, "--sample", "structure").exit_code == 0
    assert run(tmp_path / "nothing").exit_code == 1
    assert run(good("0.5"), "--sample", "some").exit_code == 2
    assert run(good("0.5"), "--sample", "3", "--full").exit_code == 2
    page = tmp_path / "a.html"
    told = run(faulty, "--json", "--html", page)
    assert json.loads(told.stdout)["ok"] is False
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_warnings_count_where_the_command_is_strict(tmp_path):
    sparse(tmp_path / "a.zarr", recorded=False)
    assert run(tmp_path / "a.zarr").exit_code == 0
    assert run(tmp_path / "a.zarr", "--strict").exit_code == 3


def test_every_rule_names_its_source():
    for code, rule in RULES.items():
        assert len(rule.source) < 90, code
        assert rule.severity in ("error", "warning", "note")


def test_of_many_findings_of_a_kind_the_first_are_told(good, tmp_path):
    path = shutil.copytree(good("0.5"), tmp_path / "a.zarr")
    for file in mutations.Store(path).objects(0):
        file.write_bytes(b"")
    found = dp.verify_pyramid(path, sample="structure")
    assert len(found.errors) == 6
    assert "67 more of these" in found.errors[-1].message
