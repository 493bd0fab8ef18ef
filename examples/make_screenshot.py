"""Make the picture of a viewer for the README: nuclei and their labels in Neuroglancer.

python examples/make_screenshot.py [docs/neuroglancer.png]; needs the extra ``test`` and
Chromium.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image as Picture

import dask_pyramid as dp

ROOT = Path(__file__).parents[1]
DATA = ROOT / "examples" / "data"


def main(picture: Path) -> None:
    """Write nuclei with labels to a temporary folder, and look at them in a browser."""
    sys.path.insert(0, str(ROOT / "tests"))
    from browser import Browser

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        pyramid = dp.write_pyramid(
            DATA / "nuclei.tif",
            f"{folder}/nuclei.ome.zarr",
            labels={"label": DATA / "nuclei_label.tif"},
            scale=(0.29, 0.26, 0.26),
            unit="um",
        )
        with pyramid.view(browser=False) as view:
            page = Browser(Path(folder) / "chromium", size=(1000, 640))
            page.open(view.url)
            page.wait_for("window.viewer && viewer.isReady()")
            png, _ = page.screenshot()
            page.close()
    with Picture.open(io.BytesIO(png)) as found:
        # 256 colours are enough, and a quarter of the bytes.
        found.convert("RGB").quantize(256).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "neuroglancer.png")
