"""Which device is taken, what it may use, and what is said where there is none."""

import contextlib
import json
import logging
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster

import dask_pyramid as dp
from dask_pyramid import METHODS, device, offers, offload, plan_pyramid, write_pyramid
from dask_pyramid.cli import main
from dask_pyramid.crew import Offer
from dask_pyramid.nodata import Nodata
from dask_pyramid.offers import here, on_workers
from drawn import small_world, stored_levels, values
from fake_gpu import GPU, fake_gpus

INSTALL = r"pip install 'dask-pyramid\[gpu-cuda12\]' or 'dask-pyramid\[gpu-cuda13\]'"
SMALL = {"scale_factors": [2], "chunks": 8, "shards": False}
LARGE = da.zeros((2000, 2000, 2000), chunks=500, dtype="uint16")


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def takes(method, *, sigma=None, dtype="uint16", **work):
    reduction = METHODS[method].reduction((2, 2, 2), axes="zyx", sigma=sigma)
    work = {"n_voxels": 2**36, "workers": 8, "on_gpu": False} | work
    return offload.pays(reduction, dtype=dtype, **work)[0]


# --- auto ------------------------------------------------------------------------


def test_plain_stored_images_are_reduced_faster_than_they_could_be_carried():
    assert not any(takes(method) for method in ("gaussian", "mean", "nearest", "max"))


def test_long_filters_and_majorities_are_worth_the_bus_unless_cores_are_many():
    assert takes("gaussian", sigma=6)
    assert takes("mode")
    assert not takes("gaussian", sigma=6, workers=64)
    assert not takes("mode", workers=64)
    assert takes("mode", dtype="uint8", workers=16)


def test_steps_between_voxels_and_voxels_that_do_not_count_take_their_time():
    times = {}
    for name, steps, nodata in (
        ("whole", (2, 2, 2), None),
        ("weighted", (2, 2, 2), 0),
        ("between", (1, Fraction(5, 2), Fraction(5, 2)), None),
    ):
        ignore = nodata if nodata is None else Nodata.parse(0, False, np.dtype("u2"))
        reduction = METHODS["gaussian"].reduction(steps, axes="zyx", ignore=ignore)
        times[name] = offload.reduce_time(reduction, floats=False)
    assert times["weighted"] == 2 * times["whole"]
    # 381 Mvoxel/s where all axes shrink by 2.5: 2.6 ns.
    assert 1.5 < times["between"] < 4


def test_what_lies_on_a_gpu_stays_there_and_small_jobs_never_go():
    assert takes("mean", on_gpu=True)
    assert not takes("mode", n_voxels=10**6)
    assert offload.pays(None, dtype="bool", n_voxels=1, workers=1, on_gpu=True) == (
        False,
        "no level is to be made",
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "float64"])
def test_there_is_an_answer_for_every_method_with_its_reason(method, dtype):
    reduction = METHODS[method].reduction((2, 2), axes="yx")
    work = {"dtype": dtype, "n_voxels": 2**40, "workers": 1, "on_gpu": False}
    _, why = offload.pays(reduction, **work)
    assert "% of the work" in why


@pytest.mark.parametrize(("method", "kind"), [("gaussian", "cpu"), ("mode", "gpu")])
def test_auto_says_which_it_took_and_why(method, kind, caplog):
    with fake_gpus(), caplog.at_level(logging.INFO, "dask_pyramid"):
        plan = plan_pyramid(LARGE, device="auto", method=method, workers=8)
    assert plan.device == kind
    assert f"device {kind}: reductions are about" in caplog.text


def test_auto_without_a_gpu_takes_the_host_and_says_so(caplog):
    with fake_gpus("no card"), caplog.at_level(logging.INFO, "dask_pyramid"):
        plan = plan_pyramid(LARGE, device="auto", method="mode")
    assert plan.device == "cpu"
    assert "device cpu: no card" in caplog.text


# --- what there is ---------------------------------------------------------------


def test_without_cupy_the_error_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ValueError, match=INSTALL):
        write_pyramid(np.zeros((8, 8), "uint8"), tmp_path / "a.zarr", device="gpu")
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("client", ["threads", "synchronous", "processes"])
def test_nothing_is_written_where_there_is_no_gpu(client, tmp_path):
    with fake_gpus("no card"), pytest.raises(device.NoGpuError, match="no card"):
        write_pyramid(
            np.zeros((8, 8), "uint8"), tmp_path / "a", device="gpu", client=client
        )
    assert not (tmp_path / "a").exists()


