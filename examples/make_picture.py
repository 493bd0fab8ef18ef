"""Make the picture of the README: a pyramid of real nuclei, with its scale bar.

python examples/make_picture.py [docs/pyramid.png]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import dask_pyramid as dp

ROOT = Path(__file__).parents[1]


def main(picture: Path) -> None:
    """Write a pyramid of the nuclei to a temporary folder and draw its levels."""
    with tempfile.TemporaryDirectory() as folder:
        pyramid = dp.write_pyramid(
            ROOT / "examples" / "data" / "nuclei.tif",
            f"{folder}/nuclei.ome.zarr",
            scale=(0.29, 0.26, 0.26),
            unit="um",
            scale_factors=[2, 4, 8],
        )
        figure = pyramid.plot(view="max", width=12)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pyramid.png")
