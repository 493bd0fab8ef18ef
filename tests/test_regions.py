"""Parts of a pyramid written again: what they hold changes, and nothing else does."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore as ObjectMemory
from zarr.storage import ObjectStore

import dask_pyramid as dp
from dask_pyramid import cli, units
from dask_pyramid.store import objects

SMALL = {"scale_factors": [2, 4], "chunks": 8, "shards": False, "name": "a"}
SHAPE = (20, 17, 24)
REGION = {"z": (3, 5), "y": (10, 12), "x": (14, 18)}


def volume(shape=SHAPE, dtype="uint16"):
    return np.random.default_rng(1).integers(1, 2**7, shape).astype(dtype)


def changed(array, region=REGION):
    """The same with other values in a region."""
    result = array.copy()
    box = tuple(slice(*part) for part in region.values())
    result[box] = result[box] // 2 + 1
    return result


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def stamps(folder):
    """Inode and time of every file: who was written, were it with the same bytes."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
        )
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def written(before, after):
    return {name for name in after if before.get(name) != after[name]}


def key(level, index):
    return "/".join(map(str, (level, "c", *index)))


@pytest.fixture
def place(tmp_path):
    dp.write_pyramid(volume(), tmp_path / "a", **SMALL)
    return tmp_path / "a"


@st.composite
def regions(draw, shape=SHAPE):
    region = {}
    for axis, n in zip("zyx", shape, strict=True):
        start = draw(st.integers(0, n - 1))
        region[axis] = (start, draw(st.integers(start + 1, n)))
    return region


@settings(max_examples=8)
@given(
    region=regions(),
    method=st.sampled_from(["gaussian", "mean", "mode-exact", "nearest"]),
    lazy=st.booleans(),
)
def test_a_region_changes_only_its_objects(tmp_path_factory, region, method, lazy):
    folder = tmp_path_factory.mktemp("region")
    options = {**SMALL, "method": method}
    image, other = volume(), changed(volume(), region)
    # Level 0 is written where its objects meet the region: what of the source differs
    # elsewhere stays out.
    met = {
        axis: (start // 8 * 8, min(n, -(-stop // 8) * 8))
        for (axis, (start, stop)), n in zip(region.items(), SHAPE, strict=True)
    }
    elsewhere = np.ones(SHAPE, bool)
    elsewhere[tuple(slice(*part) for part in met.values())] = False
    source = np.where(elsewhere, 0, other)
    if lazy:
        source, image = dp.open_image(source).data, dp.open_image(image).data
    dp.write_pyramid(image, folder / "a", **options)
    dp.write_pyramid(other, folder / "fresh", **options)
    before, old = stamps(folder / "a"), content(folder / "a")
    dp.write_pyramid(source, folder / "a", region=region, **options)
    assert content(folder / "a") == content(folder / "fresh")
    new = written(before, stamps(folder / "a")) - {"zarr.json"}
    assert {k for k, v in content(folder / "a").items() if v != old[k]} - new <= {
        "zarr.json"
    }
    boxes = [
        range(start // 8, -(-stop // 8))
        for start, stop in (met[axis] for axis in "zyx")
    ]
    wanted = {
        key(0, index)
        for index in np.ndindex(3, 3, 3)
        if all(i in box for i, box in zip(index, boxes, strict=True))
    }
    assert {name for name in new if name.startswith("0/")} == wanted
    for level, factor in ((1, 2), (2, 4)):
        for name in (name for name in new if name.startswith(f"{level}/")):
            index = map(int, name.split("/")[2:])
            for i, box in zip(index, boxes, strict=True):
                # Within the widest reach of a Gaussian through all levels.
                first, last = i * 8 * factor - 16, (i + 1) * 8 * factor + 16
                assert first < box.stop * 8
                assert last > box.start * 8


def test_a_file_that_has_changed_in_a_region_is_taken_up(tmp_path):
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, volume())
    dp.write_pyramid(source, tmp_path / "a", **SMALL)
    tifffile.imwrite(source, changed(volume()))
    with pytest.raises(ValueError, match="stamp"):
        dp.write_pyramid(source, tmp_path / "a", mode="a", **SMALL)
    dp.write_pyramid(source, tmp_path / "a", region=REGION, **SMALL)
    dp.write_pyramid(source, tmp_path / "fresh", **SMALL)
    assert content(tmp_path / "a") == content(tmp_path / "fresh")
    dp.write_pyramid(source, tmp_path / "a", mode="a", **SMALL)


@pytest.mark.parametrize("sums", [1024, 8])
def test_missing_and_damaged_objects_are_made_again(tmp_path, monkeypatch, sums):
    # With 8 there are more objects than checksums, as in a large image.
    monkeypatch.setattr("dask_pyramid.provenance._MOST_GROUPS", sums)
    dp.write_pyramid(volume(), tmp_path / "a", **SMALL)
    good = content(tmp_path / "a")
    for name in (key(0, (1, 2, 1)), key(1, (1, 1, 0)), key(2, (0, 0, 0))):
        (tmp_path / "a" / name).unlink()
    bad = tmp_path / "a" / key(0, (0, 2, 2))
    bad.write_bytes(bad.read_bytes()[:-3] + b"bad")
    assert not dp.verify_pyramid(tmp_path / "a", sample="full").ok
    dp.write_pyramid(volume(), tmp_path / "a", region={}, **SMALL)
    assert content(tmp_path / "a") == good
    (tmp_path / "a" / key(0, (0, 0, 0))).unlink()
    (tmp_path / "a" / key(0, (2, 2, 2))).unlink()
    corner = dict.fromkeys("zyx", (0, 1))
    dp.write_pyramid(volume(), tmp_path / "a", region=corner, **SMALL)
    # What is missing elsewhere is not forgotten.
    assert not dp.verify_pyramid(tmp_path / "a", sample="full").ok
    other = dict.fromkeys("zyx", (16, 17))
    dp.write_pyramid(volume(), tmp_path / "a", region=other, **SMALL)
    assert dp.verify_pyramid(tmp_path / "a", sample="full").ok


class StopError(Exception):
    """An interruption of a test's own."""


@pytest.mark.parametrize("masked", [False, True])
def test_a_region_that_is_stopped_goes_on_to_the_same_bytes(
    tmp_path, monkeypatch, masked
):
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**9)
    source, place = changed(volume()), tmp_path / "a"
    options = {**SMALL, "mask": volume() % 3 if masked else None}
    dp.write_pyramid(volume(), place, **options)
    dp.write_pyramid(source, tmp_path / "fresh", **options)
    real, count = units.run_unit, [0]

    def run(job, unit, *more):
        if count[0] == 1:
            raise StopError
        count[0] += 1
        return real(job, unit, *more)

    with monkeypatch.context() as patch:
        patch.setattr("dask_pyramid.runner.tasks.run_unit", run)
        with pytest.raises(StopError):
            dp.write_pyramid(source, place, region=REGION, workers=1, **options)
    with pytest.raises(ValueError, match="was interrupted; run that again"):
        dp.write_pyramid(source, place, mode="a", **options)
    with pytest.raises(ValueError, match="must wait for the write_pyramid of region"):
        dp.update_pyramid(place, REGION)
    other = dict.fromkeys("zyx", (0, 1))
    dp.write_pyramid(source, place, region=other, **options)
    assert content(place) == content(tmp_path / "fresh")


