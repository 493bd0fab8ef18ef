"""How many units run at a time, in which processes, and what each may hold.

Numbers only. A crew is a list of shares, the best first: the plan takes the first one
in which a unit fits, for fewer units at a time are better than none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Integral
from typing import TYPE_CHECKING, Literal

from dask_pyramid.geometry import ceil_div
from dask_pyramid.limits import (
    RUNTIME_BYTES,
    at_least,
    at_most,
    default_workers,
    parse_memory,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Crew",
    "Device",
    "Member",
    "Offer",
    "Share",
    "of_members",
    "of_processes",
    "of_threads",
]

Device = Literal["cpu", "gpu", "auto"]
"""Where levels are made; `auto` takes a GPU where that pays."""

# Of the memory of a worker: beyond it, `distributed` gives it no more work.
_PAUSED = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One way to run units."""

    workers: int
    """Units that run at a time, in all."""
    processes: int
    """Processes that run them."""
    per_process: int
    """Units that run at a time in one process, at most."""
    task_memory: int
    """Bytes that one unit may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Which device is asked for, and what there is of GPUs."""

    device: Device = "cpu"
    """What is asked for."""
    memory: int = 0
    """Bytes of each GPU that one process may use; 0 without a GPU."""
    missing: str = ""
    """Why there is no GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """What there is to run units with."""

    memory_limit: int
    """Bytes that all processes together may use."""
    shares: tuple[Share, ...]
    """Ways to run units, the best first."""
    offer: Offer = field(default_factory=Offer)
    """On which device they make levels."""
    portion: Fraction = Fraction(1)
    """Part of a limit that the process with the least of it gets."""

    def limit_for(self, task_memory: int) -> int:
        """Return the least `memory_limit` with which one unit fits everywhere."""
        needed = (RUNTIME_BYTES + task_memory) / self.portion
        return ceil_div(needed.numerator, needed.denominator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A worker process of a cluster."""

    threads: int
    """Units that it can run at a time."""
    memory: int
    """Bytes that it may use; 0 if it has no limit of its own."""


def of_threads(workers: int | None, memory_limit: int | str | None) -> Crew:
    """Return threads of this process.

    Parameters
    ----------
    workers : int or None
        How many; None takes the number of cores.
    memory_limit : int, str or None
        Bytes for the process, as for `parse_memory`.

    Returns
    -------
    Crew
        From all threads down to one.

    Examples
    --------
    >>> [share.workers for share in of_threads(3, "2 GiB").shares]
    [3, 2, 1]
    """
    limit = parse_memory(memory_limit)
    counts = range(_wanted(workers), 0, -1)
    return Crew(
        memory_limit=limit,
        shares=tuple(
            Share(
                workers=n,
                processes=1,
                per_process=n,
                task_memory=(limit - RUNTIME_BYTES) // n,
            )
            for n in counts
        ),
    )


def of_processes(workers: int | None, memory_limit: int | str | None) -> Crew:
    """Return processes of this machine with one thread each.

    Parameters
    ----------
    workers : int or None
        How many; None takes the number of cores.
    memory_limit : int, str or None
        Bytes for all of them, as for `parse_memory`.

    Returns
    -------
    Crew
        From all processes down to one; no more than have memory for the libraries.
    """
    limit = parse_memory(memory_limit)
    counts = range(_wanted(workers), 0, -1)
    return Crew(
        memory_limit=limit,
        shares=tuple(
            Share(
                workers=n,
                processes=n,
                per_process=1,
                task_memory=limit // n - RUNTIME_BYTES,
            )
            for n in counts
            if limit // n > RUNTIME_BYTES
        ),
    )


def of_members(members: Sequence[Member], memory_limit: int | str | None) -> Crew:
    """Return the workers of a cluster.

    Parameters
    ----------
    members : sequence of Member
        At least one.
    memory_limit : int, str or None
        Bytes for all of them, shared out by their threads, and no more than each may
        use; None takes half of what each has.

    Returns
    -------
    Crew
        From all threads down to one in each process. Units are the same for all, so
        that the worker with the least memory for each unit sets their size.

    Raises
    ------
    ValueError
        If a worker has no memory beyond what the libraries take.

    Examples
    --------
    >>> small, large = Member(threads=1, memory=2**31), Member(threads=2, memory=2**34)
    >>> of_members([small, large], None).shares[0].task_memory
    872415232
    """
    budgets = _budgets(members, memory_limit)
    if min(budgets) <= RUNTIME_BYTES:
        raise ValueError(
            f"memory_limit must give each worker more than {at_least(RUNTIME_BYTES)}, "
            f"which the libraries take, got {memory_limit!r} for {len(members)} "
            f"workers, the least {at_most(min(budgets))}"
        )
    threads = [member.threads for member in members]
    kinds = {(member.threads, b) for member, b in zip(members, budgets, strict=True)}
    return Crew(
        memory_limit=sum(budgets),
        portion=Fraction(min(threads), sum(threads)),
        shares=tuple(
            Share(
                workers=sum(min(n, member.threads) for member in members),
                processes=len(members),
                per_process=n,
                task_memory=min((b - RUNTIME_BYTES) // min(n, t) for t, b in kinds),
            )
            for n in range(max(threads), 0, -1)
        ),
    )


def _wanted(workers: int | None) -> int:
    if workers is None:
        return default_workers()
    if isinstance(workers, bool) or not isinstance(workers, Integral) or workers < 1:
        raise ValueError(
            f"workers must be a whole number of at least 1, got {workers!r}"
        )
    return int(workers)


def _budgets(members: Sequence[Member], memory_limit: int | str | None) -> list[int]:
    """Return what each member may use, in bytes."""
    if memory_limit is None:
        # Of a worker without a limit nothing is known: all of them may be here.
        unknown = ceil_div(parse_memory(None), len(members))
        return [member.memory // 2 or unknown for member in members]
    limit = parse_memory(memory_limit)
    threads = sum(member.threads for member in members)
    shares = [limit * member.threads // threads for member in members]
    return [
        min(share, int(_PAUSED * member.memory)) if member.memory else share
        for share, member in zip(shares, members, strict=True)
    ]
