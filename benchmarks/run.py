"""Run benchmarks, print a table for each, and save figures and a picture of them.

The classes are those of `suite`, which asv runs, too. Names choose some of them: parts
of ``module.Class.method``, such as ``kernels`` or ``Writes.track_over_floor``.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import itertools
import json
import os
import pkgutil
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
KINDS = ("time_", "track_", "peakmem_")

Row = dict[str, Any]


def classes(wanted: Sequence[str]) -> Iterator[tuple[str, type]]:
    """Yield the classes of the suite that measure something, with their names.

    Where all that is wanted begins with names of modules, no others are imported.
    """
    import suite

    names = [module.name for module in pkgutil.iter_modules(suite.__path__)]
    heads = {part.partition(".")[0] for part in wanted}
    for module in names if not heads <= set(names) else heads or names:
        loaded = importlib.import_module(f"suite.{module}")
        for name, kind in inspect.getmembers(loaded, inspect.isclass):
            if kind.__module__ == loaded.__name__ and methods(kind):
                yield f"{module}.{name}", kind


def methods(kind: type) -> list[str]:
    """Return the methods of a class that measure, as they stand in it."""
    return [name for name in vars(kind) if name.startswith(KINDS)]


def combinations(kind: Any) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a class, by name."""
    params = getattr(kind, "params", ())
    names = getattr(kind, "param_names", ())
    for values in itertools.product(*params):
        yield dict(zip(names, values, strict=True))


def measured(kind: Any, name: str, given: Sequence[Any]) -> tuple[float, str]:
    """Run one method on an instance that is set up; return its value and unit."""
    method = getattr(kind, name)
    if not name.startswith("time_"):
        value = method(*given)
        return value, getattr(method, "unit", "unit")
    toy = os.environ.get("DASK_PYRAMID_BENCHMARK_SIZE") == "toy"
    times = []
    for _ in range(1 if toy else 4):
        started = time.perf_counter()
        method(*given)
        times.append(time.perf_counter() - started)
        if sum(times) > 20:
            break
    return min(times), "s"


def rows_of(
    name: str, kind: Any, wanted: Sequence[str], *, first: bool
) -> Iterator[Row]:
    """Run what is wanted of a class; with `first` on one set of parameters alone."""
    chosen = [
        method
        for method in methods(kind)
        if not wanted or any(part in f"{name}.{method}" for part in wanted)
    ]
    for given in combinations(kind) if chosen else ():
        made = kind()
        values = list(given.values())
        try:
            if hasattr(made, "setup"):
                made.setup(*values)
        except NotImplementedError:  # as asv has it: this combination is left out
            continue
        for method in chosen:
            value, unit = measured(made, method, values)
            yield {
                "benchmark": f"{name}.{method}",
                "given": given,
                "value": value,
                "unit": unit,
            }
        if hasattr(made, "teardown"):
            made.teardown(*values)
        if first:
            return


def table(rows: Sequence[Row], before: Sequence[Row] = ()) -> str:
    """Return the rows of a class as text: a line for each set of parameters."""
    columns = list(dict.fromkeys(row["benchmark"].split(".")[-1] for row in rows))
    units = {row["benchmark"].split(".")[-1]: row["unit"] for row in rows}
    old = {(row["benchmark"], tuple(row["given"].values())): row for row in before}
    lines: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in rows:
        key = tuple(row["given"].values())
        text = shown(row["value"])
        if (row["benchmark"], key) in old:
            past = old[row["benchmark"], key]["value"]
            text += f" ({row['value'] / past:.2f})" if past else ""
        lines.setdefault(key, {})[row["benchmark"].split(".")[-1]] = text
    head = ["", *(f"{c.partition('_')[2]} [{units[c]}]" for c in columns)]
    body = [
        [", ".join(map(str, key)), *(cells.get(c, "") for c in columns)]
        for key, cells in lines.items()
    ]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(
            f"  {cell:>{w}}" for cell, w in zip(line[1:], widths[1:], strict=True)
        )
        for line in [head, *body]
    )