def test_half_of_a_gpu_is_used_and_shared_among_processes():
    with fake_gpus([GPU, GPU]):
        assert here("gpu", None) == Offer(device="gpu", memory=GPU.memory // 2)
        assert here("gpu", "1 GiB", processes=4).memory == 2**29
        assert here("cpu", None) == Offer()


def test_workers_share_the_gpu_that_is_first_for_them():
    other = device.Gpu(uuid="1", memory=2**31)
    reports = {"a": (GPU, other), "b": (GPU, other), "c": (other, GPU)}
    assert on_workers("gpu", None, reports).memory == 2**29
    reports["d"] = "no CuPy"
    assert on_workers("auto", None, reports).missing == "worker d: no CuPy"
    with pytest.raises(device.NoGpuError, match="worker d: no CuPy"):
        on_workers("gpu", None, reports)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "tpu"}, "device must be 'cpu', 'gpu' or 'auto', got 'tpu'"),
        ({"gpu_memory_limit": 1}, "must go with device='gpu' or 'auto'"),
        ({"device": "auto", "gpu_memory_limit": "8 GiB"}, "at most what a GPU has"),
        ({"device": "gpu", "gpu_memory_limit": 0}, "must be positive"),
        ({"device": "gpu", "gpu_memory_limit": "much"}, "gpu_memory_limit must be a"),
    ],
)
def test_wrong_arguments_are_told(given, message):
    with fake_gpus(), pytest.raises(ValueError, match=message):
        plan_pyramid(np.zeros((8, 8), "uint8"), **given)


def test_a_plan_for_a_gpu_with_a_limit_needs_none_and_shows_its_memory():
    with fake_gpus("no card"):
        given = {"device": "gpu", "gpu_memory_limit": "2 GiB"}
        plan = plan_pyramid(LARGE, memory_limit="8 GiB", **given)
        assert 0 < plan.device_memory <= 2**31
        assert "GPU memory" in str(plan)
        assert "limit 2.0 GiB" in str(plan)
        assert plan.to_json()["device_memory"] == plan.device_memory
        assert type(plan).from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert "GPU memory" not in str(plan_pyramid(LARGE))


# --- one job ---------------------------------------------------------------------


class StopError(Exception):
    pass


def stop(progress):
    if progress.done == 3:
        raise StopError


def test_a_run_begun_on_the_host_ends_on_a_gpu_with_the_same_bytes(tmp_path):
    image = values((32, 24, 24), "uint16", 3)
    options = SMALL | {"workers": 1}
    with small_world(unit=16**3), fake_gpus() as made:
        write_pyramid(image, tmp_path / "a", **options)
        with pytest.raises(StopError):
            write_pyramid(image, tmp_path / "b", progress=stop, **options)
        write_pyramid(image, tmp_path / "b", mode="a", device="gpu", **options)
        assert made[0].mirrors
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_shares_growth_and_updates_take_a_device_too(tmp_path):
    source, store = str(tmp_path / "in.zarr"), str(tmp_path / "a.zarr")
    da.from_array(values((16, 32, 32), "uint8", 3)).to_zarr(source)
    with fake_gpus() as made:
        dp.prepare_pyramid(source, store, **SMALL)
        dp.run_units(store, device="gpu")
        dp.finish_pyramid(store, device="gpu")
        dp.add_levels(store, scale_factors=[2, 4], device="gpu")
        dp.update_pyramid(store, {"z": (0, 4)}, device="gpu")
        dp.append(store, values((4, 32, 32), "uint8", 5), "z", device="gpu")
        assert len([backend for backend in made if backend.mirrors]) == 4
    assert dp.verify_pyramid(store, sample="full").ok
    with pytest.raises(ValueError, match="given to those who run the units"):
        dp.prepare_pyramid(source, tmp_path / "b.zarr", device="gpu")


def test_the_command_takes_a_device_and_tells_where_there_is_none(tmp_path):
    source = str(tmp_path / "in.zarr")
    da.from_array(values((16, 32, 32), "uint8", 3)).to_zarr(source)
    command = [source, "--device", "gpu", "--gpu-memory-limit", "1GiB"]
    with fake_gpus():
        result = CliRunner().invoke(main, ["plan", *command])
        assert "GPU memory" in result.output, result.stderr
        target = str(tmp_path / "a.zarr")
        result = CliRunner().invoke(main, ["write", command[0], target, *command[1:]])
        assert result.exit_code == 0, result.stderr
    with fake_gpus("there is no GPU"):
        target = str(tmp_path / "b.zarr")
        result = CliRunner().invoke(main, ["write", source, target, "--device", "gpu"])
    assert result.exit_code == 1
    assert "Error: device must be 'cpu' or 'auto' without a GPU" in result.stderr
    assert "got 'gpu'; there is no GPU" in result.stderr


