"""Files of other formats: what is taken over, how they are read, what is refused."""

import gzip
import json
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import h5py
import mrcfile
import nibabel
import numpy as np
import pytest
import tifffile

import dask_pyramid as dp
import formats
from dask_pyramid.cli import main
from dask_pyramid.sources import bioio as scenes
from dask_pyramid.sources.identity import identify
from drawn import stored_levels
from formats import CHANNELS, FORMATS, VOLUME


@pytest.fixture(params=FORMATS)
def written(request, tmp_path):
    return FORMATS[request.param](tmp_path)


def pixels(image):
    return image.data.compute(scheduler="sync")


def test_each_format_becomes_a_pyramid_with_its_voxel_size(written, tmp_path):
    target = tmp_path / "a.ome.zarr"
    pyramid = dp.write_pyramid(written.path, target, chunks=16, client="threads")
    assert "".join(pyramid.axes) == written.axes
    assert pyramid.scale[0] == written.scale
    assert pyramid.translation[0] == written.translation
    assert set(pyramid.unit) - {None} == {written.unit}
    assert pyramid.name == "a"
    channels = (pyramid.image.omero or {}).get("channels", [])
    assert tuple(channel["label"] for channel in channels) == written.channels
    levels = stored_levels(target, "0.5", len(pyramid.levels))
    np.testing.assert_array_equal(levels[0], written.pixels)
    assert dp.verify_pyramid(target, sample="full").ok


def test_a_region_is_read_in_threads_and_in_other_processes(tmp_path):
    everything, regions = [], []
    for name, write in FORMATS.items():
        folder = tmp_path / name
        folder.mkdir()
        written = write(folder)
        reader = dp.open_image(written.path).reader
        assert len(pickle.dumps(reader)) < 1000
        region = (slice(1, 2),) * (len(written.axes) - 3)
        region += (slice(3, 9), slice(5, 18), slice(7, 30))
        everything.append((reader, written.pixels[region]))
        regions.append(region)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as processes:
        others = [
            processes.submit(reader.read, region)
            for (reader, _), region in zip(everything, regions, strict=True)
        ]
        with ThreadPoolExecutor(3) as threads:
            mine = [
                threads.submit(reader.read, region)
                for (reader, _), region in zip(everything, regions, strict=True)
                for _ in range(4)
            ]
        done = [task.result() for task in mine]
        for i, (reader, expected) in enumerate(everything):
            for block in (others[i].result(), *done[4 * i : 4 * i + 4]):
                assert block.dtype == reader.dtype
                assert block.flags.c_contiguous
                np.testing.assert_array_equal(block, expected)