def exactly(rows: Sequence[Row]) -> dict[str, float]:
    """Return figures by benchmark and parameters."""
    return {
        f"{row['benchmark']}({', '.join(map(str, row['given'].values()))})": row[
            "value"
        ]
        for row in rows
    }


def shown(value: float) -> str:
    """Return a number with three figures, a count with all."""
    return f"{value}" if isinstance(value, int) else f"{value:.4g}"


def machine() -> dict[str, Any]:
    """Return what figures depend on."""
    from importlib.metadata import version

    import psutil

    from dask_pyramid import __version__

    packages = ("numpy", "numba", "zarr", "zarrs", "dask")
    return {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "GiB": round(psutil.virtual_memory().total / 2**30),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {"dask-pyramid": __version__}
        | {name: version(name) for name in packages},
        "date": time.strftime("%Y-%m-%d"),
        "size": os.environ.get("DASK_PYRAMID_BENCHMARK_SIZE", "full"),
    }


def draw(rows: Sequence[Row], path: Path) -> None:
    """Save a picture: a panel of bars for each benchmark."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["benchmark"] for row in rows))
    panels = {name: [r for r in rows if r["benchmark"] == name] for name in names}
    heights = [0.6 + 0.2 * len(panel) for panel in panels.values()]
    figure = Figure(figsize=(8, sum(heights) + 0.3), layout="constrained")
    axes = figure.subplots(len(names), 1, height_ratios=heights, squeeze=False)[:, 0]
    for (name, panel), place in zip(panels.items(), axes, strict=True):
        labels = [", ".join(map(str, row["given"].values())) or " " for row in panel]
        bars = place.barh(range(len(panel)), [row["value"] for row in panel])
        place.bar_label(bars, [shown(row["value"]) for row in panel], fontsize=6)
        place.set_yticks(range(len(panel)), labels, fontsize=6)
        place.invert_yaxis()
        place.set_title(f"{name} [{panel[0]['unit']}]", fontsize=7, loc="left")
        place.tick_params(axis="x", labelsize=6)
    figure.savefig(path, dpi=120)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names; all without any")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument(
        "--first", action="store_true", help="one set of parameters of each class"
    )
    parser.add_argument("--size", choices=["full", "small", "toy"])
    parser.add_argument("--folder", type=Path, help="where images are made and kept")
    parser.add_argument("--json", type=Path, help="save all figures")
    parser.add_argument("--exact", type=Path, help="save what is counted, one a line")
    parser.add_argument("--plot", type=Path, help="save a picture of them")
    parser.add_argument("--against", type=Path, help="figures saved before: new / old")
    options = parser.parse_args()
    for name, value in (("SIZE", options.size), ("FOLDER", options.folder)):
        if value is not None:
            os.environ[f"DASK_PYRAMID_BENCHMARK_{name}"] = str(value)
    return options


def main() -> None:
    """Measure from the command line."""
    options = parse()
    sys.path.insert(0, str(HERE))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(HERE), os.environ.get("PYTHONPATH")])
    )
    before = json.loads(options.against.read_text())["rows"] if options.against else ()
    everything: list[Row] = []
    result = {"machine": machine(), "rows": everything}
    for name, kind in classes(options.names):
        if options.list:
            for method in methods(kind):
                print(f"{name}.{method}: {inspect.getdoc(getattr(kind, method))}")
            continue
        rows = []
        for row in rows_of(name, kind, options.names, first=options.first):
            rows.append(row)
            everything.append(row)
            if options.json:
                options.json.write_text(json.dumps(result, indent=1) + "\n")
        if rows:
            print(
                f"{name}: {inspect.getdoc(kind)}\n{table(rows, before)}\n", flush=True
            )
    if options.exact:
        options.exact.write_text(json.dumps(exactly(everything), indent=0) + "\n")
    if options.plot:
        draw(everything, options.plot)


if __name__ == "__main__":
    main()
