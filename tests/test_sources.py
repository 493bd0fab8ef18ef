import http.server
import multiprocessing
import pickle
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import dask.array as da
import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore, StorePath

from dask_pyramid.image import Reader
from dask_pyramid.metadata import (
    VERSIONS,
    Dataset,
    Multiscales,
    build_attributes,
)
from dask_pyramid.sources import open_image
from dask_pyramid.sources.arrays import ArrayReader, reader_to_dask
from dask_pyramid.sources.zarr_arrays import open_zarr_array, store_place

REGION = (slice(1, 5), slice(2, 9))
DATA = np.arange(12 * 20, dtype=np.uint16).reshape(12, 20)
VOLUME = np.arange(2 * 6 * 8, dtype=np.uint16).reshape(2, 6, 8)


def write_array(path, data=DATA, **options):
    options = {"chunks": tuple(min(4, n) for n in data.shape)} | options
    array = zarr.create_array(str(path), shape=data.shape, dtype=data.dtype, **options)
    array[...] = data
    return array


def write_image(path, version="0.5", data=VOLUME, axes="zyx", root=None, **entries):
    group = zarr.open_group(
        str(path), mode="a", zarr_format=2 if version == "0.4" else 3
    )
    level = group.create_array(
        "s0", shape=data.shape, dtype=data.dtype, chunks=data.shape
    )
    level[...] = data
    entries = {
        "name": "nuclei",
        "omero": {"channels": [{"label": "DNA"}]},
        "unit": ("micrometer",) * len(axes),
    } | entries
    multiscales = Multiscales(
        version=version,
        axes=tuple(axes),
        datasets=(
            Dataset(path="s0", scale=(2.0, 0.5, 0.25), translation=(10.0, 1.0, 0.0)),
        ),
        **entries,
    )
    group.attrs.update(build_attributes(multiscales))
    return group


def pixels(image):
    return image.data.compute(scheduler="sync")


def test_a_numpy_array_gets_default_axes_and_unit_spacing():
    image = open_image(VOLUME)
    assert isinstance(image.reader, Reader)
    assert image.axes == ("z", "y", "x")
    assert image.scale == (1, 1, 1)
    assert image.translation == (0, 0, 0)
    assert image.unit == (None,) * 3
    assert image.reader.locations == ()
    np.testing.assert_array_equal(pixels(image), VOLUME)


@pytest.mark.parametrize("axes", ["xyz", "YXC", "ytx", ["c", "x", "y"]])
def test_axes_in_any_order_come_out_in_storage_order(axes):
    image = open_image(VOLUME, axes, scale=(3, 4, 5), translation=(6, 7, 8))
    lower = [axis.lower() for axis in axes]
    order = [lower.index(axis) for axis in image.axes]
    assert list(image.axes) == sorted(lower, key="tczyx".index)
    assert image.scale == tuple((3, 4, 5)[i] for i in order)
    assert image.translation == tuple((6, 7, 8)[i] for i in order)
    np.testing.assert_array_equal(pixels(image), VOLUME.transpose(order))


def test_a_view_in_any_byte_order_is_read_native_and_copied():
    data = DATA.astype(">u2")[::-1, ::2]
    reader = open_image(data).reader
    block = reader.read(REGION)
    assert block.dtype == np.dtype("uint16")
    assert block.flags.c_contiguous
    block[...] = 0
    np.testing.assert_array_equal(reader.read(REGION), data[REGION])


def test_there_is_one_task_for_each_block_and_its_name_is_kept():
    reader = ArrayReader(DATA)
    lazy = reader_to_dask(reader, (5, 6))
    assert lazy.chunks == ((5, 5, 2), (6, 6, 6, 2))
    assert len(dict(lazy.__dask_graph__())) == 12
    assert lazy.name == reader_to_dask(reader, (5, 6)).name
    np.testing.assert_array_equal(lazy[3:11, ::-3].compute(), DATA[3:11, ::-3])


