"""Ids of a label image: gathered while level 0 is written, and their colours.

Up to `MOST` ids have a colour each. Of more none has: viewers draw an id that a list of
colours leaves out as nothing, and have palettes of their own.
"""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MOST", "Ids", "found_ids", "label_colours", "merged"]

MOST = 1024
"""Ids that have colours; a label image of more has none."""

Ids = tuple[int, ...]
"""Ids but 0, increasing; more than `MOST` of them say only that there are too many."""

# Neighbours among ids are far apart in hue: the golden ratio, the most irrational.
_GOLDEN = 0.6180339887498949
# Saturation and value, in turn: so that colours of like hue differ.
_TONES = ((0.85, 1.0), (0.5, 1.0), (0.85, 0.7), (0.5, 0.8))


def found_ids(values: np.ndarray[Any, Any]) -> Ids:
    """Return the ids of a block, as far as they are counted.

    Parameters
    ----------
    values : numpy.ndarray of int
        Any shape.

    Notes
    -----
    Only where a value differs from the one before it is it looked at, plane by plane:
    ids come in runs.

    Examples
    --------
    >>> found_ids(np.array([[0, 3, 3], [3, 7, 0]]))
    (3, 7)
    """
    ids: Ids = ()
    for plane in values if values.ndim > 2 else values[None]:
        if len(ids) > MOST:
            break
        if plane.ndim > 2:
            ids = merged(ids, found_ids(plane))
            continue
        changes = plane[..., 1:][plane[..., 1:] != plane[..., :-1]]
        different = np.unique(np.concatenate([plane[..., :1].ravel(), changes]))
        # Only as many become Python's as count.
        ids = merged(ids, different[: MOST + 2].tolist())
    return ids


def merged(ids: Ids, others: Sequence[int]) -> Ids:
    """Return the ids of both; the greatest fall away where they are too many.

    Examples
    --------
    >>> merged((3, 7), [0, 5, 7])
    (3, 5, 7)
    """
    if not others or len(ids) > MOST:
        return ids
    return tuple(sorted({*ids, *others} - {0})[: MOST + 1])


def label_colours(ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the `colors` of an `image-label`; empty if there are too many ids.

    Parameters
    ----------
    ids : sequence of int
        Increasing; the colour of an id depends on its place among them alone.

    Returns
    -------
    list of dict
        `label-value` and `rgba`, four numbers from 0 to 255; no two alike.

    Examples
    --------
    >>> label_colours([7])
    [{'label-value': 7, 'rgba': [255, 38, 38, 255]}]
    """
    if len(ids) > MOST:
        return []
    return [
        {"label-value": label, "rgba": _rgba(place)} for place, label in enumerate(ids)
    ]


def _rgba(place: int) -> list[int]:
    tone = _TONES[place % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb(place * _GOLDEN % 1.0, *tone)
    return [round(255 * part) for part in (red, green, blue, 1.0)]