def test_units_are_written_again_by_their_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**9)
    image, place = volume((20, 33, 40)), tmp_path / "a"
    dp.write_pyramid(image, place, **SMALL)
    planning = {key: SMALL[key] for key in ("scale_factors", "chunks", "shards")}
    plan = dp.plan_pyramid(image, **planning)
    assert plan.passes[0].n_units > 2
    good = content(place)
    level, box = next(iter(plan.boxes(1)))
    mine = [
        key(level, index)
        for index in np.ndindex(3, 5, 5)
        if all(part.start <= i < part.stop for i, part in zip(index, box, strict=True))
    ]
    before = stamps(place)
    for name in mine:
        (place / name).unlink()
    dp.write_pyramid(image, place, units=[1], **SMALL)
    assert content(place) == good
    new = {n for n in written(before, stamps(place)) if n.startswith("0/")}
    assert new == set(mine)
    with pytest.raises(ValueError, match=f"from 0 to {plan.n_tasks - 1}, got 99999"):
        dp.write_pyramid(image, place, units=[0, 99999], **SMALL)
    if len(plan.passes) > 1:
        with pytest.raises(ValueError, match="units must be of the first pass"):
            dp.write_pyramid(image, place, units=[plan.n_tasks - 1], **SMALL)


def test_what_selects_no_part_of_the_same_pyramid_is_refused(tmp_path, place):
    before = stamps(place)

    def refused(words, error=ValueError, target=place, image=None, **options):
        image = volume() if image is None else image
        with pytest.raises(error, match=words):
            dp.write_pyramid(image, target, **{**SMALL, **options})

    refused("write it without", FileNotFoundError, tmp_path / "new", region=REGION)
    refused("both", region=REGION, units=[1])
    refused("mode 'w'", region=REGION, mode="w")
    refused("without labels", region=REGION, labels=volume())
    refused(
        "differs: method: '[a-z]+' there, 'mean' here; mode='w' replaces it$",
        region=REGION,
        method="mean",
    )
    refused("differs", region=REGION, image=volume((20, 17, 25)))
    for outside in ((3, 21), slice(3, 21), slice(-21, None), slice(5, 5)):
        refused("and none outside", region={"z": outside})
    refused("a slice or", region={"z": (0.5, 2)})
    refused("units must be a sequence", units=0)
    assert stamps(place) == before
    assert not (tmp_path / "new").exists()