def test_a_dask_array_stays_a_graph():
    lazy = da.from_array(VOLUME, chunks=(1, 6, 8))
    image = open_image(lazy, "yxc", name="lazy")
    assert image.reader is None
    assert image.name == "lazy"
    np.testing.assert_array_equal(pixels(image), VOLUME.transpose(2, 0, 1))


def test_arguments_win_over_an_image():
    first = open_image(VOLUME, scale=(3, 2, 1), unit="um", name="first")
    second = open_image(first, scale={"z": 5}, unit={"x": "nm"}, name="second")
    assert second.scale == (5, 2, 1)
    assert second.unit == ("micrometer", "micrometer", "nanometer")
    assert open_image(first).name == "first"
    assert open_image(first).reader is first.reader


@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 2},
        {"zarr_format": 2, "fill_value": None},
        {"zarr_format": 2, "order": "F"},
        {"zarr_format": 3},
        {"zarr_format": 3, "shards": (8, 8)},
        {"zarr_format": 3, "compressors": None},
    ],
)
def test_zarr_arrays_of_all_kinds_are_read_by_chunk(tmp_path, options):
    write_array(tmp_path / "a.zarr", **options)
    image = open_image(tmp_path / "a.zarr")
    assert image.chunks == (4, 4)
    assert image.name == "a"
    assert image.reader.locations == (str((tmp_path / "a.zarr").resolve()),)
    np.testing.assert_array_equal(image.reader.read(REGION), DATA[REGION])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_big_endian_arrays_are_read_native(tmp_path, zarr_format):
    write_array(tmp_path / "a.zarr", DATA.astype(">u2"), zarr_format=zarr_format)
    reader = open_image(tmp_path / "a.zarr").reader
    block = reader.read(REGION)
    assert block.dtype == reader.dtype == np.dtype("uint16")
    np.testing.assert_array_equal(block, DATA[REGION])


def test_local_arrays_are_decoded_by_zarrs_and_others_by_zarr(tmp_path):
    write_array(tmp_path / "a.zarr")
    local = open_zarr_array(tmp_path / "a.zarr")
    assert type(local.async_array.codec_pipeline).__name__ == "ZarrsCodecPipeline"
    memory = zarr.create_array(MemoryStore(), shape=(4,), dtype="u1")
    other = open_zarr_array(memory.store)
    assert type(other.async_array.codec_pipeline).__name__ == "BatchedCodecPipeline"


def test_a_zarr_array_or_group_in_memory_is_read_through_its_store():
    store = MemoryStore()
    array = zarr.create_array(StorePath(store, "a"), shape=(12, 20), dtype="u2")
    array[...] = DATA
    image = open_image(array)
    assert image.reader.locations == (store_place(store),)
    np.testing.assert_array_equal(image.reader.read(REGION), DATA[REGION])


def test_a_zarr_array_in_a_local_store_becomes_a_path(tmp_path):
    zarr.open_group(str(tmp_path / "group"), mode="w")
    write_array(tmp_path / "group" / "a")
    group = zarr.open_group(LocalStore(tmp_path / "group"), mode="r")
    reader = open_image(group["a"]).reader
    assert reader.locations == (str((tmp_path / "group" / "a").resolve()),)
    assert len(pickle.dumps(reader)) < 700
    np.testing.assert_array_equal(reader.read(REGION), DATA[REGION])


def test_dimension_names_of_a_bare_array_are_its_axes_if_known(tmp_path):
    write_array(tmp_path / "a.zarr", dimension_names=("x", "y"))
    assert open_image(tmp_path / "a.zarr").shape == (20, 12)
    write_array(tmp_path / "b.zarr", dimension_names=("lat", "lon"))
    assert open_image(tmp_path / "b.zarr").axes == ("y", "x")


def test_a_missing_chunk_reads_as_the_fill_value(tmp_path):
    zarr.create_array(str(tmp_path / "a"), shape=(9, 9), dtype="u1", fill_value=7)
    assert (open_image(tmp_path / "a").reader.read((slice(0, 9),) * 2) == 7).all()


