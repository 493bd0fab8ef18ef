"""What the environment offers, and that a machine without anything is told so soon."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dask_pyramid import credentials
from dask_pyramid.clouds import find_cloud
from dask_pyramid.credentials import address_of, aws_profile, bucket_region, can_sign
from dask_pyramid.store_options import StoreOptions

URLS = ("s3://bucket/a", "gs://bucket/a", "az://container/a")


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """A machine without credentials, and in no cloud."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(credentials, "_METADATA", "http://127.0.0.1:1")
    credentials._answers.cache_clear()
    bucket_region.cache_clear()


@contextmanager
def answering(status, headers=()):
    """A web server that answers every request alike; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_HEAD = answer  # noqa: N815  # names of http.server

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("url", URLS)
def test_nothing_is_nothing_and_no_need_is_enough(url):
    cloud = find_cloud(url)
    assert not can_sign(cloud, StoreOptions())
    assert can_sign(cloud, StoreOptions(anonymous=True))
    assert can_sign(find_cloud("https://host/a"), StoreOptions())


@pytest.mark.parametrize("url", URLS)
def test_a_machine_of_the_cloud_needs_no_keys(url, monkeypatch):
    cloud = find_cloud(url)
    with answering(200) as server:
        monkeypatch.setattr(credentials, "_METADATA", server)
        assert can_sign(cloud, StoreOptions())
    credentials._answers.cache_clear()
    with answering(403) as server:
        monkeypatch.setattr(credentials, "_METADATA", server)
        assert not can_sign(cloud, StoreOptions())


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("s3://b/a", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
        ("gs://b/a", ("GOOGLE_APPLICATION_CREDENTIALS",)),
        ("az://c/a", ("AZURE_STORAGE_ACCOUNT_KEY",)),
    ],
)
def test_the_usual_variables_are_known(url, names, monkeypatch):
    for name in names:
        assert not can_sign(find_cloud(url), StoreOptions())
        monkeypatch.setenv(name, "something")
    assert can_sign(find_cloud(url), StoreOptions())


def test_a_profile_is_read(monkeypatch, tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile lab]\nendpoint_url = http://ceph:80\n"
    )
    (tmp_path / ".aws" / "credentials").write_text(
        "[lab]\naws_access_key_id = a\naws_secret_access_key = b%20\n"
    )
    assert dict(aws_profile()) == {"region": "eu-west-1"}
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert aws_profile()["aws_secret_access_key"] == "b%20"
    assert can_sign(find_cloud("s3://b/a"), StoreOptions())
    assert address_of("s3://b/a", StoreOptions()) == "http://ceph:80/b/a"


def test_the_region_of_a_bucket_is_looked_up(monkeypatch):
    region = (("x-amz-bucket-region", "eu-central-1"),)
    for status in (200, 301, 403):
        bucket_region.cache_clear()
        with answering(status, region) as server:
            monkeypatch.setattr(credentials, "_AWS", server)
            assert bucket_region("bucket") == "eu-central-1"
    bucket_region.cache_clear()
    monkeypatch.setattr(credentials, "_AWS", "http://127.0.0.1:1")
    assert bucket_region("bucket") is None


def test_places_of_two_servers_are_two_places():
    one = StoreOptions(endpoint="http://one:80")
    two = StoreOptions(endpoint="http://two:80/")
    assert address_of("s3://b/a", one) == "http://one:80/b/a"
    assert address_of("s3://b/a", two) == "http://two:80/b/a"
    assert address_of("s3://b/a", StoreOptions()) == "s3://b/a"
