"""Options of object stores: checked early, silent about secrets, for whom they are."""

import pickle

import pytest

import dask_pyramid as dp
from dask_pyramid.store_options import StoreOptions, parse_options, share_options

SECRET = "not-to-be-told"
KEYS = {"access_key_id": "id-not-to-be-told", "secret_access_key": SECRET}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anon": True}, "storage_options must be out of .* is 'anonymous' meant"),
        ({"anonymous": "yes"}, "anonymous must be True or False, got 'yes'"),
        ({"endpoint": "ceph:80"}, "endpoint must be an http or https URL"),
        ({"endpoint": f"http://me:{SECRET}@host"}, "endpoint must hold no password"),
        ({"access_key_id": SECRET}, "access_key_id and secret_access_key together"),
        ({**KEYS, "anonymous": True}, "must be anonymous or hold a key, got both"),
        ({"secret_access_key": 5}, "secret_access_key must be a text, got int"),
        ({"timeout": 0}, "timeout must be a positive number of seconds, got 0"),
        ({"account_key": SECRET}, "must be out of .* got account_key"),
    ],
)
def test_options_are_checked_before_anything_is_opened(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        dp.open_image("s3://bucket/a.zarr", storage_options=options)
    assert SECRET not in str(caught.value)


def test_options_of_no_store_are_refused(tmp_path):
    options = {"anonymous": True}
    with pytest.raises(ValueError, match="must go with a URL"):
        dp.open_image(tmp_path / "a.zarr", storage_options=options)
    with pytest.raises(ValueError, match="must go with a URL"):
        dp.write_pyramid("a.tif", tmp_path / "a.zarr", storage_options=options)
    with pytest.raises(TypeError, match="storage_options must be a dict, got list"):
        dp.open_image("s3://bucket/a.zarr", storage_options=["anonymous"])


def test_options_show_no_secret_and_travel():
    options = StoreOptions(endpoint="http://host", **KEYS)
    assert repr(options) == (
        "StoreOptions(endpoint='http://host', access_key_id=***, secret_access_key=***)"
    )
    assert SECRET not in f"{options}"
    assert options.public() == {"endpoint": "http://host"}
    assert pickle.loads(pickle.dumps(options)) == options
    assert hash(options) == hash(StoreOptions(endpoint="http://host", **KEYS))


@pytest.mark.parametrize(
    ("source", "target", "for_source"),
    [
        ("s3://a/x", "s3://b/y", True),
        ("https://host/x", "s3://b/y", False),
        ("x.tif", "s3://b/y", False),
    ],
)
def test_options_are_for_the_target_and_a_source_like_it(source, target, for_source):
    options = StoreOptions(anonymous=True)
    expected = options if for_source else None
    assert share_options({"anonymous": True}, source, target) == (expected, options)


def test_options_are_for_the_source_if_the_target_is_no_url():
    options = StoreOptions(anonymous=True)
    found = share_options(options, "s3://a/x", "y.zarr")
    assert found == (options, StoreOptions())


def test_every_store_takes_what_all_stores_take():
    for url in ("s3://a", "gs://a", "abfs://a@b.dfs.core.windows.net/c", "https://a"):
        assert parse_options({"timeout": 5}, url).timeout == 5
