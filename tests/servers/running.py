"""Servers on loopback: started once for all workers of pytest, stopped at the end."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
START_SECONDS = 90


class NotStartedError(RuntimeError):
    """A server did not come up."""


@contextmanager
def shared(folder, command):
    """Give the port of a server that runs once for all who share a folder.

    `command` is given free ports, as many as it asks for, and returns what to run; the
    first port is the server's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pipe = folder / "users"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(FileExistsError):
            os.mkfifo(pipe)
        user = _open_pipe(pipe)
        if user is None:
            user = _start(folder, pipe, command)
        port = int((folder / "port").read_text())
    try:
        yield port
    finally:
        os.close(user)


def _open_pipe(pipe):
    """Return the pipe, open, or None if nobody reads it: then no server runs."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def _start(folder, pipe, command):
    ports = free_ports(4)
    with (folder / "log").open("w") as log:
        subprocess.run(
            [sys.executable, HERE / "keep.py", pipe, *map(str, command(*ports))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
    deadline = time.monotonic() + START_SECONDS
    user = None
    while time.monotonic() < deadline:
        if user is None:
            user = _open_pipe(pipe)
        elif not _is_kept(user):
            break
        elif _answers(ports[0]) and _is_ready(folder):
            (folder / "port").write_text(str(ports[0]))
            return user
        time.sleep(0.1)
    if user is not None:
        os.close(user)
    raise NotStartedError((folder / "log").read_text()[-2000:])


def _is_kept(user):
    try:
        return bool(os.write(user, b"."))
    except BrokenPipeError:
        return False


def _is_ready(folder):
    """Whether a server that says by a file when it is ready has said so."""
    return not (folder / "data").exists() or (folder / "data" / "ready").exists()


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _answers(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class S3:
    """A server of S3 on loopback, and an independent client of it."""

    endpoint: str
    key: str
    secret: str
    made: list[str] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        return {
            "endpoint": self.endpoint,
            "access_key_id": self.key,
            "secret_access_key": self.secret,
        }

    def through(self, proxy) -> S3:
        return S3(proxy.endpoint, self.key, self.secret)

    @property
    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def bucket(self, **options) -> str:
        name = f"b{uuid.uuid4().hex[:16]}"
        self.client.create_bucket(Bucket=name, **options)
        return name

    def objects(self, bucket, prefix="") -> dict[str, bytes]:
        """Return what lies in a bucket, by key without the prefix."""
        client = self.client
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix
        )
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)[
                "Body"
            ].read()
            for key in keys
        }


@dataclass(frozen=True)
class FaultProxy:
    """The proxy of `fault_proxy.py`."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, **faults) -> None:
        request = urllib.request.Request(
            f"{self.endpoint}/__faults",
            data=json.dumps(faults).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def counts(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.endpoint}/__counts", timeout=10) as answer:
            return json.load(answer)