def test_it_is_the_workers_that_are_asked_not_the_client(tmp_path, monkeypatch):
    image = values((32, 24, 24), "uint16", 3)
    write_pyramid(image, tmp_path / "a", **SMALL)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        fake_gpus("no card on a worker") as made,
    ):
        # Workers are threads here; this one stands for the client.
        monkeypatch.setattr(offers, "here", None)
        with pytest.raises(device.NoGpuError, match=r"worker .*: no card on a worker"):
            write_pyramid(image, tmp_path / "b", client=client, device="gpu", **SMALL)
        assert not (tmp_path / "b").exists()
        made._gpus = [GPU]
        write_pyramid(image, tmp_path / "b", client=client, device="gpu", **SMALL)
        assert {backend.limit for backend in made} == {GPU.memory // 4}, "two share it"
        assert all(backend.mirrors for backend in made)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_cluster_of_gpus_is_started_for_one_command(tmp_path, monkeypatch):
    source, target = str(tmp_path / "in.zarr"), str(tmp_path / "a.zarr")
    da.from_array(values((16, 32, 32), "uint8", 3)).to_zarr(source)
    started = []

    def cluster(**options):
        started.append(options)
        return LocalCluster(n_workers=1, processes=False, dashboard_address=None)

    command = ["write", source, target, "--cluster", "cuda"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "--cluster cuda needs --device gpu or auto" in result.stderr
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    result = CliRunner().invoke(main, [*command, "--device", "gpu"])
    assert "dask-pyramid[gpu-cluster] must be installed" in result.stderr
    module = SimpleNamespace(LocalCUDACluster=cluster)
    monkeypatch.setitem(sys.modules, "dask_cuda", module)
    with fake_gpus() as made:
        options = ["--device", "gpu", "--cluster-option", "threads_per_worker=4"]
        result = CliRunner().invoke(main, [*command, *options])
    assert result.exit_code == 0, result.stderr
    assert started == [{"dashboard_address": ":0", "threads_per_worker": 4}]
    assert all(backend.devices == [0] for backend in made), "the first one it sees"


# --- blocks on a device ----------------------------------------------------------


class CardBlock:
    """A block that only `get` brings to the host, as those of CuPy."""

    def __init__(self, values):
        self._values, self.shape, self.dtype = values, values.shape, values.dtype
        self.ndim, self.size, self.nbytes = values.ndim, values.size, values.nbytes

    def get(self):
        return self._values


CardBlock.__module__ = "cupy"


@pytest.mark.parametrize("client", ["threads", "synchronous", "cluster"])
def test_blocks_of_a_device_are_fetched_by_the_task_that_writes(client, tmp_path):
    image = values((32, 24, 24), "uint16", 3)
    write_pyramid(image, tmp_path / "a", name="n", **SMALL)
    # What a client without a GPU can build: its metas are NumPy's, no block is.
    lazy = da.from_array(image, chunks=16).map_blocks(
        CardBlock, dtype=image.dtype, meta=np.empty((0, 0, 0), image.dtype)
    )
    with contextlib.ExitStack() as stack:
        if client == "cluster":
            options = {"processes": False, "dashboard_address": None}
            cluster = stack.enter_context(LocalCluster(n_workers=1, **options))
            client = stack.enter_context(Client(cluster, set_as_default=False))
        write_pyramid(lazy, tmp_path / "b", name="n", client=client, **SMALL)
    levels = (stored_levels(tmp_path / folder, "0.5", 2) for folder in "ab")
    for level, expected in zip(*levels, strict=True):
        np.testing.assert_array_equal(level, expected)


def test_a_graph_of_blocks_on_a_gpu_is_known_by_its_meta():
    class Meta(np.ndarray):
        pass

    lazy = da.zeros((64, 64), chunks=32, dtype="uint8")
    assert not plan_pyramid(lazy).source_on_gpu
    Meta.__module__ = "cupy"
    lazy = lazy.map_blocks(lambda x: x, meta=np.empty((0, 0), "uint8").view(Meta))
    assert plan_pyramid(lazy).source_on_gpu
