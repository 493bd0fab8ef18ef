"""The verb `view`: a pyramid in Neuroglancer, in a browser, or in napari."""

from __future__ import annotations

import json
import threading
import webbrowser
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dask_pyramid.layers import napari_layers
from dask_pyramid.scene import check_drawable, neuroglancer_state, warn_of_labels
from dask_pyramid.serving import StoreServer
from dask_pyramid.stores import open_store, within

if TYPE_CHECKING:
    from types import TracebackType

    from dask_pyramid.pyramid import Pyramid

__all__ = ["VIEWERS", "View", "run_napari", "view_pyramid"]

VIEWERS = ("neuroglancer", "napari")


class View:
    """A pyramid that is served to Neuroglancer until it is closed.

    Use it in a ``with`` statement, or call `close`; it ends with the process.
    """

    def __init__(self, server: StoreServer) -> None:
        self._server = server
        self._closed = threading.Event()

    @property
    def url(self) -> str:
        """What to open in a browser on this machine, or through a tunnel to it."""
        return self._server.url

    def close(self) -> None:
        """Stop serving."""
        if not self._closed.is_set():
            self._closed.set()
            self._server.close()

    def wait(self) -> None:
        """Wait until it is closed, or Ctrl-C."""
        # Without a time a wait cannot be interrupted on Windows.
        while not self._closed.wait(1):
            pass

    def __enter__(self) -> View:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<View {self.url}>"

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank">{self.url}</a>'


def view_pyramid(
    pyramid: Pyramid,
    *,
    viewer: str = "neuroglancer",
    port: int = 0,
    browser: bool = True,
) -> Any:
    """Show a pyramid and its labels; see `Pyramid.view`."""
    if viewer not in VIEWERS:
        raise ValueError(f"viewer must be one of {', '.join(VIEWERS)}, got {viewer!r}")
    if viewer == "napari":
        return _in_napari(pyramid)
    check_drawable(pyramid)
    warn_of_labels(pyramid, stacklevel=3)
    view = View(_serve(pyramid, port))
    if browser:
        _open_browser(view.url)
    return view


def _serve(pyramid: Pyramid, port: int) -> StoreServer:
    """Serve a stored pyramid, and Neuroglancer's client beside it."""
    if find_spec("neuroglancer") is None:
        raise ImportError(
            "view needs neuroglancer, which is not installed; "
            "pip install 'dask-pyramid[neuroglancer]'"
        )
    client = Path(str(files("neuroglancer").joinpath("static", "client")))
    group = pyramid.group
    store = within(group.store, group.path) if group.path else group.store

    def start(base: str) -> str:
        state = json.dumps(neuroglancer_state(pyramid, f"{base}image/"))
        return f"{base}v/client/index.html#!{quote(state, safe='')}"

    stores = {"image": store, "v": open_store(str(client.parent))}
    return StoreServer(stores, start, port=port)


def _open_browser(url: str) -> None:
    """Open a page, where there is a browser with windows."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return
    # Those that draw text in the terminal are of this class itself.
    if type(found) is not webbrowser.GenericBrowser:
        found.open(url)


def run_napari() -> None:
    """Wait until the windows of napari are closed."""
    import napari

    napari.run()


def _in_napari(pyramid: Pyramid) -> Any:
    if find_spec("napari") is None:
        raise ImportError(
            "view needs napari, which is not installed; "
            "pip install 'dask-pyramid[napari]'"
        )
    import napari
    from napari.layers import Layer

    shown = napari.Viewer(title=pyramid.name)
    for layer in napari_layers(pyramid):
        shown.add_layer(Layer.create(*layer))
    return shown
