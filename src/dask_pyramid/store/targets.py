"""Where a pyramid goes: checked before anything is written.

What is not recognised as a pyramid is never deleted, and a target that the source reads
is refused.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.credentials import address_of
from dask_pyramid.locations import is_url, local_path, public_url, refuse_unwritable
from dask_pyramid.sources.opened import ProcessCache
from dask_pyramid.sources.zarr_arrays import ZarrReader
from dask_pyramid.store.apart import refuse_sources
from dask_pyramid.store.contents import foreign_names, refuse_links, state_of
from dask_pyramid.store.locks import refuse_locked
from dask_pyramid.store.replacement import beside, settle
from dask_pyramid.store.writers import LevelWriter
from dask_pyramid.store_options import StoreOptions, parse_options
from dask_pyramid.stores import open_store, store_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dask_pyramid.levels import Level

__all__ = [
    "Target",
    "open_group",
    "open_location",
    "open_target",
    "release",
    "reopened",
    "store_target",
]

_MODES = ("w-", "a", "w")

# What a process holds open of the targets that it writes.
_stores: ProcessCache[Any] = ProcessCache(64)
_readers: ProcessCache[ZarrReader] = ProcessCache(64)
_writers: ProcessCache[LevelWriter] = ProcessCache(64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a pyramid goes; small, and pickles."""

    location: str
    """Path or URL that readers will open; empty for a store object."""
    store: Any = field(default=None, compare=False)
    """The store object, if the user gave one."""
    options: StoreOptions = field(default_factory=StoreOptions)
    """How a URL is opened."""
    state: str = "empty"
    """What was there: "empty", "unfinished" (a run that was interrupted) or "complete"
    (a pyramid that readers can open)."""
    replaces: bool = False
    """Whether a local pyramid of this name is replaced when the new one is complete."""
    mode: str = "w-"
    """What `open_target` was asked for."""
    labels: tuple[str, ...] = ()
    """Label images that are replaced with the pyramid."""
    shown: str = ""
    """What to call it in messages, if it is not the location."""
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Which writing of the target this is: what a process keeps open of one run, whose
    folders may be gone, must not serve another."""

    @property
    def local(self) -> bool:
        """Whether the target is a folder."""
        return bool(self.location) and not is_url(self.location)

    @property
    def root(self) -> str:
        """Path or URL that is written."""
        return (
            str(beside(self.location, "replacement"))
            if self.replaces
            else (self.location)
        )

    def open(self) -> Any:
        """Return the zarr store that is written; opened once for each process."""
        if self.store is not None:
            return self.store
        key = self.run, self.root
        return _stores.get(
            key, lambda: open_store(self.root, read_only=False, options=self.options)
        )

    def open_for_lock(self) -> Any:
        """Return the store that readers will open, which is where the lock is."""
        return replace(self, replaces=False).open()

    def level_reader(self, level: Level) -> ZarrReader:
        """Return a reader of a stored level; opened once for each process.

        It has the extent of the plan, to which the stored array may have to grow yet.
        """
        place = self.store if self.store is not None else self.root
        return _readers.get(
            (self.run, level.path),
            lambda: ZarrReader(
                place, level.path, shape=level.shape, options=self.options
            ),
        )

    def level_writer(self, level: Level) -> LevelWriter:
        """Return the writer of a level; opened once for each process."""
        return _writers.get((self.run, level.path), lambda: LevelWriter(self, level))

    def __str__(self) -> str:
        if self.shown:
            return self.shown
        return (
            public_url(self.location)
            if is_url(self.location)
            else (self.location or str(self.store))
        )


def release(target: Target) -> None:
    """Give up what this process holds open of a run."""
    for cache in (_stores, _readers, _writers):
        cache.forget(lambda key: key[0] == target.run)


def open_target(
    target: Any,
    *,
    mode: str,
    sources: Sequence[str] = (),
    labels: tuple[str, ...] = (),
    options: StoreOptions | None = None,
    shown: str = "",
) -> Target:
    """Check where a pyramid shall go; nothing is written.

    Parameters
    ----------
    target : path, URL or zarr store
        A folder, an ``s3://``, ``gs://`` or ``az://`` URL, or a zarr store.
    mode : {"w-", "a", "w"}
        ``"w-"`` refuses whatever exists, ``"a"`` goes on with what a run has left,
        ``"w"`` replaces a pyramid.
    sources : sequence of str
        Paths and URLs that the source reads.
    labels : tuple of str
        Label images that are replaced with the pyramid.
    options : StoreOptions, optional
        How to open a URL.
    shown : str
        What to call it in messages, if it is not the target.

    Returns
    -------
    Target
        With what was found there.

    Raises
    ------
    FileExistsError
        If the target exists and the mode does not allow for it.
    ValueError
        If the mode is unknown, or the target lies in, at or around the source, or
        holds symbolic links.
    OSError
        If an object store refuses the credentials, has no such bucket, or does not
        answer.
    """
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
    wanted = Target(location="", mode=mode, labels=labels, shown=shown)
    return _opened(target, wanted, sources=sources, options=options)


def _opened(
    target: Any,
    wanted: Target,
    *,
    sources: Sequence[str],
    options: StoreOptions | None,
) -> Target:
    """Return `wanted` with its place and what is there."""
    if not isinstance(target, str | os.PathLike):
        return _open_store_object(target, wanted, sources)
    text = local_path(os.fspath(target))
    if not text:
        raise ValueError("target must be a path or URL, got an empty text")
    refuse_unwritable(text)
    if is_url(text):
        options = options or StoreOptions()
        refuse_sources(address_of(text, options), sources)
        url = text.rstrip("/")
        return _open_url(replace(wanted, location=url, options=options))
    location = os.path.realpath(text)
    refuse_sources(location, sources)
    return _open_folder(replace(wanted, location=location))


def open_location(
    target: Any, *, options: Mapping[str, Any] | StoreOptions | None = None
) -> Target:
    """Return a path or URL as a target that holds images; nothing is looked at.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If objects cannot be replaced there.
    """
    if not isinstance(target, str | os.PathLike):
        raise TypeError(
            f"target must be a path or URL, got {type(target).__name__}; open the "
            "store by its location"
        )
    text = local_path(os.fspath(target))
    refuse_unwritable(text)
    location = text.rstrip("/") if is_url(text) else os.path.realpath(text)
    return Target(location=location, options=parse_options(options, text))


def open_group(target: Target) -> Any:
    """Open the group of an existing image to read it, past consolidated metadata."""
    import zarr

    return zarr.open_group(target.open(), mode="r", use_consolidated=False)


def reopened(target: Target) -> Target:
    """Look again at a target, whose lock is held by now.

    Raises
    ------
    OSError
        If another process has written it since it was opened.
    """
    place = target.store if target.store is not None else target.location
    wanted = replace(target, location="", store=None, state="empty", replaces=False)
    again = _opened(place, wanted, sources=(), options=target.options)
    if again != target:
        raise OSError(
            f"target must stay as it is while a run begins, got {target}, which was "
            f"{target.state} and is {again.state} now; another process has written "
            "it, look at it before you start again"
        )
    return target


def _open_folder(wanted: Target) -> Target:
    path, mode = Path(wanted.location), wanted.mode
    parent = path.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise ValueError(f"target must lie in a folder, got {str(path)!r} in a file")
    settle(path)
    if path.exists() and not path.is_dir():
        raise FileExistsError(
            f"target must be a new place or a pyramid, got {str(path)!r}, a file"
        )
    refuse_links(path)
    target = _found(wanted, open_store(str(path)))
    if target.state == "complete" and beside(target.location, "replacement").exists():
        # An interrupted replacement: "w" starts it again, "a" goes on with it.
        target = replace(target, replaces=True)
        state = state_of(open_store(target.root))
        return replace(target, state="empty" if mode == "w" else state)
    return replace(target, replaces=mode == "w" and target.state == "complete")


def _open_url(wanted: Target) -> Target:
    url, options = wanted.location, wanted.options
    return _found(wanted, open_store(url, options=options, hurried=True))


def _open_store_object(store: Any, wanted: Target, sources: Sequence[str]) -> Target:
    from zarr.storage import LocalStore

    if isinstance(store, LocalStore):
        return _opened(str(store.root), wanted, sources=sources, options=None)
    return _found(replace(wanted, store=store_target(store, sources).store), store)


def store_target(store: Any, sources: Sequence[str]) -> Target:
    """Return a store object as a target; refuse what cannot be written."""
    from zarr.abc.store import Store
    from zarr.storage import ZipStore

    if isinstance(store, ZipStore):
        raise ValueError(
            f"target must be a store whose objects can be replaced, got {store!r}; "
            "write to a folder and zip that"
        )
    if not isinstance(store, Store):
        raise TypeError(
            f"target must be a path, a URL or a zarr store, got {type(store).__name__}"
        )
    if store_place(store) in sources:
        raise ValueError(
            f"target must not be the store of the source, got {store!r}; "
            "a source is never modified"
        )
    if store.read_only:
        raise ValueError(f"target must be writable, got {store!r}; open it so")
    return Target(location="", store=store)


def _found(target: Target, store: Any) -> Target:
    """Return the target with what is there; refuse what its mode does not allow for."""
    state, mode = state_of(store), target.mode
    if state == "empty":
        return target
    place = str(replace(target, shown=""))
    if state == "foreign":
        raise FileExistsError(
            f"target must be a new place or a pyramid, got {place!r}, which is "
            "something else; remove it yourself or choose another name"
        )
    if mode == "w-":
        way = "mode='w' replaces a pyramid"
        if state == "unfinished":
            refuse_locked(store, str(target))
            way = (
                "an interrupted run has left it: mode='a' resumes that, mode='w' "
                "starts again"
            )
        raise FileExistsError(f"target must not exist, got {str(target)!r}; {way}")
    others = sorted(foreign_names(store, target.labels)) if mode == "w" else []
    if others:
        raise FileExistsError(
            f"target must hold nothing but a pyramid to be replaced, got "
            f"{place!r}, which also holds {', '.join(others[:4])}; "
            "move that away first"
        )
    if mode == "w" and state == "unfinished":
        state = "empty"  # what a run has left is wiped
    return replace(target, state=state)
