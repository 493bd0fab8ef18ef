"""Clients of obstore, made from options and from what the environment says.

Times are set here: how long a silence may last, and for how long a request is repeated.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from obstore import store as stores
from obstore.exceptions import BaseError

from dask_pyramid.clouds import Cloud, find_cloud
from dask_pyramid.credentials import aws_profile, bucket_region, server_of
from dask_pyramid.locations import public_url, scheme_of
from dask_pyramid.store_errors import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dask_pyramid.store_options import StoreOptions

__all__ = ["LONGEST_PAUSE", "open_client"]

# The time of a whole request; a stalled one is noticed by its silence.
_LONGEST = timedelta(hours=1)

LONGEST_PAUSE = 5.0
"""Seconds between two attempts, at most."""


class _Keys:
    """What obstore asks for the keys of S3."""

    def __init__(self, key: str, secret: str, token: str | None) -> None:
        self._given = {
            "access_key_id": key,
            "secret_access_key": secret,
            "token": token,
            "expires_at": None,
        }

    def __call__(self) -> Any:
        return self._given


def open_client(location: str, options: StoreOptions, times: int = 1) -> Any:
    """Return obstore's store of a URL; nothing is asked of it yet.

    Parameters
    ----------
    location : str
        The URL.
    options : StoreOptions
        How to open it.
    times : int
        How many times longer than usual requests may take.

    Raises
    ------
    ValueError
        If the URL cannot be opened.
    """
    cloud = find_cloud(location)
    timeout = timedelta(seconds=options.timeout * times)
    shared: dict[str, Any] = {
        "client_options": {
            "timeout": _LONGEST,
            "read_timeout": timeout,
            "connect_timeout": min(timeout, timedelta(seconds=10)),
        },
        "retry_config": {
            "max_retries": 10_000,  # bounded by time
            "retry_timeout": timedelta(seconds=options.retry_seconds * times),
            "backoff": {"max_backoff": timedelta(seconds=LONGEST_PAUSE)},
        },
    }
    server = server_of(cloud, options)
    is_plain = scheme_of(server or location) == "http"
    shared["client_options"]["allow_http"] = is_plain
    config = _config(cloud, options)
    openers: dict[str, Callable[[], Any]] = {
        "S3": lambda: _open_s3(location, options, config, shared),
        "Google Cloud Storage": lambda: stores.GCSStore.from_url(
            location, config=config, **shared
        ),
        "Azure": lambda: stores.AzureStore.from_url(location, config=config, **shared),
        "HTTP": lambda: stores.HTTPStore.from_url(location, **shared),
    }
    try:
        return openers[cloud.name]()
    except (BaseError, ValueError) as error:
        raise ValueError(
            f"location must be a URL that can be opened, got {public_url(location)!r}: "
            f"{first_line(error)}"
        ) from None


def _config(cloud: Cloud, options: StoreOptions) -> Any:
    """Return what obstore calls the options that were given."""
    given = options.given()
    return {
        theirs: getattr(options, ours)
        for ours, theirs in cloud.options.items()
        if ours in given and theirs
    }


def _open_s3(
    location: str,
    options: StoreOptions,
    config: Any,
    shared: dict[str, Any],
) -> Any:
    """Return a bucket's store: address, region and keys as given or as found."""
    bucket, _, prefix = location.partition("://")[2].partition("/")
    profile = aws_profile()
    server = server_of(find_cloud(location), options)
    if server:
        # Both names: a variable for the second one would win over the first.
        config["endpoint"] = config["aws_endpoint_url_s3"] = server
    region = (
        options.region
        or os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION")
        or profile.get("region")
        or (None if server else bucket_region(bucket))
    )
    if region:
        config["region"] = region
    # A key of S3 is the path as it is written: `from_url` would decode it.
    return stores.S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        credential_provider=_s3_keys(options, profile),
        **shared,
    )


def _s3_keys(options: StoreOptions, profile: Mapping[str, str]) -> _Keys | None:
    """Return the keys given or those of a profile; None leaves it to obstore."""
    if options.access_key_id and options.secret_access_key:
        return _Keys(
            options.access_key_id, options.secret_access_key, options.session_token
        )
    if options.anonymous or os.environ.get("AWS_ACCESS_KEY_ID"):
        return None
    if "aws_access_key_id" not in profile:
        return None
    return _Keys(
        profile["aws_access_key_id"],
        profile.get("aws_secret_access_key", ""),
        profile.get("aws_session_token"),
    )
