"""What a call on a stored image means: a `Growth`, checked; nothing is written.

A store is looked at once; what is in its journal comes before what is asked for.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dask_pyramid import __version__
from dask_pyramid.accounts import base_records, records_without
from dask_pyramid.existing import Existing, read_existing
from dask_pyramid.growth import plan_appended
from dask_pyramid.jobs import described_levels, differences
from dask_pyramid.journal import Journal
from dask_pyramid.receipts import object_grid
from dask_pyramid.sources.identity import identify, public_source
from dask_pyramid.sources.zarr_arrays import ZarrReader
from dask_pyramid.store import ledger, publication, targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.image import Image
    from dask_pyramid.masks import Mask
    from dask_pyramid.passes import Part
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.runner import Team
    from dask_pyramid.store.targets import Target

__all__ = [
    "Growth",
    "Site",
    "added",
    "appended",
    "look",
    "rewritten",
    "superseding",
    "updated",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A store as a call finds it."""

    target: Target
    """Where it is."""
    existing: Existing
    """What is stored."""
    found: Journal | None
    """The journal of a growth that was killed, if there is one."""

    @property
    def is_listed(self) -> bool:
        """Whether readers see the levels that a killed call has added."""
        if self.found is None or self.found.verb != "add_levels" or self.found.remove:
            return False
        wanted = {level["path"] for level in self.found.plan.get("levels", ())}
        there = {level.path for level in self.existing.levels}
        return self.existing.published and wanted == there

    @property
    def has_grown(self) -> bool:
        """Whether level 0 has the extent that a killed call has given it."""
        found = self.found
        return found is not None and self.existing.levels[0].shape != found.before[0]

    def check(self, verb: str, *, published: bool = True) -> None:
        """Refuse what is no image yet, and what another call has left half done.

        Raises
        ------
        ValueError
            If so.
        """
        if published and not self.existing.published:
            raise ValueError(
                f"target must be an OME-Zarr image, got {self.target}, a group without "
                "'multiscales'; add_levels makes it one"
            )
        found = self.found
        if found is not None and found.verb != verb:
            region = f" of region {found.region!r}" if found.region else ""
            raise ValueError(
                f"{verb} must wait for the {found.verb}{region} that was interrupted "
                f"at {self.target}; run that again first"
            )


