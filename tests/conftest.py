import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# `oracle` and `drawn` are imported by several test modules; pytest's import mode
# `importlib` leaves this folder off the path.
sys.path.insert(0, str(Path(__file__).parent))

import cuda_host
from fake_cupy import fake_cupy
from servers.fixtures import any_s3, ceph, moto, proxy_of, shared_folder

__all__ = ["any_s3", "ceph", "moto", "proxy_of", "shared_folder"]

settings.register_profile(
    "dask-pyramid",
    derandomize=True,
    deadline=None,
    max_examples=80,
    database=None,
    # Fixtures here hold no state; a slow first example is numba compiling.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("dask-pyramid")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Return twice the number of cores: many tests wait for processes of their own."""
    from dask_pyramid.limits import default_workers

    return 2 * default_workers()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Let units that failed come back soon; `test_transient` looks at the times."""
    monkeypatch.setattr(
        "dask_pyramid.runner.window.delay", lambda failures: 0.01 * failures
    )


@dataclass(frozen=True)
class Backend:
    """A kind of array: how to make one of NumPy's, and how to get back."""

    name: str
    array: Any
    to_numpy: Any


def _read_only(values):
    values = np.array(values)
    values.setflags(write=False)
    return values


def _strict_on_a_second_device():
    """Return a backend whose arrays refuse to meet those of the default device."""
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")

    def make(values):
        return strict.asarray(values, device=device)

    def to_numpy(array):
        assert array.device == device, "the result has left the device of its input"
        return np.asarray(array.to_device(strict.Device("CPU_DEVICE")))

    return Backend("strict", make, to_numpy)


@pytest.fixture(scope="session")
def host_kernels(shared_folder):
    """CUDA kernels, built for the host once for all workers of pytest."""
    if cuda_host.compiler is None:
        pytest.skip("g++ builds the kernels, and is not here")
    folder = shared_folder / "kernels"
    folder.mkdir(exist_ok=True)
    return cuda_host.HostKernels(folder)


@pytest.fixture
def like_cupy(host_kernels, monkeypatch):
    """What stands in for CuPy, as the module of that name."""
    from dask_pyramid.device import compile_kernel

    compile_kernel.cache_clear()
    module = fake_cupy(host_kernels)
    monkeypatch.setitem(sys.modules, "cupy", module)
    yield module
    compile_kernel.cache_clear()


def _real_cupy():
    """Return CuPy, if there is a device for it."""
    cupy = pytest.importorskip("cupy")
    try:
        cupy.zeros(1)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    return cupy


@pytest.fixture(params=["like cupy", pytest.param("cupy", marks=pytest.mark.gpu)])
def any_cupy(request):
    """CuPy, and what stands in for it."""
    if request.param == "cupy":
        return _real_cupy()
    return request.getfixturevalue("like_cupy")


@pytest.fixture(
    params=[
        "numpy",
        "read-only",
        "strict",
        "like cupy",
        pytest.param("cupy", marks=pytest.mark.gpu),
    ]
)
def xp(request):
    if request.param == "numpy":
        return Backend("numpy", np.array, np.asarray)
    if request.param == "read-only":
        return Backend("read-only", _read_only, np.asarray)
    if request.param == "strict":
        return _strict_on_a_second_device()
    if request.param == "like cupy":
        cupy = request.getfixturevalue("like_cupy")
        return Backend("like cupy", cupy.asarray, cupy.asnumpy)
    cupy = _real_cupy()
    return Backend("cupy", cupy.asarray, cupy.asnumpy)
