"""Levels whose step is no whole number, and the isotropic one that they serve."""

import itertools
import json
from fractions import Fraction
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import dask_pyramid as dp
from dask_pyramid.geometry import Span, needed
from dask_pyramid.methods import METHODS
from dask_pyramid.plan import PyramidPlan
from drawn import partitions, small_world, spatial, stored_levels, values

VOXELS = {
    "practice 2": ((86, 396, 393), (1, 0.202, 0.202)),
    "practice 3": ((31, 211, 197), (1.5, 0.1597, 0.1597)),
    "nearly isotropic": ((60, 256, 255), (0.29, 0.26, 0.26)),
    "isotropic": ((97, 96, 95), (0.3, 0.3, 0.3)),
    "a third": ((41, 90, 91), (0.3, 0.1, 0.1)),
    "three spacings": ((29, 83, 157), (2.0, 0.7, 0.3)),
    "fine z": ((300, 41, 43), (0.07, 0.65, 0.65)),
    "a plane": ((200, 301), (0.9, 0.31)),
    "tiny": ((2, 3, 2), (1, 0.2, 0.2)),
    "one plane": ((1, 90, 80), (5, 0.31, 0.2)),
}


def placed(shape, scale, dtype="uint16", **given):
    array = np.zeros(shape, dtype) if isinstance(dtype, str) else dtype
    return dp.open_image(array, axes=spatial(shape), scale=scale, **given)


