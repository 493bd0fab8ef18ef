"""Files of HDF5: opened, and volumes that lie in many datasets read as one array.

h5py reads in one thread at a time; other processes read beside it. No file stays open
after a read: HDF5 locks what is open, and would take it for one that replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.sources.opened import SourceError, native

if TYPE_CHECKING:
    import h5py

    from dask_pyramid.image import Region

__all__ = ["VolumeStack", "check_filters", "open_hdf5_file"]


def open_hdf5_file(path: str) -> h5py.File:
    """Open a file for reading.

    Raises
    ------
    ValueError
        If another program has it open for writing.
    OSError
        If it is damaged or truncated.
    """
    import h5py

    try:
        # Where the file system has no locks (some network disks), none is asked for.
        return h5py.File(path, "r", locking="best-effort")
    except BlockingIOError as error:
        raise SourceError(
            f"source must not be open for writing, got {path!r}, which another program "
            "has locked; close it there"
        ) from error


def check_filters(dataset: h5py.Dataset) -> None:
    """Load the filters that a dataset needs.

    Raises
    ------
    ValueError
        If one is not known.
    """
    import h5py

    created = dataset.id.get_create_plist()
    codes = {created.get_filter(i)[0] for i in range(created.get_nfilters())}
    if all(h5py.h5z.filter_avail(code) for code in codes):
        return
    # Its import registers them.
    import hdf5plugin  # noqa: F401

    unknown = [code for code in sorted(codes) if not h5py.h5z.filter_avail(code)]
    if unknown:
        raise SourceError(
            f"source must be compressed by a known filter, got number {unknown[0]} of "
            f"HDF5 in {dataset.file.filename!r}; write it again with gzip"
        )


class VolumeStack:
    """Volumes of one shape in a file, read as one array.

    Parameters
    ----------
    file : h5py.File
        What holds them.
    names : numpy.ndarray of str
        Path of the dataset of each; its shape comes before that of a volume.
    shape : sequence of int, optional
        What is read of each volume, which may be padded; by default all of it.
    dtype : data type, optional
        What the stored integers stand for, of the same size; by default what is stored.
    """

    def __init__(
        self,
        file: h5py.File,
        names: np.ndarray[Any, Any],
        *,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
    ) -> None:
        self._file = file
        self._names = names
        first = file[names.flat[0]]
        check_filters(first)
        self.shape = (*names.shape, *(shape or first.shape))
        self.dtype = native(dtype or first.dtype)
        self.chunks = (*(1,) * names.ndim, *(first.chunks or (1,) * first.ndim))

    def __getitem__(self, region: Region) -> np.ndarray[Any, Any]:
        """Return the voxels of `region`."""
        lead, inner = region[: self._names.ndim], region[self._names.ndim :]
        names = self._names[lead]
        out = np.empty([part.stop - part.start for part in region], self.dtype)
        for index, name in np.ndenumerate(names):
            block = self._file[name][inner]
            out[index] = block.astype(native(block.dtype), copy=False).view(self.dtype)
        return out

    def check(self) -> None:
        """Refuse volumes that are missing, that differ, or that are too small.

        Raises
        ------
        ValueError
            If one is.
        """
        first = self._file[self._names.flat[0]]
        for name in map(str, self._names.flat):
            found = self._file.get(name)
            if found is None:
                raise ValueError(f"{name!r} is missing")
            if (found.shape, found.dtype) != (first.shape, first.dtype):
                raise ValueError(
                    f"{name!r} has {found.shape} {found.dtype}, not {first.shape} "
                    f"{first.dtype} as {first.name!r}"
                )
        shape = self.shape[self._names.ndim :]
        if any(n > m for n, m in zip(shape, first.shape, strict=True)):
            raise ValueError(f"{first.name!r} has {first.shape}, less than {shape}")
