import json
import shutil
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import dask_pyramid as dp
from dask_pyramid.existing import read_existing
from dask_pyramid.geometry import needed
from dask_pyramid.provenance import read_provenance
from dask_pyramid.store import targets
from dask_pyramid.store.inplace import open_existing
from dask_pyramid.store.objects import get, list_sizes
from drawn import small_world, spatial, values

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


def objects(folder):
    """Return the bytes of every storage object below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name not in METADATA
    }


def status(folder):
    """Return inode and time of change of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
        )
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def attributes(place):
    return zarr.open_group(place, mode="r", use_consolidated=False).attrs.asdict()


def records(place):
    """Return what the store says of its levels, which must be what is stored."""
    record = read_provenance(attributes(place))
    assert record is not None
    return record.levels


def stored(place):
    target = open_existing(place)
    return read_existing(targets.open_group(target), target.location)


def overwrite(place, region, pixels):
    zarr.open_array(f"{place}/0", mode="r+")[region] = pixels


def assert_same(grown, written):
    """Check that two stores hold the same objects, levels and checksums."""
    assert objects(grown) == objects(written)
    one, other = dp.open_pyramid(grown), dp.open_pyramid(written)
    for name in ("shapes", "scale", "translation", "unit", "axes", "dtype", "name"):
        assert getattr(one, name) == getattr(other, name)
    assert records(grown) == records(written)
    assert not (Path(grown) / ".dask-pyramid").exists()


@st.composite
def layouts(draw):
    """Draw the options of a pyramid: version, method, levels, chunks and shards."""
    version = draw(st.sampled_from(["0.4", "0.5", "0.6"]))
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(1, {2: 37, 3: 13}[ndim])) for _ in range(ndim))
    chunks = tuple(draw(st.integers(1, 8)) for _ in shape)
    shards = False
    if version != "0.4" and draw(st.booleans()):
        # Shards of a small image are cut: one that covers nothing beyond keeps them.
        shards = tuple(c * draw(st.integers(1, 2)) for c in chunks)
    factors = draw(
        st.sampled_from(
            [[2], [2, 4], [3, 6], [2, 3], [2, 4, 8], [1.5, 3], [2, "9/4", 4.5]]
        )
    )
    options = {
        "method": draw(st.sampled_from(["gaussian", "mean", "mode", "nearest"])),
        "scale_factors": factors,
        "chunks": chunks,
        "shards": shards,
        "compressors": "none",
        "workers": 1,
    }
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    return shape, version, options, values(shape, dtype, draw(st.integers(0, 99)))


@pytest.fixture
def fresh(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("grown")


@given(case=layouts(), data=st.data())
@settings(max_examples=15)
def test_added_levels_are_those_of_one_write(fresh, case, data):
    _, version, options, array = case
    folder = fresh()
    factors = options["scale_factors"]
    n_first = data.draw(st.integers(0, len(factors)))
    with small_world():
        dp.write_pyramid(array, folder / "w", version=version, **options)
        some = {**options, "scale_factors": factors[:n_first]}
        dp.write_pyramid(array, folder / "g", version=version, **some)
        dp.add_levels(folder / "g", **options)
    assert_same(folder / "g", folder / "w")


@given(case=layouts(), data=st.data())
@settings(max_examples=15)
def test_an_updated_pyramid_is_that_of_the_changed_image(fresh, case, data):
    shape, version, options, array = case
    folder = fresh()
    region = []
    for n in shape:
        start = data.draw(st.integers(0, n - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, n))))
    changed = array.copy()
    changed[tuple(region)] = array.max() - changed[tuple(region)]
    with small_world():
        dp.write_pyramid(array, folder / "g", version=version, **options)
        overwrite(folder / "g", tuple(region), changed[tuple(region)])
        dp.update_pyramid(folder / "g", region, workers=1)
        dp.write_pyramid(changed, folder / "w", version=version, **options)
    for k in range(1, len(options["scale_factors"]) + 1):
        assert objects(folder / "g" / str(k)) == objects(folder / "w" / str(k))
    sums = records(folder / "w"), records(folder / "g")
    assert sums[0][1:] == sums[1][1:]