def content(folder):
    """Return the bytes of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def isotropic(plan):
    """Return the levels whose spacing is the same, to the last bit."""
    live = [i for i, n in enumerate(plan.levels[0].shape) if n > 1]
    return [level for level in plan.levels if len({level.scale[i] for i in live}) == 1]


# -- what is planned ------------------------------------------------------------------


@pytest.mark.parametrize("case", VOXELS)
def test_all_levels_from_the_isotropic_one_on_have_one_spacing_exactly(case):
    shape, scale = VOXELS[case]
    plan = dp.plan_pyramid(placed(shape, scale), scale_factors="isotropic", chunks=16)
    found = isotropic(plan)
    assert found
    assert [level.number for level in found] == list(
        range(found[0].number, len(plan.levels))
    )
    coarsest = max(s for s, n in zip(scale, shape, strict=True) if n > 1)
    assert found[0].scale[-1] in (coarsest, 2 * coarsest)


@pytest.mark.parametrize("case", VOXELS)
def test_steps_are_whole_but_for_the_isotropic_level(case):
    shape, scale = VOXELS[case]
    plan = dp.plan_pyramid(placed(shape, scale), scale_factors="isotropic", chunks=16)
    goal = isotropic(plan)[0].number
    for level in plan.levels[1:]:
        assert level.parent == level.number - 1 or level.steps == level.factors
        if level.number != goal:
            assert set(level.steps) <= {1, 2}
        assert all(1 <= step < 3 for step in level.steps) or level.parent == 0


def test_the_practice_ends_at_the_voxel_size_of_the_coarsest_axis():
    shape, scale = VOXELS["practice 2"]
    plan = dp.plan_pyramid(placed(shape, scale), scale_factors="isotropic", chunks=64)
    factors = [level.factors for level in plan.levels]
    true = Fraction(1000, 202)
    assert factors == [(1, 1, 1), (1, 2, 2), (1, true, true), (2, 2 * true, 2 * true)]
    assert [level.shape for level in plan.levels][2:] == [(86, 80, 80), (43, 40, 40)]
    assert plan.levels[2].scale == (1.0, 1.0, 1.0)
    # Voxel 0 stands for the first 4.95 voxels: its centre is that of these.
    assert plan.levels[2].translation[1] == pytest.approx(0.5 - 0.101, rel=1e-12)


@pytest.mark.parametrize("spacing", [1.0, 1, 1.3, 2, 5.5])
def test_the_spacing_may_be_chosen(spacing):
    shape, scale = VOXELS["practice 2"]
    image = placed(shape, scale, unit="um")
    plan = dp.plan_pyramid(image, scale_factors={"isotropic": spacing}, chunks=64)
    assert (float(spacing),) * 3 in [level.scale for level in plan.levels]


@pytest.mark.parametrize(
    ("spacing", "said"),
    [
        (0.5, "at least that of the coarsest axis, 1, got 0.5"),
        (0, "must be a positive number, got 0"),
        ("wide", "must be a positive number, got 'wide'"),
        (True, "must be a positive number, got True"),
    ],
)
def test_a_spacing_that_cannot_be_is_refused(spacing, said):
    image = placed((8, 40, 40), (1, 0.2, 0.2))
    with pytest.raises(ValueError, match=said):
        dp.plan_pyramid(image, scale_factors={"isotropic": spacing})


def test_axes_of_several_units_meet_in_the_world():
    image = placed((8, 90, 90), (300, 0.07, 0.07), unit=("nm", "um", "um"))
    plan = dp.plan_pyramid(image, scale_factors="isotropic", chunks=16)
    assert (300.0, 0.3, 0.3) in [level.scale for level in plan.levels]
    with pytest.raises(ValueError, match="axes of several units"):
        dp.plan_pyramid(image, scale_factors={"isotropic": 0.3})


def test_time_and_channels_stay_as_they_are():
    image = dp.open_image(
        np.zeros((2, 3, 9, 70, 70), "uint8"), axes="tczyx", scale=(9, 1, 1, 0.3, 0.3)
    )
    plan = dp.plan_pyramid(image, scale_factors="isotropic", chunks=16)
    assert {level.factors[:2] for level in plan.levels} == {(1, 1)}
    assert plan.levels[-1].scale[:2] == (9.0, 1.0)


@given(
    shape=st.tuples(*[st.integers(1, 300)] * 3),
    factors=st.lists(st.floats(1.01, 4), min_size=1, max_size=3),
)
def test_every_level_covers_level_0_and_exceeds_it_by_less_than_its_own_voxel(
    shape, factors
):
    given_factors = list(itertools.accumulate(factors, lambda a, b: a * b))
    plan = dp.plan_pyramid(placed(shape, (1, 1, 1)), scale_factors=given_factors)
    for level in plan.levels:
        for n, m, f in zip(shape, level.shape, level.factors, strict=True):
            assert n <= m * f < n + f


def test_a_plan_with_fractions_is_read_back_as_it_was():
    image = placed((30, 90, 90), (1, 0.3, 0.3))
    plan = dp.plan_pyramid(image, scale_factors="isotropic", chunks=8)
    assert PyramidPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_methods_without_a_meaning_between_voxels_refuse():
    image = placed((30, 90, 90), (1, 0.3, 0.3))
    for name in ("median", "min", "max"):
        with pytest.raises(ValueError, match=f"no whole numbers, got '{name}'"):
            dp.plan_pyramid(image, method=name, scale_factors="isotropic")


@given(
    size=st.integers(1, 200),
    step=st.fractions(1, 6, max_denominator=1000),
    method=st.sampled_from(["gaussian", "nearest"]),
    sigma=st.sampled_from([None, 0, 0.3, 2.5]),
    data=st.data(),
)
def test_what_is_resampled_lies_in_the_windows_and_their_reach(
    size, step, method, sigma, data
):
    record = METHODS[method]
    given_sigma = sigma if method == "gaussian" else None
    reduction = record.reduction((step, Fraction(3, 2)), axes="yx", sigma=given_sigma)
    sampler = reduction.samplers[0]
    n = -(-size // step)
    first = data.draw(st.integers(0, n - 1))
    span = Span(first=first, stop=data.draw(st.integers(first + 1, n)), size=size)
    held = needed(span.first, span.stop, step=step, reach=sampler.reach, size=size)
    used = sampler.sampling(span).needed(span.first, span.stop)
    assert held.start <= used.start < used.stop <= held.stop


# -- what is computed -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["gaussian", "gaussian-stride", "mean"])
@pytest.mark.parametrize(
    "factors", ["isotropic", [1.3, 2.6], [{"y": 2.5}, {"z": 2, "y": 5, "x": 3.2}]]
)
def test_a_linear_ramp_in_world_coordinates_is_reproduced_at_every_level(
    method, factors
):
    scale, origin, slopes = (2.5, 0.7, 0.45), (-17.0, 250.0, 3.25), (1.0, -3.0, 0.7)
    shape = (29, 106, 113)

    def ramp(shape, scale, origin):
        world = np.meshgrid(
            *(
                o + s * np.arange(n)
                for n, s, o in zip(shape, scale, origin, strict=True)
            ),
            indexing="ij",
            sparse=True,
        )
        return sum(w * slope for w, slope in zip(world, slopes, strict=True))

    image = placed(shape, scale, ramp(shape, scale, origin), translation=origin)
    pyramid = dp.build_pyramid(image, method=method, scale_factors=factors, chunks=16)
    assert any(
        not isinstance(f, int) for level in pyramid.plan.levels for f in level.factors
    )
    for level, spacing, start in zip(
        pyramid.levels, pyramid.scale, pyramid.translation, strict=True
    ):
        # Filters mirror at the border: three samples at each end feel it.
        inner = (slice(3, -3),) * 3
        expected = ramp(level.shape, spacing, start)[inner]
        assert expected.size
        np.testing.assert_allclose(level.compute()[inner], expected, rtol=0, atol=1e-6)


def test_labels_are_those_of_the_nearest_voxel():
    ids = values((20, 61, 67), "uint64", 3)
    image = placed(ids.shape, (1, 0.4, 0.4), ids)
    factors = [{"z": 1.5, "y": 3.75, "x": 3.75}]
    pyramid = dp.build_pyramid(image, method="mode", scale_factors=factors)
    assert pyramid.scale[1] == (1.5,) * 3
    at = [
        np.minimum(((np.arange(n) + 0.5) * 1.5 / s).astype(int), m - 1)
        for n, m, s in zip(pyramid.shapes[1], ids.shape, (1, 0.4, 0.4), strict=True)
    ]
    assert (pyramid.levels[1].compute() == ids[np.ix_(*at)]).all()


@st.composite
def pyramids(draw):
    """Draw an image, the options of its pyramid, and how it is cut for each engine."""
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(1, {2: 45, 3: 16}[ndim])) for _ in range(ndim))
    factors = draw(
        st.sampled_from([[1.5, 3], [2, 4.5], [2.5, "10/3", 5], [1.2, 2.4, 4.8], [7.5]])
    )
    options = {
        "method": draw(st.sampled_from(["gaussian", "mean", "mode", "nearest"])),
        "scale_factors": factors,
        "chunks": tuple(draw(st.integers(1, 8)) for _ in shape),
        "workers": 1,
    }
    dtype = draw(st.sampled_from(["uint8", "uint16", "int32", "float32"]))
    array = values(shape, dtype, draw(st.integers(0, 99)))
    blocks = tuple(draw(partitions(n)) for n in shape)
    world = {
        "unit": draw(st.sampled_from([1, 2**31])),
        "slab": draw(st.sampled_from([1, 2**24])),
        "block": draw(st.sampled_from([1, 500])),
        "kernel": draw(st.sampled_from([1, 2**25])),
    }
    return array, options, blocks, world


@pytest.mark.once
@given(case=pyramids())
@settings(max_examples=25)
def test_any_chunking_unit_and_engine_gives_the_voxels_of_the_whole_array(
    tmp_path_factory, case
):
    array, options, blocks, world = case
    folder = tmp_path_factory.mktemp("units")
    lazy = {name: options[name] for name in ("method", "scale_factors", "chunks")}
    whole = dask.compute(*dp.build_pyramid(array, **lazy).levels)
    with small_world(**world):
        dp.write_pyramid(array, folder / "a", **options)
        cut = dp.build_pyramid(da.from_array(array, blocks), **lazy)
        assert sum(cut.plan.graph_tasks) > 0
        dp.write_pyramid(da.from_array(array, blocks), folder / "b", **options)
        from_blocks = dask.compute(*cut.levels)
    for k, level in enumerate(whole):
        assert np.array_equal(from_blocks[k], level)
        for name in "ab":
            stored = zarr.open_array(folder / name / str(k), mode="r")[...]
            assert np.array_equal(stored, level)


def test_any_scheduler_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**13)
    array = values((20, 90, 70), "uint16", 4)
    zarr.save_array(tmp_path / "in.zarr", array)
    options = {
        "scale": (1, 0.3, 0.3),
        "scale_factors": "isotropic",
        "chunks": 8,
        "shards": False,
        "axes": "zyx",
        "name": "image",
    }
    found = []
    for who, workers in (("synchronous", 1), ("threads", 3), ("processes", 2)):
        target = tmp_path / who
        options |= {"client": who, "workers": workers}
        dp.write_pyramid(tmp_path / "in.zarr", target, **options)
        found.append(content(target))
    assert found[0] == found[1] == found[2]


def test_the_lazy_graph_has_the_tasks_that_the_plan_says():
    array = da.zeros((40, 130, 120), chunks=(20, 40, 40), dtype="uint8")
    with small_world(block=2**14):
        pyramid = dp.build_pyramid(
            placed(array.shape, (1, 0.3, 0.3), array),
            scale_factors="isotropic",
            chunks=16,
        )
        graph = dict(pyramid.levels[-1].__dask_graph__())
    source = len(dict(array.__dask_graph__()))
    assert len(graph) == source + sum(pyramid.plan.graph_tasks)


# -- what is stored -------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path):
    array = values((24, 90, 86), "uint16", 7)
    options = {"scale": (1, 0.3, 0.3), "unit": "um", "axes": "zyx"}
    options |= {"scale_factors": "isotropic", "chunks": 8, "shards": False}
    dp.write_pyramid(array, tmp_path / "a.ome.zarr", **options)
    return tmp_path / "a.ome.zarr"


def level_of(store, spacing):
    """Return the number of the level with this spacing along all axes."""
    return str(dp.open_pyramid(store).scale.index((spacing,) * 3))


def test_a_written_pyramid_is_verified_whole_without_a_warning(stored):
    found = dp.verify_pyramid(stored, sample="full")
    assert found.ok
    assert not found.findings
    assert level_of(stored, 1.0) == "2"


@pytest.mark.parametrize("recorded", [True, False])
def test_a_wrong_voxel_of_the_isotropic_level_is_caught(stored, recorded):
    if not recorded:
        path = stored / "zarr.json"
        content = json.loads(path.read_text())
        del content["attributes"]["dask-pyramid"]
        path.write_text(json.dumps(content))
    assert dp.verify_pyramid(stored, sample="full").ok
    number = level_of(stored, 1.0)
    array = zarr.open_array(stored / number, mode="r+")
    array[3, 20, 20] ^= 1
    found = dp.verify_pyramid(stored, sample="full")
    assert not found.ok
    assert ("content-wrong", number) in [(f.code, f.level) for f in found.findings]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("factors", [1, "10/0", 3]),
        ("factors", [1, "1e9999999999", 3]),
        ("factors", [1, "7/3", 3]),
        ("method", "median"),
        ("nodata", 0),
    ],
)
def test_a_record_that_cannot_be_is_told(stored, key, value):
    path = stored / "zarr.json"
    content = json.loads(path.read_text())
    record = content["attributes"]["dask-pyramid"]
    holder = record["levels"][2] if key == "factors" else record
    assert key == "nodata" or key in holder
    holder[key] = value
    path.write_text(json.dumps(content))
    found = dp.verify_pyramid(stored, sample="structure")
    assert "record-wrong" in [f.code for f in found.findings]


def test_a_spacing_that_the_factors_do_not_give_is_caught(stored):
    path = stored / "zarr.json"
    text = path.read_text()
    content = json.loads(text)
    dataset = content["attributes"]["ome"]["multiscales"][0]["datasets"][2]
    dataset["coordinateTransformations"][0]["scale"][1] = 1.01
    path.write_text(json.dumps(content))
    found = dp.verify_pyramid(stored, sample="structure")
    assert "scale-wrong" in [f.code for f in found.findings]


def test_the_metadata_say_which_levels_were_resampled(stored):
    attributes = zarr.open_group(stored, mode="r").attrs.asdict()
    made = attributes["ome"]["multiscales"][0]["metadata"]
    assert made["description"].endswith(
        "; level 2: Gaussian, then linear interpolation at the centre of each voxel"
    )
    factors = made["kwargs"]["scale_factors"]
    assert factors[1] == {"z": 1, "y": "10/3", "x": "10/3"}
    image = dp.open_image(stored / "0", axes="zyx")
    again = dp.plan_pyramid(image, scale_factors=factors, chunks=8)
    assert tuple(lv.shape for lv in again.levels) == dp.open_pyramid(stored).shapes


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_judges_accept_the_store_and_read_the_same_voxels(tmp_path, version):
    array = values((2, 12, 60, 50), "uint16", 2)
    with_units = {"scale": (1, 1, 0.3, 0.3), "unit": "um", "axes": "czyx"}
    target = tmp_path / "a.ome.zarr"
    pyramid = dp.write_pyramid(
        array,
        target,
        version=version,
        scale_factors="isotropic",
        chunks=8,
        **with_units,
    )
    yaozarrs = pytest.importorskip("yaozarrs")
    if version != "0.6":
        yaozarrs.validate_zarr_store(str(target))
    read = stored_levels(target, version, len(pyramid.levels))
    for one, other in zip(read, pyramid.levels, strict=True):
        assert np.array_equal(one, other.compute())


class StopError(Exception):
    """An interruption of a test's own."""


