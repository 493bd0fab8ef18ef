"""Faults of disks and files: a clear message, nothing published, and it resumes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner

import dask_pyramid as dp
from dask_pyramid.cli import main

DATA = np.random.default_rng(11).integers(1, 60_000, (64, 96, 96)).astype("uint16")
SMALL = {"scale_factors": [2, 4], "chunks": 16, "shards": False, "workers": 1}
COMMAND = ["--factors", "2,4", "--chunks", "16", "--shards", "none", "--workers", "1"]


@pytest.fixture(autouse=True)
def small_units(monkeypatch):
    """Make units small, so that a small image has many, and do not wait long."""
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**15)
    monkeypatch.setattr("dask_pyramid.runner.transient._FIRST_DELAY", 0.01)


@pytest.fixture
def source(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", DATA)
    return tmp_path / "in.tif"


def digest(path):
    """Return a digest of a file, or of all files below a folder."""
    found = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()


def fails(source, target, *, says, mode="w-"):
    """Run the command: it must fail with one line that matches, and publish nothing."""
    done = CliRunner().invoke(
        main, ["write", str(source), str(target), "--mode", mode, "--quiet", *COMMAND]
    )
    assert done.exit_code == 1, done.output
    assert not done.stdout
    told = done.stderr.splitlines()
    assert len(told) == 1, done.stderr
    assert re.search(says, told[0]), done.stderr
    with pytest.raises((ValueError, FileNotFoundError)):
        dp.open_pyramid(target)
    return told[0]


def goes_on(source, target):
    """Resume; the pyramid must be that of an undisturbed run."""
    dp.write_pyramid(source, target, mode="a", **SMALL)
    whole = Path(target).parent / "whole.zarr"
    dp.write_pyramid(source, whole, **SMALL)
    assert digest(Path(target)) == digest(whole)
    assert not (Path(target) / ".dask-pyramid").exists()


def mount(*arguments):
    return subprocess.run(["mount", *arguments], capture_output=True, check=False)


@pytest.fixture
def disk(tmp_path):
    """Give a file system of 1 MB that can be made larger and read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("mount"):
        pytest.skip("NOT TESTED: a small file system needs root and mount")
    done = mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
    if done.returncode:
        pytest.skip(f"NOT TESTED: no small file system here: {done.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


# -- where it is written --------------------------------------------------------------


def test_a_full_disk_is_told_and_made_up_for(source, disk):
    before = digest(source)
    said = fails(source, disk / "a.zarr", says="No space left")
    assert str(disk) in said
    assert re.search(r"in unit 0-[\d.]+, level 0, z \d+:\d+, y \d+:\d+", said)
    assert digest(source) == before
    mount("-o", "remount,size=16m", str(disk))
    goes_on(source, disk / "a.zarr")


def test_a_read_only_disk_is_told(source, disk):
    mount("-o", "remount,ro", str(disk))
    said = fails(source, disk / "a.zarr", says="Read-only file system")
    assert str(disk) in said
    mount("-o", "remount,rw,size=16m", str(disk))
    goes_on(source, disk / "a.zarr")


def test_a_disk_that_becomes_read_only_is_told_and_made_up_for(source, disk):
    mount("-o", "remount,size=16m", str(disk))

    def protect(progress):
        if progress.done == 1:
            mount("-o", "remount,ro", str(disk))

    with pytest.raises(OSError, match=r"Read-only file system|os error 30") as error:
        dp.write_pyramid(source, disk / "a.zarr", progress=protect, **SMALL)
    assert any("in unit" in note for note in error.value.__notes__)
    mount("-o", "remount,rw", str(disk))
    goes_on(source, disk / "a.zarr")


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))
from dask_pyramid import cost
from dask_pyramid.cli import main
cost._UNIT_VOXELS = 2**15
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files")
def test_a_limit_of_the_size_of_files_is_told_and_made_up_for(source, tmp_path):
    command = ["write", source, tmp_path / "a.zarr", *COMMAND]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert re.search(r"File too large.*in unit 0-", done.stderr)
    assert str(tmp_path / "a.zarr") in done.stderr
    with pytest.raises(ValueError, match="must be complete"):
        dp.open_pyramid(tmp_path / "a.zarr")
    goes_on(source, tmp_path / "a.zarr")


