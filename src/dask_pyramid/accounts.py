"""What a store says of itself after a growth: checksums and attributes.

What was there is said as before; what is replaced is subtracted before it is written,
and added again from the receipts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid import __version__, metadata, omero
from dask_pyramid.amended import with_levels
from dask_pyramid.attributes import WINDOW, method_record
from dask_pyramid.idents import label_colours, merged
from dask_pyramid.provenance import KEY, LevelRecord, Provenance, Tally
from dask_pyramid.receipts import object_grid
from dask_pyramid.sources.identity import public_source
from dask_pyramid.store import ledger

if TYPE_CHECKING:
    from dask_pyramid.existing import Existing
    from dask_pyramid.idents import Ids
    from dask_pyramid.intents import Growth
    from dask_pyramid.passes import Part
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.receipts import Books
    from dask_pyramid.store.targets import Target

__all__ = [
    "all_tallies",
    "base_records",
    "final_attributes",
    "first_attributes",
    "records_without",
]


def base_records(
    target: Target, existing: Existing, plan: PyramidPlan
) -> tuple[LevelRecord | None, ...]:
    """Return the records of all levels without the objects that are to be written.

    Parameters
    ----------
    target : Target
        The store.
    existing : Existing
        What is stored, with its record.
    plan : PyramidPlan
        What is to be written.

    Returns
    -------
    tuple of LevelRecord or None
        None for each level if the store has no record of all that stays.

    Notes
    -----
    Cost: what will be replaced is read once, undecoded.
    """
    record = existing.provenance
    stored = {level.path for level in existing.levels}
    levels = () if record is None else record.levels
    known = {level.path: level for level in levels if level.path in stored}
    if set(known) != stored:
        return (None,) * len(plan.levels)
    records = []
    for level, part in zip(plan.levels, _written_parts(plan), strict=True):
        tally = Tally(object_grid(plan, level.number))
        if level.path in known:
            before = known[level.path]
            tally = before.tally().extended(tally.grid)
            for index, size, crc32 in ledger.object_sums(
                target, level, part, grid=before.grid
            ):
                tally.remove(index, size=size, crc32=crc32)
        records.append(LevelRecord.counted(level, tally))
    return tuple(records)


def records_without(
    target: Target, record: Provenance, plan: PyramidPlan
) -> tuple[LevelRecord, ...]:
    """Return the records of all levels without what is written again.

    Parameters
    ----------
    target : Target
        The store; objects that are written again may be missing or damaged.
    record : Provenance
        Its record.
    plan : PyramidPlan
        What is to be written.
    """
    records = []
    parts = _written_parts(plan)
    for level, part, before in zip(plan.levels, parts, record.levels, strict=True):
        tally = before.tally()
        ledger.uncount(target, plan, level.number, part, tally)
        records.append(LevelRecord.counted(level, tally))
    return tuple(records)


def _written_parts(plan: PyramidPlan) -> list[Part]:
    """Return what is written of each level."""
    parts: list[Part] = [((0, 0),) * len(level.shape) for level in plan.levels]
    for sweep in plan.passes:
        for level in sweep.levels:
            if level.written:
                parts[level.level] = level.part
    return parts


def all_tallies(growth: Growth, books: Books) -> list[Tally | None]:
    """Return what is stored of each level; None where nobody has counted it."""
    new = len(growth.journal.before)
    tallies: list[Tally | None] = []
    for number, record in enumerate(growth.journal.records):
        tally = None
        if record is not None:
            tally = record.tally()
            tally.include(books.tallies[number])
        elif number >= new:
            tally = books.tallies[number]
        tallies.append(tally)
    region = growth.journal.region
    is_of_user = growth.journal.verb == "update_pyramid"
    if is_of_user and region is not None and tallies[0] is not None:
        # The user has written level 0: only what is there now tells its checksums.
        ledger.recount(growth.site.target, growth.plan, region, tallies[0])
    return tallies


def final_attributes(
    growth: Growth, tallies: Sequence[Tally | None], books: Books
) -> dict[str, Any]:
    """Return the attributes of the group when all is written.

    Parameters
    ----------
    growth : Growth
        What was written.
    tallies : sequence of Tally or None
        From `all_tallies`.
    books : Books
        Grey values of new channels.
    """
    existing, plan = growth.site.existing, growth.plan
    datasets = [_dataset(level) for level in plan.levels]
    if existing.published:
        attributes = with_levels(
            existing.attributes,
            datasets,
            version=plan.version,
            kept=len(growth.journal.before),
            about=_about(growth),
        )
    else:
        attributes = {**existing.attributes, **_fresh(growth, datasets)}
    _extend_channels(attributes, growth, books)
    _extend_colours(attributes, books.ids)
    record = existing.provenance
    attributes.pop(KEY, None)
    if record is not None and None not in tallies:
        if growth.journal.verb == "write_pyramid":
            mask = None if growth.mask is None else public_source(growth.mask.image)
            record = replace(record, source=public_source(growth.image), mask=mask)
        attributes[KEY] = _provenance(record, plan, tallies).to_json()
    return attributes


def first_attributes(existing: Existing) -> dict[str, Any]:
    """Return the attributes of the group with level 0 alone."""
    attributes = with_levels(
        existing.attributes,
        [_dataset(existing.levels[0])],
        version=existing.version,
        kept=1,
    )
    record = existing.provenance
    if record is not None:
        attributes[KEY] = replace(record, levels=record.levels[:1]).to_json()
    return attributes


def _dataset(level: Any) -> metadata.Dataset:
    return metadata.Dataset(
        path=level.path, scale=level.scale, translation=level.translation
    )


def _about(growth: Growth) -> dict[str, Any] | None:
    """Return `type` and `metadata` if all coarser levels were made here."""
    plan, n_kept = growth.plan, len(growth.journal.before)
    if len(plan.levels) == n_kept:
        return None  # nothing is said anew
    if n_kept > 1 and growth.site.existing.method is None:
        return None  # some are of another tool
    return {"type": plan.method.name, "metadata": method_record(plan)}


def _fresh(growth: Growth, datasets: Sequence[metadata.Dataset]) -> dict[str, Any]:
    """Return the metadata of a group that had none."""
    image, plan = growth.site.existing.image, growth.plan
    coloured = "c" in image.axes and not image.labels and image.dtype.kind != "b"
    n_channels = image.shape[image.axes.index("c")] if coloured else 1
    return metadata.build_attributes(
        metadata.Multiscales(
            version=plan.version,
            axes=plan.axes,
            unit=plan.unit,
            datasets=tuple(datasets),
            name=image.name,
            type=plan.method.name,
            metadata=method_record(plan),
            omero=omero.default_omero(image.dtype, n_channels) if coloured else None,
        )
    )


def _extend_channels(attributes: dict[str, Any], growth: Growth, books: Books) -> None:
    """Add the rendering of channels that are new, where there is one of the others."""
    plan, image = growth.plan, growth.site.existing.image
    holder = attributes.get("ome", attributes)
    rendering = holder.get("omero")
    if "c" not in plan.axes or not isinstance(rendering, Mapping):
        return
    channels = rendering.get("channels")
    before = growth.journal.before[0][plan.axes.index("c")]
    if not isinstance(channels, list) or len(channels) != before:
        return
    made = omero.default_omero(
        np.dtype(image.dtype),
        len(books.grey),
        window=[grey.window(*WINDOW) for grey in books.grey],
    )
    holder["omero"] = {
        **rendering,
        "channels": [*channels, *made["channels"][before:]],
    }


def _extend_colours(attributes: dict[str, Any], ids: Ids) -> None:
    """Give colours to ids that are new, if those of the others are ours.

    An id that is gone keeps its colour: others may still have it elsewhere.
    """
    holder = attributes.get("ome", attributes)
    about = holder.get("image-label")
    listed = about.get("colors") if isinstance(about, Mapping) else None
    if not ids or not isinstance(listed, list):
        return
    values = (e.get("label-value") for e in listed if isinstance(e, Mapping))
    before = tuple(value for value in values if isinstance(value, int))
    if label_colours(before) != listed:
        return
    colours = label_colours(merged(before, ids))
    rest = {key: value for key, value in about.items() if key != "colors"}
    holder["image-label"] = {**({"colors": colours} if colours else {}), **rest}


def _provenance(
    record: Provenance, plan: PyramidPlan, tallies: Sequence[Tally | None]
) -> Provenance:
    return replace(
        record,
        version=__version__,
        method=plan.method.name,
        sigma=plan.sigma,
        nodata=plan.nodata,
        levels=tuple(
            LevelRecord.counted(level, tally)
            for level, tally in zip(plan.levels, tallies, strict=True)
            if tally is not None
        ),
    )
