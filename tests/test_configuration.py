"""Defaults from dask's configuration: an argument wins over it, it over ours."""

import logging
import os
import subprocess
import sys

import dask
import numpy as np
import pytest
import zarr

import dask_pyramid as dp
from dask_pyramid import configuration
from dask_pyramid.configuration import configured

IMAGE = np.zeros((32, 48, 64), "uint16")


def test_an_argument_wins_over_the_configuration_and_that_over_ours():
    with dask.config.set({"dask-pyramid.version": None}):
        assert dp.plan_pyramid(IMAGE).version == "0.5"
    with dask.config.set({"dask-pyramid.version": 0.4, "dask-pyramid.method": "max"}):
        plan = dp.plan_pyramid(IMAGE)
        assert (plan.version, plan.method.name) == ("0.4", "max")
        plan = dp.plan_pyramid(IMAGE, version="0.6", method="mean")
        assert (plan.version, plan.method.name) == ("0.6", "mean")
        labels = dp.open_image(IMAGE).with_metadata(labels=True)
        assert dp.plan_pyramid(labels).method.name == "mode"


def test_layout_and_limits_can_be_configured():
    with dask.config.set(
        {
            "dask-pyramid.chunks": 16,
            "dask-pyramid.shards": False,
            "dask-pyramid.workers": 3,
            "dask-pyramid.memory_limit": "1 GiB",
        }
    ):
        plan = dp.plan_pyramid(IMAGE)
    assert plan.levels[0].chunks == (16, 16, 16)
    assert plan.levels[0].shards is None
    assert (plan.workers, plan.memory_limit) == (3, 2**30)


def test_what_is_stored_says_what_was_configured(tmp_path):
    with dask.config.set({"dask-pyramid": {"compressors": "gzip", "version": "0.4"}}):
        dp.prepare_pyramid(stored(tmp_path), tmp_path / "a", scale_factors=[2])
    # Whoever runs the units has another configuration, or none.
    with dask.config.set({"dask-pyramid": {"method": "max", "compressors": "none"}}):
        dp.run_units(tmp_path / "a")
        pyramid = dp.finish_pyramid(tmp_path / "a")
    assert pyramid.method == "gaussian"
    array = zarr.open_array(tmp_path / "a" / "1", mode="r")
    assert array.metadata.zarr_format == 2
    assert "GZip" in str(array.compressors)


def stored(folder):
    return dp.write_pyramid(IMAGE, folder / "in", scale_factors=[]).location


def test_another_configuration_is_another_job_when_a_run_goes_on(tmp_path):
    dp.prepare_pyramid(stored(tmp_path), tmp_path / "a", scale_factors=[2])
    with (
        dask.config.set({"dask-pyramid.method": "max"}),
        pytest.raises(ValueError, match="method: 'gaussian' there, 'max' here"),
    ):
        dp.write_pyramid(tmp_path / "in", tmp_path / "a", scale_factors=[2], mode="a")


def test_progress_retries_and_device_can_be_configured(tmp_path, capsys):
    with dask.config.set({"dask-pyramid.progress": True}):
        dp.write_pyramid(IMAGE, tmp_path / "a", scale_factors=[2])
    assert "units" in capsys.readouterr().err
    with (
        dask.config.set({"dask-pyramid.device": "tpu"}),
        pytest.raises(ValueError, match="device must be 'cpu', 'gpu' or 'auto'"),
    ):
        dp.plan_pyramid(IMAGE)


def test_names_that_are_not_known_are_told_once(caplog):
    configuration._tell_unknown.cache_clear()
    with (
        dask.config.set({"dask-pyramid.memmory-limit": 1}),
        caplog.at_level(logging.WARNING, "dask_pyramid"),
    ):
        assert configured("retries") == configured("retries") == 2
    assert caplog.text.count("got memmory-limit") == 1


def test_the_environment_configures_a_process():
    code = (
        "import dask_pyramid as dp, numpy as np; plan = dp.plan_pyramid("
        "np.zeros((32, 48, 64), 'u2')); print(plan.memory_limit, plan.version)"
    )
    given = {
        "DASK_DASK_PYRAMID__MEMORY_LIMIT": "1GiB",
        "DASK_DASK_PYRAMID__VERSION": "0.4",
    }
    told = subprocess.check_output(
        [sys.executable, "-c", code], text=True, env={**os.environ, **given}
    )
    assert told.split() == [str(2**30), "0.4"]
