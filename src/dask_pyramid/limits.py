"""What the machine offers: memory and cores, and how the user limits them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from functools import lru_cache
from pathlib import Path

__all__ = [
    "RUNTIME_BYTES",
    "at_least",
    "at_most",
    "default_workers",
    "parse_bytes",
    "parse_memory",
    "tune_malloc",
]

RUNTIME_BYTES = 192 * 2**20
"""What the interpreter and the libraries take beside the tasks, numba included."""

# M_ARENA_MAX, M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in <malloc.h> of glibc.
_MALLOC = ((-8, 1), (-1, 2**27), (-3, 2**23))

_UNITS = {
    "": 1,
    "b": 1,
    **{f"{p}b": 1000 ** (i + 1) for i, p in enumerate("kmgtp")},
    **{p: 1000 ** (i + 1) for i, p in enumerate("kmgtp")},
    **{f"{p}ib": 1024 ** (i + 1) for i, p in enumerate("kmgtp")},
    **{f"{p}i": 1024 ** (i + 1) for i, p in enumerate("kmgtp")},
}


def parse_memory(limit: int | float | str | None) -> int:
    """Return a memory limit in bytes.

    Parameters
    ----------
    limit : int, float, str or None
        Bytes, or a number with a unit (``"2 GiB"``, ``"500 MB"``); None takes half of
        the memory of the machine, or of the control group if that is less.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    ValueError
        If the text is no amount of memory, or less than the libraries themselves take.

    Examples
    --------
    >>> parse_memory("2 GiB")
    2147483648
    """
    if limit is None:
        return _machine_memory() // 2
    n_bytes = parse_bytes(limit, name="memory_limit")
    if n_bytes <= RUNTIME_BYTES:
        raise ValueError(
            f"memory_limit must be more than {at_least(RUNTIME_BYTES)}, which the "
            f"libraries take, got {limit!r}"
        )
    return n_bytes


def parse_bytes(amount: int | float | str, *, name: str) -> int:
    """Return an amount of memory in bytes.

    Parameters
    ----------
    amount : int, float or str
        Bytes, or a number with a unit (``"2 GiB"``, ``"500 MB"``).
    name : str
        What an error calls it.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    ValueError
        If the text is no amount of memory.

    Examples
    --------
    >>> parse_bytes("1.5 kB", name="size")
    1500
    """
    match = re.fullmatch(
        r"\s*([0-9.]+(?:e[0-9+]+)?)\s*([a-z]*)\s*", str(amount).lower()
    )
    try:
        number, unit = match.groups() if match else ("", "")
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError):
        raise ValueError(
            f"{name} must be a number of bytes or a text like '2 GiB', got {amount!r}"
        ) from None


def at_least(n_bytes: int) -> str:
    """Return an amount of memory for an error: who gives as much has enough.

    Examples
    --------
    >>> at_least(2**28), at_least(2**28 + 1), at_most(2**28 - 1)
    ('256 MiB', '257 MiB', '255 MiB')
    """
    return f"{-(-n_bytes // 2**20)} MiB"


def at_most(n_bytes: int) -> str:
    """Return an amount of memory for an error: who takes as much has it."""
    return f"{n_bytes // 2**20} MiB"


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


@lru_cache(maxsize=1)
def tune_malloc() -> None:
    """Let threads share what they have freed, if the C library is glibc; else nothing.

    By default every thread has an arena of its own, and what one thread has freed is
    of no use to another: the peak of two workers was 670 MiB instead of 480 (1024**3
    uint16, chunks of 128). And a few MiB, freed, go back to the system at once, to be
    cleared and mapped again for the next chunk: a fifth of the time of a write. Blocks
    are few and large, so that nobody waits for a lock. The buffers of units, which are
    larger, do go back: those of the next unit have other extents and would not fit into
    what they leave (414 MiB instead of 363, 512x1024x1024, `gaussian`).
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC:
            mallopt(parameter, value)


def _machine_memory() -> int:
    import psutil

    total = int(psutil.virtual_memory().total)
    group = Path("/sys/fs/cgroup/memory.max")  # control groups, version 2
    if group.exists():
        text = group.read_text().strip()
        if text.isdigit():
            total = min(total, int(text))
    return total
