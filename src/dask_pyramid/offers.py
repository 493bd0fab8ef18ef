"""Which GPUs there are to make levels on, and what of their memory may be used."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, get_args

from dask_pyramid import device as devices
from dask_pyramid.configuration import configured
from dask_pyramid.crew import Device, Offer
from dask_pyramid.geometry import ceil_div
from dask_pyramid.limits import at_most, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.device import Gpu

__all__ = ["Report", "anywhere", "asked", "here", "on_workers", "report"]

Report = "tuple[Gpu, ...] | str"
"""GPUs of a process, or why there is none."""


def asked(device: Any, limit: int | str | None) -> tuple[Any, int | str | None]:
    """Return which device and limit are meant, where they may be left to dask.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"} or None
        None takes what the configuration says.
    limit : int, str or None
        Bytes of each GPU; None takes what the configuration says, unless no GPU is
        asked for.
    """
    device = configured("device", device)
    return device, limit if device == "cpu" else configured("gpu-memory-limit", limit)


def here(device: Any, limit: int | str | None, *, processes: int = 1) -> Offer:
    """Return what the GPUs of this machine offer.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}
        What is asked for.
    limit : int, str or None
        Bytes of each GPU that may be used; None takes half of what it has.
    processes : int
        Processes that share the GPUs.

    Returns
    -------
    Offer
        The share of one process.

    Raises
    ------
    ValueError
        If an argument breaks a rule.
    NoGpuError
        If ``"gpu"`` is asked for and there is none.
    """
    if _check(device, limit) == "cpu":
        return Offer()
    try:
        gpus = devices.CupyBackend.gpus()
    except devices.NoGpuError as error:
        if device == "gpu":
            raise _none(str(error)) from error
        return Offer(device=device, missing=str(error))
    return _offer(device, limit, gpus, sharing=ceil_div(processes, len(gpus)))


def anywhere(device: Any, limit: int | str | None) -> Offer:
    """Return what a GPU offers that need not be here, if its memory is given.

    Parameters
    ----------
    device, limit
        As for `here`, which is asked if no limit is given.
    """
    if _check(device, limit) == "gpu" and limit is not None:
        return Offer(device="gpu", memory=_parsed(limit))
    return here(device, limit)


def on_workers(
    device: Any, limit: int | str | None, reports: Mapping[str, Any]
) -> Offer:
    """Return what the first GPUs of the workers of a cluster offer.

    Parameters
    ----------
    device, limit
        As for `here`.
    reports : mapping of address to Report
        What `report` has returned on each worker.

    Raises
    ------
    ValueError
        If an argument breaks a rule.
    NoGpuError
        If ``"gpu"`` is asked for and a worker has none; the message names it.
    """
    if _check(device, limit) == "cpu":
        return Offer()
    for address, found in reports.items():
        if isinstance(found, str):
            missing = f"worker {address}: {found}"
            if device == "gpu":
                raise _none(missing)
            return Offer(device=device, missing=missing)
    first = [found[0] for found in reports.values()]
    sharing = max(Counter(gpu.uuid for gpu in first).values())
    return _offer(device, limit, first, sharing=sharing)


def report() -> Any:
    """Return the GPUs of this process, or why there is none."""
    try:
        return devices.CupyBackend.gpus()
    except devices.NoGpuError as error:
        return str(error)


def _check(device: Any, limit: int | str | None) -> Device:
    for known in get_args(Device):
        if device == known:
            break
    else:
        raise ValueError(f"device must be 'cpu', 'gpu' or 'auto', got {device!r}")
    if known == "cpu" and limit is not None:
        raise ValueError(
            f"gpu_memory_limit must go with device='gpu' or 'auto', got {limit!r} and "
            "'cpu'"
        )
    found: Device = known
    return found


def _none(why: str) -> devices.NoGpuError:
    return devices.NoGpuError(
        f"device must be 'cpu' or 'auto' without a GPU, got 'gpu'; {why}"
    )


def _parsed(limit: int | str) -> int:
    n_bytes = parse_bytes(limit, name="gpu_memory_limit")
    if n_bytes < 1:
        raise ValueError(f"gpu_memory_limit must be positive, got {limit!r}")
    return n_bytes


def _offer(
    device: Device, limit: int | str | None, gpus: Sequence[Gpu], *, sharing: int
) -> Offer:
    there = min(gpu.memory for gpu in gpus)
    memory = there // 2 if limit is None else _parsed(limit)
    if memory > there:
        raise ValueError(
            f"gpu_memory_limit must be at most what a GPU has, {at_most(there)}, got "
            f"{limit!r}"
        )
    return Offer(device=device, memory=memory // sharing)