@given(case=layouts(), data=st.data())
@settings(max_examples=15)
def test_what_is_appended_in_parts_is_what_is_written_at_once(fresh, case, data):
    shape, version, options, array = case
    axis = data.draw(st.integers(0, len(shape) - 1))
    cuts = data.draw(st.sets(st.integers(1, shape[axis]), min_size=1, max_size=2))
    parts = np.split(array, sorted(cuts - {shape[axis]}), axis)
    folder = fresh()
    name = spatial(shape)[axis]
    with small_world():
        dp.write_pyramid(parts[0], folder / "g", version=version, **options)
        # A shard is cut to a small level: the whole is written as its part is.
        levels = stored(folder / "g").levels
        layout = dict(options)
        if options["shards"]:
            layout["shards"] = [level.shards for level in levels]
        for part in parts[1:]:
            dp.append(folder / "g", part, name, workers=1)
        dp.write_pyramid(array, folder / "w", version=version, **layout)
    assert_same(folder / "g", folder / "w")


def dirty_objects(place, region):
    """Return the objects of each level that may depend on a region, one by one."""
    existing = stored(place)
    levels = existing.as_levels(existing.method)
    dirty = [np.zeros(levels[0].shape, bool)]
    dirty[0][region] = True
    found = [set()]
    for level in levels[1:]:
        below = dirty[level.parent]
        reduction = existing.method.reduction(level.steps, axes=existing.image.axes)
        mask = np.zeros(level.shape, bool)
        for at in np.ndindex(*level.shape):
            need = tuple(
                needed(i, i + 1, step=step, reach=reach, size=n)
                for i, step, reach, n in zip(
                    at, level.steps, reduction.reaches, below.shape, strict=True
                )
            )
            mask[at] = below[need].any()
        dirty.append(mask)
        found.append(
            {
                tuple(i // o for i, o in zip(at, level.objects, strict=True))
                for at in np.argwhere(mask).tolist()
            }
        )
    return found


@pytest.mark.once
@pytest.mark.parametrize("method", ["gaussian", "mean", "nearest"])
@pytest.mark.parametrize("shards", [False, 8])
@pytest.mark.parametrize("region", [(7, 11, 30), (0, 0, 0), (22, 30, 40), (8, 8, 8)])
def test_an_update_touches_exactly_the_objects_that_may_depend_on_the_region(
    tmp_path, method, shards, region
):
    array = values((23, 31, 41), "uint16", 3)
    dp.write_pyramid(
        array,
        tmp_path / "a",
        scale_factors=[2, 4, 8],
        chunks=4,
        shards=shards,
        method=method,
    )
    box = tuple(slice(i, i + 1) for i in region)
    overwrite(tmp_path / "a", box, 9)
    before, old = status(tmp_path / "a"), objects(tmp_path / "a")
    wanted = {
        f"{k}/c/{'/'.join(map(str, index))}"
        for k, indices in enumerate(dirty_objects(tmp_path / "a", box))
        for index in indices
    }
    dp.update_pyramid(tmp_path / "a", box)
    after, new = status(tmp_path / "a"), objects(tmp_path / "a")
    touched = {key for key in after if after[key] != before.get(key)}
    assert touched - {"zarr.json"} == wanted
    assert {key for key in new if new[key] != old[key]} <= wanted
    assert set(before) == set(after)


def test_an_update_corrects_the_checksums_of_level_0_too(tmp_path):
    array = values((20, 30), "uint16")
    dp.write_pyramid(array, tmp_path / "a", scale_factors=[2], chunks=8, shards=False)
    overwrite(tmp_path / "a", np.s_[3:5, 6:9], 0)
    changed = array.copy()
    changed[3:5, 6:9] = 0
    dp.update_pyramid(tmp_path / "a", {"y": (3, 5), "x": (6, 9)})
    dp.write_pyramid(changed, tmp_path / "w", scale_factors=[2], chunks=8, shards=False)
    assert_same(tmp_path / "a", tmp_path / "w")


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_added_levels_leave_every_file_of_level_0_as_it_is(tmp_path, version):
    array = values((23, 40, 41), "uint16")
    dp.write_pyramid(array, tmp_path / "a", scale_factors=[], version=version, chunks=8)
    before, content = status(tmp_path / "a" / "0"), objects(tmp_path / "a" / "0")
    for path in (tmp_path / "a" / "0").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    dp.add_levels(tmp_path / "a", scale_factors=[2, 4])
    assert status(tmp_path / "a" / "0") == before
    assert objects(tmp_path / "a" / "0") == content
    assert len(dp.open_pyramid(tmp_path / "a").levels) == 3


def test_level_0_is_opened_to_read_and_never_to_write(tmp_path, monkeypatch):
    from dask_pyramid.store import writers

    dp.write_pyramid(values((20, 30), "uint8"), tmp_path / "a", scale_factors=[])
    opened = []
    real = writers.LevelWriter.__init__

    def note(self, target, level):
        opened.append(level.path)
        real(self, target, level)

    monkeypatch.setattr(writers.LevelWriter, "__init__", note)
    dp.add_levels(tmp_path / "a", scale_factors=[2, 4])
    assert sorted(opened) == ["1", "2"]


@pytest.mark.parametrize("axis", ["t", "c", "z"])
@pytest.mark.parametrize("kind", ["array", "graph", "store"])
def test_frames_channels_and_planes_are_appended_from_any_source(tmp_path, axis, kind):
    array = values((3, 4, 9, 20, 21), "uint16")
    position = "tczyx".index(axis)
    first, second = np.split(array, [2], position)
    options = {"scale_factors": [2, 4], "chunks": (1, 1, 8, 8, 8), "shards": False}
    dp.write_pyramid(first, tmp_path / "a", **options)
    source = second
    if kind == "graph":
        source = da.from_array(second, chunks=(1, 1, 4, 20, 21))
    if kind == "store":
        zarr.create_array(tmp_path / "in.zarr", data=second, chunks=(1, 1, 8, 8, 8))
        source = tmp_path / "in.zarr"
    dp.append(tmp_path / "a", source, axis)
    dp.write_pyramid(array, tmp_path / "w", **options)
    assert_same(tmp_path / "a", tmp_path / "w")
    channels = attributes(tmp_path / "a")["ome"]["omero"]["channels"]
    assert len(channels) == 4
    wanted = attributes(tmp_path / "w")["ome"]["omero"]["channels"]
    if axis == "c":
        assert channels[2:] == wanted[2:]


def test_objects_that_hold_several_frames_are_written_again_at_the_old_end(tmp_path):
    array = values((11, 20, 21), "uint16")
    options = {"scale_factors": [2], "chunks": (4, 16, 16), "shards": False}
    first = dp.open_image(array[:3], axes="tyx")
    dp.write_pyramid(first, tmp_path / "a", **options)
    for start, stop in ((3, 5), (5, 6), (6, 11)):
        dp.append(tmp_path / "a", array[start:stop])
    whole = dp.open_image(array, axes="tyx")
    dp.write_pyramid(whole, tmp_path / "w", **options)
    assert_same(tmp_path / "a", tmp_path / "w")


@pytest.mark.parametrize("lazy", [False, True])
def test_one_frame_or_plane_may_lack_the_axis(tmp_path, lazy):
    array = values((3, 5, 20, 21), "uint16")
    options = {"scale_factors": [2], "chunks": (1, 4, 8, 8), "shards": False}
    image = dp.open_image(array, axes="tzyx")
    dp.write_pyramid(dp.open_image(array[:2], axes="tzyx"), tmp_path / "a", **options)
    frame = da.from_array(array[2], chunks=7) if lazy else array[2]
    dp.append(tmp_path / "a", frame)
    dp.write_pyramid(image, tmp_path / "w", **options)
    assert_same(tmp_path / "a", tmp_path / "w")


def test_readers_see_the_old_extents_until_all_is_written(tmp_path):
    array = values((6, 40, 40), "uint16")
    options = {"scale_factors": [2, 4], "chunks": (1, 8, 8), "shards": False}
    first = dp.open_image(array[:2], axes="tyx")
    dp.write_pyramid(first, tmp_path / "a", **options)
    before = [level.compute() for level in dp.open_pyramid(tmp_path / "a").levels]
    seen = []

    def look(_progress):
        levels = [level.compute() for level in dp.open_pyramid(tmp_path / "a").levels]
        seen.append(
            all(np.array_equal(a, b) for a, b in zip(before, levels, strict=True))
        )

    with small_world():
        dp.append(tmp_path / "a", array[2:], workers=1, progress=look)
    assert len(seen) > 3
    assert all(seen)


def test_readers_see_the_old_levels_until_all_are_written(tmp_path):
    dp.write_pyramid(values((64, 64), "uint16"), tmp_path / "a", scale_factors=[2])
    seen = []
    dp.add_levels(
        tmp_path / "a",
        scale_factors=[2, 4, 8],
        chunks=8,
        progress=lambda _: seen.append(len(dp.open_pyramid(tmp_path / "a").levels)),
    )
    assert set(seen) == {2}
    assert len(dp.open_pyramid(tmp_path / "a").levels) == 4


def foreign(folder, paths=("0",), *, version="0.4", like=None, more=None):
    """Write an image as another tool might have done."""
    array = values((20, 30), "uint16") if like is None else like
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    datasets = []
    root = zarr.create_group(folder, zarr_format=2 if version == "0.4" else 3)
    for k, path in enumerate(paths):
        steps = [{"type": "scale", "scale": [0.5 * 2**k, 0.25 * 2**k]}]
        datasets.append({"path": path, "coordinateTransformations": steps})
        layout = {"dimension_names": ["y", "x"]}
        if version == "0.4":
            layout = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        root.create_array(path, data=array[:: 2**k, :: 2**k], chunks=(7, 9), **layout)
    entry = {"axes": axes, "datasets": datasets, "name": "theirs", **(more or {})}
    if version == "0.4":
        root.attrs.put({"multiscales": [{"version": "0.4", **entry}], "note": [1]})
    else:
        ome = {"version": version, "multiscales": [entry]}
        root.attrs.put({"ome": ome, "note": [1]})
    return array


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("first", "added"),
    [
        ("0", ("1", "2")),
        ("s0", ("s1", "s2")),
        ("scale0/image", ("scale1/image", "scale2/image")),
        ("full", ("1", "2")),
    ],
)
def test_levels_of_other_tools_are_continued_in_their_way(
    tmp_path, version, first, added
):
    array = foreign(tmp_path / "a", (first,), version=version)
    dp.add_levels(tmp_path / "a", scale_factors=[2, 4], method="mean")
    said = attributes(tmp_path / "a")
    assert said["note"] == [1]
    entry = said.get("ome", said)["multiscales"][0]
    assert [level["path"] for level in entry["datasets"]] == [first, *added]
    assert entry["name"] == "theirs"
    assert entry["type"] == "mean"
    assert entry["axes"][0]["unit"] == "micrometer"
    pyramid = dp.open_pyramid(tmp_path / "a")
    assert pyramid.scale[2] == (2.0, 1.0)
    assert pyramid.translation[1] == (0.25, 0.125)
    wanted = dp.downsample(array, 2, "mean")
    assert np.array_equal(pyramid.levels[1].compute(), wanted)
    # What was made here is known: a change of level 0 is taken up without a method.
    zarr.open_array(tmp_path / "a" / first, mode="r+")[0, 0] = 5
    dp.update_pyramid(tmp_path / "a", {"y": (0, 1), "x": (0, 1)})
    array[0, 0] = 5
    wanted = dp.downsample(array, 2, "mean")
    assert np.array_equal(dp.open_pyramid(tmp_path / "a").levels[1].compute(), wanted)


