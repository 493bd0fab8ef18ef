"""``python -m dask_pyramid.cli`` is the command ``dask-pyramid``."""

import atexit
import gc

from dask_pyramid.cli import main
from dask_pyramid.cli.commands import PROGRAM

__all__ = ["run"]


def run() -> None:
    """Run the command in a process of its own.

    At its end Python would search all that compilers and codecs have left for garbage,
    for a third of a second.
    """
    atexit.register(gc.freeze)
    main(prog_name=PROGRAM)


if __name__ == "__main__":
    run()
