import errno

import pytest
from obstore.exceptions import GenericError

from dask_pyramid.runner.transient import delay, is_transient


def raised_from(error, cause):
    try:
        raise error from cause
    except type(error) as found:
        return found


@pytest.mark.parametrize(
    "error",
    [
        OSError("flaky"),
        OSError(errno.EIO, "injected"),
        OSError(errno.ESTALE, "stale handle"),
        TimeoutError(),
        ConnectionResetError(),
        InterruptedError(),
        RuntimeError("Input/output error (os error 5)"),
        GenericError("503 after all retries"),
        raised_from(OSError("cannot read"), GenericError("503")),
        raised_from(OSError("cannot read"), OSError(errno.EIO, "")),
    ],
    ids=repr,
)
def test_what_may_pass_is_transient(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        OSError(errno.EROFS, "read-only"),
        PermissionError("no"),
        FileNotFoundError("gone"),
        RuntimeError("No space left on device (os error 28)"),
        raised_from(OSError("cannot write"), OSError(errno.ENOSPC, "")),
        raised_from(OSError("cannot read"), RuntimeError("checksum is wrong")),
        MemoryError(),
        ValueError("wrong"),
        TypeError("wrong"),
    ],
    ids=repr,
)
def test_what_stays_is_not(error):
    assert not is_transient(error)


def test_delays_grow_to_a_bound_and_scatter():
    assert 0.75 <= delay(1) <= 1.25
    assert 3 <= delay(2) <= 5
    assert delay(50) <= 75
    assert len({delay(1) for _ in range(20)}) > 1