def test_a_damaged_file_is_refused_before_anything_is_written(written, tmp_path):
    named = {".xml": tmp_path / "a.h5", ".n5": written.path / "attributes.json"}
    file = named.get(written.path.suffix, written.path)
    data = file.read_bytes()
    truncated = [data[:n] for n in (7, len(data) // 5, len(data) // 2, len(data) - 5)]
    for content in (*truncated, b"nonsense " * 200, b""):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"got '.*/a\..*(damaged|0 bytes)"):
            dp.write_pyramid(written.path, tmp_path / "a.ome.zarr")
        assert not (tmp_path / "a.ome.zarr").exists()


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("hdf5", "h5py", "hdf5"),
        ("bigdataviewer", "h5py", "hdf5"),
        ("nifti", "nibabel", "nifti"),
        ("nifti, compressed", "indexed_gzip", "nifti"),
        ("mrc", "mrcfile", "mrc"),
        ("mrc, compressed", "indexed_gzip", "mrc"),
        ("n5", "tensorstore", "n5"),
        ("bioio", "bioio", "bioio"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    tmp_path, monkeypatch, name, package, extra
):
    written = FORMATS[name](tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    text = rf"needs {package}: pip install 'dask-pyramid\[{extra}\]'"
    with pytest.raises(ImportError, match=text):
        dp.open_image(written.path)


def test_an_unknown_suffix_tells_what_can_be_read(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"TIFF \(\.tif.*HDF5 \(\.h5 .*extra 'hdf5'"):
        dp.open_image(path)


def test_a_reader_of_bioio_that_is_missing_is_named(tmp_path):
    for suffix, package in ((".sldy", "bioio-sldy"), (".oib", "bioio-bioformats")):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"nonsense")
        with pytest.raises(ImportError, match=f"pip install {package}"):
            scenes.open_scene(str(path), None)


def test_a_scene_is_the_first_or_the_one_asked_for(tmp_path):
    path = str(tmp_path / "a.ome.tif")
    with tifffile.TiffWriter(path, ome=True) as file:
        for i, name in enumerate(("left", "right")):
            size = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2}
            metadata = {"axes": "CZYX", "Name": name} | size
            file.write(CHANNELS + np.uint16(i), metadata=metadata)
    with pytest.warns(UserWarning, match="2 scenes, and the first is opened.*tif/Im"):
        first = scenes.open_scene(path, None)
    for part in ("Image:1", "1"):
        second = scenes.open_scene(path, None, part=part)
        assert second.axes == ("c", "z", "y", "x")
        assert second.name == "Image:1"
        assert second.pixels.chunks == (1, 1, 20, 30)
        whole = tuple(slice(0, n) for n in CHANNELS.shape)
        np.testing.assert_array_equal(second.pixels.read(whole), CHANNELS + 1)
        np.testing.assert_array_equal(first.pixels.read(whole), CHANNELS)
    with pytest.raises(ValueError, match="got 'Image:7'; it holds Image:0, Image:1"):
        scenes.open_scene(path, None, part="Image:7")


def test_samples_of_colour_are_channels_of_a_scene(tmp_path):
    path = str(tmp_path / "a.tif")
    colours = VOLUME[:3].astype(np.uint8).transpose(1, 2, 0)
    tifffile.imwrite(path, colours, photometric="rgb")
    opened = scenes.open_scene(path, None)
    assert opened.axes == ("y", "x", "c")
    np.testing.assert_array_equal(
        pixels(dp.open_image(path)), colours.transpose(2, 0, 1)
    )


def test_the_content_tells_the_format_whatever_the_name(tmp_path):
    written = formats.hdf5(tmp_path)
    path = written.path.rename(tmp_path / "a.data")
    np.testing.assert_array_equal(pixels(dp.open_image(path)), VOLUME)


@pytest.mark.parametrize("name", ["hdf5", "nifti", "nifti, compressed", "mrc", "bioio"])
def test_a_file_may_lie_behind_a_link_that_alone_has_its_suffix(tmp_path, name):
    written = FORMATS[name](tmp_path)
    stored = written.path.rename(tmp_path / "0123abcd")
    written.path.symlink_to(stored)
    image = dp.open_image(written.path)
    np.testing.assert_array_equal(pixels(image), written.pixels)
    assert image.reader.locations == (str(stored.resolve()),)
    assert identify(image)["location"] == str(stored.resolve())


