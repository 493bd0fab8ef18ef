"""One writer at a time: a lock that says who holds it, and that a dead one loses.

A lock is an object that is created only if it is new. Its owner renews it; whoever
finds one whose process is gone, or that has not been renewed for minutes, may take it.
Processes that carry out shares of one plan hold a lease each instead, side by side.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.store import objects
from dask_pyramid.store.writers import WORK

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Lock", "LockedError", "break_locks", "refuse_locked"]

_log = logging.getLogger("dask_pyramid")

_LOCK = f"{WORK}/lock"
_LEASES = f"{WORK}/leases"

_BEAT_SECONDS = 15.0
# Twenty beats: clocks of machines may differ by minutes, a store may stall for one.
_ABANDONED_SECONDS = 300.0
# Whoever takes an abandoned lock looks again after this time.
_SETTLE_SECONDS = 1.0


# Tokens of the locks that this process holds.
_held: set[str] = set()


class LockedError(OSError):
    """Somebody else writes the pyramid."""


class Lock:
    """Keep others from writing a pyramid as long as the block runs.

    Parameters
    ----------
    store : zarr store
        Where the pyramid is.
    place : str
        What to call it in messages.
    shared : bool
        Whether others may write their shares at the same time.
    break_lock : bool
        Whether to take the lock whoever holds it.

    Raises
    ------
    LockedError
        On entering, if somebody else writes the pyramid.

    Notes
    -----
    Writing twice is harmless for the objects of a level, which are the same bytes; the
    lock protects what is created before them and published after them.
    """

    def __init__(
        self, store: Any, place: str, *, shared: bool = False, break_lock: bool = False
    ) -> None:
        self._store, self._place = store, place
        self._shared, self._break = shared, break_lock
        self._token = uuid.uuid4().hex
        self._key = f"{_LEASES}/{self._token}" if shared else _LOCK
        self._over = threading.Event()
        self._lost = False

    def __enter__(self) -> Lock:
        if self._break:
            break_locks(self._store)
        _held.add(self._token)
        try:
            if not objects.put_new(self._store, self._key, self._content()):
                self._take_over()
            self._check_others()
        except BaseException:
            self._give_up()
            raise
        threading.Thread(target=self._renew, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._give_up(alone=not self._shared)

    def _give_up(self, *, alone: bool = False) -> None:
        _held.discard(self._token)
        try:
            if self._is_ours():
                if alone:  # else the codecs of another writer may fill its folders
                    objects.prune(self._store, WORK)
                objects.delete(self._store, self._key)
            objects.prune(self._store, _LEASES)
            objects.prune(self._store, WORK, below=False)
        except OSError as problem:  # the error that led here is what counts
            _log.warning("the lock of %s stays: %s", self._place, problem)

    def check(self) -> None:
        """Raise `LockedError` if the lock was taken by somebody else meanwhile."""
        if self._lost or not self._is_ours():
            raise LockedError(
                f"target must be written by one process, got {self._place}, whose "
                "lock somebody else has taken; nothing was published by this one"
            )

    def _content(self) -> bytes:
        return json.dumps(
            {
                "token": self._token,
                "machine": _machine(),
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started": _started(os.getpid()),
                "renewed": time.time(),
            }
        ).encode()

    def _is_ours(self) -> bool:
        return _owner(objects.get(self._store, self._key)).get("token") == self._token

    def _take_over(self) -> None:
        """Take the lock of an owner that is gone; of several who try, one succeeds."""
        found = objects.get(self._store, self._key)
        owner = _owner(found)
        if found is not None and not _is_gone(owner):
            raise LockedError(_message(self._place, owner))
        _log.info("the lock of %s is taken from %s", self._place, _named(owner))
        if found is not None and objects.get(self._store, self._key) == found:
            objects.delete(self._store, self._key)
        if objects.put_new(self._store, self._key, self._content()):
            time.sleep(_SETTLE_SECONDS)
        found = objects.get(self._store, self._key)
        if _owner(found).get("token") != self._token:
            raise LockedError(_message(self._place, _owner(found)))

    def _check_others(self) -> None:
        """Refuse the lock while there are leases, and a lease while there is a lock."""
        if self._shared:
            refuse_locked(self._store, self._place)
            return
        for key, _ in list(objects.list_sizes(self._store, _LEASES)):
            owner = _owner(objects.get(self._store, key))
            if owner and not _is_gone(owner):
                raise LockedError(_message(self._place, owner))
            objects.delete(self._store, key)

    def _renew(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            try:
                if not self._is_ours():
                    self._lost = True
                    return
                objects.put(self._store, self._key, self._content())
            except Exception as problem:  # the store may be back at the next beat
                _log.warning("the lock of %s is not renewed: %s", self._place, problem)


def refuse_locked(store: Any, place: str) -> None:
    """Raise `LockedError` if somebody holds the lock of a pyramid."""
    owner = _owner(objects.get(store, _LOCK))
    if owner and not _is_gone(owner):
        raise LockedError(_message(place, owner))


def break_locks(store: Any) -> None:
    """Remove the lock and all leases of a pyramid, whoever holds them."""
    for key, _ in list(objects.list_sizes(store, _LEASES)):
        objects.delete(store, key)
    objects.delete(store, _LOCK)


def _owner(content: bytes | None) -> dict[str, Any]:
    """Return who holds a lock; of one that cannot be read, nothing but that it is."""
    if content is None:
        return {}
    try:
        found = json.loads(content)
        return {
            "token": str(found["token"]),
            "machine": str(found["machine"]),
            "host": str(found["host"]),
            "pid": int(found["pid"]),
            "started": str(found["started"]),
            "renewed": float(found["renewed"]),
        }
    except (KeyError, TypeError, ValueError, OverflowError):
        return {"renewed": 0.0}


def _is_gone(owner: dict[str, Any]) -> bool:
    if owner.get("machine") == _machine():
        if owner["pid"] == os.getpid():  # what could not be removed is left by nobody
            return owner["token"] not in _held
        return bool(_started(owner["pid"]) != owner["started"])
    alive = bool(time.time() - owner["renewed"] <= _ABANDONED_SECONDS)
    return not alive  # so that no number at all is long ago


def _named(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"


def _message(place: str, owner: dict[str, Any]) -> str:
    ago = max(0, round(time.time() - owner.get("renewed", time.time())))
    return (
        f"target must be written by one process at a time, got {place}, which "
        f"{_named(owner)} writes (it gave a sign {ago} s ago); wait for it, or, if it "
        "is gone, break its lock with break_lock=True (--break-lock)"
    )


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return what tells this machine, since its start, and its processes, apart."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # not Linux
        parts.append(f"{uuid.getnode():x}")
    return "/".join(parts)


def _started(pid: int) -> str | None:
    """Return what tells a process from others of its number; None if it is dead.

    The time of its start would do but where the clock is corrected: on Linux psutil
    adds the time of the boot, which moves with the clock, to the ticks since then.
    """
    import psutil

    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        pass  # no such process, or not Linux
    try:
        process = psutil.Process(pid)
        dead = process.status() == psutil.STATUS_ZOMBIE
        return None if dead else str(process.create_time())
    except (psutil.Error, ValueError):
        return None