def test_a_transformation_of_all_levels_stays_one(tmp_path):
    common = [{"type": "scale", "scale": [2.0, 4.0]}]
    foreign(tmp_path / "a", more={"coordinateTransformations": common})
    dp.add_levels(tmp_path / "a", scale_factors=[2], method="mean")
    entry = attributes(tmp_path / "a")["multiscales"][0]
    assert entry["coordinateTransformations"] == common
    assert entry["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1.0, 0.5]},
        {"type": "translation", "translation": [0.25, 0.125]},
    ]
    pyramid = dp.open_pyramid(tmp_path / "a")
    assert pyramid.scale == ((1.0, 1.0), (2.0, 2.0))
    assert pyramid.translation[1] == (0.5, 0.5)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_consolidated_metadata_know_what_is_new(tmp_path, version):
    foreign(tmp_path / "a", version=version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(tmp_path / "a")
    dp.add_levels(tmp_path / "a", scale_factors=[2], method="mean")
    group = zarr.open_group(tmp_path / "a", mode="r")
    assert group.metadata.consolidated_metadata is not None
    assert group["1"].shape == (10, 15)
    dp.append(tmp_path / "a", values((4, 30), "uint16"), "y")
    group = zarr.open_group(tmp_path / "a", mode="r")
    assert [group[k].shape for k in "01"] == [(24, 30), (12, 15)]


def test_labels_and_other_members_are_left_alone(tmp_path):
    foreign(tmp_path / "a", version="0.5")
    root = zarr.open_group(tmp_path / "a", mode="r+")
    root.create_group("labels").create_array("x", data=np.ones((3, 3)))
    (tmp_path / "a" / "notes.txt").write_text("mine")
    before = status(tmp_path / "a" / "labels")
    dp.add_levels(tmp_path / "a", scale_factors=[2])
    dp.add_levels(tmp_path / "a", scale_factors=[2], replace=True, method="mean")
    dp.update_pyramid(tmp_path / "a", {})
    assert status(tmp_path / "a" / "labels") == before
    assert (tmp_path / "a" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_group_of_one_array_becomes_an_image(tmp_path, zarr_format):
    root = zarr.create_group(
        tmp_path / "a", zarr_format=zarr_format, attributes={"by": "me"}
    )
    layout = {"dimension_names": list("zyx")} if zarr_format == 3 else {}
    array = values((9, 20, 21), "uint16")
    root.create_array("raw", data=array, chunks=(8, 8, 8), **layout)
    dp.add_levels(
        tmp_path / "a",
        axes="zyx",
        scale={"z": 2.0},
        unit="um",
        name="mine",
        scale_factors=[2],
        method="mean",
    )
    pyramid = dp.open_pyramid(tmp_path / "a")
    assert pyramid.scale == ((2.0, 1.0, 1.0), (4.0, 2.0, 2.0))
    assert pyramid.unit == ("micrometer",) * 3
    assert pyramid.name == "mine"
    assert attributes(tmp_path / "a")["by"] == "me"
    wanted = dp.downsample(array, 2, "mean")
    assert np.array_equal(pyramid.levels[1].compute(), wanted)


def test_an_array_that_does_not_name_its_dimensions_is_told(tmp_path):
    root = zarr.create_group(tmp_path / "a")
    root.create_array("0", data=values((20, 21), "uint16"))
    with pytest.warns(UserWarning, match="does not name its dimensions"):
        dp.add_levels(tmp_path / "a", scale_factors=[2])


def test_levels_are_replaced_only_when_asked(tmp_path):
    array = values((40, 41), "uint16")
    options = {"chunks": 8, "shards": False}
    dp.write_pyramid(
        array, tmp_path / "a", scale_factors=[2, 4], method="mean", **options
    )
    before = status(tmp_path / "a")
    for change, said in (
        ({"method": "gaussian", "scale_factors": [2, 4]}, "must be that of the stored"),
        ({"scale_factors": [4]}, "must name the levels that exist"),
        ({"scale_factors": [2, 8]}, "must be the one that is asked for"),
        ({"sigma": 1.0, "scale_factors": [2, 4]}, "sigma must"),
        ({"axes": "yx"}, "axes must not be given"),
    ):
        with pytest.raises(ValueError, match=said):
            dp.add_levels(tmp_path / "a", **change)
    assert status(tmp_path / "a") == before
    dp.add_levels(tmp_path / "a", scale_factors=[2, 4])
    assert status(tmp_path / "a") == before
    dp.add_levels(
        tmp_path / "a", scale_factors=[3], method="gaussian", replace=True, **options
    )
    dp.write_pyramid(array, tmp_path / "w", scale_factors=[3], **options)
    assert_same(tmp_path / "a", tmp_path / "w")
    assert attributes(tmp_path / "a") == {
        **attributes(tmp_path / "w"),
        "ome": attributes(tmp_path / "a")["ome"],
    }


def test_a_name_that_something_else_has_is_refused(tmp_path):
    foreign(tmp_path / "a")
    zarr.open_group(tmp_path / "a", mode="r+").create_group("1")
    before = status(tmp_path / "a")
    with pytest.raises(FileExistsError, match="level '1' must be a new name"):
        dp.add_levels(tmp_path / "a", scale_factors=[2], method="mean")
    assert status(tmp_path / "a") == before


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda a: a.astype("uint8"), ValueError, "must have the dtype"),
        (lambda a: a[:, :-1], ValueError, "must have the extents"),
        (lambda a: a[0, 0][None, :, None], ValueError, "must have the extents"),
        (lambda a: dp.open_image(a, axes="tyx"), ValueError, "must have the axes"),
        (lambda a: dp.open_image(a, scale=(1, 2, 1)), ValueError, "the spacing"),
        (lambda a: dp.open_image(a, unit="nm"), ValueError, "the spacing"),
    ],
)
def test_what_does_not_continue_the_pyramid_is_refused(tmp_path, change, error, said):
    array = values((4, 20, 21), "uint16")
    dp.write_pyramid(array, tmp_path / "a", scale_factors=[2], unit="um")
    before = status(tmp_path / "a")
    with pytest.raises(error, match=said):
        dp.append(tmp_path / "a", change(array), "z")
    with pytest.raises(ValueError, match="axis must be one of the pyramid's"):
        dp.append(tmp_path / "a", array, "t")
    assert status(tmp_path / "a") == before


