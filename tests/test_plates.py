"""Several images in one call, and the plates (HCS) made of them."""

import json
import shutil
import warnings

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner

import dask_pyramid as dp
from dask_pyramid.cli import main
from drawn import values

HOW = {"scale_factors": [2], "chunks": 16, "method": "mean", "progress": False}
FIELDS = ["A/1", "A/10/0", "B/2/0", "B/2/1"]


def image(seed):
    return values((40, 50), "uint8", seed)


@pytest.fixture(params=["0.4", "0.5"])
def version(request):
    return request.param


def metadata(group, kind):
    """Return the plate or well of a group, read without zarr."""
    if (group / ".zattrs").exists():
        version, ome = "0.4", json.loads((group / ".zattrs").read_text())
    else:
        ome = json.loads((group / "zarr.json").read_text())["attributes"]["ome"]
        assert ome["version"] == (version := "0.5")
    found = ome[kind]
    assert found.pop("version") == version
    return found


def test_images_are_written_as_each_alone_and_counted_together(tmp_path):
    images = {tmp_path / f"{n}.zarr": image(n) for n in range(2)}
    images[tmp_path / "c.ozx"] = image(2)
    states = []
    written = dp.write_pyramids(images, **{**HOW, "progress": states.append})
    for number, pyramid in enumerate(written.values()):
        np.testing.assert_array_equal(pyramid.levels[0], image(number))
        alone = dp.write_pyramid(image(number), tmp_path / f"alone{number}", **HOW)
        np.testing.assert_array_equal(pyramid.levels[1], alone.levels[1])
    done = [state.done for state in states]
    assert done == sorted(done)
    assert (
        done[-1]
        == states[-1].total
        == sum(
            dp.plan_pyramid(
                array, **{k: v for k, v in HOW.items() if k != "progress"}
            ).n_tasks
            for array in images.values()
        )
    )


def test_nothing_is_written_if_one_image_breaks_a_rule(tmp_path):
    images = {tmp_path / "a.zarr": image(0), tmp_path / "b.zarr": np.zeros(3)}
    with pytest.raises(ValueError, match="must have 2 to 5 axes"):
        dp.write_pyramids(images, **HOW)
    with pytest.raises(TypeError, match=r"options must be some of .*, got labels"):
        dp.write_pyramids(images, labels=image(0))
    with pytest.raises(ValueError, match="images must hold at least one"):
        dp.write_pyramids({})
    with pytest.raises(TypeError, match="targets must be paths or URLs, got int"):
        dp.write_pyramids({3: image(0)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"d.ozx": 1, "./d.ozx": 2}, "targets must be different and lie apart"),
        ({"d.zarr": 1, "e.zarr": 1, "d.zarr/e": 2}, "targets must be different"),
        ({"in.zarr": 1, "d.zarr": "in.zarr"}, "target and source must lie apart"),
        ({"d.zarr": "in.zarr", "in.zarr": 1}, "target and source must lie apart"),
        ({"in.ozx": 1, "d.zarr": "in.ozx"}, "target and source must lie apart"),
    ],
)
def test_targets_that_overlap_are_refused_before_anything_is_written(
    tmp_path, monkeypatch, images, message
):
    monkeypatch.chdir(tmp_path)
    for name in ("in.zarr", "in.ozx"):
        dp.write_pyramid(image(0), name, **HOW)
    before = set(tmp_path.rglob("*"))
    given = {k: image(v) if isinstance(v, int) else v for k, v in images.items()}
    with pytest.raises(ValueError, match=message):
        dp.write_pyramids(given, mode="w", **HOW)
    assert set(tmp_path.rglob("*")) == before


