"""Other tools and this package on the same job, in one run; prints a Markdown table.

Time and memory: whole processes in turn, the memory that of the process and all its
children. Seams: voxels of levels 1 and 2 that are not those that the same tool makes of
the image in a single chunk. Position: of a ramp in world coordinates, how far its
values are from where the metadata say they are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr

sys.path.insert(1, str(Path(__file__).parents[1]))  # for `suite`

from jobs import BLOSC, PEERS, multiscales

from suite import images, processes, writes

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
OURS = {"dask-pyramid, gaussian": "gaussian", "dask-pyramid, mean": "mean"}
FLOOR = "copy, no reduction"
LEVELS = 4
# Of the small images: extent, chunk, levels that are looked at, border left out.
_SIDE, _CHUNK, _BORDER = 96, 32, 6


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was found of a tool."""

    tool: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    seams: float | None
    """Part of the voxels."""
    position: float | None
    """Voxels of level 0."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where things are."""

    interpreter: str
    folder: Path
    threads: int = 2

    def write(
        self, tool: str, image: Path, *, chunk: int, levels: int
    ) -> processes.Run:
        """Write a pyramid of a stored image by a tool."""
        target = self.target
        shutil.rmtree(target, ignore_errors=True)
        if tool == FLOOR:
            source = zarr.open_array(image / "0", mode="r")
            shapes = [[-(-n // 2**k) for n in source.shape] for k in range(levels + 1)]
            cubes = [
                {"shape": s, "chunks": [chunk] * 3, "shards": None} for s in shapes
            ]
            layout = {"levels": cubes, "order": [0, 1, 2], "format": 3}
            return processes.python(
                writes.FLOOR, image / "0", target, writes.READY, json.dumps(layout)
            )
        if tool in OURS:
            given = {
                "image": str(image),
                "target": str(target),
                "method": OURS[tool],
                "scale_factors": [2**k for k in range(1, levels + 1)],
                "chunks": chunk,
                "shards": False,
                "workers": self.threads,
                "memory_limit": "1GiB",
                "progress": False,
            }
            code = "import json, sys, dask_pyramid as dp; "
            code += "dp.write_pyramid(**json.loads(sys.argv[1]))"
            return processes.python("-c", code, json.dumps(given))
        job = {
            "image": str(image),
            "target": str(target),
            "levels": levels,
            "chunk": chunk,
            "threads": self.threads,
        }
        return processes.python(
            HERE / "jobs.py", tool, json.dumps(job), interpreter=self.interpreter
        )

    @property
    def target(self) -> Path:
        """Where pyramids go."""
        return self.folder / "out.ome.zarr"

    def levels(self) -> list[tuple[np.ndarray, list[float], list[float]]]:
        """Return the voxels of what was written, with scale and translation."""
        group = zarr.open_group(self.target, mode="r")
        found = []
        for dataset in group.attrs["ome"]["multiscales"][0]["datasets"]:
            steps = dataset["coordinateTransformations"]
            by_type = {step["type"]: step[step["type"]] for step in steps}
            offset = by_type.get("translation", [0.0] * 3)
            found.append((group[dataset["path"]][...], by_type["scale"], offset))
        return found

    def seams(self, tool: str) -> float:
        """Return which part of levels 1 and 2 depends on how the image is cut."""
        values = np.random.default_rng(0).integers(0, 4000, (_SIDE,) * 3, "uint16")
        made = []
        for chunk in (_CHUNK, _SIDE):
            image = stored(self.folder / "small.zarr", values, chunk)
            self.write(tool, image, chunk=chunk, levels=2)
            made.append([level[0] for level in self.levels()[1:]])
        wrong = sum(int((a != b).sum()) for a, b in zip(*made, strict=True))
        return wrong / sum(level.size for level in made[0])

    def position(self, tool: str) -> float:
        """Return how far a ramp is from where it says it is, in voxels of level 0."""
        ramp = sum(np.ogrid[:_SIDE, :_SIDE, :_SIDE]).astype("float32")
        image = stored(self.folder / "small.zarr", ramp, _CHUNK)
        self.write(tool, image, chunk=_CHUNK, levels=2)
        worst = 0.0
        inside = (slice(_BORDER, -_BORDER),) * 3
        for values, scale, offset in self.levels():
            grid = np.ogrid[tuple(slice(n) for n in values.shape)]
            places = sum(
                s * axis + o for s, axis, o in zip(scale, grid, offset, strict=True)
            )
            worst = max(worst, float(np.abs(values - places)[inside].max()) / 3)
        return worst


def stored(path: Path, values: np.ndarray, chunk: int) -> Path:
    """Store an image of one level."""
    shutil.rmtree(path, ignore_errors=True)
    group = zarr.create_group(path)
    array = group.create_array(
        "0",
        shape=values.shape,
        chunks=(chunk,) * 3,
        dtype=values.dtype,
        compressors=BLOSC,
    )
    array[...] = values
    group.attrs["ome"] = multiscales([(1.0, 0.0)])
    return path


def volume(folder: Path, shape: Sequence[int], chunk: int) -> Path:
    """Return the large image as an OME-Zarr image of one level, made if missing."""
    case = images.Case(axes="zyx", shape=tuple(shape), chunks=(chunk,) * 3)
    array = images.made(case, folder)
    group = folder / f"{array.stem}.ome.zarr"
    if not group.exists():
        made = zarr.create_group(group)
        shutil.copytree(array, group / "0", copy_function=os.link)
        made.attrs["ome"] = multiscales([(1.0, 0.0)])
    return group


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown; times over the fastest of ours too."""
    ours = {row.tool: row.seconds for row in rows if row.tool in OURS}
    gauss, mean = (ours.get(name, float("nan")) for name in OURS)
    lines = [
        "| | time | of our `gaussian` | of our `mean` | cores' time | peak | seams "
        "| position |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row.seconds):
        seams = "" if row.seams is None else f"{row.seams:.2%}"
        position = "" if row.position is None else f"{row.position:.2f}"
        lines.append(
            f"| {row.tool} | {row.seconds:.1f} s | {row.seconds / gauss:.2f} | "
            f"{row.seconds / mean:.2f} | {row.cpu_seconds:.1f} s | "
            f"{row.peak_mib:.0f} MiB | {seams} | {position} |"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="", help="that has the peers; else ours")
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 1024, 1024])
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--tools", nargs="+", default=[], help="parts of their names")
    parser.add_argument("--folder", type=Path, default=processes.FOLDER)
    parser.add_argument("--json", type=Path, help="save the rows")
    parser.add_argument(
        "--no-quality", action="store_true", help="only time and memory"
    )
    parser.add_argument("--from", type=Path, help="only print the table of saved rows")
    return parser.parse_args()


def measured(options: argparse.Namespace) -> list[Row]:
    """Run the tools in turn, and look at what they make."""
    os.environ.setdefault("TMPDIR", str(options.folder))
    bench = Bench(interpreter=options.python, folder=options.folder)
    tools = [FLOOR, *OURS, *(PEERS if options.python else ())]
    tools = [
        t for t in tools if not options.tools or any(o in t for o in options.tools)
    ]
    image = volume(options.folder, options.shape, options.chunk)
    write = partial(bench.write, image=image, chunk=options.chunk, levels=LEVELS)
    write("dask-pyramid, mean")
    writes.ready_made(bench.target)
    runs = processes.in_turn({tool: partial(write, tool) for tool in tools})
    rows = []
    for tool in tools:
        looked = tool != FLOOR and not options.no_quality
        rows.append(
            Row(
                tool=tool,
                seconds=processes.median(runs[tool]),
                cpu_seconds=processes.median(runs[tool], "cpu_seconds"),
                peak_mib=processes.median(runs[tool], "tree_mib"),
                seams=bench.seams(tool) if looked else None,
                position=bench.position(tool) if looked else None,
            )
        )
    for folder in (bench.target, writes.READY):
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def main() -> None:
    """Measure from the command line."""
    options = parse()
    saved = getattr(options, "from")
    if saved:
        rows = [Row(**row) for row in json.loads(saved.read_text())["rows"]]
        print(table(rows))
        return
    rows = measured(options)
    size = "x".join(map(str, options.shape))
    print(f"{size} uint16, chunks of {options.chunk}, levels 2 to {2**LEVELS}\n")
    print(table(rows))
    if options.json:
        found = {"shape": options.shape, "chunk": options.chunk}
        found["rows"] = [asdict(row) for row in rows]
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