def test_a_pyramid_is_not_appended_to_itself(tmp_path):
    dp.write_pyramid(values((20, 21), "uint16"), tmp_path / "a", scale_factors=[2])
    with pytest.raises(ValueError, match="target must not be the source"):
        dp.append(tmp_path / "a", tmp_path / "a", "y")


def test_levels_that_say_nothing_of_their_making_need_a_method(tmp_path):
    array = foreign(tmp_path / "a", ("0", "1"))
    with pytest.raises(ValueError, match="method must be given"):
        dp.update_pyramid(tmp_path / "a", {})
    dp.update_pyramid(tmp_path / "a", {}, method="nearest")
    dp.append(tmp_path / "a", array, "y", method="nearest")
    found = dp.open_pyramid(tmp_path / "a").levels[1].compute()
    assert np.array_equal(found, np.concatenate([array, array])[::2, ::2])
    # Their scale-only metadata place samples first: that of `nearest`, and no other.
    with pytest.raises(ValueError, match="must be the one that is asked for"):
        dp.add_levels(tmp_path / "a", scale_factors=[2, 4], method="mean")
    dp.add_levels(tmp_path / "a", scale_factors=[2, 4], method="nearest")
    entry = attributes(tmp_path / "a")["multiscales"][0]
    assert "type" not in entry


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ({"y": (5, 5)}, "must hold a voxel"),
        ({"y": (0, 99)}, "must hold a voxel"),
        ({"y": slice(0, 8, 2)}, "must have no step"),
        ({"y": 3}, "must be a slice or"),
        ({"z": (0, 1)}, "must name axes of the image"),
    ],
)
def test_a_region_lies_within_level_0(tmp_path, region, said):
    dp.write_pyramid(values((20, 21), "uint16"), tmp_path / "a", scale_factors=[2])
    with pytest.raises(ValueError, match=said):
        dp.update_pyramid(tmp_path / "a", region)


