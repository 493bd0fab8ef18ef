"""Real processes that write a pyramid, and what kills them; for `kills.py` and tests.

Started as a command it carries out one verb of `dask_pyramid` with small units, says
"go" when it begins, and notes each unit that begins. It kills itself before the N-th
change of a file if it is told to. Loaded by the workers of a cluster (as a preload of
`distributed`) it notes their units, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

LOG, AT, INSIDE = "KILLS_LOG", "KILLS_AT", "KILLS_INSIDE"
OPTIONS = {"scale_factors": [2, 4], "chunks": 8, "shards": False}
SHAPE = (96, 128, 128)
SMALL = (64, 96, 96)
_WAIT = 120

# What a unit takes longer, so that kills meet units and not what is between them.
_SLOWLY = 0.03

_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link")


# -- what the processes do ----------------------------------------------------------


def _note_units(log: str) -> None:
    """Write the name of each unit that begins in this process into a file."""
    from dask_pyramid import units

    real = units._Run.run
    if real.__module__ != units.__name__:
        return  # a process of a LocalCluster loads this twice

    def run(self: Any) -> Any:
        with Path(log).open("a") as file:
            file.write(f"{self.unit.name}\n")
        time.sleep(_SLOWLY)
        return real(self)

    units._Run.run = run


def _count_changes(inside: str, at: int) -> Callable[[], int]:
    """Count what Python changes in a folder; end the process before change `at`."""
    seen = 0

    def look(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            flags = args[2] if isinstance(args[2], int) else 0
            changes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            changes = event in _CHANGES
        if changes and (inside in str(args[0]) or args[-1] not in (-1, None, 0)):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    return lambda: seen


def _carry_out(verb: str, source: str, target: str, rest: list[str]) -> None:
    import dask_pyramid as dp

    if verb == "write":
        mode, client = rest
        given = {} if client == "threads" else {"client": client}
        if client == "threads":
            given = {"workers": 2}
        dp.write_pyramid(source, target, mode=mode, **OPTIONS, **given)
    elif verb == "prepare":
        dp.prepare_pyramid(source, target, **OPTIONS)
    elif verb == "units":
        dp.run_units(target, shard=(int(rest[0]), int(rest[1])), workers=1)
    else:
        dp.finish_pyramid(target, workers=2)


def _command(verb: str, source: str, target: str, *rest: str) -> None:
    from dask_pyramid import cost

    cost._UNIT_VOXELS = 2**15  # so that a small image has many units
    counted = _count_changes(os.environ[INSIDE], int(os.environ.get(AT, "0")))
    cluster: Any = contextlib.nullcontext()
    if rest[-1:] == ("local",):
        from distributed import LocalCluster

        cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        )
        rest = (*rest[:-1], cluster.scheduler_address)
    with cluster:
        print("go", flush=True)
        _carry_out(verb, source, target, list(rest))
    print(counted(), flush=True)


# -- what is done to them -----------------------------------------------------------


@dataclass
class Scene:
    """A folder with a source, an undisturbed pyramid of it, and one for each round."""

    folder: Path
    """Everything is below it."""
    shape: tuple[int, int, int] = SHAPE
    """Of the image."""
    number: int = 0
    """Of the round."""
    changes: int = 0
    """Of files, while the undisturbed pyramid was written."""
    n_units: int = 0
    """Of that pyramid."""
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    """All that was started."""

    @property
    def source(self) -> Path:
        """The image."""
        return self.folder / "in.tif"

    @property
    def whole(self) -> Path:
        """The undisturbed pyramid."""
        return self.folder / "whole.zarr"

    @property
    def place(self) -> Path:
        """The folder of this round."""
        return self.folder / f"round-{self.number}"

    @property
    def target(self) -> Path:
        """The pyramid of this round."""
        return self.place / "a.zarr"

    @property
    def log(self) -> Path:
        """Names of the units that have begun in this round."""
        return self.folder / "begun.txt"

    def prepare(self) -> None:
        """Make the source, and the pyramid that nobody disturbs."""
        import tifffile

        rng = np.random.default_rng(7)
        self.folder.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(self.source, rng.integers(0, 999, self.shape).astype("uint16"))
        self.next()
        self.changes = int(finish(self.start("write", "w-", "threads")))
        self.n_units = len(self.begun())
        self.target.rename(self.whole)

    def next(self) -> None:
        """Begin another round."""
        self.number += 1
        self.place.mkdir()
        self.log.write_text("")

    def environment(self, at: int = 0) -> dict[str, str]:
        """Return the environment of processes whose units are noted."""
        return {
            **os.environ,
            LOG: str(self.log),
            INSIDE: str(self.place),
            AT: str(at),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": __file__,
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
        }

    def start(self, verb: str, *rest: str, at: int = 0) -> subprocess.Popen[str]:
        """Start a verb in a process; return when it says that it begins."""
        command = [sys.executable, __file__, verb, self.source, self.target, *rest]
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(at),
        )
        self.processes.append(process)
        assert process.stdout is not None
        if process.stdout.readline() != "go\n":
            raise RuntimeError(f"{verb}: {process.communicate()[1]}")
        return process

    def begun(self) -> Counter[str]:
        """Return how often each unit was begun in this round."""
        return Counter(self.log.read_text().split())

    def receipts(self) -> set[str]:
        """Return the names of the units that are done."""
        found = self.place.glob("*.zarr*/.dask-pyramid/receipts/*.json")
        hidden = self.place.glob(".a.zarr*/.dask-pyramid/receipts/*.json")
        return {path.stem for path in (*found, *hidden)}

    def litter(self) -> list[str]:
        """Return what should not be there."""
        names = [path.relative_to(self.place) for path in self.place.rglob("*")]
        return [
            name.as_posix()
            for name in names
            if ".dask-pyramid" in name.parts
            or name.suffix == ".partial"
            or name.parts[0] != "a.zarr"
        ]

    def is_published(self) -> bool:
        """Return whether the new pyramid is complete, wherever it is."""
        for name in ("a.zarr", ".a.zarr.replacement"):
            folder = self.place / name
            with contextlib.suppress(FileNotFoundError):
                is_new = "uint16" in (folder / "0" / "zarr.json").read_text()
                if is_new and "multiscales" in (folder / "zarr.json").read_text():
                    return True
        return False

    def identical(self) -> bool:
        """Return whether the pyramid has the bytes of the undisturbed one."""
        return content(self.target) == content(self.whole)

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a pyramid."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a process that must succeed; return what it prints."""
    out, err = process.communicate(timeout=_WAIT)
    if process.returncode:
        raise RuntimeError(f"{process.args!r:.300} ended {process.returncode}: {err}")
    return out


