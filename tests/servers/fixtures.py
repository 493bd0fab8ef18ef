"""Fixtures of servers: one of each for a whole run of pytest, on all its workers."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager

import pytest

from servers.running import HERE, S3, FaultProxy, NotStartedError, shared

CEPH = ("ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "radosgw", "radosgw-admin")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder that all workers of pytest have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def moto(shared_folder):
    """A quick S3 server that checks no credentials."""
    pytest.importorskip("moto.server")
    folder = shared_folder / "moto"

    def command(port, *_):
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]

    with shared(folder, command) as port:
        yield S3(f"http://127.0.0.1:{port}", "testing", "testingsecret")


@pytest.fixture(scope="session")
def ceph(shared_folder):
    """Ceph's object gateway: real S3 with real credentials."""
    missing = [name for name in CEPH if shutil.which(name) is None]
    if missing:
        pytest.skip(
            f"NO REAL S3 SERVER IS TESTED: {', '.join(missing)} not found; "
            "apt-get install ceph-mon ceph-osd ceph-common radosgw"
        )
    folder = shared_folder / "ceph"

    def command(port, *mon_ports):
        data = folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        script = HERE / "ceph_gateway.sh"
        return ["bash", script, data, port, *mon_ports[:2]]

    try:
        with shared(folder, command) as port:
            yield S3(f"http://127.0.0.1:{port}", "testkey", "testsecret")
    except NotStartedError as error:
        pytest.skip(f"NO REAL S3 SERVER IS TESTED: Ceph does not start: {error}")


@pytest.fixture(scope="session")
def any_s3(request):
    """Each of the servers, for tests that take it by an indirect parameter."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def proxy_of(tmp_path):
    """A function that puts a fault proxy before a server."""

    @contextmanager
    def before(server):
        script = HERE / "fault_proxy.py"
        folder = tmp_path / "proxy"

        def command(port, *_):
            return [sys.executable, script, port, server.endpoint]

        with shared(folder, command) as port:
            yield FaultProxy(port)

    return before
