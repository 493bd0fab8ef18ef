"""The options that open an object store: checked, hashable, silent about secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from dask_pyramid.clouds import find_cloud
from dask_pyramid.locations import is_url, local_path, public_url, scheme_of

__all__ = ["StoreOptions", "parse_options", "share_options"]

_SECRETS = (
    "access_key_id",
    "secret_access_key",
    "session_token",
    "account_key",
    "sas_token",
    "service_account_key",
    "bearer_token",
)

# What the first contact with a store may take: a wrong address shall be told soon.
_HURRIED = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoreOptions:
    """How to open an object store; small, and pickles.

    What is None comes from the environment of the process that opens the store, so that
    only what was given here travels to workers. Text and `repr` show no secret.
    """

    endpoint: str | None = None
    """URL of the server, for stores that are not Amazon's, Google's or Microsoft's."""
    anonymous: bool = False
    """Whether requests are not signed, as public data allow."""
    region: str | None = None
    """Region of an S3 bucket; by default it is looked up."""
    access_key_id: str | None = None
    """Public half of an S3 key."""
    secret_access_key: str | None = None
    """Secret half of an S3 key."""
    session_token: str | None = None
    """Third part of a temporary S3 key."""
    account_name: str | None = None
    """Azure storage account."""
    account_key: str | None = None
    """Key of an Azure storage account."""
    sas_token: str | None = None
    """Shared access signature of Azure."""
    service_account: str | None = None
    """Path of a Google service account's JSON file, on every worker."""
    service_account_key: str | None = None
    """What stands in a Google service account's JSON file."""
    bearer_token: str | None = None
    """OAuth token of Google or Azure."""
    timeout: float = 30.0
    """Seconds after which an answer that does not come is given up and asked for again;
    a write has as much for each 8 MiB."""
    retry_seconds: float = 120.0
    """Seconds for which a request is tried again when the store fails or is away."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            _check_option(entry.name, getattr(self, entry.name))
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError(
                "storage_options must hold access_key_id and secret_access_key "
                "together, got one of them"
            )
        if self.anonymous and self.given() & set(_SECRETS):
            raise ValueError(
                "storage_options must be anonymous or hold a key, got both; leave one "
                "of them out"
            )
        endpoint = self.endpoint
        if endpoint is not None and scheme_of(endpoint) not in ("http", "https"):
            raise ValueError(
                f"endpoint must be an http or https URL, got {endpoint!r}; "
                "write https://host or http://host:port"
            )
        if endpoint is not None and public_url(endpoint) != endpoint.rstrip("/"):
            raise ValueError(
                f"endpoint must hold no password and no query, got one at "
                f"{public_url(endpoint)!r}; give keys as options of their own"
            )

    def given(self) -> set[str]:
        """Return the names of the options that differ from the default."""
        return {
            entry.name
            for entry in fields(self)
            if getattr(self, entry.name) != entry.default
        }

    def public(self) -> dict[str, Any]:
        """Return the options that were given and are no secret, JSON values."""
        return {
            name: getattr(self, name) for name in sorted(self.given() - set(_SECRETS))
        }

    def hurried(self) -> StoreOptions:
        """Return options for a first contact, which gives up soon."""
        return replace(self, retry_seconds=min(self.retry_seconds, _HURRIED))

    def __repr__(self) -> str:
        given = self.given()
        shown = (
            f"{entry.name}="
            + ("***" if entry.name in _SECRETS else repr(getattr(self, entry.name)))
            for entry in fields(self)
            if entry.name in given
        )
        return f"StoreOptions({', '.join(shown)})"


_FLAGS = ("anonymous",)
_SECONDS = ("timeout", "retry_seconds")


def _check_option(name: str, value: Any) -> None:
    if name in _FLAGS:
        good, rule = isinstance(value, bool), "True or False"
    elif name in _SECONDS:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        good, rule = is_number and value > 0, "a positive number of seconds"
    else:
        good = value is None or (isinstance(value, str) and bool(value))
        rule = "a text"
    if not good:
        shown = type(value).__name__ if name in _SECRETS else repr(value)
        raise ValueError(f"{name} must be {rule}, got {shown}")


_COMMON = ("timeout", "retry_seconds")


def parse_options(
    given: Mapping[str, Any] | StoreOptions | None, location: str
) -> StoreOptions:
    """Return checked options for a path or URL.

    Parameters
    ----------
    given : dict, StoreOptions or None
        Names and values as in `StoreOptions`.
    location : str
        Path or URL that they are for.

    Returns
    -------
    StoreOptions
        The options; the defaults if none were given.

    Raises
    ------
    ValueError
        If an option is unknown, has a bad value, or is none of this kind of store.
    TypeError
        If `given` is no dict.
    """
    if given is None:
        return StoreOptions()
    if not isinstance(given, StoreOptions):
        given = _from_mapping(given)
    chosen = given.given()
    if chosen and not is_url(location):
        raise ValueError(
            f"storage_options must go with a URL, got {sorted(chosen)} for the path "
            f"{location!r}"
        )
    if chosen:
        cloud = find_cloud(location)
        foreign = sorted(chosen - {*cloud.options, *_COMMON})
        if foreign:
            known = ", ".join([*cloud.options, *_COMMON])
            raise ValueError(
                f"storage_options of {public_url(location)} ({cloud.name}) must be out "
                f"of {known}, got {', '.join(foreign)}"
            )
    return given


def share_options(
    given: Mapping[str, Any] | StoreOptions | None, source: Any, target: Any
) -> tuple[StoreOptions | None, StoreOptions]:
    """Return the options of a source and of a target, from those of a call.

    They are the target's if that is a URL, and the source's if that is a URL and the
    target is none, or one of the same scheme.

    Parameters
    ----------
    given : dict, StoreOptions or None
        What the call was given.
    source, target : path, URL or anything else
        Where pixels come from and go to.

    Returns
    -------
    tuple
        Options of the source, None if there are none for it, and of the target.

    Raises
    ------
    ValueError
        As `parse_options`; if neither is a URL, too.
    """
    here, there = _text_of(source), _text_of(target)
    if not is_url(there):
        if is_url(here):
            return parse_options(given, here), StoreOptions()
        return None, parse_options(given, there)
    is_shared = scheme_of(here) == scheme_of(there)
    options = parse_options(given, there)
    return options if is_shared else None, options


def _text_of(place: Any) -> str:
    is_text = isinstance(place, str | os.PathLike)
    return local_path(os.fspath(place)) if is_text else ""


def _from_mapping(given: Any) -> StoreOptions:
    if not isinstance(given, Mapping):
        raise TypeError(f"storage_options must be a dict, got {type(given).__name__}")
    known = [entry.name for entry in fields(StoreOptions)]
    for name in given:
        if name not in known:
            close = get_close_matches(str(name), known, n=1, cutoff=0.4)
            advice = f"; is {close[0]!r} meant?" if close else ""
            raise ValueError(
                f"storage_options must be out of {', '.join(known)}, got "
                f"{name!r}{advice}"
            )
    return StoreOptions(**given)
