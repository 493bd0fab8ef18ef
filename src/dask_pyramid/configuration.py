"""Defaults out of dask's configuration, section `dask-pyramid`.

An argument that is given wins over the configuration, and that over what stands in
``dask-pyramid.yaml`` beside this file. Only who makes a call asks here: what units need
travels with their plan, so that workers have no say by a configuration of their own.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["configured", "is_configured"]

_SECTION = "dask-pyramid"
_log = logging.getLogger("dask_pyramid")


def configured(name: str, given: Any = None) -> Any:
    """Return what was given, or else what dask's configuration says.

    Parameters
    ----------
    name : str
        A name out of ``dask-pyramid.yaml``.
    given : object
        The argument of the call; None if it was left out.

    Returns
    -------
    object
        As it stands in the configuration; whoever uses it checks it.

    Examples
    --------
    >>> configured("retries", 0), configured("retries")
    (0, 2)
    """
    if given is not None:
        return given
    import dask

    defaults = _defaults()
    section = dask.config.get(_SECTION) or {}
    unknown = {key.replace("_", "-") for key in section} - set(defaults)
    if unknown:
        _tell_unknown(frozenset(unknown))
    # A section that was set as a whole has not all names; null leaves it to us.
    found = dask.config.get(f"{_SECTION}.{name}", None)
    if found is None or found == defaults[name]:
        return defaults[name]
    _log.info("%s is %r, as dask's configuration says", name, found)
    return found


def is_configured(name: str) -> bool:
    """Return whether dask's configuration says something else than the default.

    Parameters
    ----------
    name : str
        Any name; False for one that is not out of ``dask-pyramid.yaml``.
    """
    defaults = _defaults()
    return name in defaults and configured(name) != defaults[name]


@lru_cache(maxsize=1)
def _defaults() -> dict[str, Any]:
    """Tell dask the defaults, once; return them."""
    import dask
    import yaml

    text = Path(__file__).with_name("dask-pyramid.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    dask.config.update_defaults(defaults)
    found: dict[str, Any] = defaults[_SECTION]
    return found


@lru_cache(maxsize=16)
def _tell_unknown(names: frozenset[str]) -> None:
    """Say once that names are not known: most are spelled wrongly."""
    _log.warning(
        "dask's configuration must have names out of %s in its section %s, got %s; "
        "they are left out",
        ", ".join(_defaults()),
        _SECTION,
        ", ".join(sorted(names)),
    )
