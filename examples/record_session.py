"""Record a first session, as a user has it with the README: docs/first-session.md.

Needs tmux and git. A fresh clone of this repository in a temporary folder, a fresh
virtual environment, commands typed into a terminal one after the other, Ctrl-C among
them. What the terminal shows is kept as it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSTALL = (
    "python3 -m venv .venv && .venv/bin/pip install '.[tiff,plot]' && "
    ".venv/bin/dask-pyramid write examples/data/nuclei.tif first.ome.zarr "
    "--scale 0.29,0.26,0.26 --unit um"
)
LARGER = (
    "dask-pyramid resample first.ome.zarr large.ome.zarr --factor 4 "
    "--memory-limit 512MiB"
)
CTRL_C = "Ctrl-C"
STEPS = (
    INSTALL,
    "source .venv/bin/activate",
    "dask-pyramid info first.ome.zarr",
    "dask-pyramid thumbnail first.ome.zarr first.png",
    "dask-pyramid verify first.ome.zarr --full",
    f"{LARGER} --plan",
    LARGER,
    CTRL_C,
    f"{LARGER} --mode a",
    "dask-pyramid verify large.ome.zarr",
)
PAGE = """# First session

What a first user sees, with nothing but the README: install, write, look, verify, then
a larger image that is stopped by Ctrl-C and goes on. It took {minutes} minutes on
{cores} cores that did other work, too, {install} s of which are the installation.
`python examples/record_session.py` records it anew, in a fresh clone and a fresh
environment; `PIP_QUIET=2` keeps pip's lines out of it, and the folder is left out of
paths.

```text
{text}
```

`first.png` is this picture:

![The levels of the nuclei side by side, with a scale bar](first-session.png)
"""
_PROMPT = re.compile(r"^(\(\.venv\) )?bash-[\d.]+[#$] ?", re.MULTILINE)


class Terminal:
    """A terminal with a shell in a folder.

    Parameters
    ----------
    folder : Path
        Where the shell starts.
    """

    def __init__(self, folder: Path) -> None:
        self._tmux = ("tmux", "-L", f"record-{os.getpid()}")
        kept = ("HOME", "PATH", "LANG", "TMPDIR")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment |= {name: v for name, v in os.environ.items() if "PIP_" in name}
        environment |= {"PIP_QUIET": "2", "TERM": "xterm-256color"}
        environment["PROMPT_COMMAND"] = f"{' '.join(self._tmux)} wait-for -S prompt"
        shell = "bash --norc --noprofile"
        subprocess.run(
            [*self._tmux, "new-session", "-d", "-x", "120", "-y", "400", shell],
            check=True,
            cwd=folder,
            env=environment,
        )
        self.wait()

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], check=True, capture_output=True, text=True
        )
        return done.stdout

    def wait(self) -> None:
        """Wait for the prompt, until it is shown: what is typed before stands twice."""
        self._run("wait-for", "prompt")
        while not _PROMPT.match(self.shown().rstrip().rpartition("\n")[2]):
            time.sleep(0.05)

    def type(self, *keys: str) -> None:
        """Press keys."""
        self._run("send-keys", *keys)

    def shown(self) -> str:
        """Return what is on the screen."""
        return self._run("capture-pane", "-p", "-J")

    def close(self) -> None:
        """End the shell and all that runs in it."""
        self._run("kill-server")


def unit_is_done(folder: Path) -> bool:
    """Return whether the larger pyramid has its first receipt."""
    return any((folder / "large.ome.zarr/.dask-pyramid/receipts").glob("*.json"))


def record(folder: Path) -> tuple[str, list[float]]:
    """Type all steps; return what is shown in the end, and how long each took."""
    terminal, times = Terminal(folder), []
    try:
        for step, following in zip(STEPS, [*STEPS[1:], ""], strict=True):
            started = time.monotonic()
            if step == CTRL_C:
                while not unit_is_done(folder):
                    time.sleep(0.1)
                terminal.type("C-c")
            else:
                terminal.type(step, "Enter")
            if following != CTRL_C:
                terminal.wait()
            times.append(time.monotonic() - started)
        lines = [line.rstrip() for line in terminal.shown().splitlines()]
    finally:
        terminal.close()
    text = "\n".join(lines).rstrip().replace(f"{folder}/", "")
    text = _PROMPT.sub("\n$ ", text).removeprefix("\n").removesuffix("\n\n$ ")
    return text, times


def main() -> None:
    """Record, and write the page."""
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "dask-pyramid"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        text, times = record(clone)
        (ROOT / "docs" / "first-session.png").write_bytes(
            (clone / "first.png").read_bytes()
        )
    page = PAGE.format(
        text=text,
        minutes=round(sum(times) / 60, 1),
        cores=os.cpu_count(),
        install=round(times[0]),
    )
    (ROOT / "docs" / "first-session.md").write_text(page)


if __name__ == "__main__":
    main()
