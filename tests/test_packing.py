"""Zipped OME-Zarr files (.ozx) as target and as source."""

import json
import os
import pickle
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

import dask_pyramid as dp
from dask_pyramid.cli import main
from dask_pyramid.info import stored_info
from dask_pyramid.store.packing import Package
from dask_pyramid.zip_store import ZippedStore
from drawn import values

ARRAY = values((20, 60, 70), "uint16")
HOW = {"scale_factors": [2, 4], "chunks": 16, "shards": 32, "progress": False}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    place = tmp_path_factory.mktemp("packed") / "a.ozx"
    dp.write_pyramid(ARRAY, place, labels=ARRAY > 9, **HOW)
    return place


@pytest.mark.parametrize(("name", "link"), [("a.ozx", "plain"), ("b1c5", "b.ozx")])
def test_a_zipped_file_is_found_behind_a_link_of_any_name(tmp_path, packed, name, link):
    shutil.copy(packed, tmp_path / name)
    place = tmp_path / link
    place.symlink_to(name)
    image = dp.open_image(place)
    np.testing.assert_array_equal(np.asarray(image.data), ARRAY)
    again = pickle.loads(pickle.dumps(dp.open_pyramid(place).levels[1]))
    assert again.compute().shape == (10, 30, 35)
    assert dp.verify_pyramid(place).ok
    assert dp.open_pyramid(f"{place}/labels/labels").levels[0].shape == ARRAY.shape


def test_the_file_is_as_the_draft_recommends(packed):
    with zipfile.ZipFile(packed) as archive:
        entries = archive.infolist()
        assert archive.testzip() is None
        comment = json.loads(archive.comment)
    part = {"centralDirectory": {"jsonFirst": True}}
    assert comment == {"ome": {"version": "0.5", "zipFile": part}}
    metadata = [e.filename for e in entries if e.filename.endswith("zarr.json")]
    assert [e.filename for e in entries[: len(metadata)]] == metadata
    assert metadata[0] == "zarr.json"
    depths = [name.count("/") for name in metadata]
    assert depths == sorted(depths)
    offsets = [e.header_offset for e in entries]
    assert offsets == sorted(offsets)
    assert {e.compress_type for e in entries} == {zipfile.ZIP_STORED}
    data = packed.read_bytes()
    for entry in entries:
        # The extra field 1 of a local header is that of ZIP64.
        start = entry.header_offset + 30 + len(entry.filename)
        assert data[start : start + 2] == b"\x01\x00"


