"""TIFF files and stacks of planes."""

import multiprocessing
import pickle
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from dask_pyramid import write_pyramid
from dask_pyramid.sources import open_image
from dask_pyramid.sources.pictures import open_picture

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"
RNG = np.random.default_rng(5)
STACK = RNG.integers(0, 4000, (3, 2, 40, 50), dtype=np.uint16)  # z, c, y, x
RGB = RNG.integers(0, 255, (40, 50, 3), dtype=np.uint8)
REGION = (slice(1, 3), slice(0, 2), slice(5, 39), slice(7, 50))


def pixels(image):
    return image.data.compute(scheduler="sync")


def write_planes(folder, planes, suffix=".tif", **options):
    folder.mkdir(exist_ok=True)
    for i, plane in enumerate(planes):
        path = folder / f"z{i}{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(path, plane, **options)
        else:
            Picture.fromarray(plane).save(path)
    return folder


@pytest.mark.parametrize("name", ["nuclei", "nuclei_label"])
def test_the_example_images_are_volumes(name):
    path = EXAMPLES / f"{name}.tif"
    image = open_image(path, scale=(0.29, 0.26, 0.26), unit="um")
    assert (image.axes, image.shape) == (("z", "y", "x"), (60, 256, 256))
    assert image.name == name
    assert image.reader.locations == (str(path.resolve()),)
    region = (slice(9, 12), slice(100, 200), slice(0, 256))
    np.testing.assert_array_equal(
        image.reader.read(region), tifffile.imread(path)[region]
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True, "tile": (16, 16)},
        {"compression": "zlib", "rowsperstrip": 7, "predictor": True},
        {"compression": "lzw", "tile": (32, 16)},
        {"compression": "zstd"},
        {"byteorder": ">"},
    ],
)
def test_tiff_is_read_by_region_however_it_is_stored(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, metadata={"axes": "ZCYX"}, **options)
    image = open_image(path)
    assert image.axes == ("c", "z", "y", "x")
    assert image.dtype == np.dtype("uint16")
    expected = STACK.transpose(1, 0, 2, 3)
    region = (slice(0, 2), slice(1, 3), slice(5, 39), slice(7, 50))
    block = image.reader.read(region)
    assert block.dtype.isnative
    np.testing.assert_array_equal(block, expected[region])
    np.testing.assert_array_equal(pixels(image), expected)
    if "tile" in options:
        assert image.chunks == (1, 1, *options["tile"])


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
def test_imagej_gives_voxel_size_interval_and_names(tmp_path, unit):
    tifffile.imwrite(
        tmp_path / "a.tif",
        STACK,
        imagej=True,
        resolution=(1 / 0.25, 1 / 0.5),
        metadata={
            "axes": "ZCYX",
            "spacing": 2.0,
            "unit": unit,  # ImageJ writes the micro sign as an escape
            "finterval": 3.0,
            "Labels": ["DNA", "actin"],
        },
    )
    image = open_image(tmp_path / "a.tif")
    assert image.axes == ("c", "z", "y", "x")
    assert image.scale == (1, 2, 0.5, 0.25)
    assert image.unit == (None, *("micrometer",) * 3)
    assert [c["label"] for c in image.omero["channels"]] == ["DNA", "actin"]
    assert open_image(tmp_path / "a.tif", scale={"z": 7}).scale == (1, 7, 0.5, 0.25)


def test_imagej_in_pixels_has_no_voxel_size(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        STACK[:, 0],
        imagej=True,
        resolution=(3, 3),
        metadata={"axes": "TYX", "unit": "pixel", "spacing": 2.0, "finterval": 3.0},
    )
    image = open_image(tmp_path / "a.tif")
    assert image.scale == (3, 1, 1)
    assert image.unit == ("second", None, None)


def test_ome_tiff_gives_voxel_size_units_names_and_colours(tmp_path):
    metadata = {
        "axes": "ZCYX",
        "Name": "cells",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeY": 250.0,
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeZUnit": "\u00b5m",
        "Channel": {"Name": ["DAPI", "GFP"], "Color": [65535, -16776961]},
    }
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, tile=(16, 16), metadata=metadata)
    image = open_image(path)
    assert image.scale == (1, 2, 250, 0.25)
    assert image.unit == (None, "micrometer", "nanometer", "micrometer")
    assert image.name == "cells"
    assert image.omero["channels"] == [
        {"label": "DAPI", "color": "0000FF"},
        {"label": "GFP", "color": "FF0000"},
    ]
    np.testing.assert_array_equal(pixels(image), STACK.transpose(1, 0, 2, 3))