def test_the_command_turns_a_dataset_of_a_file_into_a_pyramid(tmp_path, monkeypatch):
    formats.hdf5(tmp_path, name="volumes/ids", pixels=VOLUME // 100)
    formats.hdf5(tmp_path, name="volumes/raw")
    monkeypatch.chdir(tmp_path)
    main(["write", "a.h5/volumes/raw", "a.ome.zarr"], standalone_mode=False)
    pyramid = dp.open_pyramid("a.ome.zarr")
    assert (pyramid.name, pyramid.scale[0]) == ("raw", (2.0, 0.5, 0.25))
    np.testing.assert_array_equal(pyramid.levels[0].compute(), VOLUME)


def test_several_datasets_are_shown_to_choose_from(tmp_path):
    path = formats.hdf5(tmp_path, name="volumes/ids").path
    formats.hdf5(tmp_path, name="volumes/raw")
    text = (
        r"holds volumes/ids \(9, 20, 30\), volumes/raw .* such as .*a\.h5/volumes/ids"
    )
    for source in (path, path / "volumes"):
        with pytest.raises(ValueError, match=text):
            dp.open_image(source)
    with pytest.raises(ValueError, match=r"dataset of .* got 'volumes/no'"):
        dp.open_image(path / "volumes/no")


def test_axes_and_voxel_size_of_a_dataset_come_from_its_attributes(tmp_path):
    path = tmp_path / "a.h5"
    tags = {"axes": [{"key": "y", "resolution": 0.5}, {"key": "x", "resolution": 2}]}
    with h5py.File(path, "w") as file:
        tagged = file.create_dataset("tagged", data=VOLUME[0])
        tagged.attrs["axistags"] = json.dumps(tags)
        named = file.create_dataset("named", data=VOLUME)
        for dimension, label in zip(named.dims, "cyx", strict=True):
            dimension.label = label
        named.attrs["element_size_um"] = (7.0, 0.5, 2.0)
    image = dp.open_image(path / "tagged")
    assert (image.axes, image.scale) == (("y", "x"), (0.5, 2.0))
    assert image.unit == (None, None)  # tags name none
    image = dp.open_image(path / "named")
    assert image.unit == (None, "micrometer", "micrometer")
    assert (image.axes, image.scale) == (("c", "y", "x"), (1.0, 0.5, 2.0))
    assert dp.open_image(path / "named", "zyx").scale == (7.0, 0.5, 2.0)


@pytest.mark.parametrize("compression", ["lzf", "lz4", "zstd", None])
def test_a_dataset_is_read_however_it_is_stored(tmp_path, compression):
    import hdf5plugin

    plugins = {"lz4": hdf5plugin.LZ4(), "zstd": hdf5plugin.Zstd()}
    options = {"compression": plugins.get(compression, compression)}
    if compression is None:
        options["chunks"] = None
    written = formats.hdf5(tmp_path, pixels=VOLUME.astype(">u2"), **options)
    image = dp.open_image(written.path)
    assert image.dtype.isnative
    assert image.chunks == ((4, 8, 16) if compression else (1, 1, 1))
    np.testing.assert_array_equal(pixels(image), VOLUME)


def test_a_damaged_chunk_is_named_with_its_region(tmp_path):
    path = formats.hdf5(tmp_path).path
    with h5py.File(path) as file:
        chunk = file["raw"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + 2 : chunk.byte_offset + 40] = bytes(38)
    path.write_bytes(data)
    reader = dp.open_image(path).reader
    with pytest.raises(OSError, match=r"cannot read \[0:2, 0:4, 0:4\] of .*a\.h5/raw"):
        reader.read((slice(0, 2), slice(0, 4), slice(0, 4)))


def test_a_file_of_hdf5_is_free_after_a_read_and_may_change(tmp_path):
    path = formats.hdf5(tmp_path).path
    image = dp.open_image(path)
    np.testing.assert_array_equal(pixels(image), VOLUME)
    with h5py.File(path, "a") as file:
        file["raw"][...] = VOLUME + np.uint16(1)
    np.testing.assert_array_equal(pixels(dp.open_image(path)), VOLUME + np.uint16(1))


def test_a_file_that_is_being_written_is_refused(tmp_path):
    path = formats.hdf5(tmp_path).path
    code = (
        f"import h5py, sys; file = h5py.File({str(path)!r}, 'a'); print('open')\n"
        "sys.stdout.flush(); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True
    ) as writer:
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(ValueError, match="must not be open for writing"):
            dp.open_image(path)
        writer.stdin.close()


def test_time_points_of_imaris_are_an_axis_with_their_interval(tmp_path):
    image = dp.open_image(formats.imaris(tmp_path, times=2).path)
    assert image.axes == ("t", "c", "z", "y", "x")
    assert (image.scale[0], image.unit[0]) == (60.0, "second")
    assert image.omero["channels"][0] == {"label": "DNA", "color": "FF8000"}
    assert image.chunks == (1, 1, 8, 16, 16)
    np.testing.assert_array_equal(pixels(image), [CHANNELS, CHANNELS + 1])


def test_the_place_of_imaris_keeps_all_its_digits(tmp_path):
    image = dp.open_image(formats.imaris(tmp_path, x=123456.75).path)
    assert image.translation == (0.0, 0.0, 0.25, 123456.875)
    assert image.scale == (1.0, 2.0, 0.5, 0.25)


def test_views_are_opened_by_their_xml_or_their_file_all_or_one(tmp_path):
    written = formats.bigdataviewer(tmp_path, times=2)
    expected = np.stack([written.pixels, written.pixels + 1])
    for path in (written.path, tmp_path / "a.h5"):
        image = dp.open_image(path)
        assert image.axes == ("t", "c", "z", "y", "x")
        assert image.scale == (1.0, 1.0, 2.0, 0.5, 0.25)
        np.testing.assert_array_equal(pixels(image), expected)
        one = dp.open_image(path / "s01")
        assert (one.axes, one.scale) == (("t", "z", "y", "x"), (1.0, 2.0, 0.5, 0.25))
        np.testing.assert_array_equal(pixels(one), expected[:, 1])
        with pytest.raises(ValueError, match=r"got 's07'; it holds s00, s01"):
            dp.open_image(path / "s07")


def test_voxel_sizes_of_views_in_pixels_are_kept(tmp_path):
    path = formats.bigdataviewer(tmp_path).path
    path.write_text(path.read_text("utf-8").replace("µm", "pixel"), "utf-8")
    image = dp.open_image(path)
    assert (image.scale, set(image.unit)) == ((1.0, 2.0, 0.5, 0.25), {None})


def test_setups_of_several_voxel_sizes_are_refused(tmp_path):
    path = formats.bigdataviewer(tmp_path).path
    path.write_text(path.read_text("utf-8").replace("0.25", "0.125", 1), "utf-8")
    with pytest.raises(
        ValueError, match=r"one voxel size.*0\.125.*0\.25.*such as.*s00"
    ):
        dp.open_image(path)
    assert dp.open_image(path / "s00").scale == (2.0, 0.5, 0.125)
    assert dp.open_image(path / "s01").scale == (2.0, 0.5, 0.25)


def test_setups_that_differ_or_are_missing_are_refused(tmp_path):
    path = formats.bigdataviewer(tmp_path, times=2).path
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["t00001/s01"]
    with pytest.raises(ValueError, match="'t00001/s01/0/cells' is missing"):
        dp.open_image(path)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["t00000/s01/0/cells"]
        file["t00000/s01/0/cells"] = np.zeros((3, 4, 5), np.int16)
    with pytest.raises(ValueError, match=r"one shape, got .*such as .*a\.h5/s00"):
        dp.open_image(path)
    path.write_text("<other/>")
    with pytest.raises(ValueError, match="an XML that is not of BigDataViewer"):
        dp.open_image(path)


@pytest.mark.parametrize("compression", ["raw", "gzip", "bzip2", "xz", "blosc"])
def test_n5_is_read_however_its_blocks_are_stored(tmp_path, compression):
    written = formats.n5(
        tmp_path, pixels=VOLUME.astype(np.int32), compression=compression
    )
    image = dp.open_image(written.path)
    assert image.chunks == (4, 8, 16)
    np.testing.assert_array_equal(pixels(image), written.pixels)


@pytest.mark.parametrize(
    "attributes",
    [
        {"pixelResolution": {"dimensions": [0.25, 0.5, 2.0], "unit": "µm"}},
        {"pixelResolution": [0.25, 0.5, 2.0], "unit": "um", "offset": [3, 2, 1]},
        {
            "transform": {
                "axes": ["z", "y", "x"],
                "scale": [2.0, 0.5, 0.25],
                "translate": [1, 2, 3],
                "units": ["um"] * 3,
            }
        },
    ],
)
def test_voxel_sizes_of_n5_are_found_in_each_dialect(tmp_path, attributes):
    own = {"resolution": None, "units": None, "axes": None} | attributes
    image = dp.open_image(formats.n5(tmp_path, **own).path)
    assert (image.scale, set(image.unit)) == ((2.0, 0.5, 0.25), {"micrometer"})
    placed = {"offset", "transform"} & set(attributes)
    assert image.translation == ((1, 2, 3) if placed else (0, 0, 0))


def test_a_level_of_n5_is_placed_by_its_factors(tmp_path):
    formats.n5(tmp_path, name="a.n5/em/s0")
    half = formats.n5(tmp_path, name="a.n5/em/s1", downsamplingFactors=[2, 2, 1])
    image = dp.open_image(half.path)
    assert image.scale == (2.0, 1.0, 0.5)
    assert image.translation == (0.0, 0.25, 0.125)


def test_a_group_of_n5_is_opened_if_it_holds_one_image(tmp_path):
    for level in ("s0", "s1"):
        formats.n5(tmp_path, name=f"a.n5/em/{level}")
    for path in (tmp_path / "a.n5", tmp_path / "a.n5/em"):
        image = dp.open_image(path)
        assert image.reader.locations == (str(tmp_path / "a.n5/em/s0"),)
        assert (image.name, image.scale) == ("em", (2.0, 0.5, 0.25))
    formats.n5(tmp_path, name="a.n5/ids")
    with pytest.raises(ValueError, match=r"holds em/s0 .*, ids .* such as .*n5/em/s0"):
        dp.open_image(tmp_path / "a.n5")


def test_a_damaged_block_of_n5_is_named_with_its_region(tmp_path):
    path = formats.n5(tmp_path).path
    block = path / "0/0/0"
    block.write_bytes(block.read_bytes()[:40])
    reader = dp.open_image(path).reader
    with pytest.raises(OSError, match=r"cannot read \[0:2, 0:4, 0:4\] of .*a\.n5"):
        reader.read((slice(0, 2), slice(0, 4), slice(0, 4)))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("stored", "read"), [("int16", "float32"), ("int32", "float64")]
)
def test_slope_and_intercept_of_nifti_are_applied(tmp_path, suffix, stored, read):
    values = VOLUME.astype(stored)
    path = tmp_path / f"a{suffix}"
    image = nibabel.Nifti1Image(values.T, np.eye(4))
    image.header.set_slope_inter(0.5, -3.0)
    image.to_filename(path)
    opened = dp.open_image(path)
    assert opened.dtype == read
    np.testing.assert_array_equal(pixels(opened), nibabel.load(path).get_fdata().T)


