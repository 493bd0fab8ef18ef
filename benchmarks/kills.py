"""Kill clients, workers and schedulers at random, resume, and compare all bytes.

Every round ends with a run that nobody disturbs. Its store must have the bytes of an
undisturbed run and nothing else, and no more units may have been begun twice than were
in flight at the kills. Another process opens the pyramids all the while: it must never
open one that is not complete.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import killing
from suite.processes import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ = Path(__file__).with_name("polling.py")


def rounds(
    scene: killing.Scene, cluster: killing.Cluster, rng: random.Random
) -> Iterator[Callable[[], killing.Result]]:
    """Yield what is to be killed, for ever, each kind in its turn."""
    kinds = (
        lambda: killing.kill_client(scene, rng),
        lambda: killing.kill_itself(scene, rng),
        lambda: killing.kill_of_cluster(cluster, rng, "worker"),
        lambda: killing.kill_itself(scene, rng, "w"),
        lambda: killing.kill_share(scene, rng),
        lambda: killing.kill_client(scene, rng, cluster.address),
        lambda: killing.kill_client(scene, rng, how=signal.SIGTERM),
        lambda: killing.kill_client(scene, rng, "local"),
        lambda: killing.kill_of_cluster(cluster, rng, "scheduler"),
        lambda: killing.kill_client(scene, rng, how=signal.SIGINT),
    )
    yield from itertools.cycle(kinds)


def table(results: list[killing.Result]) -> str:
    """Return what came of the rounds, a line for each kind."""
    by_kind = defaultdict(list)
    for result in results:
        by_kind[result.kind].append(result)
    head = ("what was killed", "kills", "stores", "identical", "in flight", "redone")
    lines = ["| " + " | ".join((*head, "litter", "seconds")) + " |", "|---" * 8 + "|"]
    for kind, found in [*sorted(by_kind.items()), ("all", results)]:
        numbers = (
            sum(r.killed for r in found),
            len(found),
            sum(r.identical for r in found),
            sum(r.in_flight for r in found),
            sum(r.redone for r in found),
            sum(len(r.litter) for r in found),
            f"{sum(r.seconds for r in found):.0f}",
        )
        lines.append(f"| {kind} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


def main() -> None:
    """Kill from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--toy", action="store_true", help="one kill, small image")
    options = parser.parse_args()
    kills = 1 if options.toy else options.kills
    shape = killing.SMALL if options.toy else killing.SHAPE
    rng = random.Random(options.seed)
    scene = killing.Scene(options.folder / "kills", shape)
    shutil.rmtree(scene.folder, ignore_errors=True)
    results: list[killing.Result] = []
    scene.prepare()
    reader = subprocess.Popen(
        [sys.executable, READ, scene.folder], stdout=subprocess.PIPE, text=True
    )
    try:
        with killing.cluster(scene) as cluster:
            cluster.wait()
            for kill in rounds(scene, cluster, rng):
                results.append(kill())
                if not results[-1].good:
                    print(f"round {scene.number}: {results[-1]}", flush=True)
                if sum(result.killed for result in results) >= kills:
                    break
    finally:
        scene.close()
        (scene.folder / "end").touch()
        said, _ = reader.communicate(timeout=60)
    print(table(results))
    print(f"seed {options.seed}; opened all the while by another process: {said}")
    sys.exit(reader.returncode or not all(result.good for result in results))


if __name__ == "__main__":
    main()
