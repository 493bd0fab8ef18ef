"""Where pyramids are kept: create, write whole objects, publish. All writing is here.

A pyramid is created as a group without `multiscales` and with a mark; readers do not
take it for an image. Objects of a local store are encoded in a staging folder and
renamed into place whole; object stores put atomically by themselves. The metadata come
last, in one write. What is not recognised as a pyramid is never deleted.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.compression import find_codecs
from dask_pyramid.credentials import address_of
from dask_pyramid.locations import is_url, local_path, public_url
from dask_pyramid.metadata import parse_multiscales
from dask_pyramid.sources.stored import UNFINISHED
from dask_pyramid.sources.zarr_arrays import ZarrReader, open_zarr_array
from dask_pyramid.store_options import StoreOptions
from dask_pyramid.stores import open_store, store_place

if TYPE_CHECKING:
    from dask_pyramid.image import Region
    from dask_pyramid.plan import PyramidPlan

__all__ = [
    "LevelWriter",
    "Target",
    "create",
    "discard",
    "open_target",
    "publish",
]

_WORK = ".dask-pyramid"
_MODES = ("w-", "w")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a pyramid goes; small, and pickles."""

    location: str
    """Path or URL that readers will open; empty for a store object."""
    store: Any = field(default=None, compare=False)
    """The store object, if the user gave one."""
    options: StoreOptions = field(default_factory=StoreOptions)
    """How a URL is opened."""
    replaces: bool = False
    """Whether a local pyramid of this name is replaced when the new one is complete."""
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
        if not self.replaces:
            return self.location
        path = Path(self.location)
        return str(path.with_name(f".{path.name}.replacement-{self.run[:8]}"))

    def open(self) -> Any:
        """Return a zarr store, writable."""
        if self.store is not None:
            return self.store
        return open_store(self.root, read_only=False, options=self.options)

    def level_reader(self, number: int) -> ZarrReader:
        """Return a reader of a stored level."""
        return _level_reader(self, number)

    def level_writer(self, number: int) -> LevelWriter:
        """Return the writer of a level; opened once for each process."""
        with _writer_lock:  # one staging folder for each process and level
            return _level_writer(self, number, os.getpid())

    def __str__(self) -> str:
        return (
            public_url(self.location)
            if is_url(self.location)
            else (self.location or str(self.store))
        )


@lru_cache(maxsize=64)
def _level_reader(target: Target, number: int) -> ZarrReader:
    place = target.store if target.store is not None else target.root
    return ZarrReader(place, str(number), options=target.options)


_writer_lock = threading.Lock()


@lru_cache(maxsize=64)
def _level_writer(target: Target, number: int, _pid: int) -> LevelWriter:
    return LevelWriter(target, number)