@pytest.mark.parametrize("what", ["all", "a level", "the group"])
def test_a_target_that_is_removed_half_way_is_told(source, tmp_path, what):
    target = tmp_path / "a.zarr"

    def remove(progress):
        if progress.done == 2 and what == "all":
            target.rename(tmp_path / "gone")
        elif progress.done == 2 and what == "a level":
            (target / "0").rename(tmp_path / "gone")
        elif progress.done == 2:
            (target / "zarr.json").unlink()

    before = digest(source)
    with pytest.raises(OSError, match=r"a\.zarr"):
        dp.write_pyramid(source, target, progress=remove, **SMALL)
    with pytest.raises((FileNotFoundError, ValueError)):
        dp.open_pyramid(target)
    assert digest(source) == before
    goes_on(source, target)


# -- what is read ---------------------------------------------------------------------


def zarr_source(path, kind):
    layouts = {
        "v2": {"zarr_format": 2, "chunks": (32, 32, 32)},
        "v3": {"zarr_format": 3, "chunks": (32, 32, 32)},
        "sharded": {"zarr_format": 3, "chunks": (16, 16, 16), "shards": (32, 32, 32)},
    }
    array = zarr.create_array(path, shape=DATA.shape, dtype=DATA.dtype, **layouts[kind])
    array[...] = DATA
    return path


def chunk_files(path):
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and file.name not in (".zarray", ".zattrs", "zarr.json")
    )


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def overwrite(file):
    content = bytearray(file.read_bytes())
    content[:200] = bytes(200)
    content[-200:] = bytes(200)
    file.write_bytes(content)


@pytest.mark.parametrize("fault", [cut, overwrite])
@pytest.mark.parametrize("kind", ["v2", "v3", "sharded"])
def test_a_damaged_chunk_is_named(tmp_path, kind, fault):
    source = zarr_source(tmp_path / "in.zarr", kind)
    damaged = chunk_files(source)[-1]
    whole = damaged.read_bytes()
    fault(damaged)
    before = digest(source)
    said = fails(source, tmp_path / "a.zarr", says="cannot read")
    assert str(source) in said
    assert re.search(r"cannot read \[\d+:\d+, \d+:\d+, \d+:\d+\] of", said)
    assert digest(source) == before
    damaged.write_bytes(whole)
    goes_on(source, tmp_path / "a.zarr")


def test_a_tiff_that_is_cut_off_is_named(tmp_path):
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, DATA, compression="zlib", rowsperstrip=96)
    whole = source.read_bytes()
    with tifffile.TiffFile(source) as tiff:
        page = tiff.pages[40]
        offset, size = page.dataoffsets[0], page.databytecounts[0]
    stamp = source.stat()
    half = offset + size // 2
    source.write_bytes(whole[:half] + bytes(size - size // 2) + whole[offset + size :])
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    fails(source, tmp_path / "a.zarr", says=r"cannot read \[.*in\.tif.* in unit 0-")
    source.write_bytes(whole)
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    goes_on(source, tmp_path / "a.zarr")


def test_a_tiff_whose_end_is_missing_is_named(tmp_path):
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, DATA)
    with source.open("r+b") as file:
        file.truncate(DATA.nbytes // 2)
    before = digest(source)
    fails(source, tmp_path / "a.zarr", says=r"in\.tif")
    assert digest(source) == before


@pytest.mark.parametrize("kind", ["v3", "sharded"])
def test_a_source_that_is_removed_while_it_is_read_is_noticed(tmp_path, kind):
    source = zarr_source(tmp_path / "in.zarr", kind)

    def remove(progress):
        if progress.done == 2:
            source.rename(tmp_path / "away.zarr")

    with pytest.raises(OSError, match=r"in\.zarr"):
        dp.write_pyramid(source, tmp_path / "a.zarr", progress=remove, **SMALL)
    with pytest.raises(ValueError, match="must be complete"):
        dp.open_pyramid(tmp_path / "a.zarr")