def kill(process: subprocess.Popen[str], how: int = signal.SIGKILL) -> bool:
    """End a process, and tell whether it was still at work."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
    process.wait(_WAIT)
    return process.returncode != 0


@contextlib.contextmanager
def cluster(scene: Scene) -> Iterator[Cluster]:
    """Give a scheduler and two workers, each a process of its own."""
    made = Cluster(scene)
    try:
        made.start_scheduler()
        for number in range(2):
            made.start_worker(number)
        yield made
    finally:
        for process in (made.scheduler, *made.workers):
            if process is not None:
                kill(process)


class Cluster:
    """A scheduler and its workers.

    Parameters
    ----------
    scene : Scene
        Where units are noted.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.scheduler: subprocess.Popen[str] | None = None
        self.workers: list[subprocess.Popen[str] | None] = [None, None]
        self._file = scene.folder / "scheduler.json"

    @property
    def address(self) -> str:
        """Where clients find the scheduler."""
        return str(json.loads(self._file.read_text())["address"])

    def start_scheduler(self) -> None:
        """Start the scheduler on a port that is free."""
        self._file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )
        _until(self._file.exists)

    def start_worker(self, number: int) -> None:
        """Start a worker with one thread."""
        scratch = self.scene.folder / f"scratch-{number}"
        self.workers[number] = self._start(
            *("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard"),
            *("--local-directory", str(scratch), "--memory-limit", "1GiB"),
        )

    def _start(self, kind: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
        command += ["--scheduler-file", str(self._file)]
        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.scene.environment(),
        )

    def wait(self) -> None:
        """Wait for both workers."""
        from distributed import Client

        with Client(self.address, timeout=30) as client:
            client.wait_for_workers(2, timeout=60)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("a process has not begun")
        time.sleep(0.02)


