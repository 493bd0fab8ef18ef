"""Clusters that the command starts for one run and closes after it.

From Python, users make their own cluster and give its client; here a few options stand
for that. `distributed.LocalCluster`, `dask_cuda.LocalCUDACluster` and
`dask_jobqueue.SLURMCluster` do the work.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["start_cluster"]


@contextmanager
def start_cluster(
    kind: str,
    options: Mapping[str, Any],
    *,
    jobs: tuple[int, int] | None = None,
    timeout: float = 300,
) -> Iterator[Any]:
    """Start a cluster, wait for a first worker, and close all of it at the end.

    Parameters
    ----------
    kind : {"local", "cuda", "slurm"}
        Processes of this machine; one for each of its GPUs (extra
        ``dask-pyramid[gpu-cluster]``); or jobs of SLURM (extra
        ``dask-pyramid[slurm]``).
    options : dict
        Keyword arguments of `LocalCluster`, `LocalCUDACluster` or `SLURMCluster`.
    jobs : (int, int), optional
        Fewest and most workers or jobs; with two different numbers the cluster adapts
        itself to the work. By default what the local clusters choose, or one job.
    timeout : float
        Seconds to wait for the first worker. Others may come later.

    Yields
    ------
    distributed.Client
        Connected, with at least one worker.

    Raises
    ------
    ValueError
        If the cluster does not take the options.
    TimeoutError
        If no worker comes.
    """
    from distributed import Client

    least, most = jobs or (0, 0)
    if kind in ("local", "cuda"):
        # Any port will do for the dashboard of a cluster that lives for one run.
        options = {"dashboard_address": ":0", **options}
        if jobs:
            options = {"n_workers": least, **options}
    try:
        cluster = _kind(kind)(**options)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"cluster options must be those of {kind!r}, got {dict(options)!r}: {error}"
        ) from error
    with cluster, Client(cluster, set_as_default=False) as client:
        if least != most:
            names = ("minimum", "maximum") + (
                ("minimum_jobs", "maximum_jobs") if kind == "slurm" else ()
            )
            cluster.adapt(**dict(zip(names[-2:], (least, most), strict=True)))
        elif kind == "slurm":
            cluster.scale(jobs=most or 1)
        try:
            client.wait_for_workers(1, timeout=timeout)
        except TimeoutError as error:
            raise TimeoutError(
                f"cluster must have a worker within {timeout:g} s, got none; look at "
                f"the queue and at the logs of the jobs, or wait longer"
            ) from error
        yield client


def _kind(kind: str) -> Any:
    if kind == "local":
        from distributed import LocalCluster

        return LocalCluster
    try:
        if kind == "cuda":
            from dask_cuda import LocalCUDACluster

            return LocalCUDACluster
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        extra = "gpu-cluster" if kind == "cuda" else kind
        raise ImportError(
            f"the extra dask-pyramid[{extra}] must be installed for cluster {kind!r}, "
            f"got {error}; pip install 'dask-pyramid[{extra}]'"
        ) from error
    return SLURMCluster