def test_a_region_of_labels_and_of_a_store_is_written_again(tmp_path):
    store = ObjectStore(ObjectMemory())
    dp.write_pyramid(volume(), store, **SMALL)
    dp.write_pyramid(changed(volume()), store, region=REGION, **SMALL)
    dp.write_pyramid(changed(volume()), tmp_path / "fresh", **SMALL)
    keys = [name for name, _ in objects.list_sizes(store, "")]
    assert {name: objects.get(store, name) for name in keys} == content(
        tmp_path / "fresh"
    )
    labels = dp.open_image(volume(dtype="uint32")).with_metadata(labels=True)
    other = dp.open_image(changed(volume(dtype="uint32"))).with_metadata(labels=True)
    dp.write_pyramid(labels, tmp_path / "labels", **SMALL)
    dp.write_pyramid(other, tmp_path / "labels", region=REGION, **SMALL)
    found = dp.verify_pyramid(tmp_path / "labels", sample="full")
    assert not found.errors, str(found)


def test_a_region_of_labels_is_written_again_and_new_ids_get_colours(tmp_path):
    ids = volume(dtype="uint32")
    for name in ("a", "fresh"):
        dp.write_pyramid(volume(), tmp_path / name, **SMALL)
    dp.write_labels(tmp_path / "a", ids, name="n")
    other = changed(ids)
    other[4, 11, 15] = 2**31
    dp.write_labels(tmp_path / "fresh", other, name="n")
    image = stamps(tmp_path / "a" / "0")
    before = stamps(tmp_path / "a" / "labels" / "n" / "0")
    dp.write_labels(tmp_path / "a", other, name="n", region=REGION)
    assert content(tmp_path / "a") == content(tmp_path / "fresh")
    assert stamps(tmp_path / "a" / "0") == image
    new = written(before, stamps(tmp_path / "a" / "labels" / "n" / "0"))
    assert new == {"c/0/1/1", "c/0/1/2"}
    with pytest.raises(FileNotFoundError, match="a pyramid that is complete"):
        dp.write_labels(tmp_path / "a", other, name="m", region=REGION)
    assert not (tmp_path / "a" / "labels" / "m").exists()


def test_units_of_a_stored_plan_are_run_by_their_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**9)
    source, place = tmp_path / "in.tif", tmp_path / "a"
    tifffile.imwrite(source, volume((20, 33, 40)))
    dp.write_pyramid(source, tmp_path / "whole", **SMALL)
    plan = dp.prepare_pyramid(source, place, **SMALL)
    assert dp.run_units(place, units=[0, 2]) == 0
    receipts = {p.stem for p in (place / ".dask-pyramid" / "receipts").iterdir()}
    assert receipts == {plan.units[0].name, plan.units[2].name}
    with pytest.raises(ValueError, match="units must be numbers from 0 to"):
        dp.run_units(place, units=[-1])
    with pytest.raises(ValueError, match="shard must be left out"):
        dp.run_units(place, units=[1], shard=(0, 2))
    done = CliRunner().invoke(cli.main, ["units", str(place), "--units", "1"])
    assert done.exit_code == 0, done.output
    dp.run_units(place)
    dp.finish_pyramid(place)
    assert content(place) == content(tmp_path / "whole")


def test_the_command_writes_a_region_again(tmp_path):
    source, place = tmp_path / "in.tif", tmp_path / "a"
    tifffile.imwrite(source, volume())
    layout = ("--factors", "2,4", "--chunks", "8", "--shards", "none")

    def run(*words):
        words = ("write", str(source), str(place), *layout, *words)
        return CliRunner().invoke(cli.main, words)

    assert run().exit_code == 0
    good = content(place)
    (place / key(0, (0, 0, 0))).unlink()
    assert run("--region", "z=0:1,y=:1").exit_code == 0
    assert content(place) == good
    labels = ("labels", str(place), str(source), "--name", "n")
    assert CliRunner().invoke(cli.main, labels).exit_code == 0
    (place / "labels" / "n" / key(0, (0, 0, 0))).unlink()
    done = CliRunner().invoke(cli.main, (*labels, "--region", "z=0:1"))
    assert done.exit_code == 0, done.output
    assert dp.verify_pyramid(place, sample="full").ok
    shutil.rmtree(place / "labels")
    (place / key(0, (0, 0, 0))).unlink()
    done = run("--units", "0")
    assert done.exit_code == 0, done.output
    assert content(place) == good
    done = run("--units", "99999")
    assert done.exit_code == 1
    assert "units must be" in done.output