def look(target: Target, **given: Any) -> Site:
    """Return a store as it is now.

    Parameters
    ----------
    target : Target
        From `inplace.open_existing`.
    **given
        Keyword arguments of `open_image`, for a group that says nothing itself.
    """
    found = ledger.read_journal(target)
    existing = read_existing(
        targets.open_group(target),
        target.location,
        options=target.options,
        resumed=found is not None,
        **given,
    )
    return Site(target=target, existing=existing, found=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What is to be written into a store that exists, checked."""

    site: Site
    """Where."""
    journal: Journal
    """What it is about."""
    plan: PyramidPlan
    """Levels as they shall be; passes for what is to be written."""
    image: Image
    """What the first pass reads, if that does not read a stored level."""
    mask: Mask | None = None
    """Which voxels count."""
    compressors: Any = None
    """Codecs of new levels, as in zarr-python, or a name."""
    team: Team | None = None
    """Who runs the units; None where all have run."""


def added(
    site: Site,
    plan: PyramidPlan,
    *,
    n_kept: int,
    replaces: bool,
    compressors: Any,
    mask: Mask | None,
) -> Growth:
    """Return the growth that adds levels.

    Parameters
    ----------
    site : Site
        The store.
    plan : PyramidPlan
        From `plan_levels`.
    n_kept : int
        Number of levels that stay.
    replaces : bool
        Whether what is there of others is removed.
    compressors, mask
        As for `dask_pyramid.add_levels`.

    Raises
    ------
    ValueError
        If other levels were begun.
    FileExistsError
        If something else has the name of a new level.
    """
    target, existing, found = site.target, site.existing, site.found
    stays = dataclasses.replace(existing, levels=existing.levels[:n_kept])
    removed = [level.path for level in existing.levels[n_kept:]]
    if found is not None and replaces:
        removed += [level["path"] for level in found.plan["levels"][1:]]
    journal = Journal(
        verb="add_levels",
        parameters=_parameters(
            plan,
            codecs=publication.codecs_json(plan, compressors),
            stamp=public_source(existing.image).get("stamp"),
            mask=None if mask is None else identify(mask.image),
        ),
        plan=_plain(plan.to_json()) if plan.passes else {},
        before=tuple(level.shape for level in stays.levels),
        records=base_records(target, stays, plan),
        remove=tuple(dict.fromkeys(removed)),
    )
    if found is None or found.fingerprint != journal.fingerprint:
        if found is not None and not replaces:
            raise ValueError(
                f"add_levels must go on with what an interrupted one has begun at "
                f"{target}, got other levels: "
                f"{differences(found.parameters, journal.parameters)}; replace=True "
                "removes that and starts again"
            )
        taken = {level.path for level in plan.levels[n_kept:]} - set(removed)
        _check_free(target, taken)
    return Growth(
        site=site,
        journal=journal,
        plan=plan,
        image=existing.image,
        mask=mask,
        compressors=compressors,
    )


def _check_free(target: Target, paths: set[str]) -> None:
    group = targets.open_group(target)
    taken = sorted(path for path in paths if path in group)
    if taken:
        raise FileExistsError(
            f"level {taken[0]!r} must be a new name in {target}, got something that "
            "the multiscales do not list; remove it yourself"
        )


def updated(
    site: Site, plan: PyramidPlan, region: Part, *, mask: Mask | None
) -> Growth:
    """Return the growth that takes up a changed region.

    Parameters
    ----------
    site : Site
        The store.
    plan : PyramidPlan
        From `plan_updated`.
    region, mask
        What has changed of level 0, and which voxels count.
    """
    existing = site.existing
    return Growth(
        site=site,
        journal=Journal(
            verb="update_pyramid",
            parameters=_parameters(plan, region=region),
            plan=_plain(plan.to_json()) if plan.passes else {},
            before=tuple(level.shape for level in existing.levels),
            records=base_records(site.target, existing, plan),
            region=region,
        ),
        plan=plan,
        image=existing.image,
        mask=mask,
    )


def rewritten(
    site: Site,
    image: Image,
    plan: PyramidPlan,
    *,
    region: Part,
    read: Mapping[str, Any],
    mask: Mask | None,
) -> Growth:
    """Return the growth that writes a region again, from the source on.

    Parameters
    ----------
    site : Site
        The store.
    image : Image
        The source.
    plan : PyramidPlan
        From `plan_rewritten`.
    region : Part
        Which voxels of level 0 are asked for.
    read : mapping
        What tells source and mask from others.
    mask : Mask or None
        The mask.
    """
    existing = site.existing
    assert existing.provenance is not None  # it has been checked to be of this job
    records = records_without(site.target, existing.provenance, plan)
    return Growth(
        site=site,
        journal=Journal(
            verb="write_pyramid",
            parameters=_parameters(plan, region=region, **read),
            plan=_plain(plan.to_json()),
            before=tuple(level.shape for level in existing.levels),
            records=records,
            region=region,
        ),
        plan=plan,
        image=image,
        mask=mask,
    )


def appended(
    site: Site,
    image: Image,
    axis: str,
    *,
    source: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Growth:
    """Return the growth that appends an image.

    Parameters
    ----------
    site : Site
        The store.
    image : Image
        What is appended.
    axis : str
        Along which axis.
    source, options : mapping
        What tells the image from others; further arguments of `plan_appended`.

    Raises
    ------
    ValueError
        If the image does not continue what is stored.
    """
    before = _before(site)
    plan, joined = plan_appended(before, image, axis, **options)
    shapes = tuple(level.shape for level in before.levels)
    return Growth(
        site=site,
        journal=Journal(
            verb="append",
            parameters=_parameters(plan, axis=axis, before=shapes, image=source),
            plan=_plain(plan.to_json()),
            before=shapes,
            records=base_records(site.target, before, plan),
        ),
        plan=plan,
        image=joined,
    )


def _before(site: Site) -> Existing:
    """Return what was stored before an append that was killed."""
    existing, found, target = site.existing, site.found, site.target
    if found is None:
        return existing
    levels = tuple(
        dataclasses.replace(level, shape=shape)
        for level, shape in zip(existing.levels, found.before, strict=True)
    )
    place = target.store if target.store is not None else target.location
    reader = ZarrReader(
        place, levels[0].path, shape=levels[0].shape, options=target.options
    )
    image = dataclasses.replace(existing.image, reader=reader)
    return dataclasses.replace(existing, levels=levels, image=image)


def superseding(growth: Growth) -> Growth:
    """Return an append that writes all that another one has begun.

    Raises
    ------
    ValueError
        If something of the other one would be left.
    """
    found = growth.site.found
    assert found is not None  # there is something to supersede
    begun = [tuple(level["shape"]) for level in found.plan["levels"]]
    wanted = [level.shape for level in growth.plan.levels]
    axis = growth.journal.parameters["axis"]
    covers = axis == found.parameters["axis"] and all(
        n >= m
        for shape, other in zip(wanted, begun, strict=True)
        for n, m in zip(shape, other, strict=True)
    )
    if not covers:
        raise ValueError(
            f"append must go on with what an interrupted one has begun, which ends at "
            f"{begun[0]!r} along {found.parameters['axis']!r}, got an image that ends "
            f"at {wanted[0]!r} along {axis!r}; append the same image, or a longer one"
        )
    records = tuple(
        None if record is None else record.extended(object_grid(growth.plan, number))
        for number, record in enumerate(found.records)
    )
    journal = dataclasses.replace(growth.journal, records=records)
    return dataclasses.replace(growth, journal=journal)


def _parameters(plan: PyramidPlan, **more: Any) -> dict[str, Any]:
    """Return all that the stored bytes depend on, as it will be read back."""
    found = {
        "program": __version__,
        "method": plan.method.name,
        "sigma": plan.sigma,
        "nodata": None if plan.nodata is None else plan.nodata.to_json(),
        "version": plan.version,
        "dtype": plan.dtype,
        "levels": described_levels(plan),
        **more,
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
