"""What a run is about: source, plan and codecs, their fingerprint and differences.

The job is stored before anything else, so that another process can carry out its units
and an interrupted run goes on only with the same source, method and layout.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dask_pyramid import __version__
from dask_pyramid.masks import Mask, open_mask
from dask_pyramid.plan import PyramidPlan
from dask_pyramid.sources import open_image
from dask_pyramid.sources.identity import identify, public_source
from dask_pyramid.sources.resampled import resampled_image, samplings_from_json

if TYPE_CHECKING:
    from dask_pyramid.image import Image

__all__ = [
    "StoredJob",
    "check_unchanged",
    "describe",
    "described_levels",
    "differences",
    "reopen",
    "reopen_mask",
]

# Differences that a message names; the others are counted.
_NAMED = 6

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
_short.maxlist = _short.maxtuple = _short.maxdict = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """A run as it is stored beside the levels that it makes."""

    parameters: Mapping[str, Any]
    """All that the stored bytes depend on, JSON values."""
    plan: PyramidPlan
    """Levels, passes and units."""
    origin: Mapping[str, Any] | None
    """Path or URL of the source and the axes given for it; None for an array."""
    mask_origin: Mapping[str, Any] | None = None
    """Path or URL of the mask; None for an array, and if there is none."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of others that the group had before, and shall have again."""

    @property
    def fingerprint(self) -> str:
        """Hash of the parameters: what has another one is another pyramid."""
        text = json.dumps(self.parameters, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "fingerprint": self.fingerprint,
            "parameters": self.parameters,
            "origin": self.origin,
            "mask_origin": self.mask_origin,
            "attributes": self.attributes,
            "plan": self.plan.to_json(),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StoredJob:
        """Return the job that `to_json` gave.

        Raises
        ------
        ValueError
            If this version cannot read it.
        """
        parameters, plan = record.get("parameters"), record.get("plan")
        if not isinstance(parameters, dict) or not isinstance(plan, dict):
            raise ValueError(
                "a stored job must hold parameters and a plan, got "
                f"{sorted(record)!r}; start again with mode='w'"
            )
        return cls(
            parameters=parameters,
            plan=PyramidPlan.from_json(plan),
            origin=record.get("origin"),
            mask_origin=record.get("mask_origin"),
            attributes=record.get("attributes") or {},
        )


def describe(
    image: Image, plan: PyramidPlan, codecs: Any, *, mask: Mask | None = None
) -> StoredJob:
    """Return the job of writing an image.

    Parameters
    ----------
    image : Image
        The source.
    plan : PyramidPlan
        Levels and layout.
    codecs : object
        Codecs as JSON values.
    mask : Mask, optional
        Which voxels count.

    Notes
    -----
    Cost: an array in memory is read once, for its checksum.
    """
    parameters = {
        "program": __version__,
        "source": identify(image),
        "mask": None if mask is None else identify(mask.image),
        "name": image.name,
        "labels": image.labels,
        "omero": image.omero,
        "image_label": image.image_label,
        "axes": plan.axes,
        "unit": plan.unit,
        "dtype": plan.dtype,
        "method": plan.method.name,
        "sigma": plan.sigma,
        "nodata": None if plan.nodata is None else plan.nodata.to_json(),
        "version": plan.version,
        "codecs": codecs,
        "levels": described_levels(plan),
    }
    # As it will be read back: tuples are lists there.
    plain = json.loads(json.dumps(parameters, default=str))
    return StoredJob(
        parameters=plain,
        plan=plan,
        origin=image.origin,
        mask_origin=None if mask is None else mask.image.origin,
    )


def described_levels(plan: PyramidPlan) -> dict[str, Any]:
    """Return of each level, by its path, what its bytes depend on."""
    return {
        level.path: {
            "shape": level.shape,
            "factors": level.factors,
            "scale": level.scale,
            "translation": level.translation,
            "chunks": level.chunks,
            "shards": level.shards,
        }
        for level in plan.levels
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return in words where two sets of parameters differ.

    Examples
    --------
    >>> differences({"method": "mean", "unit": [None]}, {"method": "mode", "unit": []})
    "method: 'mean' there, 'mode' here; unit: [None] there, [] here"
    """
    was, is_ = dict(_flat(old)), dict(_flat(new))
    found = [
        f"{key}: {_short.repr(was.get(key))} there, {_short.repr(is_.get(key))} here"
        for key in dict.fromkeys([*was, *is_])
        if was.get(key) != is_.get(key)
    ]
    more = len(found) - _NAMED
    return "; ".join(found[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, entry in value.items():
        yield from _flat(entry, f"{path}.{key}" if path else str(key))


def reopen(job: StoredJob) -> Image:
    """Open the source of a stored job again.

    Raises
    ------
    ValueError
        If the source is an array, or is not what it was when the job was stored.
    """
    if job.origin is None:
        raise ValueError(
            "source must be a path or a URL without secrets for its units to be run "
            "by other processes, got an array; write it to a store first"
        )
    plan, parameters = job.plan, job.parameters
    first = plan.levels[0]
    image = open_image(
        job.origin["location"],
        axes=job.origin["axes"],
        storage_options=job.origin.get("storage_options"),
    )
    for step in job.origin.get("resampling", ()):
        image = resampled_image(image, samplings_from_json(step, image.shape))
    image = image.with_metadata(
        scale=first.scale,
        translation=first.translation,
        unit=plan.unit,
        name=parameters["name"],
        labels=parameters["labels"],
    )
    now = {"source": identify(image), "dtype": image.dtype.name, "shape": image.shape}
    then = {
        "source": parameters["source"],
        "dtype": plan.dtype,
        "shape": first.shape,
    }
    if json.loads(json.dumps(now)) != json.loads(json.dumps(then)):
        raise ValueError(
            f"source must not change while its pyramid is made, got another one: "
            f"{differences(then, now)}; start again with mode='w'"
        )
    return image


def reopen_mask(job: StoredJob, image: Image) -> Mask | None:
    """Open the mask of a stored job again; None if it has none.

    Raises
    ------
    ValueError
        If the mask is an array, or is not what it was when the job was stored.
    """
    then = job.parameters.get("mask")
    if then is None:
        return None
    if job.mask_origin is None:
        raise ValueError(
            "mask must be a path or a URL without secrets for units to be run by other "
            "processes, got an array; write it to a store first"
        )
    opened = open_image(
        job.mask_origin["location"],
        axes=job.mask_origin["axes"],
        storage_options=job.mask_origin.get("storage_options"),
    )
    now = json.loads(json.dumps(identify(opened)))
    if now != then:
        raise ValueError(
            f"mask must not change while its pyramid is made, got another one: "
            f"{differences(then, now)}; start again with mode='w'"
        )
    found = open_mask(opened, axes=image.axes, shape=image.shape)
    assert found is not None  # it has been opened
    return found.of_levels(job.plan.levels)


def check_unchanged(job: StoredJob, image: Image, mask: Mask | None) -> None:
    """Check that the files that were read are those that the job was begun with.

    Raises
    ------
    OSError
        If files of source or mask have changed since, or are gone.
    """
    read = {"source": image}
    if mask is not None:
        read["mask"] = mask.image
    for name, pixels in read.items():
        then, now = job.parameters[name], public_source(pixels)
        if now["kind"] != "file" or now == then:
            continue
        raise OSError(
            f"{name} must stay as it is while its pyramid is made, got another one: "
            f"{differences(then, now)}; nothing is published, mode='w' starts again"
        )
