"""A zipped OME-Zarr file as target: written as a folder beside it, packed at the end.

Units need a place where objects can be replaced, and a run that was killed goes on with
what it has left there; a zip file is written once, from its first byte to its last. So
a run needs the disk for both, until the folder is removed. The file appears under its
name when it is complete.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_pyramid.locations import is_zipped, local_path
from dask_pyramid.store.apart import refuse_sources
from dask_pyramid.store.contents import state_of
from dask_pyramid.store.locks import Lock
from dask_pyramid.store.replacement import beside
from dask_pyramid.store.targets import Target
from dask_pyramid.store.writers import WORK
from dask_pyramid.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Package", "package_of"]

_METADATA = "zarr.json"
# Bytes that are copied at a time.
_PIECE = 2**22


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A zip file that is to be written, and the folder that it is packed from."""

    location: str
    """Real path of the file."""
    mode: str
    """As for `open_target`."""

    @property
    def folder(self) -> str:
        """What is written in its place."""
        return str(beside(self.location, "folder"))

    @property
    def exists(self) -> bool:
        """Whether the file is there, which is complete then."""
        return Path(self.location).exists()

    def check(self, version: str, sources: Sequence[str]) -> None:
        """Check that the file may be written; nothing is.

        Raises
        ------
        FileExistsError
            If there is something that the mode does not allow to replace.
        ValueError
            If the version has no zipped form, or a source lies in the file.
        """
        if version == "0.4":
            raise ValueError(
                "version must be 0.5 or 0.6 for a zipped OME-Zarr, got 0.4; leave it "
                "out, or write a folder"
            )
        refuse_sources(self.location, sources)
        if not self.exists:
            return
        if self.mode == "w-":
            raise FileExistsError(
                f"target must not exist, got {self.location!r}; mode='w' replaces a "
                "zipped pyramid"
            )
        if not zipfile.is_zipfile(self.location) or (
            state_of(open_store(self.location)) != "complete"
        ):
            raise FileExistsError(
                f"target must be a new place or a zipped pyramid, got "
                f"{self.location!r}, which is something else; remove it yourself"
            )

    def stored(self) -> Target:
        """Return the file as a target that is complete, to be looked at."""
        return Target(
            location="",
            store=open_store(self.location),
            state="complete",
            mode=self.mode,
        )

    def pack(self, version: str, *, break_lock: bool = False) -> bool:
        """Write the file from the folder, if that is complete, and remove the folder.

        Parameters
        ----------
        version : str
            Version of OME-Zarr.
        break_lock : bool
            Whether to take the lock of the folder whoever holds it.

        Returns
        -------
        bool
            False if the folder is not complete: another process has packed it.

        Raises
        ------
        LockedError
            If somebody else writes the folder or packs it.
        """
        store = open_store(self.folder, read_only=False)
        try:
            with Lock(store, self.location, break_lock=break_lock) as lock:
                if state_of(store) != "complete":
                    return False
                # What runs that were killed have left; none but this one packs now.
                for old in self._beside("part"):
                    old.unlink(missing_ok=True)
                part = beside(self.location, f"{uuid.uuid4().hex}.part")
                with part.open("wb") as file:
                    _write_zip(file, Path(self.folder), version)
                    file.flush()
                    os.fsync(file.fileno())
                lock.check()
                part.replace(self.location)
                # The name goes first: what a kill leaves is not taken for a pyramid.
                gone = beside(self.location, f"{uuid.uuid4().hex}.removed")
                Path(self.folder).rename(gone)
        finally:
            with suppress(OSError):  # not there, or not empty
                Path(self.folder).rmdir()
        self.clear()
        return True

    def clear(self) -> None:
        """Remove folders that have been packed."""
        for gone in self._beside("removed"):
            shutil.rmtree(gone, ignore_errors=True)

    def _beside(self, purpose: str) -> list[Path]:
        """Return what runs have made beside the file for a purpose."""
        start, end = (re.escape(p) for p in (f".{Path(self.location).name}.", purpose))
        name = re.compile(f"{start}[0-9a-f]{{32}}[.]{end}")
        folder = Path(self.location).parent
        return [path for path in folder.iterdir() if name.fullmatch(path.name)]


def package_of(target: Any, mode: str) -> Package | None:
    """Return what a target means, if it is the path of a zipped OME-Zarr file."""
    if not isinstance(target, str | os.PathLike):
        return None
    path = local_path(os.fspath(target))
    if not is_zipped(path):
        return None
    return Package(location=os.path.realpath(path), mode=mode)


def _write_zip(file: Any, folder: Path, version: str) -> None:
    """Write a zip file as RFC-9 of OME-Zarr recommends it.

    The same folder gives the same bytes: entries have no times and no owners.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in _in_order(folder):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o644 << 16
            with (
                (folder / name).open("rb") as source,
                # "The ZIP64 format extension SHOULD be used, irrespective of the ZIP
                # file size." (RFC-9)
                archive.open(entry, "w", force_zip64=True) as out,
            ):
                shutil.copyfileobj(source, out, _PIECE)
        said = {"centralDirectory": {"jsonFirst": True}}
        comment = {"ome": {"version": version, "zipFile": said}}
        archive.comment = json.dumps(comment).encode()


def _in_order(folder: Path) -> Iterator[str]:
    """Yield the files of a folder: metadata first, breadth-first, then the others."""
    # "The root-level zarr.json file SHOULD be the first ZIP file entry and the first
    # entry in the central directory header; other zarr.json files SHOULD follow
    # immediately afterwards, in breadth-first order." (RFC-9)
    names = [
        Path(top, name).relative_to(folder).as_posix()
        for top, _, files in os.walk(folder)
        if WORK not in Path(top).parts  # the lock, while it is packed
        for name in files
    ]
    metadata = [name for name in names if name.rpartition("/")[2] == _METADATA]
    yield from sorted(metadata, key=lambda name: (name.count("/"), name))
    yield from sorted(set(names) - set(metadata))