@pytest.mark.parametrize("after", [3, 10, 17])
def test_an_interrupted_write_resumes_to_the_same_bytes(tmp_path, monkeypatch, after):
    from dask_pyramid import units

    monkeypatch.setattr("dask_pyramid.cost._UNIT_VOXELS", 2**12)
    array = values((20, 90, 70), "uint16", 4)
    zarr.save_array(tmp_path / "in.zarr", array)
    options = {
        "scale": (1, 0.3, 0.3),
        "scale_factors": "isotropic",
        "chunks": 8,
        "shards": False,
        "axes": "zyx",
        "name": "image",
        "workers": 1,
    }
    dp.write_pyramid(tmp_path / "in.zarr", tmp_path / "whole", **options)
    real, done = units.run_unit, []

    def run(job, unit, *more):
        if len(done) == after:
            raise StopError(unit.name)
        done.append(unit.name)
        return real(job, unit, *more)

    with monkeypatch.context() as patch:
        patch.setattr("dask_pyramid.runner.tasks.run_unit", run)
        with pytest.raises(StopError):
            dp.write_pyramid(tmp_path / "in.zarr", tmp_path / "a", **options)
    other = {**options, "scale_factors": {"isotropic": 1.01}}
    with pytest.raises(ValueError, match=r"levels\.2\.factors"):
        dp.write_pyramid(tmp_path / "in.zarr", tmp_path / "a", mode="a", **other)
    dp.write_pyramid(tmp_path / "in.zarr", tmp_path / "a", mode="a", **options)
    assert content(tmp_path / "a") == content(tmp_path / "whole")
    assert not (Path(tmp_path) / "a" / ".dask-pyramid").exists()