def test_resolution_tags_count_only_in_a_unit(tmp_path):
    path = tmp_path / "a.tif"
    for unit, y, word in (("CENTIMETER", 5.0, "micrometer"), ("NONE", 1.0, None)):
        options = {"resolution": (1000, 2000), "resolutionunit": unit}
        tifffile.imwrite(path, RGB, photometric="rgb", **options)
        image = open_image(path)
        assert (image.axes, image.shape) == (("c", "y", "x"), (3, 40, 50))
        assert image.scale == (1, y, 2 * y if word else 1)
        assert image.unit == (None, word, word)
        np.testing.assert_array_equal(pixels(image), RGB.transpose(2, 0, 1))


def test_axes_of_unknown_meaning_need_names(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    with pytest.raises(ValueError, match=r"a\.tif' must be out of.*'QQYX'.*axes="):
        open_image(tmp_path / "a.tif")
    assert open_image(tmp_path / "a.tif", "tcyx").shape == STACK.shape


def test_the_first_level_of_a_pyramid_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        options = {"tile": (16, 16)}
        tiff.write(STACK[0, 0], subifds=1, **options)
        tiff.write(STACK[0, 0, ::2, ::2], subfiletype=1, **options)
    image = open_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(pixels(image), STACK[0, 0])


def test_ome_tiff_in_several_files_tells_all_of_them(tmp_path):
    paths = [tmp_path / f"part{i}.ome.tif" for i in range(2)]
    metadata = "".join(
        f'<TiffData FirstZ="{i}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{path.name}">urn:uuid:{i}</UUID></TiffData>'
        for i, path in enumerate(paths)
    )
    for i, path in enumerate(paths):
        text = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{i}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZCT" Type="uint16" SizeX="50" SizeY="40" SizeZ="2" '
            f'SizeC="1" SizeT="1">{metadata}</Pixels></Image></OME>'
        )
        tifffile.imwrite(path, STACK[i, 0], description=text, metadata=None)
    image = open_image(paths[0])
    assert image.reader.locations == tuple(str(path.resolve()) for path in paths)
    np.testing.assert_array_equal(pixels(image), STACK[:2, 0])


def test_a_tiff_reader_works_in_another_process_and_in_threads(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, compression="zlib", metadata={"axes": "ZCYX"})
    image = open_image(path, "zcyx", name="a")
    assert len(pickle.dumps(image.reader)) < 700
    region = tuple(REGION[i] for i in (1, 0, 2, 3))
    read = partial(image.reader.read, region)
    with ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        blocks = [pool.submit(read).result()]
    with ThreadPoolExecutor(2) as pool:
        blocks += [task.result() for task in [pool.submit(read) for _ in range(6)]]
    for block in blocks:
        np.testing.assert_array_equal(block, STACK.transpose(1, 0, 2, 3)[region])


@pytest.mark.parametrize("length", [3, 10, 200, 2000, -300])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}])
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_a_truncated_tiff_is_refused_by_name(tmp_path, caplog, length, options, suffix):
    path = tmp_path / f"a{suffix}"
    tifffile.imwrite(path, STACK, **{"metadata": {"axes": "ZCYX"}} | options)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"source must be a readable TIFF, got .*/a\."):
        open_image(path)
    assert not caplog.messages


def test_a_file_that_is_no_image_is_refused(tmp_path):
    for name, text in (
        ("a.tif", "readable TIFF"),
        ("a.txt", "format that can be read"),
    ):
        (tmp_path / name).write_text("no image at all")
        with pytest.raises(ValueError, match=text):
            open_image(tmp_path / name)
    (tmp_path / "empty.tif").touch()
    with pytest.raises(ValueError, match="0 bytes"):
        open_image(tmp_path / "empty.tif")


def test_a_damaged_strip_is_named_with_its_region(tmp_path):
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(path, STACK[:, 0], compression="zlib", **options)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[1].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset + 2 : offset + 60] = bytes(58)
    path.write_bytes(data)
    reader = open_image(path).reader
    with pytest.raises(OSError, match=r"cannot read \[1:2, 0:40, 0:50\] of .*a\.tif"):
        reader.read((slice(1, 2), slice(0, 40), slice(0, 50)))


def test_without_imagecodecs_the_extra_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0], compression="lzw")
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from dask_pyramid.sources import open_image\n"
        f"open_image({str(tmp_path / 'a.tif')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LZW, which needs imagecodecs" in done.stderr
    assert "dask-pyramid[tiff]" in done.stderr


