"""README and pages: their code runs and prints what they say, their links lead on."""

from __future__ import annotations

import json
import os
import re
import tomllib

import numpy as np
import pytest
import tifffile
import yaml
import zarr

import dask_pyramid as dp
import formats
from drawn import stored_levels, values
from pages import PAGES, ROOT, Runner, blocks_of

pytestmark = pytest.mark.once

# Blocks that say that they are not run.
NOT_RUN = {"docs/clusters.md": 1, "docs/gpus.md": 1, "docs/viewers.md": 1}

# Fixtures that stand in for what a page needs beside files.
NEEDS = {
    "docs/gpus.md": ["like_cupy"],
    "docs/growing.md": ["stores"],
    "docs/inputs.md": ["files"],
    "docs/object-stores.md": ["s3"],
    "docs/viewers.md": ["stores"],
}


def _write_tiff(path, shape, dtype="uint16", **metadata):
    tifffile.imwrite(
        path, values(shape, dtype), ome=True, metadata={"axes": "ZYX"} | metadata
    )


@pytest.fixture
def stand_ins():
    """What is there in place of something that a page names."""
    return {"--units 3,17": "--units 0"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder but for the files that pages begin with."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    _write_tiff("big.tif", (16, 1100, 64))
    tifffile.imwrite("big_mask.tif", values((16, 1100, 64), "bool").astype("uint8"))
    _write_tiff("more.tif", (4, 1100, 64))
    size = {f"PhysicalSize{axis}": n for axis, n in zip("ZYX", (2, 1, 1), strict=True)}
    _write_tiff("a.tif", (12, 90, 80), **size)
    voxels = values((24, 300, 40), "uint16")
    for name in ("in.zarr", "big.zarr"):
        zarr.create_array(name, data=voxels, chunks=(24, 100, 40))
    return tmp_path


@pytest.fixture
def stores(folder):
    """Pyramids that pages begin with."""
    dp.write_pyramid("big.tif", "a.ome.zarr", chunks=16)
    dp.write_pyramid("a.tif", "big.ome.zarr")
    dp.write_pyramid("big.tif", "theirs.ome.zarr", scale_factors=[])


@pytest.fixture
def files(folder):
    """Files of other formats."""
    formats.hdf5(folder, name="volumes/raw").path.rename("cells.h5")
    formats.bigdataviewer(folder).path.rename("embryo.xml")
    formats.n5(folder, name="em.n5/em/s0")


@pytest.fixture
def s3(moto, monkeypatch, stand_ins):
    """A server in place of Amazon's and of one's own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    stand_ins["https://s3.my.org"] = moto.endpoint
    bucket = moto.bucket()
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everyone]})
    moto.client.put_bucket_policy(Bucket=bucket, Policy=policy)
    stand_ins["s3://bucket"] = f"s3://{bucket}"


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_and_prints_what_it_says(
    page, folder, stand_ins, monkeypatch, request
):
    blocks = list(blocks_of(page))
    for name in NEEDS.get(page, ()):
        request.getfixturevalue(name)
    runner = Runner(stand_ins, monkeypatch.setenv)
    for block in blocks:
        runner.run(block)


def test_blocks_that_do_not_run_say_why_and_are_few():
    idle = [b for page in PAGES for b in blocks_of(page) if b.reason]
    counts = dict.fromkeys(NOT_RUN, 0)
    for block in idle:
        counts[block.where.partition(":")[0]] += 1
    assert counts == NOT_RUN


@pytest.mark.parametrize("page", PAGES)
def test_code_of_a_page_stands_in_fences(page):
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", (ROOT / page).read_text())
    assert not re.search(r"(?m)^\n    \S", prose), "a test runs what is in a fence"


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_to_files_and_titles(page):
    for link in re.findall(r"\]\(((?!https?://)[^)]+)\)", (ROOT / page).read_text()):
        name, _, title = link.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), link
        titles = re.findall(r"(?m)^#+ (.*)$", path.read_text()) if title else []
        anchors = [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles]
        assert not title or title in anchors, link


def test_every_page_is_in_the_contents():
    contents = (ROOT / "docs" / "index.md").read_text()
    for page in PAGES:
        name = os.path.relpath(ROOT / page, ROOT / "docs").removesuffix(".md")
        assert page == "docs/index.md" or f"\n{name}\n" in contents, page


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs" / "reference.md").read_text()
    told = re.findall(r"(?m)^\.\. [\w:]+:: dask_pyramid\.(\w+)$", text)
    assert sorted(told) == sorted(name for name in dp.__all__ if name[0] != "_")


def test_every_extra_is_told_in_the_readme():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "README.md").read_text()
    for extra in set(project["optional-dependencies"]) - {"dev", "docs", "test"}:
        assert f"`{extra}`" in text


def test_the_conda_environment_asks_for_what_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["tiff"], *extras["plot"]]
    asked = {re.sub(r"\[.*\]", "", text) for text in asked}
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    packages = [text for text in conda if isinstance(text, str)]
    same = [re.sub("(-core|-base)? ", "", text, count=1) for text in packages]
    assert set(same) - {"python>=3.11,<3.15", "pip"} < asked


def test_the_readme_names_two_commands_that_set_everything_up():
    shell = [block.text for block in blocks_of("README.md") if block.kind == "sh"]
    lines = [line for code in shell for line in code.splitlines()]
    assert len([line for line in lines if "pip install" in line]) == 2


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds_no_placeholder(page):
    assert not re.search("FIGURES|TODO|TBD|<<<<|>>>>", (ROOT / page).read_text())


def test_the_pipeline_of_the_page_on_gpus_writes_a_pyramid(any_cupy, folder):
    array = zarr.open_array("in.zarr")[:]
    code = next(b.text for b in blocks_of("docs/gpus.md") if b.kind == "python")
    exec(compile(code, "gpus.md", "exec"), {})
    brighter = np.clip(2 * array.astype("float32") - 100, 0, 65535).astype("uint16")
    levels = stored_levels(folder / "out.ome.zarr", "0.5", 2)
    np.testing.assert_array_equal(levels[0], brighter)
    np.testing.assert_array_equal(levels[1], dp.downsample(brighter, 2, "gaussian"))
