"""Which errors may pass when a unit is tried again, and how long to wait before.

The rule looks at what an error was raised from. If the system gave it a number, that
decides: a full disk, a missing file or a lack of rights stays, a failed read, a timeout
or a broken connection may pass. Without a number, an `OSError` and what object stores
raise after their own retries may pass. Anything else stays: damaged data, wrong values
and too little memory are the same the next time.
"""

from __future__ import annotations

import errno
import random
import re
import sys

__all__ = ["delay", "is_transient"]

_PERMANENT = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EFBIG,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOSYS,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.ENOTSUP,
        errno.EPERM,
        errno.EROFS,
        errno.EXDEV,
    }
)
_PERMANENT_TYPES = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)

# How Rust writes an error of the system: `zarrs` and obstore raise it as a text.
_OS_ERROR = re.compile(r"\(os error (\d+)\)")

_FIRST_DELAY = 1.0
_GROWTH = 4.0
_LONGEST = 60.0
_JITTER = 0.25


def is_transient(error: BaseException) -> bool:
    """Whether it is worth trying again.

    Parameters
    ----------
    error : BaseException
        What a unit raised, with what it was raised from.

    Returns
    -------
    bool
        See the module for the rule.

    Examples
    --------
    >>> is_transient(TimeoutError()), is_transient(ValueError())
    (True, False)
    >>> is_transient(OSError(errno.EIO, "")), is_transient(OSError(errno.ENOSPC, ""))
    (True, False)
    """
    while error.__cause__ is not None:
        error = error.__cause__
    number = _number(error)
    if number is not None:
        return number not in _PERMANENT
    if isinstance(error, OSError):
        return not isinstance(error, _PERMANENT_TYPES)
    return _of_object_store(error)


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _OS_ERROR.search(str(error))
    return int(found[1]) if found else None


def _of_object_store(error: BaseException) -> bool:
    if "obstore.exceptions" not in sys.modules:
        return False
    from obstore.exceptions import GenericError

    return isinstance(error, GenericError)


def delay(failures: int) -> float:
    """Return how long to wait before a unit is tried again, in seconds.

    Parameters
    ----------
    failures : int
        How often it has failed, at least once.

    Returns
    -------
    float
        About 1, 4, 16 and then 60 s. A quarter more or less, by chance, so that units
        that failed together do not come back together.
    """
    mean = min(_LONGEST, _FIRST_DELAY * _GROWTH ** (failures - 1))
    return mean * random.uniform(1 - _JITTER, 1 + _JITTER)