# -- rounds: each ends with a pyramid -------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a round."""

    kind: str
    """What was killed."""
    killed: int
    """Processes that were at work when they were killed."""
    identical: bool
    """Whether the store has the bytes of an undisturbed run."""
    litter: tuple[str, ...]
    """What was left."""
    in_flight: int
    """Units begun and not done at the kills, added up."""
    redone: int
    """Units that were begun again."""
    again: int
    """Units that were begun again though they were done."""
    seconds: float
    """How long the round took."""

    @property
    def good(self) -> bool:
        """Whether all promises were kept."""
        fine = self.identical and not self.litter and not self.again
        return fine and self.redone <= self.in_flight


class Round:
    """One round: kills of any number of processes, then a run that nobody disturbs.

    Parameters
    ----------
    scene : Scene
        Where.
    kind : str
        What is killed.
    """

    def __init__(self, scene: Scene, kind: str) -> None:
        scene.next()
        self.scene, self.kind = scene, kind
        self.killed = self.in_flight = 0
        self._done_before: set[str] = set()
        self._begun_before: Counter[str] = Counter()
        self.again = 0
        # Units that were done and of which nobody may have heard: they are in flight.
        self.unheard = 0
        self.started = time.perf_counter()

    def struck(self, was_at_work: bool) -> None:
        """Take notice of a kill that has just been done."""
        if not was_at_work:
            return
        self.killed += 1
        done, begun = self.scene.receipts(), self.scene.begun()
        if self.scene.is_published():  # receipts are removed then
            done = set(begun)
        self._count_again(begun)
        self.in_flight += len(set(begun - self._begun_before) - done)
        self._done_before, self._begun_before = done, begun

    def _count_again(self, begun: Counter[str]) -> None:
        self.again += len(self._done_before & set(begun - self._begun_before))

    def end(self) -> Result:
        """Look at what is there in the end."""
        begun = self.scene.begun()
        self._count_again(begun)
        unheard = min(self.unheard, self.again)
        return Result(
            kind=self.kind,
            killed=self.killed,
            identical=self.scene.identical(),
            litter=tuple(self.scene.litter()),
            in_flight=self.in_flight + unheard,
            redone=sum(begun.values()) - len(begun),
            again=self.again - unheard,
            seconds=time.perf_counter() - self.started,
        )


def at_work(scene: Scene, rng: random.Random, process: subprocess.Popen[str]) -> None:
    """Wait until a random number of units is done, and a random moment longer."""
    wanted = rng.randrange(0, scene.n_units)
    deadline = time.monotonic() + _WAIT
    while process.poll() is None and time.monotonic() < deadline:
        if len(scene.receipts()) >= wanted:
            break
        time.sleep(0.01)
    time.sleep(rng.random() * 0.05)


def kill_client(
    scene: Scene, rng: random.Random, client: str = "threads", how: int = signal.SIGKILL
) -> Result:
    """Kill the process that writes, up to three times, and go on."""
    name = client if client in ("threads", "local") else "cluster"
    this = Round(scene, f"client, {name}, {signal.Signals(how).name}")
    for _ in range(rng.randrange(1, 4) if name == "threads" else 1):
        process = scene.start("write", "a", client)
        at_work(scene, rng, process)
        was = kill(process, how)
        if name != "threads":
            time.sleep(1)  # its workers end the units they are at
        this.struck(was)
    finish(scene.start("write", "a", client if name == "cluster" else "threads"))
    return this.end()