def test_further_axes_of_nifti_are_time_and_channel(tmp_path):
    series = formats.RNG.integers(0, 99, (3, 2, 4, 5, 6), dtype=np.uint8)
    path = formats.nifti(tmp_path, pixels=series).path
    image = dp.open_image(path)
    assert image.axes == ("t", "c", "z", "y", "x")
    np.testing.assert_array_equal(pixels(image), series.swapaxes(0, 1))
    path = formats.nifti(tmp_path, pixels=series[:, :1]).path
    assert dp.open_image(path).axes == ("c", "z", "y", "x")
    big = nibabel.Nifti1Image(
        VOLUME.astype(">i2").T, None, nibabel.Nifti1Header(endianness=">")
    )
    big.to_filename(path)
    np.testing.assert_array_equal(pixels(dp.open_image(path)), VOLUME)


def test_the_affine_of_nifti_places_an_image_that_is_not_turned(tmp_path):
    affine = np.diag([0.25, 0.5, 2.0, 1.0])
    affine[:3, 3] = (-3, 4, 5)
    path = formats.nifti(tmp_path, affine=affine).path
    assert dp.open_image(path).translation == (5, 4, -3)
    affine[0, 0] = -0.25
    path = formats.nifti(tmp_path, affine=affine).path
    assert dp.open_image(path).translation == (0, 0, 0)
    assert dp.open_image(path).scale == (2, 0.5, 0.25)


