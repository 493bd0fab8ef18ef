"""Metadata and stores of strangers: a clean error or a report, and never a write."""

from __future__ import annotations

import copy
import functools
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import dask_pyramid as dp
import mutations
from dask_pyramid import cli
from dask_pyramid.info import stored_info
from dask_pyramid.metadata import parse_multiscales
from digests import digest

# What a message for users may be raised as.
CLEAN = (ValueError, TypeError, OSError)

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")


@pytest.fixture(scope="session")
def strangers(tmp_path_factory):
    """Give a small store of some version, with labels."""
    folder = tmp_path_factory.mktemp("strangers")

    @functools.cache
    def build(version, shards):
        path = folder / f"{version}-{shards}.zarr"
        given = {"chunks": 8, "shards": shards, "scale_factors": [2, 4]}
        image = mutations.pixels((2, 24, 20))
        dp.write_pyramid(image, path, axes="cyx", version=version, **given)
        labels = dp.open_image(mutations.ids((2, 24, 20))[0], axes="yx")
        labels = labels.with_metadata(labels=True)
        dp.write_pyramid(labels, path / "labels" / "a", version=version, **given)
        if version == "0.4":
            (path / "labels" / ".zgroup").write_text('{"zarr_format": 2}')
            (path / "labels" / ".zattrs").write_text('{"labels": ["a"]}')
        else:
            ome = {"version": version, "labels": ["a"]}
            found = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
            (path / "labels" / "zarr.json").write_text(json.dumps(found))
        return path

    return build


KINDS = [("0.4", False), ("0.5", False), ("0.5", 16), ("0.6", None)]

JUNK = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            0,
            -1,
            1.5,
            1e308,
            10**400,
            2**63,
            "",
            "c",
            "..",
            "../x",
            "/etc/passwd",
            "a//b",
            "0/c",
            "\x00",
            "zyx",
            [],
            {},
            [[]],
            [None],
            [1, 2, 3],
            ["y", "x", "c"],
            {"name": 1},
            {"path": "0"},
            {"type": "scale", "scale": [1, 1]},
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=6,
    ),
)