def test_the_file_holds_what_a_folder_would_and_no_other_trace_is_left(
    packed, tmp_path
):
    assert names(packed.parent) == ["a.ozx"]
    folder = dp.write_pyramid(ARRAY, tmp_path / "a.zarr", labels=ARRAY > 9, **HOW)
    found = dp.open_pyramid(packed)
    for a, b in zip(found.levels, folder.levels, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(
        found.labels["labels"].levels, folder.labels["labels"].levels, strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert found.translation == folder.translation
    assert dp.verify_pyramid(packed, sample="full").ok
    assert stored_info(packed)["levels"] == stored_info(tmp_path / "a.zarr")["levels"]
    with zarr.storage.ZipStore(packed, mode="r") as store:
        group = zarr.open_group(store, mode="r")
        np.testing.assert_array_equal(group["0"][:], ARRAY)


def test_a_file_is_a_source_as_any_other(packed, tmp_path):
    image = dp.open_image(packed)
    assert image.shape == ARRAY.shape
    again = dp.write_pyramid(str(packed), tmp_path / "b.ozx", client="processes", **HOW)
    np.testing.assert_array_equal(again.levels[0], ARRAY)
    with pytest.raises(ValueError, match="a source is never modified"):
        dp.write_pyramid(image, packed, mode="w", **HOW)


def test_an_image_inside_a_file_is_opened_as_if_it_were_a_folder(packed, tmp_path):
    place = packed / "labels/labels"
    image = dp.open_image(place)
    assert (image.labels, image.name) == (True, "labels")
    np.testing.assert_array_equal(image.data.compute(), ARRAY > 9)
    np.testing.assert_array_equal(dp.open_image(packed / "1").shape, (10, 30, 35))
    levels = dp.open_pyramid(place).levels
    np.testing.assert_array_equal(levels[0], ARRAY > 9)
    pyramid = dp.write_pyramid(place, tmp_path / "b.zarr", client="processes", **HOW)
    np.testing.assert_array_equal(pyramid.levels[1], levels[1])
    for opener in (dp.open_image, dp.open_pyramid):
        with pytest.raises(FileNotFoundError, match=r"got '.*a\.ozx/labels/no'"):
            opener(packed / "labels/no")


class _StopError(Exception):
    pass


def test_a_run_that_is_killed_leaves_no_file_and_ends_with_the_same_bytes(
    tmp_path, monkeypatch
):
    undisturbed, place = tmp_path / "a.ozx", tmp_path / "b.ozx"
    source = zarr.create_array(tmp_path / "in.zarr", data=ARRAY)
    image = str(source.store.root)
    how = {**HOW, "name": "image"}
    dp.write_pyramid(image, undisturbed, **how)

    def stop(*_, **__):
        raise _StopError

    with pytest.raises(_StopError):
        dp.write_pyramid(image, place, **{**how, "progress": stop})
    assert not place.exists()
    with pytest.raises(FileExistsError, match=r"got '\S+/b\.ozx'; .* mode='a' resumes"):
        dp.write_pyramid(image, place, **how)
    with monkeypatch.context() as patch:
        patch.setattr("dask_pyramid.store.packing.shutil.copyfileobj", stop)
        with pytest.raises(_StopError):
            dp.write_pyramid(image, place, mode="a", **how)
    assert not place.exists()
    dp.write_pyramid(image, place, mode="a", **how)
    assert place.read_bytes() == undisturbed.read_bytes()
    assert names(tmp_path) == ["a.ozx", "b.ozx", "in.zarr"]


@pytest.fixture
def written(tmp_path):
    """Return a function that writes an image to a file of `tmp_path`."""
    image = tmp_path / "in.zarr"
    zarr.create_array(image, data=ARRAY)

    def write(name="a.ozx", **options):
        place = tmp_path / name
        return dp.write_pyramid(str(image), place, **{**HOW, "name": "a", **options})

    return write


def test_of_two_runs_at_once_one_packs(tmp_path, written, monkeypatch):
    copy, refused = shutil.copyfileobj, []

    def meanwhile(*args):
        monkeypatch.setattr("dask_pyramid.store.packing.shutil.copyfileobj", copy)
        with pytest.raises(OSError, match=r"by one process at a time, got .*a\.ozx,"):
            written(mode="a")
        refused.append(True)
        copy(*args)

    monkeypatch.setattr("dask_pyramid.store.packing.shutil.copyfileobj", meanwhile)
    written(mode="a")
    assert refused
    assert dp.verify_pyramid(tmp_path / "a.ozx", sample="full").ok
    assert names(tmp_path) == ["a.ozx", "in.zarr"]


@pytest.mark.parametrize("mode", ["a", "w"])
def test_a_kill_while_the_folder_is_removed_is_no_obstacle(
    tmp_path, written, monkeypatch, mode
):
    def stop(*_, **__):
        raise _StopError

    with monkeypatch.context() as patch:
        patch.setattr(Package, "clear", stop)
        with pytest.raises(_StopError):
            written()
    assert len(names(tmp_path)) == 3
    with pytest.raises(FileExistsError, match="mode='w' replaces a zipped pyramid"):
        written()
    written(mode=mode)
    assert names(tmp_path) == ["a.ozx", "in.zarr"]


def test_a_replacement_of_a_file_that_is_killed_goes_on(tmp_path, written):
    def stop(*_, **__):
        raise _StopError

    written(method="mean")
    with pytest.raises(_StopError):
        written(method="max", mode="w", progress=stop)
    assert dp.open_pyramid(tmp_path / "a.ozx").method == "mean"
    with pytest.raises(ValueError, match="mode='w' starts again"):
        written(method="mean", mode="a")
    written(method="max", mode="a")
    assert dp.open_pyramid(tmp_path / "a.ozx").method == "max"
    assert names(tmp_path) == ["a.ozx", "in.zarr"]


@pytest.mark.parametrize("mode", ["a", "w"])
def test_a_run_looks_again_whether_another_has_packed(
    tmp_path, written, monkeypatch, mode
):
    def meanwhile(*_):
        monkeypatch.undo()
        written(mode="a")

    monkeypatch.setattr("dask_pyramid.packages.write_dressed", meanwhile)
    if mode == "a":
        np.testing.assert_array_equal(written(mode="a").levels[0], ARRAY)
    else:
        with pytest.raises(OSError, match="another one has written meanwhile"):
            written(mode="w")
    assert dp.verify_pyramid(tmp_path / "a.ozx").ok
    assert names(tmp_path) == ["a.ozx", "in.zarr"]


def test_a_file_that_is_there_is_kept_replaced_or_refused(tmp_path):
    place = tmp_path / "a.ozx"
    source = zarr.create_array(tmp_path / "in.zarr", data=ARRAY)
    image = str(source.store.root)
    dp.write_pyramid(image, place, **HOW)
    before = place.stat()
    dp.write_pyramid(image, place, mode="a", **HOW)
    assert place.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(FileExistsError, match="mode='w' replaces a zipped pyramid"):
        dp.write_pyramid(image, place, **HOW)
    with pytest.raises(ValueError, match="method"):
        dp.write_pyramid(image, place, mode="a", method="mean", **HOW)
    with pytest.raises(ValueError, match="labels must be in a zip file"):
        dp.write_pyramid(image, place, mode="a", labels=ARRAY > 9, **HOW)
    dp.write_pyramid(image, place, mode="w", method="mean", **HOW)
    assert dp.open_pyramid(place).method == "mean"
    assert names(tmp_path) == ["a.ozx", "in.zarr"]


def test_what_cannot_be_zipped_is_refused_before_anything_is_written(tmp_path):
    place = tmp_path / "a.ozx"
    with pytest.raises(ValueError, match=r"version must be 0\.5 or 0\.6"):
        dp.write_pyramid(ARRAY, place, version="0.4", progress=False)
    with pytest.raises(ValueError, match="a zip file is written once"):
        dp.write_pyramid(ARRAY, place, region={"z": (0, 4)})
    with pytest.raises(ValueError, match="write_pyramid alone writes zipped files"):
        dp.add_levels(place)
    assert not names(tmp_path)
    place.write_text("mine")
    with pytest.raises(FileExistsError, match="something else"):
        dp.write_pyramid(ARRAY, place, mode="w", progress=False)
    assert place.read_text() == "mine"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, slice(None)),
        (RangeByteRequest(3, 7), slice(3, 7)),
        (OffsetByteRequest(5), slice(5, None)),
        (SuffixByteRequest(4), slice(-4, None)),
    ],
)
def test_parts_of_an_entry_are_read(packed, asked, expected):
    store = pickle.loads(pickle.dumps(ZippedStore(str(packed))))
    with zipfile.ZipFile(packed) as archive:
        whole = archive.read("0/c/0/0/0")
    found = sync(store.get("0/c/0/0/0", default_buffer_prototype(), asked))
    assert found.to_bytes() == whole[expected]