def test_levels_of_a_factor_that_nobody_recorded_are_not_grown(stored):
    path = stored / "zarr.json"
    content = json.loads(path.read_text())
    del content["attributes"]["dask-pyramid"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"add_levels\(replace=True\)"):
        dp.update_pyramid(stored, {"z": (0, 4)})


def test_the_command_writes_isotropic_levels(tmp_path):
    from click.testing import CliRunner

    from dask_pyramid.cli import main

    zarr.save_array(tmp_path / "in.zarr", values((12, 60, 50), "uint8"))
    for name, factors in (("a", "isotropic"), ("b", "isotropic=2"), ("c", "1.5,4.5")):
        result = CliRunner().invoke(
            main,
            [
                "write",
                str(tmp_path / "in.zarr"),
                str(tmp_path / name),
                "--axes",
                "zyx",
                "--scale",
                "1,0.3,0.3",
                "--unit",
                "um",
                "--factors",
                factors,
                "--chunks",
                "8",
            ],
        )
        assert result.exit_code == 0, result.output
    assert (1.0,) * 3 in dp.open_pyramid(tmp_path / "a").scale
    assert (2.0,) * 3 in dp.open_pyramid(tmp_path / "b").scale
    assert dp.open_pyramid(tmp_path / "c").scale[2] == (4.5, 1.35, 1.35)
