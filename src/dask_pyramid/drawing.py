"""The levels of a pyramid, drawn to scale as SVG in colours that suit any page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["levels_svg"]

# Pixels: the longest edge of level 0, how far depth goes to the side for each pixel
# of it, between levels, and the least that can still be seen.
_LONGEST = 120.0
_DEPTH = 0.35
_GAP = 14.0
_LEAST = 1.5
_TEXT = 16.0
# The accent of Jupyter's theme; a blue that can be seen on white and on black.
_COLOUR = "var(--jp-brand-color1,#3f8fd2)"
_WRONG = "var(--jp-error-color1,#d1242f)"
# More lines than this between storage objects would be a grey area.
_MOST_LINES = 24


def levels_svg(
    shapes: Sequence[Sequence[int]],
    objects: Sequence[Sequence[int]] = (),
    *,
    wrong: Sequence[int] = (),
) -> str:
    """Return a drawing of the levels side by side, to scale in voxels.

    Parameters
    ----------
    shapes : sequence of shapes
        Extent of each level in voxels along y, x or z, y, x.
    objects : sequence of shapes, optional
        Extent of what is stored together; its borders are drawn on the front.
    wrong : sequence of int
        Numbers of levels that are drawn in another colour.

    Returns
    -------
    str
        An ``<svg>`` element, transparent, with text in ``currentColor``. A level too
        small to be seen is drawn larger than it is.

    Examples
    --------
    >>> levels_svg([(60, 256, 256), (30, 128, 128)]).count("<g")
    2
    """
    unit = _LONGEST / max(max(shape) for shape in shapes)
    boxes = [_pixels(shape, unit) for shape in shapes]
    height = max(y + _DEPTH * z for z, y, _ in boxes)
    parts = []
    left = 1.0
    for number, box in enumerate(boxes):
        z, y, x = box
        colour = _WRONG if number in wrong else _COLOUR
        lines = _lines(box, objects[number], unit) if objects else ""
        parts.append(
            f'<g transform="translate({left:.1f},{1 + height - y:.1f})" '
            f'style="color:{colour}">{_box(box)}{lines}</g>'
            f"{_label(number, left + x / 2, 1 + height + 13)}"
        )
        left += max(x + _DEPTH * z, 8.0) + _GAP
    width, total = left - _GAP + 1, height + 2 + _TEXT
    return (
        f'<svg width="{width:.0f}" height="{total:.0f}" '
        f'viewBox="0 0 {width:.1f} {total:.1f}" role="img" '
        'aria-label="levels to scale" style="background:transparent" '
        'fill="none" stroke="currentColor" stroke-width="1" stroke-linejoin="round">'
        f"{''.join(parts)}</svg>"
    )


def _pixels(shape: Sequence[int], unit: float) -> tuple[float, float, float]:
    z, y, x = (0, *shape) if len(shape) == 2 else shape
    return (
        max(z * unit, _LEAST) if len(shape) > 2 else 0.0,
        max(y * unit, _LEAST),
        max(x * unit, _LEAST),
    )


def _box(box: tuple[float, float, float]) -> str:
    """Draw the front at the origin and, behind it, top and side."""
    z, y, x = box
    d = _DEPTH * z
    front = (
        f'<rect width="{x:.1f}" height="{y:.1f}" fill="currentColor" '
        'fill-opacity=".35"/>'
    )
    if not d:
        return front
    return front + (
        f'<path d="M0 0l{d:.1f} {-d:.1f}h{x:.1f}l{-d:.1f} {d:.1f}" '
        'fill="currentColor" fill-opacity=".1"/>'
        f'<path d="M{x:.1f} {y:.1f}l{d:.1f} {-d:.1f}v{-y:.1f}l{-d:.1f} {d:.1f}z" '
        'fill="currentColor" fill-opacity=".2"/>'
    )


def _lines(box: tuple[float, float, float], extent: Sequence[int], unit: float) -> str:
    _, height, width = box
    rows, columns = _steps(height, extent[-2] * unit), _steps(width, extent[-1] * unit)
    path = "".join(f"M0 {y:.1f}h{width:.1f}" for y in rows)
    path += "".join(f"M{x:.1f} 0v{height:.1f}" for x in columns)
    return f'<path d="{path}" stroke-opacity=".45" stroke-width=".7"/>' if path else ""


def _steps(length: float, step: float) -> list[float]:
    """Return multiples of `step` within `length`, none if there are too many."""
    n = math.ceil((length - 0.5) / step) - 1
    return [i * step for i in range(1, n + 1)] if n <= _MOST_LINES else []


def _label(number: int, x: float, y: float) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="currentColor" stroke="none" '
        f'font-size="11" text-anchor="middle" font-family="sans-serif">{number}</text>'
    )
