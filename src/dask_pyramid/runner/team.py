"""Who runs the units: what `client=` means, and what it offers."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from dask_pyramid.configuration import configured
from dask_pyramid.crew import Crew, Member, of_members, of_processes, of_threads
from dask_pyramid.graph import resample_array
from dask_pyramid.offers import asked, here, on_workers, report
from dask_pyramid.runner.processes import refuse_unguarded
from dask_pyramid.sources.resampled import ResampledReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dask_pyramid.image import Image

__all__ = ["Team", "connect", "portable"]

Kind = Literal["synchronous", "threads", "processes", "client"]

# What dask calls its own schedulers.
_NAMES: dict[str, Kind] = {
    "synchronous": "synchronous",
    "sync": "synchronous",
    "single-threaded": "synchronous",
    "threads": "threads",
    "threading": "threads",
    "processes": "processes",
    "multiprocessing": "processes",
}
_OF_CLIENT = ("distributed", "dask.distributed")

# Seconds to reach a scheduler.
_CONNECT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Who runs the units; made by `connect`."""

    kind: Kind
    """Where units run."""
    crew: Crew
    """How many at a time, in which processes, with how much memory."""
    client: Any = None
    """The client, if units run on a cluster."""

    @property
    def elsewhere(self) -> bool:
        """Whether units run in other processes than this one."""
        return self.kind in ("processes", "client")


@contextmanager
def connect(
    client: Any = None,
    *,
    workers: int | None = None,
    memory_limit: int | str | None = None,
    device: str | None = None,
    gpu_memory_limit: int | str | None = None,
) -> Iterator[Team]:
    """Find out who runs the units, and reach them.

    Parameters
    ----------
    client : distributed.Client or str, optional
        A client, the address of a scheduler, or ``"threads"``, ``"processes"`` or
        ``"synchronous"``. By default, as dask itself does: what its configuration says
        (``dask.config.set(scheduler=...)``), where making a client sets that client;
        else threads. With `workers`, a client that is only the default is left alone.
    workers : int, optional
        Threads or processes; by default the number of cores.
    memory_limit : int or str, optional
        Bytes for all processes together; by default half of what there is.
    device : {"cpu", "gpu", "auto"}, optional
        Where levels are made; it is those who run units that are asked for GPUs.
    gpu_memory_limit : int or str, optional
        Bytes of each GPU that may be used; by default half of what it has.

    Yields
    ------
    Team
        A client that was made here, from an address, is closed at the end.

    Raises
    ------
    TypeError, ValueError
        If `client` is none of these, is asynchronous, has no workers, or does not go
        with `workers`, or if there is no GPU that was asked for.
    ConnectionError
        If there is no scheduler at the address.
    RuntimeError
        If a script that uses processes lacks its guard.
    """
    device, gpu_memory_limit = asked(device, gpu_memory_limit)
    memory_limit = configured("memory-limit", memory_limit)
    if client is None:
        client = _default(workers)
    kind = _kind(client)
    if kind == "client":
        if workers is not None:
            raise ValueError(
                f"workers must not be given with a client, got {workers!r}; the client "
                "has its own"
            )
        with _opened(client) as opened:
            crew = of_members(_members(opened), memory_limit)
            reports = {} if device == "cpu" else opened.run(report)
            offer = on_workers(device, gpu_memory_limit, reports)
            yield Team(kind=kind, crew=replace(crew, offer=offer), client=opened)
    elif kind == "processes":
        refuse_unguarded()
        crew = of_processes(configured("workers", workers), memory_limit)
        count = crew.shares[0].processes
        offer = here(device, gpu_memory_limit, processes=count)
        yield Team(kind=kind, crew=replace(crew, offer=offer))
    else:
        if kind == "synchronous" and workers not in (None, 1):
            raise ValueError(
                f"workers must be 1 or None for the synchronous scheduler, got "
                f"{workers!r}"
            )
        count = 1 if kind == "synchronous" else configured("workers", workers)
        crew = of_threads(count, memory_limit)
        offer = here(device, gpu_memory_limit)
        yield Team(kind=kind, crew=replace(crew, offer=offer))


def _default(workers: int | None) -> Any:
    """Return what dask would use: its configuration, in which a client sets itself."""
    import dask

    chosen = dask.config.get("scheduler", None)
    if chosen is None:
        chosen = "threads" if workers is not None else _current_client() or "threads"
    elif chosen in _OF_CLIENT:
        chosen = "threads" if workers is not None else _current_client()
        if chosen is None:
            raise ValueError(
                "dask's configuration 'scheduler' must go with a client, got "
                "'distributed' and none; make a distributed.Client first"
            )
    elif not isinstance(chosen, str):
        raise ValueError(
            f"dask's configuration 'scheduler' must be a name, got {chosen!r}; give "
            "client='threads', 'processes' or 'synchronous'"
        )
    return chosen


def _current_client() -> Any:
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.Client.current()
    except ValueError:  # there is none
        return None


def _kind(client: Any) -> Kind:
    if isinstance(client, str):
        if client.lower() in _NAMES:
            return _NAMES[client.lower()]
        if ":" in client:
            return "client"
        raise ValueError(
            "client must be an address (tcp://host:8786) or one of 'threads', "
            f"'processes', 'synchronous', got {client!r}"
        )
    distributed = sys.modules.get("distributed")
    if distributed is None or not isinstance(client, distributed.Client):
        raise TypeError(
            f"client must be a distributed.Client or an address, got {client!r}"
        )
    return "client"


@contextmanager
def _opened(client: Any) -> Iterator[Any]:
    """Give a client that can be used from here."""
    if isinstance(client, str):
        from distributed import Client

        try:
            made = Client(client, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"client must be the address of a running scheduler, got {client!r}: "
                f"{error}; `dask scheduler` starts one"
            ) from error
        with made:
            yield made
        return
    if client.asynchronous:
        raise ValueError(
            f"client must be synchronous, got {client!r} in its own event loop; make "
            "one with Client(address), or call this as "
            "`await asyncio.to_thread(write_pyramid, ...)`"
        )
    if client.status != "running":
        raise ValueError(f"client must be connected, got one that is {client.status}")
    yield client


def _members(client: Any) -> list[Member]:
    # Not `scheduler_info`: what the client keeps is replaced now and then by a summary
    # without workers (distributed 2026.8).
    known = client.sync(client.scheduler.identity, n_workers=-1)
    workers = known["workers"].values()
    members = [
        Member(threads=worker["nthreads"], memory=worker["memory_limit"] or 0)
        for worker in workers
        if worker["nthreads"]
    ]
    if not members:
        raise ValueError(
            "client must have workers, got none; wait for them with "
            "client.wait_for_workers(n)"
        )
    return members


def portable(image: Image) -> Image:
    """Return an image whose pixels can travel: an array in memory becomes a graph.

    A reader of an array in memory would send all of it to every process.
    """
    if not getattr(image.reader, "in_memory", False):
        return image
    import dask.array as da

    assert image.reader is not None  # a graph is not in memory
    if isinstance(image.reader, ResampledReader):
        below = portable(replace(image, reader=image.reader.source))
        assert below.graph is not None
        samplings = image.reader.samplings
        graph = resample_array(below.graph, samplings, first_axis=image.first_spatial)
        return replace(image, reader=None, graph=graph)
    whole = tuple(slice(0, n) for n in image.shape)
    pixels = image.reader.read(whole)
    blocks = da.from_array(pixels, chunks=image.block_shape(), name=False)
    return replace(image, reader=None, graph=blocks)