def test_an_array_that_was_replaced_is_opened_again(tmp_path):
    write_array(tmp_path / "a.zarr")
    assert open_image(tmp_path / "a.zarr").shape == (12, 20)
    shutil.rmtree(tmp_path / "a.zarr")
    write_array(tmp_path / "a.zarr", VOLUME)
    reader = open_image(tmp_path / "a.zarr").reader
    np.testing.assert_array_equal(reader.read((slice(0, 2),) * 3), VOLUME[:2, :2, :2])


@pytest.mark.parametrize("version", VERSIONS)
def test_an_ome_zarr_image_gives_axes_spacing_unit_name_and_channels(tmp_path, version):
    group = write_image(tmp_path / "i.zarr", version)
    for source in (tmp_path / "i.zarr", group, f"file://{tmp_path}/i.zarr"):
        image = open_image(source)
        assert image.axes == ("z", "y", "x")
        assert image.scale == (2.0, 0.5, 0.25)
        assert image.translation == (10.0, 1.0, 0.0)
        assert image.unit == ("micrometer",) * 3
        assert image.name == "nuclei"
        assert image.omero["channels"] == [{"label": "DNA"}]
        assert not image.labels
        assert image.reader.locations == (str((tmp_path / "i.zarr/s0").resolve()),)
        np.testing.assert_array_equal(pixels(image), VOLUME)


def test_integers_with_an_image_label_are_labels(tmp_path):
    write_image(tmp_path / "l.zarr", image_label={})
    assert open_image(tmp_path / "l.zarr").labels


def test_what_is_given_wins_over_an_ome_zarr_image(tmp_path):
    write_image(tmp_path / "i.zarr")
    image = open_image(tmp_path / "i.zarr", "tyx", scale={"y": 9}, name="other")
    assert image.axes == ("t", "y", "x")
    assert image.scale == (1, 9, 0.25)
    assert image.name == "other"


def test_axes_of_other_names_need_names(tmp_path):
    group = write_image(tmp_path / "i.zarr")
    ome = group.attrs["ome"]
    for axis, name in zip(ome["multiscales"][0]["axes"], "abx", strict=True):
        axis["name"] = name
    group.attrs["ome"] = ome
    with pytest.raises(ValueError, match="name them with axes="):
        open_image(tmp_path / "i.zarr")
    assert open_image(tmp_path / "i.zarr", "zyx").scale == (2.0, 0.5, 0.25)


def test_a_group_of_one_image_is_that_image_and_of_two_a_choice(tmp_path):
    root = zarr.open_group(str(tmp_path / "c.zarr"), mode="w")
    root.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    write_image(tmp_path / "c.zarr" / "0")
    assert open_image(tmp_path / "c.zarr").scale == (2.0, 0.5, 0.25)
    write_image(tmp_path / "c.zarr" / "1")
    with pytest.raises(ValueError, match=r"\['0', '1'\]; open one of them"):
        open_image(tmp_path / "c.zarr")


def test_plates_and_plain_groups_are_refused_with_a_way_out(tmp_path):
    root = zarr.open_group(str(tmp_path / "p.zarr"), mode="w")
    with pytest.raises(ValueError, match="without 'multiscales'"):
        open_image(tmp_path / "p.zarr")
    root.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}]}}
    with pytest.raises(ValueError, match=r"got a plate.*'A/1'"):
        open_image(tmp_path / "p.zarr")


def test_an_image_whose_level_is_gone_is_refused(tmp_path):
    write_image(tmp_path / "i.zarr")
    shutil.rmtree(tmp_path / "i.zarr" / "s0")
    with pytest.raises(FileNotFoundError, match=r"got 's0'.*incomplete"):
        open_image(tmp_path / "i.zarr")


def test_damaged_metadata_are_refused_by_name(tmp_path):
    write_array(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "zarr.json").write_text("{")
    with pytest.raises(
        ValueError, match=r"a\.zarr', whose Zarr metadata cannot be read"
    ):
        open_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("shards", [None, (8, 8)])