def test_the_judges_accept_a_plate_and_its_wells(tmp_path, version):
    place = tmp_path / "p.ome.zarr"
    images = {field: image(n) for n, field in enumerate(FIELDS)}
    written = dp.write_plate(images, place, version=version, name="screen", **HOW)
    assert list(written) == ["A/1/0", "A/10/0", "B/2/0", "B/2/1"]
    np.testing.assert_array_equal(written["B/2/1"].levels[0], image(3))
    assert metadata(place, "plate") == {
        "rows": [{"name": "A"}, {"name": "B"}],
        "columns": [{"name": "1"}, {"name": "2"}, {"name": "10"}],
        "wells": [
            {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
            {"path": "A/10", "rowIndex": 0, "columnIndex": 2},
            {"path": "B/2", "rowIndex": 1, "columnIndex": 1},
        ],
        "field_count": 2,
        "name": "screen",
    }
    assert metadata(place / "B" / "2", "well") == {
        "images": [{"path": "0"}, {"path": "1"}]
    }
    yaozarrs = pytest.importorskip("yaozarrs")
    models = pytest.importorskip("ome_zarr_models")
    kinds = {"": "HCS", "B/2": "Well", "B/2/1": "Image"}
    for path, kind in kinds.items():
        yaozarrs.validate_zarr_store(str(place / path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            group = models.open_ome_zarr(str(place / path), version=version)
        assert type(group).__name__ == kind
    found = dp.verify_pyramid(place, sample="full")
    assert found.ok, str(found)
    assert len(found.levels) == 2 * len(FIELDS)
    assert dp.verify_pyramid(place / "B" / "2").ok


@pytest.mark.filterwarnings("ignore:.*is complete; whether it holds this array")
def test_a_plate_goes_on_after_a_kill_and_takes_more_fields(tmp_path, version):
    place = tmp_path / "p.zarr"
    images = {field: image(n) for n, field in enumerate(FIELDS)}
    how = {**HOW, "version": version}
    seen = []

    class StopError(Exception):
        pass

    def stop(state):
        seen.append(state)
        if len(seen) > 1:
            raise StopError

    with pytest.raises(StopError):
        dp.write_plate(images, place, **{**how, "progress": stop})
    assert not (place / "zarr.json").exists()
    assert not (place / ".zgroup").exists()
    with pytest.raises(FileExistsError, match="mode='a' goes on with a plate"):
        dp.write_plate(images, place, **how)
    dp.write_plate(images, place, mode="a", **how)
    dp.write_plate({"C/1": image(9), "A/1/3": image(8)}, place, mode="a", **how)
    plate = metadata(place, "plate")
    assert [well["path"] for well in plate["wells"]] == ["A/1", "A/10", "B/2", "C/1"]
    assert [row["name"] for row in plate["rows"]] == ["A", "B", "C"]
    assert metadata(place / "A" / "1", "well")["images"] == [
        {"path": "0"},
        {"path": "3"},
    ]
    assert dp.verify_pyramid(place).ok


def test_a_plate_keeps_the_rows_and_columns_that_it_lists(tmp_path):
    place = tmp_path / "p.zarr"
    dp.write_plate({"B/2": image(0)}, place, **HOW)
    document = json.loads((place / "zarr.json").read_text())
    plate = document["attributes"]["ome"]["plate"]
    plate["rows"] = [{"name": "C", "note": "empty"}, {"name": "B"}]
    plate["columns"] = [{"name": str(i)} for i in range(1, 5)]
    plate["wells"][0] |= {"rowIndex": 1, "columnIndex": 1, "note": "control"}
    (place / "zarr.json").write_text(json.dumps(document))
    dp.write_plate({"A/12": image(1)}, place, mode="a", **HOW)
    found = metadata(place, "plate")
    assert found["rows"] == [*plate["rows"], {"name": "A"}]
    assert found["columns"] == [*plate["columns"], {"name": "12"}]
    assert found["wells"] == [
        {"path": "B/2", "rowIndex": 1, "columnIndex": 1, "note": "control"},
        {"path": "A/12", "rowIndex": 2, "columnIndex": 4},
    ]
    assert dp.verify_pyramid(place).ok


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ({"A1": 0}, {}, "fields must be named row/column"),
        ({"A/1/0/0": 0}, {}, "fields must be named row/column"),
        ({"A/../1": 0}, {}, "fields must be named row/column"),
        ({"A/1": 0, "A/1/0": 0}, {}, "got 'A/1/0' twice"),
        ({"A/1": 0}, {"mode": "w"}, "mode must be 'w-' or 'a' for a plate, got 'w'"),
    ],
)
def test_what_is_no_plate_is_refused(tmp_path, images, options, message):
    with pytest.raises(ValueError, match=message):
        dp.write_plate({f: image(0) for f in images}, tmp_path / "p.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_a_plate_is_not_written_into_an_image_or_with_another_version(tmp_path):
    dp.write_pyramid(image(0), tmp_path / "a.zarr", **HOW)
    with pytest.raises(FileExistsError, match="target must be a plate"):
        dp.write_plate({"A/1": image(0)}, tmp_path / "a.zarr", mode="a")
    dp.write_plate({"A/1": image(0)}, tmp_path / "p.zarr", **HOW)
    with pytest.raises(ValueError, match=r"version must be that of the plate, 0\.5"):
        dp.write_plate(
            {"A/2": image(0)}, tmp_path / "p.zarr", mode="a", version="0.4", **HOW
        )


def put_file(path):
    path.parent.mkdir(parents=True)
    path.write_text("mine")


def put_plate(place, change):
    dp.write_plate({"A/1": image(0)}, place, **HOW)
    document = json.loads((place / "zarr.json").read_text())
    change(document["attributes"]["ome"]["plate"])
    (place / "zarr.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (lambda place: put_file(place / "a.txt"), "target must be a plate"),
        (lambda place: put_file(place / "A" / "1"), "target must be a plate"),
        (lambda place: put_file(place / "A/1/0/a.txt"), "target must be a plate"),
        (
            lambda place: zarr.create_array(place, shape=(9,), dtype="u1"),
            "target must be a plate",
        ),
        (
            lambda place: put_plate(place, lambda plate: plate["wells"][0].pop("path")),
            "wells of a plate must be listed with a path each",
        ),
        (
            lambda place: put_plate(place, lambda plate: plate.update(rows="AB")),
            "rows of a plate must be listed with a name each, got 'AB'",
        ),
        (
            lambda place: put_plate(
                place,
                lambda plate: zarr.create_array(place / "B", shape=(9,), dtype="u1"),
            ),
            "'B' of a plate must be a group",
        ),
    ],
)
def test_a_place_that_no_plate_fits_is_refused_before_anything_is_written(
    tmp_path, put, message
):
    place = tmp_path / "p.zarr"
    put(place)
    before = set(tmp_path.rglob("*"))
    with pytest.raises((FileExistsError, ValueError), match=message):
        dp.write_plate({"B/2": image(0)}, place, mode="a", **HOW)
    assert set(tmp_path.rglob("*")) == before


def test_verify_finds_what_a_plate_lists_and_does_not_hold(tmp_path):
    place = tmp_path / "p.zarr"
    dp.write_plate({"A/1": image(0), "B/1": image(1)}, place, **HOW)
    shutil.rmtree(place / "B" / "1" / "0")
    found = dp.verify_pyramid(place)
    assert [finding.code for finding in found.errors] == ["node-missing"]
    document = json.loads((place / "zarr.json").read_text())
    document["attributes"]["ome"]["plate"]["wells"][0]["rowIndex"] = 1
    (place / "zarr.json").write_text(json.dumps(document))
    codes = {finding.code for finding in dp.verify_pyramid(place).errors}
    assert codes == {"node-missing", "plate-list"}


def test_the_command_takes_fields_and_a_table(tmp_path):
    for number in range(2):
        tifffile.imwrite(tmp_path / f"{number}.tif", image(number))
    table = tmp_path / "wells.csv"
    table.write_text(f"A/1,{tmp_path / '0.tif'}\n")
    place = tmp_path / "p.ome.zarr"
    more = f"B/2/0={tmp_path / '1.tif'}"
    options = ["--table", str(table), "--scale", "0.5,0.5", "--name", "screen"]
    done = CliRunner().invoke(main, ["plate", str(place), more, *options])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{place}: 2 images\n"
    assert metadata(place, "plate")["name"] == "screen"
    assert dp.open_pyramid(place / "B" / "2" / "0").scale[0] == (0.5, 0.5)
    assert CliRunner().invoke(main, ["verify", str(place)]).exit_code == 0
    told = CliRunner().invoke(main, ["info", str(place)]).stdout
    assert "screen" in told
    assert "A/1/0" in told
    found = json.loads(CliRunner().invoke(main, ["info", str(place), "--json"]).stdout)
    assert [well["images"] for well in found["wells"]] == [["A/1/0"], ["B/2/0"]]


def test_the_command_that_is_stopped_tells_what_is_not_listed(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(dp, "write_plate", stop)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["plate", "p.zarr", "A/1=a.tif"])
    assert done.exit_code == 130
    assert "nothing was published at p.zarr. Nothing had begun" in done.stderr
    zarr.create_group("p.zarr/A/1/0")
    done = CliRunner().invoke(main, ["plate", "p.zarr", "A/1=a.tif"])
    assert "complete can be opened, but are not listed in p.zarr." in done.stderr
    assert "dask-pyramid plate p.zarr A/1=a.tif --mode a" in done.stderr


def test_a_plate_that_is_opened_as_an_image_names_its_images(tmp_path):
    place = tmp_path / "p.zarr"
    dp.write_plate({"A/1": image(0), "B/2/1": image(1)}, place, **HOW)
    message = "got the plate .*p.zarr.*one of its 2 images .*: A/1/0, B/2/1$"
    group = zarr.open_group(place, mode="r")
    for location in (place, group, group.store):
        with pytest.raises(ValueError, match=message):
            dp.open_pyramid(location)
    done = CliRunner().invoke(main, ["view", str(place)])
    assert done.exit_code == 1
    assert "A/1/0, B/2/1" in done.stderr
    with pytest.raises(ValueError, match="'multiscales'"):
        dp.open_pyramid(zarr.create_group(tmp_path / "other.zarr"))


@pytest.mark.parametrize("entries", [[], ["A/1"], ["A/1=a.tif", "A/1=b.tif"]])
def test_fields_that_cannot_be_read_are_wrong_usage(tmp_path, entries):
    done = CliRunner().invoke(main, ["plate", str(tmp_path / "p.zarr"), *entries])
    assert done.exit_code == 2
