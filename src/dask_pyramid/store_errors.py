"""What obstore says of a failure, in our words: an OSError without a secret.

obstore tells most of it in text only: the status of the answer and the code within.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from obstore.exceptions import (
    AlreadyExistsError,
    PermissionDeniedError,
    UnauthenticatedError,
)

if TYPE_CHECKING:
    from dask_pyramid.clouds import Cloud

__all__ = ["first_line", "is_passing", "os_error"]

# What obstore does not try again, though it passes: an answer that breaks off or stays
# away while listing or deleting.
_PASSING = ("request or response body error", "error sending request", "timed out")

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_CAUSE = re.compile(r"connection refused|dns error|timed out|connection reset", re.I)
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")


def first_line(error: BaseException) -> str:
    """Return the first line of an error, or its kind if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def is_passing(error: BaseException) -> bool:
    """Whether an error may pass, though obstore does not try again after it."""
    line = first_line(error)
    return _STATUS.search(line) is None and any(word in line for word in _PASSING)


def os_error(error: BaseException, doing: str, cloud: Cloud) -> OSError:
    """Return the error of a store in our words, which show no request and no secret.

    Parameters
    ----------
    error : BaseException
        Of obstore.
    doing : str
        What was tried, with the public URL.
    cloud : Cloud
        The kind of store.

    Returns
    -------
    OSError
        FileNotFoundError, PermissionError or FileExistsError where one fits.
    """
    line = first_line(error)
    status, code = _STATUS.search(line), _CODE.search(str(error))
    words = [found[1] for found in (status, code) if found]
    if code and code[1] in _NO_BUCKET:
        return FileNotFoundError(
            f"cannot {doing}: there is no such bucket; create it first, or check its "
            "name and the endpoint"
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"cannot {doing}: there is nothing")
    refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    if refused or (status and status[1] in ("401", "403")):
        why = " ".join(words) or "no reason given"
        return PermissionError(f"cannot {doing}: access refused ({why}); {cloud.hint}")
    if isinstance(error, AlreadyExistsError):
        return FileExistsError(f"cannot {doing}: it exists")
    if status and status[1].startswith("3"):
        words.append("the bucket is elsewhere: set region or endpoint")
    cause = _CAUSE.search(str(error))
    words += [cause[0].lower()] if cause and not words else []
    return OSError(f"cannot {doing}: {', '.join(words) or 'the connection failed'}")