def test_a_gzip_file_in_several_parts_is_not_taken_for_a_truncated_one(tmp_path):
    data = formats.nifti(tmp_path).path.read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]))
    np.testing.assert_array_equal(pixels(dp.open_image(path)), VOLUME)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
def test_mrc_of_any_mode_is_read(tmp_path, dtype):
    values = (VOLUME // 64).astype(dtype)
    image = dp.open_image(formats.mrc(tmp_path, pixels=values).path)
    assert image.dtype == dtype
    np.testing.assert_array_equal(pixels(image), values)


def test_mrc_says_where_it_is_and_which_axes_it_has(tmp_path):
    image = dp.open_image(formats.mrc(tmp_path, nstart=(4, 2, -1)).path)
    assert image.translation == (-2.0, 1.0, 1.0)
    path = formats.mrc(tmp_path).path
    with mrcfile.open(path, "r+") as file:
        file.header.origin = (7, 8, 9)
        file.header.mapc, file.header.maps = 3, 1
    image = dp.open_image(path)
    assert (image.axes, image.shape) == (("z", "y", "x"), (30, 20, 9))
    assert image.translation == (9, 8, 7)
    np.testing.assert_array_equal(pixels(image), VOLUME.T)
    with mrcfile.open(path, "r+") as file:
        file.header.origin = (0, 0, 0)
        file.header.mapc, file.header.mapr, file.header.maps = 3, 1, 2
        file.nstart = (4, 2, -1)  # columns along z, rows along x, sections along y
    image = dp.open_image(path)
    assert (image.axes, image.scale) == (("z", "y", "x"), (2.0, 0.5, 0.25))
    assert image.translation == (8.0, -0.5, 0.5)
    data = bytearray(path.read_bytes())
    data[12] = 101  # four bits for a voxel
    path.write_bytes(data)
    with pytest.raises(ValueError, match="voxels of whole bytes, got mode 101"):
        dp.open_image(path)


def test_a_file_that_was_replaced_is_another_source(tmp_path):
    path = formats.mrc(tmp_path).path
    before = identify(dp.open_image(path))
    assert before == identify(dp.open_image(path))
    assert (before["kind"], before["location"]) == ("file", str(path.resolve()))
    formats.mrc(tmp_path, pixels=VOLUME[:5])
    assert identify(dp.open_image(path)) != before


@pytest.mark.parametrize("scale", [None, 4.0])
def test_another_dataset_of_the_same_file_is_another_source(tmp_path, scale):
    path = formats.hdf5(tmp_path, name="g1/raw").path
    formats.hdf5(tmp_path, name="g2/raw", pixels=VOLUME + np.uint16(1))
    one, other = (
        dp.open_image(path / part, "xyz", name="a") for part in ("g1/raw", "g2/raw")
    )
    if scale is not None:
        one, other = (dp.resample(image, scale=scale) for image in (one, other))
    target = tmp_path / "a.ome.zarr"
    dp.write_pyramid(one, target, client="threads")
    dp.write_pyramid(one, target, client="threads", mode="a")
    with pytest.raises(ValueError, match="part: 'g1/raw' there, 'g2/raw' here"):
        dp.write_pyramid(other, target, client="threads", mode="a")


def test_a_zipped_source_that_was_replaced_is_another_source(tmp_path):
    place = tmp_path / "s.ozx"
    dp.write_pyramid(VOLUME, place, client="threads")
    target = tmp_path / "a.ome.zarr"
    image = dp.open_image(place)
    before = identify(image)
    dp.write_pyramid(image, target, client="threads")
    dp.write_pyramid(VOLUME + np.uint16(1), place, client="threads", mode="w")
    assert identify(image)["stamp"] != before["stamp"]
    with pytest.raises(ValueError, match=r"source\.stamp: '\w+' there, '\w+' here"):
        dp.write_pyramid(place, target, client="threads", mode="a")