class LevelWriter:
    """Write whole storage objects of one level.

    Parameters
    ----------
    target : Target
        The pyramid, created before.
    number : int
        The level.
    """

    def __init__(self, target: Target, number: int) -> None:
        self._final: Path | None = None
        self._staging: Path | None = None
        self._folders: set[Path] = set()
        if not target.local:
            from dask_pyramid.object_store import WholeObjects

            # All objects of a new pyramid are gone when its arrays are created.
            store = WholeObjects(target.open(), fresh=True)
            self._array = open_zarr_array(store, str(number), mode="r+")
            return
        self._final = Path(target.root, str(number))
        self._staging = Path(
            target.root, _WORK, f"staging-{uuid.uuid4().hex}", str(number)
        )
        self._staging.mkdir(parents=True)
        for name in ("zarr.json", ".zarray"):
            if (self._final / name).exists():
                shutil.copyfile(self._final / name, self._staging / name)
        self._array = open_zarr_array(str(self._staging), mode="r+", in_place=True)

    def write(self, region: Region, values: np.ndarray[Any, Any]) -> None:
        """Write `values` to `region`, which must consist of whole objects.

        Parameters
        ----------
        region : tuple of slice
            Voxels of the level; cuts no object but at the border of the level.
        values : numpy.ndarray
            C-contiguous, of the region's shape.

        Raises
        ------
        OSError
            If the store cannot be written.
        """
        self._array[region] = values
        if self._final is None:
            return
        assert self._staging is not None  # set together
        for key in self._keys(region):
            staged, final = self._staging / key, self._final / key
            if final.parent not in self._folders:
                final.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(final.parent)
            try:
                staged.replace(final)
            except FileNotFoundError:
                if staged.exists():
                    raise  # the folder is gone: somebody has removed the target
                # All fill value: such an object is not stored.
                final.unlink(missing_ok=True)

    def _keys(self, region: Region) -> list[str]:
        objects = self._array.shards or self._array.chunks
        grid = [
            range(r.start // o, -(-r.stop // o))
            for r, o in zip(region, objects, strict=True)
        ]
        return [
            self._array.metadata.encode_chunk_key(
                tuple(r.start + i for r, i in zip(grid, at, strict=True))
            )
            for at in np.ndindex(*map(len, grid))
        ]


def open_target(
    target: Any,
    *,
    mode: str,
    sources: Sequence[str] = (),
    options: StoreOptions | None = None,
) -> Target:
    """Check where a pyramid shall go; nothing is written.

    Parameters
    ----------
    target : path, URL or zarr store
        A folder, an ``s3://``, ``gs://`` or ``az://`` URL, or a zarr store.
    mode : {"w-", "w"}
        ``"w-"`` refuses whatever exists, ``"w"`` replaces a pyramid.
    sources : sequence of str
        Paths and URLs that the source reads.
    options : StoreOptions, optional
        How to open a URL.

    Returns
    -------
    Target
        The target.

    Raises
    ------
    FileExistsError
        If the target exists and may not be replaced.
    ValueError
        If the mode is unknown, or the target lies in, at or around the source.
    OSError
        If an object store refuses the credentials, has no such bucket, or does not
        answer.
    """
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
    if not isinstance(target, str | os.PathLike):
        return _open_store_object(target, mode, sources)
    text = local_path(os.fspath(target))
    if not text:
        raise ValueError("target must be a path or URL, got an empty text")
    if is_url(text):
        options = options or StoreOptions()
        _check_apart(address_of(text, options), sources)
        return _open_url(text.rstrip("/"), mode, options)
    location = os.path.realpath(text)
    _check_apart(location, sources)
    return _open_folder(Path(location), mode)


def _check_apart(target: str, sources: Sequence[str]) -> None:
    for source in map(_whole_image, sources):
        here, there = target.rstrip("/") + "/", source.rstrip("/") + "/"
        if here == there:
            raise ValueError(
                f"target must not be the source, got {target!r} for both; "
                "a source is never modified"
            )
        if here.startswith(there) or there.startswith(here):
            inside, outside = (
                (target, source) if len(here) > len(there) else (source, target)
            )
            raise ValueError(
                f"target and source must lie apart, got {inside!r} inside {outside!r}; "
                "a source is never modified"
            )


def _whole_image(source: str) -> str:
    """Return the OME-Zarr image that a local array is a level of, else the array."""
    if is_url(source):
        return source
    folder = Path(source).parent
    while (folder / "zarr.json").exists() or (folder / ".zgroup").exists():
        if _is_pyramid(str(folder)):
            return str(folder)
        folder = folder.parent
    return source


def _open_folder(path: Path, mode: str) -> Target:
    parent = path.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise ValueError(f"target must lie in a folder, got {str(path)!r} in a file")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return Target(location=str(path))
    if mode == "w-":
        raise FileExistsError(
            f"target must not exist, got {str(path)!r}; mode='w' replaces a pyramid"
        )
    if not path.is_dir() or not _is_pyramid(str(path)):
        raise FileExistsError(
            f"target must be a pyramid to be replaced, got {str(path)!r}, which is "
            "something else; remove it yourself or choose another name"
        )
    others = sorted(_foreign(path))
    if others:
        raise FileExistsError(
            f"target must hold nothing but a pyramid to be replaced, got "
            f"{str(path)!r}, which also holds {', '.join(others[:4])}; "
            "move that away first"
        )
    return Target(location=str(path), replaces=True)


def _foreign(path: Path) -> set[str]:
    """Return what lies in a pyramid's folder beside its levels and metadata."""
    import zarr

    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    attributes = zarr.open_group(str(path), mode="r").attrs.asdict()
    if UNFINISHED in attributes:
        return {name for name in names - {"zarr.json"} if not name.isdigit()}
    levels = parse_multiscales(attributes).datasets
    return names - {"zarr.json"} - {level.path.split("/")[0] for level in levels}


def _open_url(url: str, mode: str, options: StoreOptions) -> Target:
    if url.startswith(("http://", "https://")):
        raise ValueError(
            f"target must be a folder or an s3, gs or az URL, got {public_url(url)!r}; "
            "a web server takes no objects"
        )
    target = Target(location=url, options=options)
    store = open_store(url, read_only=False, options=options, hurried=True)
    _check_store(target, store, mode)
    return target


def _open_store_object(store: Any, mode: str, sources: Sequence[str]) -> Target:
    from zarr.abc.store import Store
    from zarr.storage import LocalStore, ZipStore

    if isinstance(store, LocalStore):
        return open_target(store.root, mode=mode, sources=sources)
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
    target = Target(location="", store=store)
    _check_store(target, store, mode)
    return target


def _check_store(target: Target, store: Any, mode: str) -> None:
    from zarr.core.sync import sync

    if sync(store.is_empty("")):
        return
    if mode == "w-":
        raise FileExistsError(
            f"target must not exist, got {target}; mode='w' replaces a pyramid"
        )
    if not _is_pyramid(store):
        raise FileExistsError(
            f"target must be a pyramid to be replaced, got {target}, which is "
            "something else; remove it yourself or choose another name"
        )


def _is_pyramid(store: Any) -> bool:
    """Return whether a group holds `multiscales`, or the mark of an unfinished one."""
    import zarr
    from zarr.errors import GroupNotFoundError

    try:
        attributes = zarr.open_group(store, mode="r").attrs.asdict()
    except (GroupNotFoundError, FileNotFoundError, NotADirectoryError, ValueError):
        return False
    ome = attributes.get("ome", {})
    return (
        "multiscales" in attributes
        or UNFINISHED in attributes
        or (isinstance(ome, Mapping) and "multiscales" in ome)
    )


def create(target: Target, plan: PyramidPlan, compressors: Any = None) -> None:
    """Create the group, marked as unfinished, and its empty arrays.

    Parameters
    ----------
    target : Target
        From `open_target`.
    plan : PyramidPlan
        Levels and layout.
    compressors : object
        As in zarr-python, or a name out of ``"blosc"``, ``"zstd"``, ``"lz4"``,
        ``"gzip"``, ``"none"``; None is Blosc (zstd, level 3, byte shuffle), for Zarr v3
        followed by crc32c.

    Raises
    ------
    ValueError
        If a codec or a layout is one that zarr refuses; nothing is written then.
    """
    import zarr
    from zarr.storage import MemoryStore

    codecs = find_codecs(compressors, plan.version)
    rehearsal = zarr.create_group(MemoryStore(), zarr_format=_format(plan))
    try:
        _fill(rehearsal, plan, codecs)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"compressors must be a name or codecs that zarr takes for version "
            f"{plan.version}, got {compressors!r}: {error}"
        ) from error
    if target.local:
        Path(target.root).mkdir(parents=True, exist_ok=True)
    group = zarr.create_group(
        target.open(),
        zarr_format=_format(plan),
        overwrite=not target.local,
        attributes={UNFINISHED: {"status": "unfinished"}},
    )
    _fill(group, plan, codecs)