@pytest.mark.parametrize("options", [{}, {"tile": (16, 32)}, {"compression": "zlib"}])
def test_a_folder_of_tiff_planes_is_a_volume_in_natural_order(tmp_path, options):
    planes = RNG.integers(0, 99, (12, 40, 50), dtype=np.uint8)
    folder = write_planes(tmp_path / "planes", planes, **options)
    (folder / ".hidden").touch()
    for source in (folder, folder / "*.tif"):
        image = open_image(source, scale={"z": 3}, unit="um")
        assert image.axes == ("z", "y", "x")
        assert image.chunks == (1, *options.get("tile", (40, 50)))
        assert image.name == "planes"
        assert len(image.reader.locations) == 12
        region = (slice(8, 12), slice(3, 30), slice(17, 50))
        np.testing.assert_array_equal(image.reader.read(region), planes[region])
    copy = pickle.loads(pickle.dumps(image.reader))
    np.testing.assert_array_equal(copy.read(region), planes[region])


def test_colour_planes_get_a_channel_axis(tmp_path):
    folder = write_planes(tmp_path / "rgb", [RGB, RGB[::-1]], photometric="rgb")
    image = open_image(folder)
    assert (image.axes, image.shape) == (("c", "z", "y", "x"), (3, 2, 40, 50))
    np.testing.assert_array_equal(pixels(image)[:, 1], RGB[::-1].transpose(2, 0, 1))


def test_planes_may_be_named_otherwise(tmp_path):
    folder = write_planes(tmp_path / "t", STACK[:, 0])
    assert open_image(folder, "tyx").axes == ("t", "y", "x")
    volumes = write_planes(tmp_path / "v", STACK, metadata={"axes": "ZYX"})
    assert open_image(volumes).axes == ("t", "z", "y", "x")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("colour", [False, True])
def test_planes_of_other_formats_are_read_one_by_one(tmp_path, suffix, colour):
    grey = np.full((40, 50), 1, np.uint8) * np.arange(11, dtype=np.uint8)[:, None, None]
    planes = np.repeat(grey[..., None], 3, axis=-1) if colour else grey
    folder = write_planes(tmp_path / "p", planes, suffix)
    (folder / "Thumbs.db").touch()
    (folder / f"raw{suffix}").mkdir()
    for source in (folder, folder / f"*{suffix}"):
        image = open_image(source)
        expected = planes.transpose(3, 0, 1, 2) if colour else planes
        assert image.chunks == ((3, 1, 40, 50) if colour else (1, 40, 50))
        np.testing.assert_array_equal(pixels(image), expected)
        assert image.reader.locations[0] == str((folder / f"z0{suffix}").resolve())
        region = tuple(slice(1, 2 + n // 2) for n in expected.shape)
        copy = pickle.loads(pickle.dumps(image.reader))
        np.testing.assert_array_equal(copy.read(region), expected[region])
    one = open_image(folder / f"z3{suffix}")
    assert one.axes == (("c", "y", "x") if colour else ("y", "x"))
    assert (pixels(one) == 3).all()


def test_a_folder_of_several_formats_is_refused(tmp_path):
    folder = write_planes(tmp_path / "mixed", STACK[:, 0])
    (folder / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"one format, got \.tif, \.txt.*pattern"):
        open_image(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="holds no files"):
        open_image(tmp_path / "none")


def test_planes_that_differ_are_refused(tmp_path):
    for suffix in (".tif", ".png"):
        planes = [RGB[..., 0], RGB[..., 0], RGB[:-1, :, 0]]
        folder = write_planes(tmp_path / suffix[1:], planes, suffix)
        with pytest.raises(ValueError, match=f"one shape and data type.*z2{suffix}"):
            open_image(folder)
    for suffix in (".tif", ".png"):
        for i, middle in enumerate((RGB[:-1, :, 0], RGB[..., 0].astype(np.uint16))):
            planes = [RGB[..., 0], middle, RGB[..., 0]]
            folder = write_planes(tmp_path / f"{i}{suffix}", planes, suffix)
            reader = open_image(folder).reader
            with pytest.raises(
                ValueError, match=f"one shape and data type.*z1{suffix}"
            ):
                reader.read((slice(0, 3), slice(0, 9), slice(0, 9)))


def test_a_plane_that_was_changed_makes_another_source(tmp_path):
    folder = write_planes(tmp_path / "p", STACK[:, 0], ".png")
    target = tmp_path / "a.ome.zarr"
    write_pyramid(folder, target, client="threads")
    write_planes(folder, STACK[:, 0] + 1, ".png")
    with pytest.raises(ValueError, match=r"source\.stamp: '\w+' there, '\w+' here"):
        write_pyramid(folder, target, client="threads", mode="a")


def test_a_target_within_a_folder_of_planes_is_refused(tmp_path):
    folder = write_planes(tmp_path / "p", STACK[:, 0], ".png")
    with pytest.raises(ValueError, match="target and source must lie apart"):
        write_pyramid(folder, folder, client="threads", mode="w")
    assert open_image(folder).shape == (3, 40, 50)


def test_what_a_picture_would_lose_is_refused(tmp_path):
    frames = [Picture.fromarray(RGB), Picture.fromarray(RGB[::-1])]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"one frame, got 2 in .*a\.gif.*TIFF"):
        open_image(tmp_path / "a.gif")
    (tmp_path / "b.png").write_bytes(png_of_16_bits(RGB))
    with pytest.raises(ValueError, match=r"up to 65535 in .*b\.png.*up to 255; save"):
        open_image(tmp_path / "b.png")
    raw = RGB.astype(">u2").tobytes()
    (tmp_path / "c.ppm").write_bytes(b"P6 # a comment\n50 40\n65535\n" + raw)
    (tmp_path / "d.pgm").write_bytes(b"P5 150 40 4095\n" + raw)
    Picture.fromarray(RGB).save(tmp_path / "e.jp2")
    blocks = (tmp_path / "e.jp2").read_bytes()
    at = blocks.find(b"\xff\x4f\xff\x51") + 42
    (tmp_path / "e.jp2").write_bytes(blocks[:at] + b"\x0b" + blocks[at + 1 :])
    for name, most in (("c.ppm", 65535), ("d.pgm", 4095), ("e.jp2", 4095)):
        with pytest.raises(ValueError, match=f"up to {most} in .*{name}"):
            open_image(tmp_path / name)


def test_planes_have_the_values_and_colours_of_their_files(tmp_path):
    grey = RGB[..., 0]
    colours = Picture.fromarray(RGB).quantize(16)
    deep = grey.astype(np.uint16) * 257
    alpha = np.dstack([grey, RGB[..., 1]])
    for name, picture, expected in (
        ("deep.png", Picture.fromarray(deep), deep),
        ("one.png", Picture.fromarray(grey > 99), grey > 99),
        ("alpha.png", Picture.fromarray(alpha), alpha),
        ("palette.png", colours, np.array(colours.convert("RGB"))),
        ("a.gif", colours, np.array(colours.convert("RGB"))),
        ("a.jp2", Picture.fromarray(RGB), RGB),
        ("a.pgm", Picture.fromarray(grey), grey),
        ("a.pbm", Picture.fromarray(grey > 99), grey > 99),
        ("a.tga", Picture.fromarray(RGB), RGB),
        ("narrow.png", Picture.fromarray(RGB[:, :3]), RGB[:, :3]),
    ):
        picture.save(tmp_path / name)
        found = open_picture(str(tmp_path / name))
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), name
        np.testing.assert_array_equal(found[()], expected, err_msg=name)


