"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import subprocess
import time

import aiohttp
import numpy as np
from PIL import Image as Picture

__all__ = ["Browser", "chromium"]

chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

_FLAGS = (
    "--headless=new --no-sandbox --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-extensions --mute-audio --hide-scrollbars "
    "--use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader "
    "--ignore-gpu-blocklist --remote-debugging-port=0"
).split()


class Browser:
    """One page of a browser of its own."""

    def __init__(self, folder, *, size=(800, 800)):
        width, height = size
        command = [
            chromium,
            *_FLAGS,
            f"--user-data-dir={folder}",
            f"--window-size={width},{height}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._loop = asyncio.new_event_loop()
        self._asked = 0
        self._run(self._connect(folder / "DevToolsActivePort"))
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def close(self):
        self._run(self._session.close())
        self._loop.close()
        self._process.terminate()
        self._process.wait(30)

    def ask(self, method, **parameters):
        """Return the answer of the page to a command of the protocol."""
        return self._run(self._ask(method, parameters))

    def open(self, url):
        self.ask("Page.navigate", url=url)

    def run(self, script):
        """Return what JavaScript gives in the page."""
        found = self.ask(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, script, seconds=60):
        """Wait until JavaScript gives something true in the page; return that."""
        deadline = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < deadline, f"in vain: {script}"
            time.sleep(0.05)
        return found

    def screenshot(self):
        """Return what the page looks like: PNG, and y, x, RGB."""
        png = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        with Picture.open(io.BytesIO(png)) as picture:
            return png, np.asarray(picture.convert("RGB"))

    def _run(self, action):
        return self._loop.run_until_complete(asyncio.wait_for(action, 60))

    async def _connect(self, port_file):
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert self._process.poll() is None, "the browser has ended"
            await asyncio.sleep(0.05)
        port = port_file.read_text().split()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = [page for page in await answer.json() if page["type"] == "page"]
        self._socket = await self._session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=0
        )

    async def _ask(self, method, parameters):
        self._asked += 1
        question = {"id": self._asked, "method": method, "params": parameters}
        await self._socket.send_str(json.dumps(question))
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer["error"]
                return answer["result"]
