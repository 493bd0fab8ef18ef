"""What viewers are handed: a server of stores, a state of Neuroglancer, layers."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import webbrowser
from dataclasses import replace
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import zarr

from dask_pyramid import build_pyramid, open_image, open_pyramid, write_pyramid
from dask_pyramid.layers import napari_layers
from dask_pyramid.rendering import channels_of
from dask_pyramid.scene import neuroglancer_state
from dask_pyramid.serving import StoreServer
from drawn import values

SIDE = {"z": 2.0, "y": 0.5, "x": 0.25}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    array = values((2, 3, 20, 40, 48), "uint16")
    return write_pyramid(
        array,
        tmp_path_factory.mktemp("stored") / "a.ome.zarr",
        axes="tczyx",
        labels={"cells": array[0, 0] > 9},
        scale={"t": 5, **SIDE},
        translation={"t": 60, "z": 4, "y": 3, "x": 2},
        unit={"t": "minute", "z": "um", "y": "um", "x": "um"},
        scale_factors=[2],
        chunks=16,
    )


@pytest.fixture
def server(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "digits.txt").write_bytes(b"0123456789")
    (tmp_path / "folder" / "inner").mkdir()
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "folder" / "link").symlink_to(tmp_path)
    (tmp_path / "folder" / "link.txt").symlink_to(tmp_path / "secret.txt")
    store = zarr.storage.LocalStore(tmp_path / "folder", read_only=True)
    server = StoreServer({"data": store}, lambda base: f"{base}data/digits.txt")
    yield server
    server.close()


def fetch(url, method="GET", **headers):
    """Return status, headers and body."""
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        (None, 200, b"0123456789", None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-4", 206, b"6789", "bytes 6-9/10"),
        ("bytes=8-100", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-11", 416, b"", "bytes */10"),
    ],
)
def test_the_server_sends_the_bytes_that_are_asked_for(
    server, asked, status, body, told
):
    headers = {} if asked is None else {"Range": asked}
    found = fetch(f"{server.url}data/digits.txt", **headers)
    assert (found[0], found[2], found[1]["Content-Range"]) == (status, body, told)
    assert found[1]["Access-Control-Allow-Origin"] == "*"
    head = fetch(f"{server.url}data/digits.txt", "HEAD", **headers)
    assert (head[0], head[2]) == (status, b"")
    assert head[1]["Content-Length"] == str(len(body))


def test_the_server_answers_the_question_of_a_browser_before_a_range(server):
    status, headers, _ = fetch(f"{server.url}data/digits.txt", "OPTIONS")
    assert status == 204
    assert headers["Access-Control-Allow-Headers"] == "Range"


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [(None, 200, None), ("bytes=2-9", 206, "bytes 2-5/10"), ("bytes=7-8", 416, None)],
)
def test_the_length_is_that_of_what_was_read(
    server, tmp_path, monkeypatch, asked, status, told
):
    place = tmp_path / "folder" / "digits.txt"

    async def getsize(*_):
        place.write_bytes(b"abcdef")  # replaced before it is read
        return 10

    place.write_bytes(b"abcdef" if asked is None else b"0123456789")
    monkeypatch.setattr("zarr.storage.LocalStore.getsize", getsize)
    headers = {} if asked is None else {"Range": asked}
    found = fetch(f"{server.url}data/digits.txt", **headers)
    assert found[0] == status
    assert int(found[1]["Content-Length"]) == len(found[2])
    assert found[1]["Cache-Control"] == "no-store"
    if told is not None:
        assert (found[1]["Content-Range"], found[2]) == (told, b"cdef")


def test_a_server_that_is_closed_ends_its_connections(server):
    parts = urlsplit(server.url)
    kept = http.client.HTTPConnection(parts.netloc, timeout=30)
    kept.request("GET", f"{parts.path}data/digits.txt")
    assert kept.getresponse().read() == b"0123456789"
    server.close()
    assert kept.sock.recv(1) == b""
    kept.close()


def test_a_server_that_closes_answers_nothing_more(server):
    server._server.closing.set()
    assert fetch(f"{server.url}data/digits.txt")[0] == 503


def test_a_connection_that_says_nothing_is_ended(server, monkeypatch):
    monkeypatch.setattr("dask_pyramid.serving._Handler.timeout", 0.1)
    with socket.create_connection(server._server.server_address, timeout=30) as idle:
        assert idle.recv(1) == b""


@pytest.mark.parametrize(
    "path",
    [
        "data/none",
        "data/../../secret.txt",
        "data/%2e%2e/secret.txt",
        "data/",
        "data/inner",
        "data/link/secret.txt",
        "data/link.txt",
        "data/C:%5Csecret.txt",
        "data/a%00b",
        "other/a",
    ],
)
def test_the_server_shows_nothing_else(server, path):
    assert fetch(server.url + path)[0] == 404
    assert fetch(server.url + path, "HEAD")[0] == 404
    token = urlsplit(server.url).path
    guessed = f"{server.url.removesuffix(token)}/guess/data/digits.txt"
    assert fetch(guessed)[0] == 404


def test_the_front_page_leads_to_where_the_reader_sees_it(server):
    status, _, body = fetch(server.url)
    assert (status, body) == (200, b"0123456789")


def test_a_store_that_cannot_be_read_is_told_apart_from_what_is_absent(
    server, monkeypatch
):
    async def fail(*_):
        raise PermissionError("expired")

    monkeypatch.setattr(zarr.storage.LocalStore, "get", fail)
    assert fetch(f"{server.url}data/digits.txt")[0] == 502


def test_a_port_that_is_taken_is_an_error(server):
    port = urlsplit(server.url).port
    with pytest.raises(OSError, match=f"port must be free, got {port}"):
        StoreServer({}, str, port=port)


def test_the_state_of_neuroglancer_is_in_metres_and_seconds(stored):
    state = neuroglancer_state(stored, "http://host/")
    assert list(state["dimensions"]) == ["x", "y", "z", "t"]
    sizes = [size for size, _ in state["dimensions"].values()]
    np.testing.assert_allclose(sizes, [0.25e-6, 0.5e-6, 2e-6, 300])
    assert [unit for _, unit in state["dimensions"].values()] == ["m", "m", "m", "s"]
    # Voxel centres are whole numbers behind the translation.
    np.testing.assert_allclose(
        state["position"], [2 / 0.25 + 23.5, 3 / 0.5 + 19.5, 4 / 2 + 9.5, 12]
    )
    *channels, labels = state["layers"]
    assert [layer["localPosition"] for layer in channels] == [[0], [1], [2]]
    for layer, channel in zip(channels, channels_of(stored), strict=True):
        assert layer["source"] == "http://host/|zarr3:"
        contrast = layer["shaderControls"]["contrast"]["range"]
        assert contrast == [channel.low, channel.high]
    assert labels["type"] == "segmentation"
    assert labels["source"] == "http://host/labels/cells/|zarr3:"
    assert json.loads(json.dumps(state)) == state


def test_contrast_is_that_of_the_metadata_else_of_the_smallest_level():
    array = np.zeros((2, 64, 64), "uint16")
    array[0, 20:40, 20:40] = 500
    image = open_image(array, axes="cyx")
    built = build_pyramid(image, scale_factors=[2], method="mean")
    first, second = channels_of(built)
    assert (first.low, first.high) == (0, 500)
    assert (second.low, second.high) == (0, 1)
    assert first.colour != second.colour


@pytest.mark.parametrize(
    "omero",
    [
        {"channels": {"0": {}}},
        {"channels": ["red"]},
        *(
            {"channels": [{"window": window}]}
            for window in (
                [0, 9],
                {"start": "0", "end": "9"},
                {"start": 0},
                {"start": float("nan"), "end": 9},
                {"start": 0, "end": float("inf")},
                {"start": 0, "end": 10**400},
                {"start": False, "end": True},
            )
        ),
    ],
)
def test_a_window_that_is_no_pair_of_numbers_is_not_taken(omero):
    array = np.zeros((64, 64), "uint16")
    array[20:40, 20:40] = 500
    image = replace(open_image(array), omero=omero)
    (channel,) = channels_of(build_pyramid(image, scale_factors=[2], method="mean"))
    assert (channel.low, channel.high) == (0, 500)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float64"])
def test_labels_that_neuroglancer_cannot_draw_are_told(stored, monkeypatch, dtype):
    pytest.importorskip("neuroglancer")
    labels = build_pyramid(open_image(np.zeros((40, 48), dtype)), method="nearest")
    monkeypatch.setitem(stored.labels, "odd", labels)
    with pytest.warns(UserWarning, match=f"got {dtype} for 'odd', .* viewer='napari'"):
        view = stored.view(browser=False)
    view.close()
    layers = neuroglancer_state(stored, "http://a/")["layers"]
    assert "odd" not in {layer["name"] for layer in layers}


def test_names_of_labels_are_quoted_in_their_source(stored, monkeypatch):
    monkeypatch.setitem(stored.labels, "a b|c#?", stored.labels["cells"])
    layer = neuroglancer_state(stored, "http://a/")["layers"][-1]
    assert layer["name"] == "a b|c#?"
    assert layer["source"] == "http://a/labels/a%20b%7Cc%23%3F/|zarr3:"


@pytest.mark.parametrize(
    ("dtype", "version", "message"),
    [
        ("float64", "0.5", "dtype must be one that Neuroglancer draws, got float64"),
        ("uint8", "0.6", "must be OME-Zarr 0.4 or 0.5 for Neuroglancer, got 0.6"),
    ],
)
@pytest.mark.filterwarnings("ignore:many viewers refuse")
def test_what_neuroglancer_cannot_draw_is_refused(tmp_path, dtype, version, message):
    pyramid = write_pyramid(
        np.zeros((30, 30), dtype), tmp_path / "a.ome.zarr", version=version
    )
    with pytest.raises(ValueError, match=message):
        pyramid.view(browser=False)


def test_what_is_not_stored_or_not_known_is_refused():
    built = build_pyramid(np.zeros((30, 30), "uint8"))
    with pytest.raises(ValueError, match="must be stored for Neuroglancer"):
        built.view(browser=False)
    with pytest.raises(ValueError, match="viewer must be one of neuroglancer, napari"):
        built.view(viewer="fiji")


@pytest.mark.parametrize("viewer", ["neuroglancer", "napari"])
def test_a_viewer_that_is_missing_is_told_with_its_extra(stored, monkeypatch, viewer):
    monkeypatch.setattr("dask_pyramid.viewing.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"pip install 'dask-pyramid\[{viewer}\]'"):
        stored.view(viewer=viewer, browser=False)


def test_view_serves_the_client_and_the_store_until_it_is_closed(stored, monkeypatch):
    pytest.importorskip("neuroglancer")
    opened = []
    browser = type("Browser", (), {"open": lambda self, url: opened.append(url)})()
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    with stored.view() as view:
        assert opened == [view.url]
        assert view.url in view._repr_html_()
        with urllib.request.urlopen(view.url, timeout=30) as page:
            assert b"<title>neuroglancer</title>" in page.read()
            fragment = unquote(urlsplit(page.url).fragment)
        state = json.loads(fragment.removeprefix("!"))
        source = state["layers"][0]["source"].partition("|")[0]
        assert json.loads(fetch(f"{source}zarr.json")[2])["node_type"] == "group"
        assert fetch(f"{source}labels/cells/0/zarr.json")[0] == 200
    with pytest.raises(urllib.error.URLError):
        fetch(view.url)


def test_objects_behind_credentials_are_read_by_the_server_alone(moto):
    place = f"s3://{moto.bucket()}/a.ome.zarr"
    array = values((40, 48), "uint16")
    pyramid = write_pyramid(
        array, place, scale_factors=[2], storage_options=moto.options, progress=False
    )
    server = StoreServer({"image": pyramid.group.store}, str)
    try:
        status, _, body = fetch(f"{server.url}image/0/zarr.json")
        assert (status, json.loads(body)["shape"]) == (200, [40, 48])
        part = fetch(f"{server.url}image/0/zarr.json", Range="bytes=1-3")
        assert (part[0], part[2]) == (206, body[1:4])
        assert fetch(f"{server.url}image/9/zarr.json")[0] == 404
    finally:
        server.close()
    state = json.dumps(neuroglancer_state(pyramid, server.url))
    assert moto.options["secret_access_key"] not in state


def test_view_of_a_browser_of_the_terminal_only_prints(stored, monkeypatch):
    pytest.importorskip("neuroglancer")
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("lynx"))
    with stored.view() as view:
        assert "127.0.0.1" in repr(view)


def test_the_command_prints_the_url_and_stops_at_ctrl_c(stored):
    pytest.importorskip("neuroglancer")
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from dask_pyramid.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "view", stored.location, "--no-browser"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        url = process.stdout.readline().strip()
        assert fetch(url)[0] == 200
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0
    assert told.split() == "Ctrl-C stops. Stopped.".split()


def test_layers_of_napari_are_channels_and_labels_with_their_places(stored):
    *channels, (ids, said, kind) = napari_layers(stored)
    assert [kind for *_, kind in channels] == ["image"] * 3
    for number, (levels, told, _) in enumerate(channels):
        assert told["axis_labels"] == ("t", "z", "y", "x")
        assert told["scale"] == (5, 2, 0.5, 0.25)
        assert told["translate"] == (60, 4, 3, 2)
        assert told["units"] == ("minute", *["micrometer"] * 3)
        assert told["multiscale"]
        for level, whole in zip(levels, stored.levels, strict=True):
            np.testing.assert_array_equal(level, whole[:, number])
    assert (kind, said["name"]) == ("labels", "cells")
    assert [level.shape for level in ids] == [(20, 40, 48), (10, 20, 24)]
    assert said["axis_labels"] == ("z", "y", "x")
    [(_, told, kind)] = napari_layers(open_pyramid(f"{stored.location}/labels/cells"))
    assert (kind, told["name"]) == ("labels", "cells")