def test_what_cannot_grow_is_refused(tmp_path):
    for verb in (dp.add_levels, lambda s: dp.update_pyramid(s, {})):
        with pytest.raises(FileNotFoundError, match="must be a Zarr group"):
            verb(tmp_path / "none")
    root = zarr.create_group(tmp_path / "two")
    root.create_array("a", data=np.zeros((4, 4)))
    with pytest.raises(ValueError, match="must be an OME-Zarr image"):
        dp.update_pyramid(tmp_path / "two", {})
    root.create_array("b", data=np.zeros((4, 4)))
    with pytest.raises(ValueError, match="must hold one array"):
        dp.add_levels(tmp_path / "two")


def object_store():
    from obstore.store import MemoryStore as Objects

    return zarr.storage.ObjectStore(Objects())


def stored_objects(store):
    """Return the bytes of every storage object of a store, by key."""
    return {
        key: get(store, key)
        for key, _ in list_sizes(store, "")
        if "/c/" in key or key.startswith(".")
    }


@pytest.mark.parametrize("new_store", [MemoryStore, object_store])
def test_the_store_may_be_any_zarr_store(new_store):
    store, other = new_store(), new_store()
    array = values((9, 20, 21), "uint16")
    options = {"chunks": 8, "shards": False, "method": "mean"}
    dp.write_pyramid(array[:5], store, scale_factors=[4], **options)
    dp.add_levels(store, scale_factors=[2], replace=True, **options)
    dp.append(store, array[5:], "z")
    dp.add_levels(store, scale_factors=[2, 4])
    zarr.open_array(store, path="0", mode="r+")[0] = 0
    dp.update_pyramid(store, {"z": (0, 1)})
    array[0] = 0
    dp.write_pyramid(array, other, scale_factors=[2, 4], **options)
    found, wanted = stored_objects(store), stored_objects(other)
    assert set(found) == set(wanted)
    # What the test itself wrote to level 0 may be encoded otherwise.
    coarse = [key for key in wanted if not key.startswith("0/")]
    assert [found[key] for key in coarse] == [wanted[key] for key in coarse]
    record, other_record = (read_provenance(attributes(s)) for s in (store, other))
    assert record.levels[1:] == other_record.levels[1:]


