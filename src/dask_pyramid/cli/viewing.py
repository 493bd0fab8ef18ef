"""The command `view`: a stored pyramid in a viewer."""

from __future__ import annotations

import click

import dask_pyramid as dp
from dask_pyramid.cli.commands import Command
from dask_pyramid.cli.parameters import (
    DEBUG,
    PLACE,
    STORE,
    storage_options,
    with_options,
)
from dask_pyramid.cli.telling import reported

__all__ = ["view"]


@click.command(
    cls=Command,
    epilog="""\b
Example:
  dask-pyramid view a.ome.zarr""",
)
@PLACE
@click.option(
    "--viewer",
    type=click.Choice(["neuroglancer", "napari"]),
    default="neuroglancer",
    show_default=True,
    help="Neuroglancer runs in a browser, napari in a window.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="PORT",
    help="Port of Neuroglancer's server on this machine.  [default: any that is free]",
)
@click.option("--no-browser", is_flag=True, help="Only print the URL.")
@with_options(*STORE, DEBUG)
def view(
    store: str,
    *,
    viewer: str,
    port: int,
    no_browser: bool,
    endpoint: str | None,
    anonymous: bool,
    debug: bool,
) -> None:
    """Show a stored pyramid and its labels until Ctrl-C.

    STORE is the folder or URL of an OME-Zarr image. A URL is read by this process, with
    the credentials that it has; the browser needs none. On another machine, give --port
    and tunnel it: ssh -L 8000:127.0.0.1:8000 MACHINE.
    """
    with reported(debug):
        options = storage_options(endpoint, anonymous)
        pyramid = dp.open_pyramid(store, storage_options=options)
        shown = pyramid.view(viewer=viewer, port=port, browser=not no_browser)
        if viewer == "napari":
            from dask_pyramid.viewing import run_napari

            run_napari()
            return
        with shown:
            click.echo(shown.url)
            click.echo("Ctrl-C stops.", err=True)
            try:
                shown.wait()
            except KeyboardInterrupt:
                click.echo("Stopped.", err=True)
