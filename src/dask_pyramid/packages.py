"""Orders whose target is a zipped OME-Zarr file: written as a folder, then packed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dask_pyramid import session
from dask_pyramid.labelling import write_dressed
from dask_pyramid.orders import image_places
from dask_pyramid.pyramid import open_pyramid

if TYPE_CHECKING:
    from dask_pyramid.store.packing import Package

__all__ = ["write_package"]


def write_package(
    package: Package, order: session.Order, execution: session.Execution
) -> None:
    """Write an order into a zip file, or check the file if it shall be kept.

    Parameters
    ----------
    package : Package
        The file.
    order : Order
        What is to be written; its target is the folder of the package.
    execution : Execution
        How to run.

    Raises
    ------
    FileExistsError, ValueError, OSError
        As `session.complete`, and if the file is in the way.
    """
    version = order.job.plan.version
    read = [order.image, *order.labels.values()]
    package.check(version, [place for each in read for place in image_places(each)])
    if package.exists and package.mode == "a":
        _keep(package, order, execution)
        return
    session.complete(order, execution)
    write_dressed(order, execution)
    package.pack(version)


def _keep(package: Package, order: session.Order, execution: session.Execution) -> None:
    """Check that a file that is there is what an order would write."""
    session.check_complete(replace(order, target=package.stored()), execution)
    missing = set(order.labels) - set(open_pyramid(package.location).labels)
    if missing:
        raise ValueError(
            f"labels must be in a zip file that is complete, got {sorted(missing)!r}, "
            f"which {package.location!r} does not hold; mode='w' writes it anew"
        )
    package.clear()