def test_names_of_planes_are_no_patterns(tmp_path):
    folder = write_planes(tmp_path / "[run 1]*", STACK[:, 0], ".png")
    write_planes(tmp_path / "[run 1]*other", STACK[:, 1], ".png")
    (folder / "z2.png").rename(folder / "z[2]?.png")
    np.testing.assert_array_equal(pixels(open_image(folder)), STACK[:, 0])
    np.testing.assert_array_equal(pixels(open_image(folder / "z[2]?.png")), STACK[2, 0])
    bare = tmp_path / "bare"
    bare.mkdir()
    for i in range(2):
        (folder / f"z{i}.png").rename(bare / f"plane{i}")
    np.testing.assert_array_equal(pixels(open_image(bare)), STACK[:2, 0])


def png_of_16_bits(colours):
    """Write a PNG as its specification says: Pillow writes 8 bits for each colour."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, _ = colours.shape
    rows = colours.astype(">u2").reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_a_plane_that_is_gone_or_damaged_is_named(tmp_path, suffix):
    folder = write_planes(tmp_path / "p", STACK[:, 0], suffix)
    reader = open_image(folder).reader
    plane = folder / f"z1{suffix}"
    half = plane.read_bytes()[: plane.stat().st_size // 2]
    for damage in (lambda: plane.write_bytes(half), lambda: plane.write_bytes(b"no")):
        damage()
        with pytest.raises(OSError, match=rf"\[0:40, 0:9\] of .*z1{suffix}: "):
            reader.read((slice(0, 2), slice(0, 40), slice(0, 9)))
    plane.unlink()
    with pytest.raises(OSError, match=rf"\[0:40, 0:9\] of .*z1{suffix}: "):
        reader.read((slice(0, 2), slice(0, 40), slice(0, 9)))
