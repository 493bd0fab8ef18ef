"""The command `thumbnail`."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Picture

from dask_pyramid import write_pyramid
from dask_pyramid.cli import main
from dask_pyramid.pictures import VIEWS


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    place = tmp_path_factory.mktemp("stored") / "a.ome.zarr"
    array = np.random.default_rng(0).integers(0, 999, (8, 60, 40)).astype("uint16")
    write_pyramid(array, place, labels=array > 500, scale_factors=[2], method="mean")
    return place


def test_choices_are_those_of_python():
    view = next(p for p in main.commands["thumbnail"].params if p.name == "view")
    assert tuple(view.type.choices) == tuple(VIEWS)


@pytest.mark.parametrize("view", VIEWS)
def test_a_picture_is_as_wide_as_asked_for(store, tmp_path, view):
    out = tmp_path / "a.png"
    options = ["--view", view, "--width", "4", "--at", "z=2", "--window", "10,900"]
    done = CliRunner().invoke(main, ["thumbnail", str(store), str(out), *options])
    assert done.exit_code == 0, done.output
    with Picture.open(out) as picture:
        assert abs(picture.width - 400) < 40
        assert np.asarray(picture).std() > 20


def test_label_images_are_drawn_from_their_own_place(store, tmp_path):
    out = tmp_path / "a.png"
    place = store / "labels" / "labels"
    done = CliRunner().invoke(
        main, ["thumbnail", str(place), str(out), "--levels", "1"]
    )
    assert done.exit_code == 0, done.output
    assert out.exists()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--window", "9,1"), "must be two numbers that increase"),
        (("--window", "5"), "must be two numbers that increase"),
        (("--levels", "a"), "must be numbers of levels"),
        (("--at", "foo"), "must be an index by axis"),
        (("--at", "z=b"), "must be an index by axis"),
        (("--width", "0"), "is not in the range"),
    ],
)
def test_options_that_cannot_be_read_are_wrong_usage(store, tmp_path, option, told):
    out = str(tmp_path / "a.png")
    done = CliRunner().invoke(main, ["thumbnail", str(store), out, *option])
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["thumbnail", "none", "OUT/a.foo"], "must end with one of .png, .svg"),
        (["thumbnail", "none", "OUT/no/a.png"], "must lie in a folder"),
        (["verify", "none", "--html", "OUT/no/a.html"], "must lie in a folder"),
        (["compare", "none", "--factors", "2", "--plot", "OUT/no/a.png"], "lie in a"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    arguments, told, tmp_path
):
    words = [word.replace("OUT", str(tmp_path)) for word in arguments]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["thumbnail", "none", "OUT"],
        ["verify", "none", "--html", "OUT"],
        ["compare", "none", "--factors", "2", "--plot", "OUT"],
    ],
)
def test_a_file_that_exists_is_kept_unless_it_shall_be_replaced(arguments, tmp_path):
    out = tmp_path / "a.png"
    out.write_bytes(b"mine")
    words = [word.replace("OUT", str(out)) for word in arguments]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "exists; --mode w replaces it" in " ".join(done.stderr.split())
    assert out.read_bytes() == b"mine"
    done = CliRunner().invoke(main, [*words, "--mode", "w"])
    assert done.exit_code == 1  # there is no such store or image


def test_a_picture_is_replaced_when_asked_for(store, tmp_path):
    out = tmp_path / "a.png"
    out.write_bytes(b"mine")
    options = ["--levels", "1", "--mode", "w"]
    done = CliRunner().invoke(main, ["thumbnail", str(store), str(out), *options])
    assert done.exit_code == 0, done.output
    assert out.read_bytes().startswith(b"\x89PNG")


def test_the_path_of_the_picture_is_printed(store, tmp_path):
    out = str(tmp_path / "a.png")
    done = CliRunner().invoke(main, ["thumbnail", str(store), out, "--levels", "1"])
    assert done.stdout == f"{out}\n"
