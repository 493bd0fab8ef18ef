"""Open all pyramids below a folder, over and over, until there is a file `end`.

Whatever can be opened must be complete: each level as the undisturbed pyramid, or the
old one that is replaced, has it. Prints how often that was so; status 1 if it was not.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import zarr

# Between two looks, in times of a look: the reader shall not take a core from those
# who write.
_PAUSE = 2


def levels(path: Path) -> list[np.ndarray] | None:
    """Return the levels that a viewer would show, or None if it opens nothing."""
    try:
        group = zarr.open_group(path, mode="r")
        image = group.attrs["ome"]["multiscales"][0]
        paths = [dataset["path"] for dataset in image["datasets"]]
    except (FileNotFoundError, KeyError):
        return None
    with zarr.config.set({"array.read_missing_chunks": False}):
        return [group[path][...] for path in paths]


def is_known(found: list[np.ndarray], whole: list[np.ndarray]) -> bool:
    """Return whether levels are those of the new or of the old pyramid."""
    if found[0].dtype == np.uint8:
        same_shape = found[0].shape == whole[0].shape
        return same_shape and all((level == 9).all() for level in found)
    return len(found) == len(whole) and all(map(np.array_equal, found, whole))


def place_of(path: Path) -> int | None:
    """Return what tells a folder from another of its name."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def main() -> None:
    """Look until there is nothing more to see."""
    folder = Path(sys.argv[1])
    whole = levels(folder / "whole.zarr")
    assert whole is not None
    complete = unfinished = 0
    while not (folder / "end").exists():
        begun = time.monotonic()
        rounds = sorted(folder.glob("round-*"), key=lambda path: path.stat().st_mtime)
        for target in [path / "a.zarr" for path in rounds[-2:]]:
            place = place_of(target)
            try:
                found = levels(target)
                good = found is None or is_known(found, whole)
            except Exception as error:
                found, good = [], False
                print(repr(error), file=sys.stderr)
            if place != place_of(target):
                continue  # it was replaced while it was read
            if not good:
                print(f"opened {target}, which is not complete", flush=True)
                sys.exit(1)
            complete += found is not None
            unfinished += found is None
        time.sleep(max(0.05, _PAUSE * (time.monotonic() - begun)))
    print(f"complete {complete} times, refused {unfinished} times, never wrong")


if __name__ == "__main__":
    main()