def test_a_damaged_chunk_is_named_with_its_region(tmp_path, shards):
    write_array(tmp_path / "a.zarr", shards=shards)
    for chunk in (tmp_path / "a.zarr" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"no chunk")
    reader = open_image(tmp_path / "a.zarr").reader
    with pytest.raises(OSError, match=r"cannot read \[1:5, 2:9\] of .*a\.zarr"):
        reader.read(REGION)


def test_a_reader_works_in_another_process_and_in_two_threads(tmp_path):
    write_array(tmp_path / "a.zarr")
    read = partial(open_image(tmp_path / "a.zarr", "xy").reader.read, REGION)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        blocks = [pool.submit(read).result()]
    with ThreadPoolExecutor(2) as pool:
        blocks += [task.result() for task in [pool.submit(read) for _ in range(8)]]
    for block in blocks:
        np.testing.assert_array_equal(block, DATA.T[REGION])


def test_reads_of_several_threads_do_not_wait_for_one(tmp_path):
    """Opening an array must not leave zarr with a single thread."""
    write_array(tmp_path / "a.zarr")
    open_zarr_array(tmp_path / "a.zarr")
    assert zarr.config.get("threading.max_workers") is None
    from zarr.core.sync import _get_executor

    assert _get_executor()._max_workers > 1


def test_an_image_is_read_over_http(tmp_path):
    write_image(tmp_path / "i.zarr", omero=None)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=tmp_path)
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/i.zarr"
        image = open_image(url)
        assert image.reader.locations == (f"{url}/s0",)
        assert image.scale == (2.0, 0.5, 0.25)
        np.testing.assert_array_equal(pixels(image), VOLUME)
        copy = pickle.loads(pickle.dumps(image.reader))
        assert copy.read((slice(1, 2),) * 3) == VOLUME[1, 1, 1]
        with pytest.raises(FileNotFoundError, match=r"holds no zarr\.json"):
            open_image(f"{url}/nowhere")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_secrets_in_a_url_are_not_told():
    with pytest.raises(ValueError, match="must be a path or") as caught:
        open_image("nosuch://me:secret@host/a.zarr?token=hidden")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "arguments", "error", "text"),
    [
        ("/no/such/file.tif", {}, FileNotFoundError, "source must exist"),
        ("/no/such/*.tif", {}, FileNotFoundError, "matches none"),
        ([[1, 2], [3, 4]], {}, TypeError, "got list; wrap other arrays"),
        (np.zeros(3), {}, ValueError, "2 to 5 axes, got 1"),
        (np.zeros((1,) * 6), {}, ValueError, "2 to 5 axes, got 6"),
        (np.zeros((3, 0)), {}, ValueError, "must not be empty"),
        (DATA.astype(complex), {}, TypeError, "complex128; store the real"),
        (DATA, {"axes": "zyx"}, ValueError, "name all 2 dimensions"),
        (DATA, {"axes": "yq"}, ValueError, "got 'q'"),
        (DATA, {"axes": "yy"}, ValueError, "unique"),
        (DATA, {"axes": "cx"}, ValueError, "two or three of z, y, x"),
        (DATA, {"scale": (1, 0)}, ValueError, "scale must be positive"),
        (DATA, {"scale": (1, 2, 3)}, ValueError, "one entry for each axis of 'yx'"),
        (DATA, {"scale": {"z": 3}}, ValueError, "got 'z'"),
        (DATA, {"translation": (0, float("nan"))}, ValueError, "must be finite"),
        (DATA, {"unit": "parrot"}, ValueError, "got 'parrot'"),
    ],
)
def test_what_does_not_fit_is_refused(source, arguments, error, text):
    with pytest.raises(error, match=text):
        open_image(source, **arguments)


def test_a_dask_array_of_unknown_shape_is_refused():
    lazy = da.from_array(DATA)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        open_image(lazy[lazy[:, 0] > 100])


def test_a_server_that_does_not_answer_is_an_error():
    options = {"retry_seconds": 0.5}
    with pytest.raises(OSError, match=r"cannot read .*connection refused"):
        open_image("http://127.0.0.1:9/a.zarr", storage_options=options)