@pytest.mark.parametrize("lacks_pread", [False, True])
def test_threads_read_an_entry_that_comes_in_pieces(packed, monkeypatch, lacks_pread):
    if lacks_pread:
        monkeypatch.delattr("os.pread")
    else:
        pread = os.pread
        monkeypatch.setattr("os.pread", lambda file, n, at: pread(file, min(n, 99), at))
    store, prototype = ZippedStore(str(packed)), default_buffer_prototype()
    with zipfile.ZipFile(packed) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}

    def read(name):
        return sync(store.get(name, prototype)).to_bytes()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, 4 * list(whole)))
    assert found == 4 * list(whole.values())


def test_a_store_lists_its_entries_and_takes_none(packed):
    store = ZippedStore(str(packed))

    async def listed(names):
        return [name async for name in names]

    assert set(sync(listed(store.list_dir("")))) == {
        *("0", "1", "2", "labels", "zarr.json")
    }
    assert sync(store.get("none", default_buffer_prototype())) is None
    with pytest.raises(FileNotFoundError):
        sync(store.getsize("none"))
    with pytest.raises(OSError, match="is written once"):
        sync(store.set("a", None))


def test_files_that_are_no_zip_or_compressed_are_told(tmp_path, packed):
    place = tmp_path / "a.ozx"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", "{}")
    with pytest.raises(OSError, match=r"got 'zarr\.json' .* which is compressed"):
        dp.open_pyramid(place)
    place.write_bytes(packed.read_bytes()[:-300])
    with pytest.raises(OSError, match="cannot read"):
        dp.open_image(place)


def test_the_command_writes_and_tells_a_file(tmp_path, packed):
    place = tmp_path / "b.ozx"
    done = CliRunner().invoke(main, ["write", str(packed), str(place)])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(main, ["verify", str(place)]).exit_code == 0
