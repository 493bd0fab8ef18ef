import json
import math
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

import dask_pyramid as dp
from dask_pyramid import cli


def planned(shape=(512, 512, 512), **options):
    options = {"memory_limit": "2GiB", "workers": 4, "method": "mean", **options}
    image = dp.open_image(np.broadcast_to(np.uint16(1), shape))
    return dp.plan_pyramid(image, **options)


def test_on_one_core_it_takes_its_core_seconds_and_the_tail_of_a_unit():
    found = dp.forecast(planned(workers=1), cores=1, bandwidth="1 TB")
    assert found.seconds == pytest.approx(found.core_seconds)
    assert found.limited_by == "cores"


def test_more_cores_help_until_bandwidth_limits():
    plan = planned((2048, 2048, 2048))
    times = [
        dp.forecast(plan, cores=n, bandwidth="1 GB").seconds for n in (1, 2, 8, 64)
    ]
    assert times == sorted(times, reverse=True)
    last = dp.forecast(plan, cores=10**6, bandwidth="1 GB")
    assert last.limited_by == "bandwidth"
    assert last.seconds >= last.bytes_moved / 1e9


def test_bytes_moved_are_those_of_the_plan_compressed():
    plan = planned()
    found = dp.forecast(plan, cores=2, bandwidth=1e9, compression=4)
    raw = plan.bytes_read + plan.bytes_written
    assert found.bytes_moved == pytest.approx(raw / 4, rel=1e-6)


def test_every_object_and_every_receipt_is_a_put():
    plan = planned()
    found = dp.forecast(plan, cores=2, bandwidth="1 GB")
    assert found.n_objects == plan.n_objects
    assert found.n_puts > plan.n_objects + plan.n_tasks
    assert found.n_puts - plan.n_objects - plan.n_tasks < 30


def test_wide_voxels_take_as_long_as_their_bytes():
    narrow = planned()
    wide = replace(narrow, dtype="float32")
    for one, two in zip(narrow.passes, wide.passes, strict=True):
        assert one == two
    first, second = (
        dp.forecast(plan, cores=1, bandwidth="1 TB").core_seconds
        for plan in (narrow, wide)
    )
    assert math.isclose(second, 2 * first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cores": 0}, "cores must be positive, got 0"),
        ({"bandwidth": 0}, "bandwidth must be positive, got 0.0"),
        ({"bandwidth": "fast"}, "bandwidth must be a number of bytes"),
        ({"compression": -1}, "compression must be positive, got -1"),
    ],
)
def test_what_is_no_machine_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dp.forecast(planned(), **{"cores": 1, "bandwidth": "1 GB", **options})


def test_the_command_says_how_long_a_plan_takes(tmp_path):
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, np.zeros((8, 32, 32), "uint8"))
    told = CliRunner().invoke(cli.main, ["plan", str(source), "--cores", "2"])
    assert told.exit_code == 0, told.output
    assert "on 2 cores at 1 GB/s: " in told.output.splitlines()[-1]
    options = ["--cores", "2", "--bandwidth", "10MB", "--json"]
    record = json.loads(
        CliRunner().invoke(cli.main, ["plan", str(source), *options]).output
    )
    assert record["forecast"]["n_objects"] == record["n_objects"]
