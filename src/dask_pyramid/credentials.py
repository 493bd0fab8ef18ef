"""What a machine offers to sign requests with; a quick no where it offers nothing.

obstore asks the instance metadata of a cloud when it finds no credentials. Elsewhere
that address may swallow requests for minutes, so a machine is asked once, for a second.
AWS profiles, which obstore does not read, are read here. Values stay in this process.
"""

from __future__ import annotations

import configparser
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dask_pyramid.clouds import Cloud, find_cloud
from dask_pyramid.locations import public_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask_pyramid.store_options import StoreOptions

__all__ = ["address_of", "aws_profile", "bucket_region", "can_sign", "server_of"]

_METADATA = "http://169.254.169.254"
_AWS = "https://s3.amazonaws.com"

# Seconds for a question whose answer comes at once or never.
_QUICK = 1.0
_LOOKUP = 5.0


def can_sign(cloud: Cloud, options: StoreOptions) -> bool:
    """Return whether there is anything to sign requests with, or no need to.

    Parameters
    ----------
    cloud : Cloud
        The kind of store.
    options : StoreOptions
        What was given.

    Returns
    -------
    bool
        Whether keys were given or the environment offers some, right or wrong.
    """
    if options.anonymous or not cloud.keys:
        return True
    if options.given() & set(cloud.keys):
        return True
    if any(all(map(os.environ.get, group)) for group in cloud.environment):
        return True
    if any(Path(name).expanduser().is_file() for name in cloud.files):
        return True
    if cloud.name == "S3" and "aws_access_key_id" in aws_profile():
        return True
    return _is_within(cloud)


def _is_within(cloud: Cloud) -> bool:
    """Whether this machine is one of that cloud, which then gives it credentials."""
    asked = cloud.metadata
    if asked is None or os.environ.get(asked.disabled, "").lower() == "true":
        return False
    address = os.environ.get(asked.address) or _METADATA
    return _answers(asked.method, address.rstrip("/") + asked.path, asked.headers)


@lru_cache(maxsize=16)
def _answers(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> bool:
    from urllib.request import ProxyHandler, Request, build_opener

    request = Request(url, method=method, headers=dict(headers))
    try:
        # A proxy must not be asked for what only this machine can know.
        with build_opener(ProxyHandler({})).open(request, timeout=_QUICK) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def aws_profile() -> Mapping[str, str]:
    """Return the settings of the chosen AWS profile; empty if there is none.

    Returns
    -------
    dict
        As they stand in ``~/.aws/config`` and ``~/.aws/credentials``; values are
        secret.
    """
    chosen = os.environ.get("AWS_PROFILE", "default")
    section = chosen if chosen == "default" else f"profile {chosen}"
    places = (
        ("AWS_CONFIG_FILE", "~/.aws/config", section),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", chosen),
    )
    found: dict[str, str] = {}
    for variable, usual, name in places:
        parser = configparser.RawConfigParser()
        try:
            parser.read(Path(os.environ.get(variable, usual)).expanduser())
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        if parser.has_section(name):
            found.update(parser.items(name))
    return found


def server_of(cloud: Cloud, options: StoreOptions) -> str | None:
    """Return the server of a kind of store: as given, or as the environment says.

    Parameters
    ----------
    cloud : Cloud
        The kind of store.
    options : StoreOptions
        What was given.

    Returns
    -------
    str or None
        A URL; None means the usual server.
    """
    named = filter(None, map(os.environ.get, cloud.servers))
    found = options.endpoint or next(named, None)
    if not found and cloud.name == "S3":
        found = aws_profile().get("endpoint_url")
    return found


def address_of(location: str, options: StoreOptions) -> str:
    """Return a URL that tells objects apart: with the server in it, where it is known.

    Parameters
    ----------
    location : str
        A URL.
    options : StoreOptions
        How it is opened.

    Returns
    -------
    str
        For a bucket of another server than the usual one, the address of the objects
        there; else the URL, without what may be secret.
    """
    server = server_of(find_cloud(location), options)
    if not server:
        return public_url(location)
    return f"{server.rstrip('/')}/{public_url(location).partition('://')[2]}"


@lru_cache(maxsize=64)
def bucket_region(bucket: str) -> str | None:
    """Return the region of a bucket of Amazon's, which tells it to everybody.

    Parameters
    ----------
    bucket : str
        Name of the bucket.

    Returns
    -------
    str or None
        Such as ``"eu-central-1"``; None if it cannot be found out.
    """
    from urllib.error import HTTPError
    from urllib.request import Request, build_opener

    # "x-amz-bucket-region: The Region where the bucket is located" (S3, HeadBucket);
    # it stands in answers that redirect or refuse, too.
    try:
        with build_opener().open(
            Request(f"{_AWS}/{bucket}", method="HEAD"), timeout=_LOOKUP
        ) as answer:
            headers = answer.headers
    except HTTPError as error:
        headers = error.headers
    except OSError:
        return None
    found = headers.get("x-amz-bucket-region")
    return None if found is None else str(found)
