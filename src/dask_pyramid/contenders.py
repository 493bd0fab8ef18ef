"""What can be compared: names, records, options and functions, as one kind of thing.

A contender takes an array and gives the reduced one; whose code that is, nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.kernels import reduce_block, resample_block
from dask_pyramid.methods import METHODS, Method, Reduction, Sigma, find_method
from dask_pyramid.resampling import resample
from dask_pyramid.sources import open_image
from dask_pyramid.sources.resampled import ResampledReader
from dask_pyramid.tables import numbers_text

__all__ = ["Contender", "find_contenders"]

Array = np.ndarray[Any, Any]
Sample = Literal["centre", "first"]

_FUNCTION = frozenset({"function", "sample"})
_METHOD = frozenset({"method", "sigma"})
_RESAMPLE = frozenset({"order", "anti_aliasing", "sigma"})


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to reduce an array."""

    label: str
    """What tables call it."""
    reduce: Callable[[Array], Array]
    """Takes a block of the image, gives the reduced one; this is timed."""
    respond: Callable[[Array], Array]
    """The same for probes: small, float32, not worth a compiler."""
    sample: Sample
    """Where a sample sits in its window."""


def find_contenders(
    methods: Iterable[Any] | Mapping[str, Any] | None,
    factors: Sequence[int],
    *,
    axes: Sequence[str],
) -> tuple[Contender, ...]:
    """Return what shall be compared.

    Parameters
    ----------
    methods : iterable, dict by label, or None
        Entries as `compare_methods` takes them; None for all linear methods.
    factors : sequence of int
        Factor along each axis.
    axes : sequence of str
        Axes in storage order.

    Returns
    -------
    tuple of Contender
        In the order given.

    Raises
    ------
    ValueError
        If an entry cannot be read, or two have the same label.

    Examples
    --------
    >>> [c.label for c in find_contenders(["mean", ("gaussian", 3)], (2, 2), axes="yx")]
    ['mean', 'gaussian, sigma 3']
    """
    if methods is None:
        methods = [name for name, method in METHODS.items() if method.linear]
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise ValueError(
            f"methods must be a list or a dict by label, got {methods!r}; "
            "for one method write ['mean']"
        )
    if not isinstance(methods, Mapping):
        found = [_contender(None, entry, factors, axes) for entry in methods]
    else:
        named = methods.items()
        found = [_contender(label, entry, factors, axes) for label, entry in named]
    labels = [contender.label for contender in found]
    if not found or len(set(labels)) < len(labels):
        raise ValueError(
            f"methods must name different things to compare, got {labels!r}; "
            "a dict gives each a label"
        )
    return tuple(found)


def _contender(
    label: str | None, entry: Any, factors: Sequence[int], axes: Sequence[str]
) -> Contender:
    if isinstance(entry, str | Method):
        return _of_method(label, entry, None, factors, axes)
    if isinstance(entry, tuple) and len(entry) == 2:
        return _of_method(label, entry[0], entry[1], factors, axes)
    if callable(entry):
        return _of_function(label, entry, "centre")
    if isinstance(entry, Mapping) and "function" in entry and entry.keys() <= _FUNCTION:
        return _of_function(label, entry["function"], entry.get("sample", "centre"))
    if isinstance(entry, Mapping) and "method" in entry and entry.keys() <= _METHOD:
        return _of_method(label, entry["method"], entry.get("sigma"), factors, axes)
    if isinstance(entry, Mapping) and "order" in entry and entry.keys() <= _RESAMPLE:
        return _of_resample(label, entry, factors, axes)
    raise ValueError(
        "methods must hold names, Method records, (method, sigma), functions or dicts "
        f"of options, got {entry!r}; options are method and sigma; order, "
        "anti_aliasing and sigma; or function and sample"
    )


def _of_method(
    label: str | None,
    name: str | Method,
    sigma: Sigma,
    factors: Sequence[int],
    axes: Sequence[str],
) -> Contender:
    method = find_method(name)
    reduction = method.reduction(factors, axes=axes, sigma=sigma)
    return Contender(
        label=label or method.name + _sigma_text(sigma),
        reduce=partial(_reduced, reduction=reduction, compiled=True),
        respond=partial(_reduced, reduction=reduction, compiled=False),
        sample=method.sample,
    )


def _of_resample(
    label: str | None,
    options: Mapping[str, Any],
    factors: Sequence[int],
    axes: Sequence[str],
) -> Contender:
    factor = {axis: 1 / f for axis, f in zip(axes, factors, strict=True) if f > 1}

    made = partial(_resampled, factor=factor, axes=axes, options=options)
    smooth = "" if options.get("anti_aliasing") is not False else ", aliased"
    default = f"resample, order {options['order']}{smooth}"
    return Contender(
        label=label or default + _sigma_text(options.get("sigma")),
        reduce=partial(made, compiled=True),
        respond=partial(made, compiled=False),
        sample="centre",
    )


def _of_function(label: str | None, function: Any, sample: Any) -> Contender:
    if sample not in ("centre", "first"):
        raise ValueError(f"sample must be 'centre' or 'first', got {sample!r}")
    return Contender(
        label=label or str(getattr(function, "__name__", "function")),
        reduce=function,
        respond=function,
        sample=sample,
    )


def _sigma_text(sigma: Sigma) -> str:
    if sigma is None:
        return ""
    if isinstance(sigma, Mapping):
        return ", sigma " + ", ".join(
            f"{a} {numbers_text([s])}" for a, s in sigma.items()
        )
    if isinstance(sigma, Iterable):
        return ", sigma " + ", ".join(
            "-" if s is None else numbers_text([s]) for s in sigma
        )
    return f", sigma {numbers_text([sigma])}"


def _reduced(block: Array, *, reduction: Reduction, compiled: bool) -> Array:
    spans = [
        Span(first=0, stop=ceil_div(n, step), size=n)
        for n, step in zip(block.shape, reduction.steps, strict=True)
    ]
    result: Array = reduce_block(block, reduction, spans, compiled=compiled)
    return result


def _resampled(
    block: Array,
    *,
    factor: Mapping[str, float],
    axes: Sequence[str],
    options: Mapping[str, Any],
    compiled: bool,
) -> Array:
    image = resample(open_image(block, axes=axes), factor=factor, **options)
    assert isinstance(image.reader, ResampledReader)  # of an array in memory
    samplings = image.reader.samplings
    spans = [
        Span(first=0, stop=s.size_out, size=n)
        for s, n in zip(samplings, block.shape, strict=True)
    ]
    needed = tuple(s.needed(0, s.size_out) for s in samplings)
    result: Array = resample_block(block[needed], samplings, spans, compiled=compiled)
    return result
