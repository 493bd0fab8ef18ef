"""Units on CuPy and on its stand-in: real kernels, and memory that is counted."""

import numpy as np
import pytest

from dask_pyramid import METHODS, open_image, plan_pyramid, write_pyramid
from drawn import values

SHAPE = (40, 41, 53)
FACTORS = {"scale_factors": [2, 4]}
KINDS = {
    "gaussian": FACTORS | {"method": "gaussian"},
    "mode": FACTORS | {"method": "mode"},
    "a wide filter": FACTORS | {"method": "gaussian", "sigma": 5},
    "no fused kernel": FACTORS | {"method": "nearest"},
    "isotropic": {
        "method": "mean",
        "scale_factors": "isotropic",
    },
    "nodata": FACTORS | {"method": "gaussian", "nodata": 7},
    "mask": FACTORS | {"method": "mean", "mask": values(SHAPE, "bool", 8)},
}


@pytest.fixture
def launched(like_cupy, host_kernels, monkeypatch):
    """Names of the kernels that were launched."""
    names = []

    def raw_kernel(source, name, options):
        names.append(name)
        return host_kernels(source, name)

    monkeypatch.setattr(like_cupy, "RawKernel", raw_kernel)
    return names


def image_of(seed=0):
    return open_image(values(SHAPE, "uint16", seed), axes="zyx", scale=(0.5, 0.2, 0.2))


def written(target, image, options, **place):
    """Return the files of a pyramid but for the attributes, which have the time."""
    write_pyramid(image, target, chunks=16, **options, **place)
    return {
        path.relative_to(target): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file() and path.name != "zarr.json"
    }


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_on_a_gpu_takes_the_memory_that_was_planned(
    kind, like_cupy, launched, tmp_path
):
    options, image = KINDS[kind], image_of()
    place = {"device": "gpu", "gpu_memory_limit": "64 MiB"}
    assert written(tmp_path / "gpu", image, options, **place)
    plan = plan_pyramid(image, chunks=16, **options, **place)
    assert 0 < like_cupy.memory.peak <= plan.device_memory
    assert like_cupy.memory.held == 0, "nothing stays on the device"
    assert bool(launched) == (kind not in ("no fused kernel", "nodata", "mask"))


@pytest.mark.parametrize("kind", ["gaussian", "nodata", "isotropic"])
def test_memory_may_end_inside_a_kernel(kind, like_cupy, launched, tmp_path):
    options, image = KINDS[kind], image_of()
    expected = written(tmp_path / "cpu", image, options)
    written(tmp_path / "whole", image, options, device="gpu", workers=1)
    like_cupy.memory.limit = like_cupy.memory.peak - 1
    found = written(tmp_path / "gpu", image, options, device="gpu", workers=1)
    assert found == expected
    assert like_cupy.memory.refused >= 2, "freed, then in smaller pieces"


CHAINED = {name: FACTORS | {"method": name} for name in METHODS if METHODS[name].chain}


@pytest.mark.parametrize("kind", {**CHAINED, **KINDS})
def test_the_bytes_are_those_of_the_host_whatever_is_made(kind, any_cupy, tmp_path):
    image, options = image_of(4), {**CHAINED, **KINDS}[kind]
    expected = written(tmp_path / "cpu", image, options)
    assert len(expected) >= 3
    assert written(tmp_path / "gpu", image, options, device="gpu") == expected


def test_fused_kernels_leave_the_memory_to_the_planes():
    image = np.lib.stride_tricks.as_strided(
        np.zeros(1, "uint16"), (1024, 1024, 1024), (0, 0, 0)
    )
    given = {"device": "gpu", "gpu_memory_limit": "2 GiB", **FACTORS}
    plans = {
        nodata: plan_pyramid(
            image, memory_limit="16 GiB", workers=2, nodata=nodata, **given
        )
        for nodata in (None, 0)
    }
    fused, generic = (plan.tile(plan.passes[0]) for plan in plans.values())
    assert fused.kernel < generic.kernel == 2**28
    assert fused.planes >= generic.planes
    assert all(plan.device_memory <= 2**31 for plan in plans.values())
