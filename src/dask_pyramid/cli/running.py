"""Who runs the units of a command: a scheduler, or a cluster of its own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import click

from dask_pyramid.configuration import configured

__all__ = ["client_of"]


def client_of(
    *,
    scheduler: str | None,
    cluster: str | None,
    cluster_options: dict[str, Any],
    jobs: tuple[int, int] | None,
    wait: float,
) -> Any:
    """Return a context that gives what `write_pyramid` takes as client."""
    if cluster is None:
        if cluster_options or jobs:
            raise click.UsageError("--cluster-option and --jobs need --cluster")
        return nullcontext(scheduler)
    if scheduler is not None:
        raise click.UsageError("--scheduler and --cluster exclude each other")
    device = configured("device", click.get_current_context().params.get("device"))
    if cluster == "cuda" and device == "cpu":
        raise click.UsageError("--cluster cuda needs --device gpu or auto")
    from dask_pyramid.clusters import start_cluster

    return start_cluster(cluster, cluster_options, jobs=jobs, timeout=wait)
