"""Kinds of object stores as records: what each is called, knows and tells.

Nothing is opened here, and no environment is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dask_pyramid.locations import public_url, scheme_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLOUDS", "Cloud", "Metadata", "find_cloud"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """A request that only a machine of a cloud gets answered, by what signs for it."""

    method: str
    """Method of the request."""
    path: str
    """Path at the link-local address of instance metadata."""
    headers: tuple[tuple[str, str], ...]
    """Headers of the request."""
    address: str = ""
    """Environment variable with another address."""
    disabled: str = ""
    """Environment variable that says "true" where nobody must ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A kind of object store."""

    name: str
    """What users call it."""
    schemes: tuple[str, ...]
    """Schemes of its URLs."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Names of the options that it knows, and what obstore calls them."""
    servers: tuple[str, ...] = ()
    """Environment variables that name a server, the first one first."""
    keys: tuple[str, ...] = ()
    """Options of which one is enough to sign requests."""
    environment: tuple[tuple[str, ...], ...] = ()
    """Groups of environment variables; all of one group are enough to sign."""
    files: tuple[str, ...] = ()
    """Files with credentials that obstore finds by itself."""
    metadata: Metadata | None = None
    """How to ask whether this machine is one of that cloud."""
    hint: str = ""
    """What to do when requests are refused."""


_ADDRESS_OPTIONS = {"endpoint": "endpoint", "anonymous": "skip_signature"}

CLOUDS = (
    Cloud(
        name="S3",
        schemes=("s3", "s3a"),
        options={
            **_ADDRESS_OPTIONS,
            "region": "region",
            # Given to obstore by a provider: as settings, they would be mixed with a
            # session token of the environment.
            "access_key_id": "",
            "secret_access_key": "",
            "session_token": "",
        },
        servers=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        keys=("access_key_id",),
        environment=(
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI",),
            ("AWS_SKIP_SIGNATURE",),
        ),
        metadata=Metadata(
            method="PUT",
            path="/latest/api/token",
            headers=(("X-aws-ec2-metadata-token-ttl-seconds", "60"),),
            address="AWS_METADATA_ENDPOINT",
            disabled="AWS_EC2_METADATA_DISABLED",
        ),
        hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE), give "
        "access_key_id and secret_access_key as storage_options, or ask for anonymous "
        "access (anonymous=True, --anonymous)",
    ),
    Cloud(
        name="Google Cloud Storage",
        schemes=("gs",),
        options={
            "endpoint": "base_url",
            "anonymous": "skip_signature",
            "service_account": "service_account",
            "service_account_key": "service_account_key",
            "bearer_token": "bearer_token",
        },
        servers=("GOOGLE_BASE_URL",),
        keys=("service_account", "service_account_key", "bearer_token"),
        environment=(
            ("GOOGLE_APPLICATION_CREDENTIALS",),
            ("GOOGLE_SERVICE_ACCOUNT",),
            ("GOOGLE_SERVICE_ACCOUNT_PATH",),
            ("GOOGLE_SERVICE_ACCOUNT_KEY",),
            ("GOOGLE_BEARER_TOKEN",),
            ("GOOGLE_SKIP_SIGNATURE",),
        ),
        files=("~/.config/gcloud/application_default_credentials.json",),
        metadata=Metadata(
            method="GET",
            path="/computeMetadata/v1/",
            headers=(("Metadata-Flavor", "Google"),),
        ),
        hint="set GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth application-default "
        "login`, or ask for anonymous access (anonymous=True, --anonymous)",
    ),
    Cloud(
        name="Azure",
        schemes=("az", "azure", "adl", "abfs", "abfss"),
        options={
            **_ADDRESS_OPTIONS,
            "account_name": "account_name",
            "account_key": "account_key",
            "sas_token": "sas_key",
            "bearer_token": "token",
        },
        servers=("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        keys=("account_key", "sas_token", "bearer_token"),
        environment=(
            ("AZURE_STORAGE_ACCOUNT_KEY",),
            ("AZURE_STORAGE_ACCESS_KEY",),
            ("AZURE_STORAGE_MASTER_KEY",),
            ("AZURE_STORAGE_SAS_KEY",),
            ("AZURE_STORAGE_SAS_TOKEN",),
            ("AZURE_STORAGE_TOKEN",),
            ("AZURE_STORAGE_CLIENT_ID",),
            ("AZURE_CLIENT_ID",),
            ("AZURE_FEDERATED_TOKEN_FILE",),
            ("AZURE_IDENTITY_ENDPOINT",),
            ("AZURE_MSI_ENDPOINT",),
            ("AZURE_USE_AZURE_CLI",),
            ("AZURE_STORAGE_USE_EMULATOR",),
            ("AZURE_SKIP_SIGNATURE",),
        ),
        metadata=Metadata(
            method="GET",
            path="/metadata/instance?api-version=2021-02-01",
            headers=(("Metadata", "true"),),
        ),
        hint="set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or another "
        "AZURE_ credential), give them as storage_options, or ask for anonymous access "
        "(anonymous=True, --anonymous)",
    ),
    Cloud(
        name="HTTP",
        schemes=("http", "https"),
        hint="the address may need a user or token within its URL",
    ),
)
"""Every kind of object store that can be opened."""


def find_cloud(location: str) -> Cloud:
    """Return the kind of store that a URL means.

    Parameters
    ----------
    location : str
        A URL.

    Returns
    -------
    Cloud
        Out of `CLOUDS`.

    Raises
    ------
    ValueError
        If the scheme is not known.
    """
    scheme = scheme_of(location)
    for cloud in CLOUDS:
        if scheme in cloud.schemes:
            return cloud
    raise ValueError(
        "location must be a path or an s3, gs, az, abfs, http, https or file URL, got "
        f"{public_url(location)!r}"
    )