def places(value, path=()):
    """Yield the path of every value within a JSON document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@st.composite
def damaged(draw, document):
    """Draw a document that differs from a valid one in one to three places."""
    document = json.loads(document)
    for _ in range(draw(st.integers(1, 3))):
        paths = list(places(document))
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "delete", "twice", "swap"]))
        if how == "delete":
            del holder[path[-1]]
        elif how == "twice" and isinstance(holder, list):
            holder.insert(path[-1], copy.deepcopy(holder[path[-1]]))
        elif how == "swap":
            other = draw(st.sampled_from(paths))
            value = functools.reduce(lambda at, key: at[key], other, document)
            holder[path[-1]] = copy.deepcopy(value)
        else:
            holder[path[-1]] = copy.deepcopy(draw(JUNK))
    return document


def looked_at(path):
    """Do all that only reads; only clean errors may come of it."""
    for read in (
        dp.open_image,
        dp.open_pyramid,
        stored_info,
        lambda place: str(dp.verify_pyramid(place, sample=2, workers=1)),
        lambda place: dp.verify_pyramid(place, sample="structure").to_json(),
    ):
        message = "read"
        try:
            read(path)
        except CLEAN as error:
            message = str(error).strip()
        assert message


def told(path):
    """Run the commands; each ends with a report or an error of one line."""
    for command in (["info"], ["verify", "--sample", "2"]):
        result = CliRunner().invoke(cli.main, [*command, str(path)])
        assert result.exit_code in (0, 1, 3), result
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        if result.exit_code == 1:
            assert result.stderr.startswith("Error: ")
            assert not result.stderr.startswith("Error: RecursionError")


def checked(path, folder):
    before = digest(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        looked_at(path)
        told(path)
    assert digest(folder) == before


@pytest.mark.parametrize(("version", "shards"), KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_damaged_metadata_are_a_clean_error_or_a_report(
    strangers, version, shards, data
):
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copytree(strangers(version, shards), Path(folder, "a.zarr"))
        files = sorted(file for file in path.rglob("*") if file.name in METADATA)
        file = data.draw(st.sampled_from(files))
        document = data.draw(damaged(file.read_text()))
        file.write_text(json.dumps(document))
        checked(path, folder)


@pytest.mark.parametrize(("version", "shards"), KINDS[:3])
@settings(max_examples=20)
@given(data=st.data())
def test_random_bytes_anywhere_are_a_clean_error_or_a_report(
    strangers, version, shards, data
):
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copytree(strangers(version, shards), Path(folder, "a.zarr"))
        files = sorted(file for file in path.rglob("*") if file.is_file())
        named = [file for file in files if file.name in METADATA]
        file = data.draw(st.sampled_from(named) | st.sampled_from(files))
        raw = file.read_bytes()
        at = data.draw(st.integers(0, len(raw)))
        put = data.draw(st.binary(max_size=12))
        cut = data.draw(st.sampled_from([len(put), 0, 10**6]))
        file.write_bytes(raw[:at] + put + raw[at + cut :])
        checked(path, folder)


@settings(max_examples=200)
@given(data=st.data())
def test_parsing_never_fails_but_with_a_rule(strangers, data):
    path = strangers(*data.draw(st.sampled_from(KINDS)))
    file = path / (".zattrs" if (path / ".zattrs").exists() else "zarr.json")
    document = data.draw(damaged(file.read_text()))
    attributes = document if file.name == ".zattrs" else document.get("attributes")
    if isinstance(attributes, dict):
        message = "parsed"
        try:
            parse_multiscales(attributes)
        except ValueError as error:
            message = str(error).strip()
        assert message


@pytest.mark.parametrize(
    "text",
    ["", "[" * 100000, "\ufeff{}", '{"a": NaN}', "null", "[]", '{"zarr_format": 3}'],
    ids=["empty", "deep", "mark", "nan", "null", "list", "bare"],
)
@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json", "labels/zarr.json"])
def test_metadata_that_are_none(strangers, tmp_path, name, text):
    path = shutil.copytree(strangers("0.5", False), tmp_path / "a.zarr")
    (path / name).write_text(text, encoding="utf-8")
    checked(path, tmp_path)


@pytest.mark.parametrize("place", ["0", "0/c", "labels", "labels/a", "labels/a/0/c"])
def test_links_out_of_a_store_are_never_followed(strangers, tmp_path, place):
    path = shutil.copytree(strangers("0.5", False), tmp_path / "a.zarr")
    aside = tmp_path / "aside"
    shutil.move(path / place, aside)
    (path / place).symlink_to(aside)
    found = dp.verify_pyramid(path)
    assert "link-outside" in {finding.code for finding in found.errors}, str(found)
    checked(path, tmp_path)
    if place.startswith("0"):
        with pytest.raises(ValueError, match="arrays of a store must lie in it"):
            dp.open_pyramid(path)
        with pytest.raises(ValueError, match="arrays of a store must lie in it"):
            dp.open_image(path)


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a//b", "", ".", "..", "c", "0/c", "zarr.json", "a\nb", 3]
)
def test_paths_that_leave_or_collide_are_refused(strangers, tmp_path, name):
    path = shutil.copytree(strangers("0.5", False), tmp_path / "a.zarr")
    with mutations.Store(path).entry() as entry:
        entry["datasets"][1]["path"] = name
    for read in (dp.open_pyramid, dp.open_image, stored_info):
        with pytest.raises(ValueError, match="path of a dataset must"):
            read(path)
    found = dp.verify_pyramid(path)
    assert "path-unsafe" in {finding.code for finding in found.errors}
    checked(path, tmp_path)


def test_an_array_of_absurd_size_is_listed_and_sampled_at_once(strangers, tmp_path):
    path = shutil.copytree(strangers("0.5", False), tmp_path / "a.zarr")
    with mutations.Store(path).document("0") as found:
        found["shape"] = [2, 10**15, 10**15]
    assert not dp.verify_pyramid(path, sample=2).ok
    assert np.prod(dp.open_pyramid(path).shapes[0], dtype=object) == 2 * 10**30
