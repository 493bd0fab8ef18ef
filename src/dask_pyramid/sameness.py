"""Whether a complete pyramid is what a job would write, as far as it says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask_pyramid.attributes import group_attributes
from dask_pyramid.jobs import differences
from dask_pyramid.provenance import KEY, read_provenance
from dask_pyramid.receipts import Books
from dask_pyramid.store.contents import read_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.image import Image
    from dask_pyramid.jobs import StoredJob
    from dask_pyramid.masks import Mask
    from dask_pyramid.provenance import Provenance
    from dask_pyramid.store.targets import Target

__all__ = ["check_same_job"]


def check_same_job(
    image: Image,
    job: StoredJob,
    target: Target,
    *,
    mask: Mask | None,
    changed: bool = False,
) -> Provenance:
    """Check that a complete pyramid is what a job would write.

    Parameters
    ----------
    image : Image
        The source.
    job : StoredJob
        What would be written of it.
    target : Target
        What is there, complete.
    mask : Mask or None
        Its mask.
    changed : bool
        Whether files of source and mask may have been written since.

    Returns
    -------
    Provenance
        What the pyramid says of its making.

    Raises
    ------
    FileExistsError
        If it is of another tool.
    ValueError
        If it is of another job; the message says how they differ.
    """
    attributes = read_attributes(target.open())
    record = read_provenance(attributes)
    if record is None:
        raise FileExistsError(
            f"target must be a pyramid of dask-pyramid to go on with, got {target} of "
            "another tool; add_levels makes coarser levels, mode='w' replaces it"
        )
    wanted = group_attributes(
        image,
        job.plan,
        job.parameters["codecs"],
        mask=mask,
        books=Books(job.plan),
    )
    # The record goes first: it says in short what the other says at length.
    found = differences(
        _facts(attributes, changed=changed), _facts(wanted, changed=changed)
    ) or differences(_multiscales(attributes), _multiscales(wanted))
    if found:
        raise ValueError(
            f"the job must be the same to go on with it, got {target}, which is "
            f"complete and differs: {found}; mode='w' replaces it"
        )
    return record


def _facts(attributes: Mapping[str, Any], *, changed: bool) -> dict[str, Any]:
    """Return what does not depend on pixels: all but grey values and checksums."""
    record = dict(attributes[KEY])
    record["levels"] = {
        level["path"]: {key: level[key] for key in ("factors", "steps", "grid")}
        for level in record["levels"]
    }
    if changed:
        for name in ("source", "mask"):
            if record.get(name):
                kept = {k: v for k, v in record[name].items() if k != "stamp"}
                record[name] = kept
    return record


def _multiscales(attributes: Mapping[str, Any]) -> dict[str, Any]:
    found = attributes.get("ome", attributes).get("multiscales")
    return {"multiscales": _numbered(found)}


def _numbered(value: Any) -> Any:
    """Return lists of mappings as mappings by number, so that parts can be named."""
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {key: _numbered(entry) for key, entry in value.items()}
    return value
