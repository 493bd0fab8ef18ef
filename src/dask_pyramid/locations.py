"""Texts that say where something is: paths and URLs. Nothing is opened here."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit, urlunsplit

__all__ = [
    "is_url",
    "is_zipped",
    "local_path",
    "public_url",
    "refuse_unwritable",
    "scheme_of",
]


def is_url(source: str) -> bool:
    """Whether `source` is a URL and not a path (nor a Windows drive)."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source) is not None


def scheme_of(source: str) -> str:
    """Return the scheme of a URL in lower case; empty for a path.

    Examples
    --------
    >>> scheme_of("S3://bucket/a.zarr"), scheme_of("C:/a.zarr")
    ('s3', '')
    """
    return source.partition("://")[0].lower() if is_url(source) else ""


def local_path(source: str) -> str:
    """Return the path that a ``file://`` URL or ``~`` means, or the URL as it is."""
    if scheme_of(source) == "file":
        from urllib.request import url2pathname

        return url2pathname(urlsplit(source).path)
    return source if is_url(source) else os.path.expanduser(source)


def is_zipped(source: str) -> bool:
    """Whether `source` is the path of a zipped OME-Zarr file, by its name.

    Examples
    --------
    >>> is_zipped("a.ozx"), is_zipped("s3://bucket/a.ozx"), is_zipped("a.zarr")
    (True, False, False)
    """
    return source.lower().endswith(".ozx") and not is_url(source)


def public_url(url: str) -> str:
    """Return a URL without user, password and query, which may be secret.

    Examples
    --------
    >>> public_url("https://me:secret@host:80/a.zarr?token=1")
    'https://host:80/a.zarr'
    >>> public_url("abfss://container@account.dfs.core.windows.net/a.zarr")
    'abfss://container@account.dfs.core.windows.net/a.zarr'
    """
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    if user and ":" not in user and parts.scheme.lower() in ("abfs", "abfss"):
        host = parts.netloc  # there it is the container
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def refuse_unwritable(place: str) -> None:
    """Refuse a place whose name says that objects cannot be replaced there.

    Raises
    ------
    ValueError
        If it is a URL of a web server, or a zipped file.
    """
    if place.startswith(("http://", "https://")):
        raise ValueError(
            f"target must be a folder or an s3, gs or az URL, got {public_url(place)!r}"
            "; a web server takes no objects"
        )
    if place.lower().endswith(".ozx"):
        raise ValueError(
            f"target must be a folder, a URL or a store, got {public_url(place)!r}; "
            "write_pyramid alone writes zipped files, to a path, and once"
        )
