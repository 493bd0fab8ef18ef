"""A proxy before an S3 server that counts requests and makes some of them fail.

    python fault_proxy.py PORT UPSTREAM

``POST /__faults {"mode": ..., "p": ..., "seed": ...}`` sets what goes wrong, with which
probability, and forgets what was counted; ``GET /__counts`` tells what was counted.

Modes: ``none``; ``500``, ``503``; ``reset`` (the connection breaks before the request
is passed on); ``lost`` (it is passed on and done, and the answer is lost); ``half``
(the answer breaks off in the middle); ``stall`` (it comes after `seconds`); ``mixed``
(one of all these). ``methods`` limits faults to some methods.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter, defaultdict

from aiohttp import ClientSession, TCPConnector, web

MODES = ("500", "503", "reset", "lost", "half", "stall")
SLOW_DOWN = (
    '<?xml version="1.0"?><Error><Code>{code}</Code><Message>later</Message></Error>'
)
HOP_BY_HOP = ("transfer-encoding", "connection", "keep-alive")


class Proxy:
    def __init__(self, upstream):
        self.upstream = upstream
        self.session = None
        self.set({})

    def set(self, wanted):
        self.mode = wanted.get("mode", "none")
        self.p = wanted.get("p", 0.0)
        self.seconds = wanted.get("seconds", 2.0)
        self.methods = wanted.get("methods", ["GET", "HEAD", "PUT", "POST", "DELETE"])
        self.random = random.Random(wanted.get("seed", 0))
        self.requests = defaultdict(Counter)
        self.faults = defaultdict(Counter)
        self.kinds = Counter()

    def fault(self, method):
        """Return what shall go wrong with the next request, or None."""
        if self.mode == "none" or method not in self.methods:
            return None
        if self.random.random() >= self.p:
            return None
        return self.random.choice(MODES) if self.mode == "mixed" else self.mode

    async def handle(self, request):
        body = await request.read()
        key = request.path
        fault = self.fault(request.method)
        self.requests[request.method][key] += 1
        if fault:
            self.faults[request.method][key] += 1
            self.kinds[fault] += 1
        if fault in ("500", "503"):
            code = {"500": "InternalError", "503": "SlowDown"}[fault]
            text = SLOW_DOWN.format(code=code)
            return web.Response(
                status=int(fault), text=text, content_type="application/xml"
            )
        if fault == "reset":
            return self.broken(request)
        if fault == "stall":
            await asyncio.sleep(self.seconds)
        return await self.passed_on(request, body, fault)

    async def passed_on(self, request, body, fault):
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in (*HOP_BY_HOP, "content-length")
        }
        async with self.session.request(
            request.method,
            self.upstream + request.raw_path,
            headers=headers,
            data=body,
            allow_redirects=False,
            skip_auto_headers=["Content-Type", "Accept-Encoding", "User-Agent"],
        ) as answer:
            data = await answer.read()
        if fault == "lost":
            return self.broken(request)
        kept = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() not in HOP_BY_HOP
        }
        if fault == "half" and data and request.method != "HEAD":
            return await self.half(request, answer.status, kept, data)
        if request.method == "HEAD" or answer.status in (204, 304):
            return web.Response(status=answer.status, headers=kept)
        kept.pop("Content-Length", None)
        return web.Response(status=answer.status, headers=kept, body=data)

    async def half(self, request, status, headers, data):
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        self.broken(request)
        return response

    @staticmethod
    def broken(request):
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def set_faults(self, request):
        self.set(await request.json())
        return web.json_response({})

    async def counts(self, _request):
        return web.json_response(
            {
                "requests": self.requests,
                "faults": self.faults,
                "kinds": self.kinds,
            }
        )


async def main():
    port, upstream = int(sys.argv[1]), sys.argv[2]
    proxy = Proxy(upstream)
    # The path stays as it was sent: it is part of what is signed.
    proxy.session = ClientSession(
        auto_decompress=False,
        connector=TCPConnector(limit=64, force_close=True),
        requote_redirect_url=False,
    )
    app = web.Application(client_max_size=2**30)
    app.router.add_post("/__faults", proxy.set_faults)
    app.router.add_get("/__counts", proxy.counts)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
