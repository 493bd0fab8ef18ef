"""What a run has left is believed only as far as it is sound."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tifffile
import zarr

import dask_pyramid as dp
from dask_pyramid.jobs import StoredJob
from dask_pyramid.receipts import Receipt, Written
from dask_pyramid.store import ledger, targets
from dask_pyramid.units import run_unit

DATA = np.random.default_rng(5).integers(1, 4096, (32, 64, 64)).astype("uint16")
SMALL = {"scale_factors": [2], "chunks": 16, "shards": False, "workers": 1}


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def source(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", DATA)
    return tmp_path / "in.tif"


@pytest.fixture
def begun(tmp_path, source, monkeypatch):
    """Give a pyramid all of whose units are done but one, and its receipts."""
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**15)
    target = tmp_path / "a.zarr"
    dp.write_pyramid(source, tmp_path / "whole.zarr", **SMALL)
    dp.prepare_pyramid(source, target, **SMALL)
    dp.run_units(target, workers=1)
    return target


def receipts(target):
    return sorted((target / ".dask-pyramid" / "receipts").glob("*.json"))


def is_whole(target):
    whole = target.with_name("whole.zarr")
    return content(target) == content(whole)


# -- receipts -------------------------------------------------------------------------


def changed(**changes):
    return lambda entry: {**entry, **changes}


def first_written(**changes):
    def change(entry):
        first, *others = entry["written"]
        return {**entry, "written": [{**first, **changes}, *others]}

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: [],
        lambda entry: None,
        lambda entry: "receipt",
        lambda entry: {},
        changed(number=-1),
        changed(number=10**9),
        changed(number="first"),
        changed(number=1e999),
        changed(fingerprint="another"),
        changed(written=[]),
        changed(written=3),
        changed(channel=7),
        changed(channel=-1),
        changed(grey=[1, 2]),
        lambda entry: {**entry, "written": entry["written"] * 2},
        lambda entry: {**entry, "written": entry["written"][1:]},
        first_written(level=9),
        first_written(level=-1),
        first_written(first=[0]),
        first_written(first=[99, 0, 0]),
        first_written(first=[-1, 0, 0]),
        first_written(shape=[0, 0, 0]),
        first_written(sizes=[]),
        first_written(crc32=[]),
    ],
)
def test_a_receipt_that_is_none_is_void(begun, change):
    path = receipts(begun)[0]
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert run_again(begun) == 1
    assert is_whole(begun)


def test_receipts_that_are_no_json_are_void(begun):
    texts = (b"", b"\xff\xfe\x00", b"{", b'{"number": 1')
    paths = receipts(begun)[: len(texts)]
    for path, text in zip(paths, texts, strict=False):
        path.write_bytes(text)
    assert run_again(begun) == len(paths)
    assert is_whole(begun)


def run_again(target):
    """Go on; return how many units were run."""
    source = target.with_name("in.tif")
    with mock.patch("dask_pyramid.runner.tasks.run_unit", wraps=run_unit) as run:
        dp.write_pyramid(source, target, mode="a", **SMALL)
    return run.call_count


# -- the job --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"3",
        b'{"parameters": {}, "plan": {}}',
        b'{"parameters": {"dtype": "uint16"}, "plan": {"axes": 3, "levels": [1]}}',
        b'{"parameters": [], "plan": null}',
    ],
)
def test_a_job_that_cannot_be_read_is_told_and_replaced_on_demand(begun, source, text):
    (begun / ".dask-pyramid" / "job.json").write_bytes(text)
    for attempt in (
        lambda: dp.write_pyramid(source, begun, mode="a", **SMALL),
        lambda: dp.run_units(begun),
        lambda: dp.finish_pyramid(begun),
    ):
        with pytest.raises(ValueError, match="mode='w'"):
            attempt()
    dp.write_pyramid(source, begun, mode="w", **SMALL)
    assert is_whole(begun)


def test_a_kill_between_the_job_and_the_arrays_is_made_up_for(tmp_path, source):
    dp.write_pyramid(source, tmp_path / "whole.zarr", **SMALL)
    dp.prepare_pyramid(source, tmp_path / "a.zarr", **SMALL)
    for entry in (tmp_path / "a.zarr").iterdir():
        if entry.name != ".dask-pyramid":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    with pytest.raises(FileExistsError, match="mode='a' resumes"):
        dp.write_pyramid(source, tmp_path / "a.zarr", **SMALL)
    dp.write_pyramid(source, tmp_path / "a.zarr", mode="a", **SMALL)
    assert is_whole(tmp_path / "a.zarr")


# -- many units -----------------------------------------------------------------------


def test_the_books_of_many_units_are_small(tmp_path, monkeypatch):
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**9)
    shape = (104, 104, 96)
    source = tmp_path / "in.zarr"
    zarr.create_array(source, shape=shape, dtype="uint8", chunks=(8, 8, 8))
    options = {"chunks": 4, "shards": False, "method": "mean", "scale_factors": [2]}
    dp.prepare_pyramid(source, tmp_path / "a.zarr", **options)
    target = targets.open_target(tmp_path / "a.zarr", mode="a")
    job = StoredJob.from_json(ledger.read_job(target))
    assert job.plan.n_tasks >= 2000
    put_empty_receipts(target, job)
    tracemalloc.start()
    books = ledger.load_books(target, job.plan, job.fingerprint)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert books.complete
    assert peak < 6000 * job.plan.n_tasks


def put_empty_receipts(target, job):
    """Leave a receipt for each unit, all of whose objects are empty."""
    folder = Path(target.root) / ".dask-pyramid" / "receipts"
    folder.mkdir(parents=True)
    for number in range(job.plan.n_tasks):
        written = []
        for level, box in job.plan.boxes(number):
            counts = [part.stop - part.start for part in box]
            n = int(np.prod(counts))
            written.append(
                Written(
                    level=level,
                    first=tuple(part.start for part in box),
                    shape=tuple(counts),
                    sizes=(-1,) * n,
                    crc32=(0,) * n,
                )
            )
        receipt = Receipt(
            number=number,
            unit=job.plan.units[number].name,
            fingerprint=job.fingerprint,
            bytes=0,
            seconds=0,
            written=tuple(written),
        )
        (folder / f"{receipt.unit}.json").write_text(json.dumps(receipt.to_json()))


# -- places ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "with spaces.zarr",
        "größe-細胞.zarr",
        "a.zarr/",
        "./deep/er/a.zarr",
        "a#b?c%20.zarr",
    ],
)
def test_a_target_may_be_called_as_it_likes(tmp_path, source, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    dp.write_pyramid(source, name, **SMALL)
    dp.write_pyramid(source, name, mode="a", **SMALL)
    dp.write_pyramid(DATA + 1, name, mode="w", **SMALL)
    found = dp.open_pyramid(name).levels[0].compute()
    np.testing.assert_array_equal(found, DATA + 1)
    names = {path.name for path in (tmp_path / name).parent.iterdir()}
    assert names - {"in.tif"} == {Path(name).name}


def test_objects_that_are_lost_while_they_are_staged_are_not_taken_for_empty(
    begun, monkeypatch
):
    from dask_pyramid.store import writers

    receipts(begun)[0].unlink()
    real = writers._sum_of
    lost = []

    def lose(file):
        if not lost:
            lost.append(file)
            file.unlink()
        return real(file)

    monkeypatch.setattr(writers, "_sum_of", lose)
    with pytest.raises(OSError, match="of which somebody has removed"):
        dp.write_pyramid(begun.with_name("in.tif"), begun, mode="a", **SMALL)
    dp.write_pyramid(begun.with_name("in.tif"), begun, mode="a", **SMALL)
    assert is_whole(begun)
