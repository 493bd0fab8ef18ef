"""Whether the disk of a target has room for a plan; doubts only, nothing is refused.

Raw bytes are known before anything is read, what codecs make of them is not.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from dask_pyramid.tables import bytes_text

if TYPE_CHECKING:
    from dask_pyramid.plan import PyramidPlan

__all__ = ["warn_of_room"]


def warn_of_room(plan: PyramidPlan, folder: str, *, stacklevel: int = 1) -> None:
    """Warn if a plan writes more bytes, raw, than the disk of its target has free.

    Parameters
    ----------
    plan : PyramidPlan
        What is to be written.
    folder : str
        Where to; need not be there.
    stacklevel : int
        At whose line, as for `warnings.warn`; 1 is the caller of this function.

    Warns
    -----
    UserWarning
        If so.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    disk = shutil.disk_usage(place)
    # Some mounts do not say how large they are: 0.
    if disk.total and plan.bytes_written > disk.free:
        warnings.warn(
            f"the disk of {folder} has {bytes_text(disk.free)} free, and "
            f"{bytes_text(plan.bytes_written)} are to be written, raw; compression may "
            "make it fit, but a run that fills the disk fails",
            stacklevel=stacklevel + 1,
        )