def test_levels_grow_on_the_workers_of_a_client(tmp_path):
    distributed = pytest.importorskip("distributed")
    array = values((9, 40, 41), "uint16")
    options = {"scale_factors": [2, 4], "chunks": 8, "shards": False}
    # Tornado and asyncio warn of what they do to each other when a cluster stops.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            distributed.LocalCluster(
                n_workers=1,
                threads_per_worker=2,
                processes=True,
                dashboard_address=":0",
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            some = {**options, "scale_factors": []}
            dp.write_pyramid(array[:5], tmp_path / "a", **some)
            dp.add_levels(tmp_path / "a", scale_factors=[2, 4], client=client)
            dp.append(tmp_path / "a", array[5:], "z", client=client)
    dp.write_pyramid(array, tmp_path / "w", **options)
    assert_same(tmp_path / "a", tmp_path / "w")


def test_the_metadata_of_arrays_keep_all_but_their_extent(tmp_path):
    dp.write_pyramid(values((8, 9), "uint16"), tmp_path / "a", scale_factors=[2])
    file = tmp_path / "a" / "1" / "zarr.json"
    said = json.loads(file.read_text())
    said["attributes"] = {"calibrated": True}
    file.write_text(json.dumps(said))
    dp.append(tmp_path / "a", values((8, 9), "uint16"), "y")
    assert json.loads(file.read_text()) == {**said, "shape": [8, 5]}


