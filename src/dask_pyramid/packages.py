"""Carry an order out, labels and all; into a zip file by a folder that is packed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dask_pyramid import session
from dask_pyramid.labelling import write_dressed
from dask_pyramid.orders import image_places
from dask_pyramid.pyramid import Pyramid, open_pyramid, stored_pyramid

if TYPE_CHECKING:
    from dask_pyramid.execution import Execution
    from dask_pyramid.store.packing import Package

__all__ = ["carry_out", "check_package"]


def carry_out(
    order: session.Order, execution: Execution, package: Package | None
) -> Pyramid:
    """Write an order and its label images, or check what is complete.

    Parameters
    ----------
    order : Order
        What is to be written; its target is the folder of the package, if any.
    execution : Execution
        How to run.
    package : Package, optional
        The zip file that is written.

    Returns
    -------
    Pyramid
        As it is stored.

    Raises
    ------
    FileExistsError, ValueError, OSError
        As `session.complete`, and if something is in the way of the file.
    """
    if package is not None:
        check_package(order, package)
        # What an interrupted replacement has left is newer than the file.
        nothing_begun = order.target.state == "empty"
        if package.exists and package.mode == "a" and nothing_begun:
            _keep(package, order, execution)
            return open_pyramid(package.location)
    session.complete(order, execution)
    write_dressed(order, execution)
    if package is None:
        return stored_pyramid(order.target)
    packed = package.pack(order.job.plan.version, break_lock=execution.break_lock)
    if not packed:
        _check_packed(package, order, execution)
    return open_pyramid(package.location)


def check_package(order: session.Order, package: Package) -> None:
    """Check that a zip file may be written; nothing is.

    Raises
    ------
    FileExistsError, ValueError
        As `Package.check`.
    """
    read = [order.image, *order.labels.values()]
    places = [place for each in read for place in image_places(each)]
    package.check(order.job.plan.version, places)


def _check_packed(package: Package, order: session.Order, execution: Execution) -> None:
    """Check that what another process has packed is what an order would write."""
    if package.mode != "a" or not package.exists:
        raise OSError(
            f"target must be written by one process, got {package.location}, which "
            "another one has written meanwhile; look at it before you start again"
        )
    _keep(package, order, execution)


def _keep(package: Package, order: session.Order, execution: Execution) -> None:
    """Check that a file that is there is what an order would write."""
    session.check_complete(replace(order, target=package.stored()), execution)
    missing = set(order.labels) - set(open_pyramid(package.location).labels)
    if missing:
        raise ValueError(
            f"labels must be in a zip file that is complete, got {sorted(missing)!r}, "
            f"which {package.location!r} does not hold; mode='w' writes it anew"
        )
    package.clear()