def _format(plan: PyramidPlan) -> Any:
    return 2 if plan.version == "0.4" else 3


def _fill(group: Any, plan: PyramidPlan, codecs: Any) -> None:
    for level in plan.levels:
        layout: dict[str, Any] = {"dimension_names": list(plan.axes)}
        if plan.version == "0.4":
            # "the dimension separator MUST be '/'" (OME-Zarr 0.4, images)
            layout = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        group.create_array(
            level.path,
            shape=level.shape,
            dtype=plan.dtype,
            chunks=level.chunks,
            shards=level.shards,
            compressors=codecs,
            fill_value=0,
            **layout,
        )


def publish(target: Target, attributes: Mapping[str, Any]) -> None:
    """Remove what is left of the work and write the metadata, last and in one write.

    Parameters
    ----------
    target : Target
        A pyramid whose units are all done.
    attributes : dict
        Attributes of the group; they replace the mark.
    """
    import zarr

    if target.local:
        shutil.rmtree(Path(target.root, _WORK), ignore_errors=True)
    group = zarr.open_group(target.open(), mode="r+")
    group.attrs.put(dict(attributes))
    if target.replaces:
        _swap(Path(target.root), Path(target.location))


def discard(target: Target) -> None:
    """Remove a replacement that has failed; the pyramid it was to replace stays.

    What is unfinished at a new place is left, marked as such, for the user to look at.
    """
    if target.replaces:
        shutil.rmtree(target.root, ignore_errors=True)


def _swap(new: Path, old: Path) -> None:
    """Put a complete pyramid where the old one is; the old one goes last."""
    aside = old.with_name(f".{old.name}.replaced-{uuid.uuid4().hex[:8]}")
    old.rename(aside)
    try:
        new.rename(old)
    except BaseException:
        aside.rename(old)
        raise
    shutil.rmtree(aside, ignore_errors=True)
