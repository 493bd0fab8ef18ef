"""Make the tables and the picture of docs/choosing-a-method.md, from a seed.

python examples/make_comparison.py [docs/methods.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

from phantoms import filaments

import dask_pyramid as dp

ROOT = Path(__file__).parents[1]

METHODS = [
    "gaussian",
    "gaussian-stride",
    "mean",
    "nearest",
    "median",
    {"order": 1},
    {"order": 3},
]


def main(picture: Path) -> None:
    """Compare the methods on fibres with noise, at a step of 2 and of 9."""
    noisy, clean = filaments((3, 1026, 1026), seed=7)
    image = dp.open_image(noisy, name="fibres")
    for step in (2, 9):
        found = dp.compare_methods(
            image, {"y": step, "x": step}, METHODS, reference=clean, repeats=5
        )
        print(f"{found}\n")
        if step == 9:
            found.plot(width=10).savefig(picture, dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "methods.png")
