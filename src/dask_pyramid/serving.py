"""Serve zarr stores over HTTP from this machine, to viewers in a browser.

Byte ranges and CORS, so that any viewer on the web can read, too; reading only. What is
served lies behind a path that cannot be guessed: other users of the machine, and other
pages in the browser, do not find it. Remote stores are read here, with the credentials
that are here.
"""

from __future__ import annotations

import http.server
import logging
import mimetypes
import os
import re
import secrets
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zarr.abc.store import Store

__all__ = ["StoreServer"]

_LOG = logging.getLogger("dask_pyramid")

# Seconds after which a stream of events shows that it is alive, or finds that its
# reader is gone.
_HEARTBEAT = 15

# Backslashes and drives would leave a folder on Windows; no store takes the others.
_FORBIDDEN = re.compile(r"[\\:\x00-\x1f]")

_COMMON = {
    # What is stored may change, and other stores may be served here later.
    "Cache-Control": "no-store",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Expose-Headers": "Content-Length, Content-Range",
}


class StoreServer:
    """A server of stores that runs in threads of this process until it is closed.

    Parameters
    ----------
    stores : mapping of str to zarr store
        What is served below ``NAME/``.
    start : callable
        Takes the URL under which a reader sees the server, with a slash at its end, and
        returns where its front page leads.
    host : str
        Address to listen at.
    port : int
        Port to listen at; 0 takes one that is free.

    Raises
    ------
    OSError
        If the port is taken.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        start: Callable[[str], str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        try:
            self._server = _Server((host, port), _Handler)
        except OSError as error:
            raise OSError(
                f"port must be free, got {port} at {host}: {error}; choose another, or "
                "0 for any"
            ) from error
        self._server.stores, self._server.start = stores, start
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="dask-pyramid-serving", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """URL of the front page, with a slash at its end."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/{self._server.token}/"

    def close(self) -> None:
        """Stop; what is being sent breaks off."""
        self._server.closing.set()
        self._server.shutdown()
        self._server.break_off()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Browsers open many connections at once.
    request_queue_size = 64

    stores: Mapping[str, Store]
    start: Callable[[str], str]

    def __init__(self, *args: Any) -> None:
        self.token = secrets.token_urlsafe(16)
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; keep the connection to break it off."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        self._open.discard(request)
        super().shutdown_request(request)

    def break_off(self) -> None:
        """Wake the threads whose readers keep their connections open."""
        for connection in list(self._open):
            with suppress(OSError):  # it has gone away by itself
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any
    ) -> None:
        """Log; a reader that has gone away is no news."""
        gone = isinstance(sys.exception(), ConnectionError) or self.closing.is_set()
        level = logging.DEBUG if gone else logging.WARNING
        _LOG.log(level, "a request of %s failed", client_address, exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Seconds without a sign of the reader.
    timeout = 60
    server: _Server

    def do_OPTIONS(self) -> None:
        self._send(HTTPStatus.NO_CONTENT)

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *args: Any) -> None:
        _LOG.debug(*args)

    def _answer(self) -> None:
        """Answer a request for the front page, the events, or an object of a store."""
        if self.server.closing.is_set():
            self.close_connection = True
            self._send(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        path = unquote(urlsplit(self.path).path).removeprefix("/")
        token, _, rest = path.partition("/")
        name, _, key = rest.partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self._send(HTTPStatus.NOT_FOUND)
        elif not rest:
            seen = f"http://{self.headers.get('Host')}/{token}/"
            self._send(HTTPStatus.FOUND, {"Location": self.server.start(seen)})
        elif name == "events":
            self._idle()
        elif name in self.server.stores and _is_key(self.server.stores[name], key):
            self._object(self.server.stores[name], key)
        else:
            self._send(HTTPStatus.NOT_FOUND)

    def _object(self, store: Store, key: str) -> None:
        """Send an object of a store, or the part of it that is asked for."""
        kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
        headers = {"Content-Type": kind, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        try:
            found = _read(store, key, asked, empty=self.command == "HEAD")
        except FileNotFoundError:
            self._send(HTTPStatus.NOT_FOUND)
        except OSError as error:
            _LOG.warning("%s cannot be read: %s", key, error)
            self._send(HTTPStatus.BAD_GATEWAY)
        else:
            self._send_found(found, headers)

    def _send_found(self, found: _Found, headers: dict[str, str]) -> None:
        status, size = HTTPStatus.OK, found.stop - found.first
        if found.partial and size:
            status = HTTPStatus.PARTIAL_CONTENT
            told = f"bytes {found.first}-{found.stop - 1}/{found.total}"
            headers["Content-Range"] = told
        elif found.partial:
            status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            headers = {"Content-Range": f"bytes */{found.total}"}
        self._send(status, headers, data=found.data, size=size)

    def _idle(self) -> None:
        """Send a stream without events: Neuroglancer's client asks for one."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            self.wfile.write(b":\n\n")
            if self.server.closing.wait(_HEARTBEAT):
                self.close_connection = True
                return

    def _send(
        self,
        status: HTTPStatus,
        headers: Mapping[str, str] | None = None,
        *,
        data: bytes = b"",
        size: int = 0,
    ) -> None:
        self.send_response(status)
        for name, value in {**_COMMON, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(data)


def _is_key(store: Store, path: str) -> bool:
    """Return whether a path leads to an object and stays within its store."""
    from zarr.storage import LocalStore

    if set(path.split("/")) & {"", ".", ".."} or _FORBIDDEN.search(path):
        return False
    if not isinstance(store, LocalStore):
        return True
    found = Path(os.path.realpath(store.root / path))
    return found.is_relative_to(os.path.realpath(store.root))


def _part(header: str | None, size: int) -> tuple[int, int] | None:
    """Return first byte and end of a range that is asked for; None is the whole.

    Examples
    --------
    >>> _part("bytes=2-3", 9), _part("bytes=-4", 9), _part("bytes=7-", 9)
    ((2, 4), (5, 9), (7, 9))
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was read of an object."""

    data: bytes
    first: int
    stop: int
    total: int
    partial: bool


def _read(store: Store, key: str, asked: str | None, *, empty: bool) -> _Found:
    """Read an object, or the part of it that a header asks for.

    Of a whole object only what was read counts: it may be replaced meanwhile.
    """
    from zarr.abc.store import RangeByteRequest
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    total = 0
    if asked or empty:
        if not sync(store.exists(key)):  # folders have a size, too
            raise FileNotFoundError(key)
        total = sync(store.getsize(key))
    part = _part(asked, total)
    first, stop = part or (0, total)
    data = b""
    if not empty and (part is None or first < stop):
        wanted = None if part is None else RangeByteRequest(first, stop)
        found = sync(store.get(key, default_buffer_prototype(), wanted))
        if found is None:
            raise FileNotFoundError(key)
        data = found.to_bytes()
        stop = first + len(data)
    return _Found(
        data=data,
        first=first,
        stop=max(first, stop),
        total=stop if part is None else total,
        partial=part is not None,
    )
