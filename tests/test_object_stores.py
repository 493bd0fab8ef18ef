"""Pyramids in S3: the same bytes as on disk, few requests, clear words, no secrets."""

from __future__ import annotations

import json
import logging
import os
import pickle
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from distributed import Client, LocalCluster
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

import dask_pyramid as dp
from dask_pyramid import cli
from dask_pyramid.store import objects
from dask_pyramid.store_options import parse_options
from dask_pyramid.stores import open_store

RNG = np.random.default_rng(11)
# Not a whole number of chunks or shards; some objects are all fill value.
DATA = RNG.integers(1, 999, (36, 70, 100)).astype("uint16")
DATA[:32, :32, :32] = 0
DATA[32:] = 0
LAYOUT = {"chunks": 16, "shards": 32, "scale_factors": [2, 4], "method": "mean"}

FINE = {**LAYOUT, "chunks": 8, "shards": False}  # many objects
SOME = {**LAYOUT, "shards": False}  # some, in some units if they are small

BOTH = pytest.mark.parametrize("any_s3", ["moto", "ceph"], indirect=True)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    """Hide what the machine has: keys, profiles, and the metadata of a cloud."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


def on_disk(folder, **options):
    dp.write_pyramid(DATA, folder, name="a", **{**LAYOUT, **options})
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def same_objects(found, expected):
    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        if key.endswith(("zarr.json", ".zattrs")):
            assert json.loads(found[key]) == json.loads(value), key
        else:
            assert found[key] == value, key


@BOTH
@pytest.mark.parametrize("options", [{}, {"version": "0.4", "shards": False}])
def test_the_objects_are_those_of_a_folder(any_s3, tmp_path, options):
    bucket = any_s3.bucket()
    pyramid = dp.write_pyramid(
        DATA,
        f"s3://{bucket}/deep/a.ome.zarr",
        name="a",
        storage_options=any_s3.options,
        **{**LAYOUT, **options},
    )
    same_objects(
        any_s3.objects(bucket, "deep/a.ome.zarr/"),
        on_disk(tmp_path / "a.ome.zarr", **options),
    )
    np.testing.assert_array_equal(pyramid.levels[0].compute(), DATA)


# --- requests


def keys_of(counts, method):
    """Return how often each object of voxels was asked for."""
    return {
        key: n
        for key, n in counts["requests"].get(method, {}).items()
        if ".zarr/" in key
        and "/.dask-pyramid/" not in key
        and key.rpartition("/")[2]
        not in ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
    }


@pytest.mark.parametrize("options", [{}, {"version": "0.4", "shards": False}])
def test_each_object_is_one_put_and_nothing_else(moto, proxy_of, options):
    bucket = moto.bucket()
    with proxy_of(moto) as proxy:
        given = moto.through(proxy).options
        # One pass makes all levels, so that nothing stored is read.
        dp.write_pyramid(
            DATA,
            f"s3://{bucket}/a.ome.zarr",
            storage_options=given,
            **{**LAYOUT, **options},
        )
        counts = proxy.counts()
    puts = keys_of(counts, "PUT")
    stored = keys_of(
        {"requests": {"GET": {f"/{bucket}/{k}": 1 for k in moto.objects(bucket)}}},
        "GET",
    )
    assert puts == stored
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert keys_of(counts, method) == {}, method


def test_an_object_of_many_megabytes_is_one_put_too(moto, proxy_of):
    bucket = moto.bucket()
    noise = RNG.integers(0, 2**16, (80, 256, 256)).astype("uint16")
    with proxy_of(moto) as proxy:
        dp.write_pyramid(
            noise,
            f"s3://{bucket}/a.zarr",
            chunks=(80, 256, 256),
            scale_factors=[2],
            method="nearest",
            storage_options=moto.through(proxy).options,
        )
        counts = proxy.counts()
    assert set(keys_of(counts, "PUT").values()) == {1}
    assert max(map(len, moto.objects(bucket).values())) > 8 * 2**20


# --- access


def test_wrong_credentials_end_before_anything_is_written(ceph):
    bucket = ceph.bucket()
    for wrong in (
        {**ceph.options, "secret_access_key": "notthesecret"},
        {**ceph.options, "access_key_id": "nobody"},
    ):
        with pytest.raises(PermissionError, match="access refused") as caught:
            dp.write_pyramid(DATA, f"s3://{bucket}/a.zarr", storage_options=wrong)
        text = str(caught.value)
        assert f"s3://{bucket}/a.zarr" in text
        assert "AWS_ACCESS_KEY_ID" in text
        assert not any(wrong[key] in text for key in ("secret_access_key",))
        with pytest.raises(PermissionError, match="access refused"):
            dp.open_image(f"s3://{bucket}/a.zarr", storage_options=wrong)
        with pytest.raises(PermissionError, match="access refused"):
            dp.open_pyramid(f"s3://{bucket}/a.zarr", storage_options=wrong)
    assert ceph.objects(bucket) == {}


def test_missing_credentials_end_at_once(moto):
    bucket = moto.bucket()
    given = {"endpoint": moto.endpoint}
    for act in (
        lambda: dp.write_pyramid(DATA, f"s3://{bucket}/a", storage_options=given),
        lambda: dp.open_image(f"s3://{bucket}/a", storage_options=given),
        lambda: dp.open_pyramid(f"s3://{bucket}/a", storage_options=given),
    ):
        with pytest.raises(PermissionError, match="needs credentials, and there are"):
            act()


@BOTH
def test_a_bucket_that_is_missing_is_told(any_s3):
    given = any_s3.options
    for act in (
        lambda: dp.write_pyramid(DATA, "s3://nosuch/a", storage_options=given),
        lambda: dp.open_image("s3://nosuch/a", storage_options=given),
        lambda: dp.open_pyramid("s3://nosuch/a", storage_options=given),
    ):
        with pytest.raises(FileNotFoundError, match="there is no such bucket"):
            act()


@BOTH
def test_an_empty_place_is_told_from_a_missing_bucket(any_s3):
    url = f"s3://{any_s3.bucket()}/a"
    with pytest.raises(FileNotFoundError, match="which holds no"):
        dp.open_image(url, storage_options=any_s3.options)
    with pytest.raises(FileNotFoundError, match="where there is none"):
        dp.open_pyramid(url, storage_options=any_s3.options)


def test_public_data_are_read_without_credentials_and_not_written(ceph, monkeypatch):
    bucket = ceph.bucket()
    dp.write_pyramid(
        DATA, f"s3://{bucket}/a.zarr", storage_options=ceph.options, **LAYOUT
    )
    nobody = {"endpoint": ceph.endpoint, "anonymous": True}
    with pytest.raises(PermissionError, match="access refused"):
        dp.open_pyramid(f"s3://{bucket}/a.zarr", storage_options=nobody)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }
    ceph.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    # Keys of the environment, here wrong ones, do not matter then.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    pyramid = dp.open_pyramid(f"s3://{bucket}/a.zarr", storage_options=nobody)
    np.testing.assert_array_equal(pyramid.levels[0].compute(), DATA)
    before = ceph.objects(bucket)
    with pytest.raises(PermissionError, match="access refused"):
        dp.write_pyramid(DATA, f"s3://{bucket}/b.zarr", storage_options=nobody)
    assert ceph.objects(bucket) == before
    web = dp.open_pyramid(f"{ceph.endpoint}/{bucket}/a.zarr")
    np.testing.assert_array_equal(web.levels[1].compute(), pyramid.levels[1].compute())
    with pytest.raises(ValueError, match="a web server takes no objects"):
        dp.write_pyramid(DATA, f"{ceph.endpoint}/{bucket}/c.zarr")


def test_what_is_given_wins_over_the_environment(ceph, monkeypatch):
    bucket = ceph.bucket()
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-nobody")
    url = f"s3://{bucket}/a.zarr"
    dp.write_pyramid(DATA, url, storage_options=ceph.options, **LAYOUT)
    assert "a.zarr/zarr.json" in ceph.objects(bucket)


@pytest.fixture
def small_units(monkeypatch):
    """Make units small, so that a small image has many."""
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**14)


def in_environment(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret)


def test_the_command_takes_keys_of_the_environment_and_an_endpoint(ceph, monkeypatch):
    bucket = ceph.bucket()
    nuclei = Path(__file__).parents[1] / "examples" / "data" / "nuclei.tif"
    in_environment(ceph, monkeypatch)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    endpoint = ("--endpoint", ceph.endpoint)

    def run(*arguments):
        result = CliRunner().invoke(cli.main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    url = f"s3://{bucket}/nuclei.ome.zarr"
    assert url in run("write", nuclei, url, "--method", "mean", *endpoint)
    assert url in run("info", url, *endpoint)
    assert "Plan of 3 levels" in run("plan", url, *endpoint)
    again = f"s3://{bucket}/again.ome.zarr"
    run("plan", url, again, *endpoint)
    run("units", again, *endpoint)
    assert again in run("finish", again, *endpoint)
    first, second = (
        ceph.objects(bucket, f"{n}.ome.zarr/") for n in ("nuclei", "again")
    )
    assert all(second[key] == first[key] for key in first if key.startswith("0/c/"))
    copy = f"s3://{bucket}/copy.ome.zarr"
    source = ("--source-endpoint", ceph.endpoint)
    assert copy in run("write", url, copy, *endpoint, *source)


# --- secrets


def test_secrets_stay_where_they_are(ceph, monkeypatch, caplog, capfd):
    secret = "Qx9-do-not-tell-me-7Zp"
    caplog.set_level(logging.DEBUG)
    bucket = ceph.bucket()
    told = []
    given = {**ceph.options, "access_key_id": "AKIDnobody", "secret_access_key": secret}
    for act in (
        lambda: dp.write_pyramid(DATA, f"s3://{bucket}/a", storage_options=given),
        lambda: dp.open_pyramid(f"s3://{bucket}/a", storage_options=given),
        lambda: dp.open_image(
            f"http://me:{secret}@127.0.0.1:1/a?token={secret}",
            storage_options={"retry_seconds": 0.5},
        ),
    ):
        with pytest.raises(OSError, match="cannot") as caught:
            act()
        told.append(
            repr(caught.value) + "".join(getattr(caught.value, "__notes__", ()))
        )
    options = dp.StoreOptions(**given)
    store = open_store(f"s3://{bucket}/a", options=options)
    told += [repr(options), str(options), repr(store), str(store)]
    in_environment(ceph, monkeypatch)
    pyramid = dp.write_pyramid(DATA, f"s3://{bucket}/a.zarr", **LAYOUT)
    told += [repr(pyramid), str(pyramid), pyramid._repr_html_(), repr(pyramid.image)]
    # Keys of the environment are found on the worker: they do not travel.
    travels = pickle.dumps((pyramid.image.reader, open_store(f"s3://{bucket}/a.zarr")))
    assert ceph.secret.encode() not in travels
    stored = b"".join(ceph.objects(bucket).values())
    told += [caplog.text, *capfd.readouterr()]
    for text in told:
        assert secret not in text
        assert ceph.secret not in text
    assert ceph.secret.encode() not in stored
    assert ceph.key.encode() not in stored


def test_a_store_pickles_to_its_place(moto):
    bucket = moto.bucket()
    options = dp.StoreOptions(**moto.options)
    store = open_store(f"s3://{bucket}/a", read_only=False, options=options)
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert not again.read_only
    assert again.with_read_only(True) != store
    assert len(pickle.dumps(store)) < 600


# --- troubles


def faulty(proxy, server, **more):
    return {**server.through(proxy).options, "retry_seconds": 30.0, **more}


def explained(counts):
    """No object is put more often than once and once for each fault."""
    faults = counts["faults"].get("PUT", {})
    for key, n in keys_of(counts, "PUT").items():
        assert n <= 1 + faults.get(key, 0), key


@pytest.mark.once
@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_through_faults_ends_with_the_same_bytes(ceph, proxy_of, tmp_path, seed):
    bucket = ceph.bucket()
    with proxy_of(ceph) as proxy:
        proxy.set(mode="mixed", p=0.05, seconds=0.2, seed=seed)
        dp.write_pyramid(
            DATA,
            f"s3://{bucket}/a.zarr",
            name="a",
            storage_options=faulty(proxy, ceph),
            **FINE,
        )
        counts = proxy.counts()
    assert sum(counts["kinds"].values()) > 10
    explained(counts)
    same_objects(ceph.objects(bucket, "a.zarr/"), on_disk(tmp_path / "a.zarr", **FINE))


@pytest.mark.once
@pytest.mark.parametrize("mode", ["500", "503", "reset", "lost", "half", "stall"])
def test_each_kind_of_fault_passes(moto, proxy_of, tmp_path, mode):
    bucket = moto.bucket()
    with proxy_of(moto) as proxy:
        # A stall is longer than a client waits here: it must be given up.
        proxy.set(mode=mode, p=0.1, seconds=1.0, seed=4)
        options = faulty(proxy, moto, timeout=0.5)
        url = f"s3://{bucket}/a.zarr"
        pyramid = dp.write_pyramid(
            DATA, url, name="a", storage_options=options, **LAYOUT
        )
        np.testing.assert_array_equal(pyramid.levels[0].compute(), DATA)
        counts = proxy.counts()
    assert counts["kinds"][mode] > 2
    explained(counts)
    same_objects(moto.objects(bucket, "a.zarr/"), on_disk(tmp_path / "a.zarr"))


def test_a_store_that_comes_back_is_waited_for(moto, proxy_of, small_units):
    bucket = moto.bucket()
    url = f"s3://{bucket}/a.zarr"
    with proxy_of(moto) as proxy:
        seen = []

        def fail_for_a_while(progress):
            seen.append(progress.done)
            if progress.done == 1:
                proxy.set(mode="503", p=1.0)
                threading.Timer(4.0, proxy.set).start()  # obstore alone: 3 s

        dp.write_pyramid(
            DATA,
            url,
            storage_options=faulty(proxy, moto),
            progress=fail_for_a_while,
            workers=1,
            **SOME,
        )
    assert len(seen) > 2
    assert "a.zarr/zarr.json" in moto.objects(bucket)


def test_a_store_that_stays_away_ends_the_run_and_the_next_one_resumes(
    moto, proxy_of, tmp_path, small_units
):
    bucket = moto.bucket()
    options = {"name": "a", "workers": 1, **SOME}
    with proxy_of(moto) as proxy:
        url = f"s3://{bucket}/a.zarr"
        given = faulty(proxy, moto, retry_seconds=0.5)

        def fail(progress):
            if progress.done == 1:
                proxy.set(mode="503", p=1.0)

        with pytest.raises(OSError, match=r"cannot (read|write) s3://.*503") as caught:
            dp.write_pyramid(
                DATA, url, storage_options=given, progress=fail, retries=1, **options
            )
        assert any("in unit" in note for note in caught.value.__notes__)
        proxy.set()
        with pytest.raises(ValueError, match="must be complete"):
            dp.open_pyramid(url, storage_options=given)
        dp.write_pyramid(
            DATA, url, storage_options=given, mode="a", break_lock=True, **options
        )
        counts = proxy.counts()
    assert set(keys_of(counts, "PUT").values()) == {1}
    expected = on_disk(tmp_path / "a.zarr", **SOME)
    same_objects(moto.objects(bucket, "a.zarr/"), expected)


def test_an_address_where_nobody_is_ends_soon():
    options = {"access_key_id": "a", "secret_access_key": "b", "retry_seconds": 0.5}
    for endpoint in ("http://127.0.0.1:1", "http://nobody.invalid"):
        given = {**options, "endpoint": endpoint}
        with pytest.raises(OSError, match=r"connection refused|dns error"):
            dp.write_pyramid(DATA, "s3://bucket/a.zarr", storage_options=given)
        with pytest.raises(OSError, match=r"connection refused|dns error"):
            dp.open_image("s3://bucket/a.zarr", storage_options=given)


# --- one writer


def test_of_sixteen_who_lock_at_a_time_one_gets_it(ceph):
    options = dp.StoreOptions(**ceph.options)
    for _ in range(5):
        url = f"s3://{ceph.bucket()}/a.zarr"

        def create(token, url=url):
            store = open_store(url, read_only=False, options=options)
            return objects.put_new(store, "lock", token)

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(create, (uuid.uuid4().bytes for _ in range(16))))
        assert sum(won) == 1


def test_a_lock_whose_answer_is_lost_is_ours(ceph, proxy_of):
    bucket = ceph.bucket()
    with proxy_of(ceph) as proxy:
        options = dp.StoreOptions(**faulty(proxy, ceph))
        store = open_store(f"s3://{bucket}/a.zarr", read_only=False, options=options)
        proxy.set(mode="lost", p=0.7, seed=2)
        for number in range(6):
            assert objects.put_new(store, f"lock-{number}", b"mine")
            assert not objects.put_new(store, f"lock-{number}", b"another's")
        assert proxy.counts()["kinds"]["lost"] > 4


# --- other stores and schedulers


def test_another_pyramid_is_replaced_and_nothing_of_it_stays(ceph):
    bucket = ceph.bucket()
    url = f"s3://{bucket}/a.zarr"
    dp.write_pyramid(DATA, url, storage_options=ceph.options, **LAYOUT)
    with pytest.raises(FileExistsError, match="mode='w' replaces"):
        dp.write_pyramid(DATA, url, storage_options=ceph.options)
    dp.write_pyramid(
        DATA[:16, :32, :32] + 1, url, mode="w", storage_options=ceph.options, chunks=32
    )
    levels = {key.split("/")[0] for key in ceph.objects(bucket, "a.zarr/")}
    assert levels == {"zarr.json", "0"}


def test_a_client_writes_the_same_bytes(ceph, tmp_path):
    bucket = ceph.bucket()
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with cluster, Client(cluster) as client:
        dp.write_pyramid(
            DATA,
            f"s3://{bucket}/a.zarr",
            name="a",
            client=client,
            storage_options=ceph.options,
            **LAYOUT,
        )
    same_objects(ceph.objects(bucket, "a.zarr/"), on_disk(tmp_path / "a.zarr"))


def test_a_store_of_fsspec_is_written_and_read(tmp_path):
    system = fsspec.filesystem("memory")
    store = zarr.storage.FsspecStore(
        AsyncFileSystemWrapper(system, asynchronous=True), path=f"/{uuid.uuid4().hex}"
    )
    dp.write_pyramid(DATA, store, name="a", **LAYOUT)
    pyramid = dp.open_pyramid(store)
    np.testing.assert_array_equal(pyramid.levels[0].compute(), DATA)
    expected = on_disk(tmp_path / "a.zarr")
    root = store.path.strip("/")
    found = {
        name.strip("/").removeprefix(f"{root}/"): system.cat_file(name)
        for name in system.find(store.path)
    }
    same_objects(found, expected)


# --- the whole life of a pyramid


@pytest.mark.parametrize("probability", [0.0, 0.05])
def test_a_pyramid_is_resumed_checked_and_grown_on_a_real_server(
    ceph, proxy_of, tmp_path, small_units, probability
):
    movie = np.stack([DATA, DATA[::-1], DATA[:, ::-1]])
    layout = {**LAYOUT, "axes": "tzyx", "name": "a", "workers": 1}
    bucket = ceph.bucket()
    url = f"s3://{bucket}/a.zarr"

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.done == 2:
            raise StopError

    with proxy_of(ceph) as proxy:
        proxy.set(mode="mixed", p=probability, seconds=0.2, seed=3)
        given = {"storage_options": faulty(proxy, ceph)}
        with pytest.raises(StopError):
            dp.write_pyramid(movie[:2], url, progress=stop, **layout, **given)
        dp.write_pyramid(movie[:2], url, mode="a", **layout, **given)
        dp.append(url, dp.open_image(movie[2:], axes="tzyx"), **given)
        found = dp.verify_pyramid(url, sample="full", **given)
        assert found.ok, str(found)
        dp.write_pyramid(movie, tmp_path / "a.zarr", **layout)
        expected = {
            path.relative_to(tmp_path / "a.zarr").as_posix(): path.read_bytes()
            for path in (tmp_path / "a.zarr").rglob("*")
            if path.is_file() and not path.name.endswith(".json")
        }
        stored = ceph.objects(bucket, "a.zarr/")
        voxels = {key: v for key, v in stored.items() if not key.endswith(".json")}
        assert voxels == expected
        damaged = sorted(voxels)[0]
        options = parse_options(given["storage_options"], url)
        store = open_store(url, read_only=False, options=options)
        objects.put(store, damaged, voxels[damaged][:-1])
        assert not dp.verify_pyramid(url, sample="full", **given).ok
