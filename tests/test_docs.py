"""The Python of the pages runs."""

import re
from pathlib import Path

import dask.array as da
import numpy as np

import dask_pyramid as dp
from drawn import stored_levels, values

DOCS = Path(__file__).parents[1] / "docs"


def test_the_pipeline_of_the_page_on_gpus_writes_a_pyramid(
    any_cupy, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    array = values((24, 300, 40), "uint16")
    da.from_array(array, chunks=100).to_zarr("in.zarr")
    code = re.findall(r"```python\n(.*?)```", (DOCS / "gpus.md").read_text(), re.DOTALL)
    exec(compile(code[0], "gpus.md", "exec"), {})
    brighter = np.clip(2 * array.astype("float32") - 100, 0, 65535).astype("uint16")
    levels = stored_levels(tmp_path / "out.ome.zarr", "0.5", 2)
    np.testing.assert_array_equal(levels[0], brighter)
    np.testing.assert_array_equal(levels[1], dp.downsample(brighter, 2, "gaussian"))


def test_links_of_the_pages_lead_to_files():
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(((?!https?://)[^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
