"""The verb `write_plate`: the fields of view of a plate (HCS), in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask_pyramid.configuration import configured
from dask_pyramid.series import write_pyramids
from dask_pyramid.store.plates import Field, check_plate, parse_field, put_plate
from dask_pyramid.store.targets import open_location

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.pyramid import Pyramid
    from dask_pyramid.store_options import StoreOptions

__all__ = ["write_plate"]


def write_plate(
    images: Mapping[str, Any],
    target: Any,
    *,
    name: str | None = None,
    mode: str = "w-",
    version: str | None = None,
    storage_options: Mapping[str, Any] | StoreOptions | None = None,
    **options: Any,
) -> dict[str, Pyramid]:
    """Write images as the fields of view of an OME-Zarr plate.

    Parameters
    ----------
    images : mapping
        By ``"row/column"`` or ``"row/column/field"``, what is written there:
        ``{"A/1": "a.tif", "B/12/0": "b.tif", "B/12/1": array}``. Images are as for
        `write_pyramid`; a field without a name is ``"0"``.
    target : path or URL
        The plate: a folder, or an ``s3://``, ``gs://`` or ``az://`` URL.
    name : str, optional
        What viewers call the plate.
    mode : {"w-", "a"}
        ``"w-"`` refuses a target that exists. ``"a"`` goes on with what an interrupted
        call has left, keeps images that are complete, and adds fields to a plate.
    version : {"0.5", "0.4", "0.6"}, optional
        Version of OME-Zarr; by default what dask's configuration says, else 0.5.
    storage_options : dict or StoreOptions, optional
        As for `write_pyramid`.
    **options
        Other keyword arguments of `write_pyramids`, for all images.

    Returns
    -------
    dict
        A `Pyramid` for each field, by the path of its image: ``"A/1/0"``.

    Raises
    ------
    FileExistsError, ValueError, TypeError
        As `write_pyramids`, if a field has no valid name or two have the same, or if
        what is at the target is no plate, or one that cannot be added to.
    OSError
        As `write_pyramids`; ``mode="a"`` goes on.

    Notes
    -----
    The wells are listed when all images are complete. Until then there is no plate,
    but each image that is complete can be opened by itself.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> image = np.zeros((64, 64), "uint8")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write_plate({"A/1": image, "B/2": image}, f"{folder}/p.ome.zarr")
    >>> sorted(written)
    ['A/1/0', 'B/2/0']
    """
    fields, version = _fields(images), str(configured("version", version))
    if mode not in ("w-", "a"):
        raise ValueError(
            f"mode must be 'w-' or 'a' for a plate, got {mode!r}; remove a plate "
            "yourself to replace it"
        )
    place = open_location(target, options=storage_options)
    check_plate(place, fields, mode=mode, version=version)
    root = place.location.rstrip("/")
    written = write_pyramids(
        {f"{root}/{field.path}": image for field, image in fields.items()},
        mode=mode,
        version=version,
        storage_options=storage_options,
        **options,
    )
    put_plate(place, fields, version=version, name=name)
    return dict(zip((field.path for field in fields), written.values(), strict=True))


def _fields(images: Mapping[str, Any]) -> dict[Field, Any]:
    fields: dict[Field, Any] = {}
    for text, image in images.items():
        field = parse_field(text)
        if field in fields:
            raise ValueError(
                f"fields must be different, got {field.path!r} twice; name them, as "
                f"in '{field.well}/0' and '{field.well}/1'"
            )
        fields[field] = image
    return fields