def kill_itself(
    scene: Scene, rng: random.Random, mode: str = "a", *, at: int | None = None
) -> Result:
    """Kill the process before some change of a file: while it creates or publishes.

    Changes are counted from the first on; a number below zero counts from the last one
    of an undisturbed run on.
    """
    this = Round(scene, f"client, at a change of a file, mode {mode}")
    if mode == "w":
        old_pyramid(scene, scene.target)
    # While it creates, while it runs units, and while it publishes and clears away.
    if at is None:
        late = scene.changes - 400
        first, last = rng.choice([(1, 80), (80, late), (late, scene.changes)])
        at = rng.randrange(first, last)
    at += scene.changes if at < 0 else 0
    process = scene.start("write", mode, "threads", at=at)
    process.wait(_WAIT)
    this.struck(process.returncode != 0)
    goes_on = scene.start("write", "a", "threads")
    if goes_on.wait(_WAIT) and mode == "w":
        # It had not begun to replace: what is there is the old one.
        assert "differs" in goes_on.stderr.read(), at
        goes_on = scene.start("write", "w", "threads")
    finish(goes_on)
    return this.end()


def old_pyramid(scene: Scene, target: Path) -> None:
    """Put a pyramid of something else at a place."""
    import dask_pyramid as dp

    old = scene.folder / "old.zarr"
    if not old.exists():
        dp.write_pyramid(np.full(scene.shape, 9, "uint8"), old, chunks=32)
    # At once: who polls shall not see half of it.
    shutil.copytree(old, target.with_name(".copy"))
    target.with_name(".copy").rename(target)


def kill_share(scene: Scene, rng: random.Random) -> Result:
    """Kill one of two processes that carry out shares, and the one that finishes."""
    this = Round(scene, "share, then finish")
    finish(scene.start("prepare"))
    shares = [scene.start("units", str(i), "2") for i in range(2)]
    victim = rng.randrange(2)
    at_work(scene, rng, shares[victim])
    was = kill(shares[victim])
    finish(shares[1 - victim])
    this.struck(was)
    for i in range(2):
        finish(scene.start("units", str(i), "2"))
    process = scene.start("finish", at=rng.randrange(1, 120))
    process.wait(_WAIT)
    this.struck(process.returncode != 0)
    if process.returncode:
        goes_on = scene.start("finish")
        if goes_on.wait(_WAIT):  # it was killed when all but the lock was removed
            assert "stored plan" in goes_on.stderr.read(), "in no other case"
            finish(scene.start("write", "a", "threads"))
    return this.end()


def kill_of_cluster(made: Cluster, rng: random.Random, victim: str) -> Result:
    """Kill a worker or the scheduler; the run goes on, or is started again."""
    scene = made.scene
    this = Round(scene, f"{victim}, separate processes")
    process = scene.start("write", "a", made.address)
    at_work(scene, rng, process)
    if victim == "worker":
        number = rng.randrange(2)
        was = kill(made.workers[number])
        this.unheard = 1
        this.struck(was)
        made.start_worker(number)
    else:
        was = kill(made.scheduler)
        for worker in made.workers:
            kill(worker)
        this.struck(was)
        made.start_scheduler()
        for number in range(2):
            made.start_worker(number)
    made.wait()
    try:
        process.wait(90)
    except subprocess.TimeoutExpired:
        kill(process)
    if process.returncode:
        made.wait()
        finish(scene.start("write", "a", made.address))
    return this.end()


if __name__ == "__main__":
    _note_units(os.environ[LOG])
    _command(*sys.argv[1:])
elif LOG in os.environ:  # a worker of a cluster
    _note_units(os.environ[LOG])
