"""A reader that fails, or kills its process, where and as often as it is told.

What it does is counted in files of a folder, so that all processes count together.
"""

import os
import signal
import threading
from pathlib import Path


class FaultyReader:
    """Read another reader; `fault` happens in regions that hold the voxel `where`.

    The fault is "kill", or the number of an error of the system; it happens `times`
    times.
    """

    locations = ()

    def __init__(self, reader, folder, *, where=None, fault=None, times=10**6):
        self._reader, self._folder = reader, Path(folder)
        self._where, self._fault, self._times = where, fault, times
        self._folder.mkdir(exist_ok=True)

    shape = property(lambda self: self._reader.shape)
    dtype = property(lambda self: self._reader.dtype)
    chunks = property(lambda self: self._reader.chunks)

    def read(self, region):
        start = tuple(part.start for part in region)
        self._note(f"{os.getpid()} {threading.get_ident()} {start}")
        if self._where is not None and holds(region, self._where) and self._claim():
            if self._fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(self._fault, "injected")
        return self._reader.read(region)

    def _note(self, line):
        descriptor = os.open(
            self._folder / "reads", os.O_APPEND | os.O_CREAT | os.O_WRONLY
        )
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    def _claim(self):
        for number in range(self._times):
            try:
                (self._folder / f"fault-{number}").open("x").close()
            except FileExistsError:
                continue
            return True
        return False


def holds(region, voxel):
    """Whether a region holds a voxel."""
    return all(
        part.start <= i < part.stop for part, i in zip(region, voxel, strict=True)
    )


def reads(folder):
    """Return (pid, thread, start) of each read."""
    lines = (Path(folder) / "reads").read_text().splitlines()
    return [tuple(line.split(" ", 2)) for line in lines]
