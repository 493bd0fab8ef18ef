"""``python -m dask_pyramid.cli`` is the command ``dask-pyramid``."""

from dask_pyramid.cli import main

main(prog_name="dask-pyramid")