def test_an_interrupted_write_is_finished_before_it_grows(tmp_path):
    dp.write_pyramid(values((8, 9), "uint16"), tmp_path / "a", scale_factors=[2])
    root = zarr.open_group(tmp_path / "a", mode="r+")
    root.attrs.put({"dask-pyramid": {"status": "unfinished"}})
    with pytest.raises(ValueError, match="must be complete to grow"):
        dp.add_levels(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_what_has_grown_in_every_way_is_verified_whole(tmp_path, version):
    place = tmp_path / "a"
    array = values((3, 2, 9, 20, 21), "uint16")
    options = {"chunks": (1, 1, 8, 8, 8), "shards": False, "version": version}
    dp.write_pyramid(array[:2], place, scale_factors=[2], **options)
    dp.add_levels(place, scale_factors=[2, 4])
    dp.append(place, array[2])
    dp.append(place, array[:, :1], "c")
    dp.append(place, dp.open_pyramid(place).levels[0][:, :, :3].compute(), "z")
    overwrite(place, np.s_[0, 0, 0:2, 0:9], 5)
    dp.update_pyramid(place, {"t": (0, 1), "c": (0, 1), "z": (0, 2), "y": (0, 9)})
    found = dp.verify_pyramid(place, sample="full")
    assert found.ok, str(found)
    assert found.levels[2].compared
