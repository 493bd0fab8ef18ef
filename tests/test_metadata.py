import contextlib
import json

import numpy as np
import pytest

from dask_pyramid.metadata import (
    VERSIONS,
    Dataset,
    Multiscales,
    build_attributes,
    check_path,
    default_omero,
    parse_multiscales,
)

# Gold numbers for binning: spacing (3, 2) by 2 and by 4, voxel centres.
GOLD = (
    Dataset(path="0", scale=(3.0, 2.0), translation=(0.0, 0.0)),
    Dataset(path="1", scale=(6.0, 4.0), translation=(1.5, 1.0)),
    Dataset(path="2", scale=(12.0, 8.0), translation=(4.5, 3.0)),
)


def gold(version="0.5", **changes):
    entries = {
        "version": version,
        "axes": ("y", "x"),
        "unit": ("micrometer", "micrometer"),
        "datasets": GOLD,
        "name": "nuclei",
        "type": "mean",
        "metadata": {"method": "dask_pyramid", "version": "0.1"},
        "omero": default_omero(np.dtype("uint16")),
    }
    return Multiscales(**(entries | changes))


def volume(version):
    axes = ("t", "c", "z", "y", "x")
    return Multiscales(
        version=version,
        axes=axes,
        unit=("second", None, "micrometer", "micrometer", "micrometer"),
        datasets=tuple(
            Dataset(
                path=f"s{k}",
                scale=(1.5, 1.0, 0.3 * 2**k, 0.25 * 2**k, 0.25 * 2**k),
                translation=(
                    0.0,
                    0.0,
                    *((2**k - 1) / 2 * s for s in (0.3, 0.25, 0.25)),
                ),
            )
            for k in range(3)
        ),
        name="cells",
        type="gaussian",
        metadata={"description": "a test"},
        omero=default_omero(np.dtype("float32"), 2, window=(-1.0, 4.0)),
    )


def attributes(axes="yx", steps=None, **entry):
    steps = [{"type": "scale", "scale": [1] * len(axes)}] if steps is None else steps
    entry = {
        "version": "0.4",
        "axes": [{"name": a} if isinstance(a, str) else a for a in axes],
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
    } | entry
    return {"multiscales": [entry]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("make", [gold, volume])
def test_what_is_built_parses_to_the_same(version, make):
    built = json.loads(json.dumps(build_attributes(make(version))))
    parsed = parse_multiscales(built)
    assert build_attributes(parsed) == built
    assert parsed.datasets == make(version).datasets
    assert (parsed.version, parsed.axes) == (version, make(version).axes)


def test_gold_numbers_stand_in_0_4_as_one_scale_then_one_translation():
    (entry,) = build_attributes(gold("0.4"))["multiscales"]
    assert entry["version"] == "0.4"
    assert entry["datasets"][1] == {
        "path": "1",
        "coordinateTransformations": [
            {"type": "scale", "scale": [6, 4]},
            {"type": "translation", "translation": [1.5, 1]},
        ],
    }


def test_version_stands_once_in_the_group_from_0_5_on():
    for version in ("0.5", "0.6"):
        built = build_attributes(
            gold(version, omero={"version": "0.4", "channels": []})
        )
        assert built["ome"]["version"] == version
        assert "version" not in built["ome"]["multiscales"][0]
        assert "version" not in built["ome"]["omero"]


def test_0_6_leads_from_the_array_to_a_coordinate_system():
    (entry,) = build_attributes(gold("0.6"))["ome"]["multiscales"]
    assert "axes" not in entry
    (step,) = entry["datasets"][2]["coordinateTransformations"]
    assert step["type"] == "sequence"
    assert step["input"] == {"path": "2"}
    assert step["output"] == {"name": entry["coordinateSystems"][0]["name"]}
    assert step["transformations"][1] == {
        "type": "translation",
        "translation": [4.5, 3],
    }


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("make", [gold, volume])
def test_yaozarrs_accepts_what_is_built(version, make):
    yaozarrs = pytest.importorskip("yaozarrs")
    built = build_attributes(make(version))
    image = (yaozarrs.v04 if version == "0.4" else yaozarrs.v05).Image
    yaozarrs.validate_ome_object(built if version == "0.4" else built["ome"], image)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("make", [gold, volume])
def test_ome_zarr_models_accepts_what_is_built(version, make):
    name = f"ome_zarr_models.v{version.replace('.', '')}.image"
    image = pytest.importorskip(name)  # 0.6 needs 1.8, which needs Python 3.12
    built = build_attributes(make(version))
    built = built if version == "0.4" else built["ome"]
    image.ImageAttrs.model_validate(built)


def test_transformations_of_the_entry_are_applied_after_those_of_the_level():
    found = parse_multiscales(
        attributes(
            steps=[
                {"type": "scale", "scale": [2, 3]},
                {"type": "translation", "translation": [1, 1]},
            ],
            coordinateTransformations=[
                {"type": "scale", "scale": [10, 100]},
                {"type": "translation", "translation": [5, 7]},
            ],
        )
    )
    assert found.datasets[0].scale == (20, 300)
    assert found.datasets[0].translation == (15, 107)


def test_0_6_identity_and_plain_scale_are_read():
    system = {"name": "world", "axes": [{"name": "y"}, {"name": "x"}]}
    ends = {"input": {"path": "0"}, "output": {"name": "world"}}
    for step, scale in (
        ({"type": "identity"}, (1, 1)),
        ({"type": "scale", "scale": [2, 3]}, (2, 3)),
    ):
        dataset = {"path": "0", "coordinateTransformations": [step | ends]}
        entry = {"coordinateSystems": [system], "datasets": [dataset]}
        found = parse_multiscales({"ome": {"version": "0.6", "multiscales": [entry]}})
        assert found.datasets[0].scale == scale


def test_axes_may_be_plain_names_as_before_0_4():
    entry = {"version": "0.3", "axes": ["y", "x"], "datasets": [{"path": "0"}]}
    found = parse_multiscales({"multiscales": [entry]})
    assert found.axes == ("y", "x")
    assert found.unit == (None, None)
    assert found.datasets[0].scale == (1, 1)


def test_an_abbreviated_unit_is_spelled_out_and_an_unknown_one_dropped():
    axes = [{"name": "y", "unit": "um"}, {"name": "x", "unit": "pixel"}]
    assert parse_multiscales(attributes(axes=axes)).unit == ("micrometer", None)


@pytest.mark.parametrize(
    "path", ["../x", "/abs", "a//b", "", ".", "a/../b", "C:\\x", 3]
)
def test_a_path_that_leaves_the_group_is_refused(path):
    with pytest.raises(ValueError, match="stay within its group"):
        check_path(path)


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ({}, "must hold a list 'multiscales'"),
        ({"ome": {"version": "0.5"}}, "must hold a list 'multiscales'"),
        ({"multiscales": []}, "must hold a list 'multiscales'"),
        ({"multiscales": ["0"]}, "must hold a list 'multiscales'"),
        (attributes(datasets=[]), "at least one level"),
        (attributes(datasets={}), "datasets must be a list"),
        (attributes(axes="yy"), "different names"),
        (attributes(axes="y"), "2 to 5 different names"),
        (attributes(steps=[]), "must hold one scale"),
        (attributes(steps=[{"type": "scale", "scale": [1]}]), "list of 2 numbers"),
        (attributes(steps=[{"type": "scale", "scale": ["1", 2]}]), "list of 2 numbers"),
        (attributes(steps=[{"type": "scale", "scale": [0, 1]}]), "positive"),
        (attributes(steps=[{"type": "scale", "path": "s"}]), "list of 2 numbers"),
        (attributes(steps=[{"type": "affine"}]), "one scale and then"),
        (
            attributes(
                steps=[
                    {"type": "translation", "translation": [0, 0]},
                    {"type": "scale", "scale": [1, 1]},
                ]
            ),
            "one scale and then",
        ),
        (attributes(datasets=[{"path": "../0"}], version="0.3"), "within its group"),
        (attributes(axes=[{"type": "space"}, {"name": "x"}]), "each have a name"),
    ],
)
def test_what_is_no_multiscales_is_refused_with_the_rule(broken, text):
    with pytest.raises(ValueError, match=text):
        parse_multiscales(broken)


def places(value, path=()):
    """Yield the path of every value within a JSON document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@pytest.mark.parametrize("version", VERSIONS)
def test_damage_anywhere_is_a_value_error_or_harmless(version):
    text = json.dumps(build_attributes(gold(version)))
    junk = [None, 3, -1.5, "", "zy", [], {}, [[]], [None], {"name": [1]}, float("nan")]
    for path in list(places(json.loads(text))):
        for value in junk:
            damaged = json.loads(text)
            holder = damaged
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = value
            with contextlib.suppress(ValueError):
                found = parse_multiscales(damaged)
                default_omero(np.dtype("uint8"), 2, source=found.omero)


def test_levels_must_get_coarser():
    with pytest.raises(ValueError, match="finest to the coarsest"):
        gold(datasets=GOLD[::-1])


def test_paths_must_differ():
    with pytest.raises(ValueError, match="unique"):
        gold(datasets=(GOLD[0], GOLD[0]))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": "0.3"}, "version must be one of"),
        ({"axes": ("x", "y")}, "in the order t, c, z, y, x"),
        ({"axes": ("q", "x")}, "out of t, c, z, y, x"),
        ({"unit": ("um", None)}, "full UDUNITS words"),
    ],
)
def test_building_is_strict(changes, text):
    with pytest.raises(ValueError, match=text):
        build_attributes(gold(**changes))


def test_windows_span_an_integer_type_and_the_range_given_for_floats():
    whole = {"min": -128, "max": 127, "start": -128, "end": 127}
    assert default_omero(np.dtype("int8"))["channels"][0]["window"] == whole
    part = default_omero(np.dtype("uint8"), window=(3, 9))["channels"][0]["window"]
    assert part == {"min": 0, "max": 255, "start": 3, "end": 9}
    real = default_omero(np.dtype("float32"), window=(-2.0, 5.0))["channels"][0]
    assert real["window"] == {"min": -2, "max": 5, "start": -2, "end": 5}
    assert default_omero(np.dtype("float64"))["channels"][0]["window"]["max"] == 1


def test_channels_differ_in_colour_and_one_alone_is_grey():
    (alone,) = default_omero(np.dtype("uint8"))["channels"]
    assert alone["color"] == "FFFFFF"
    several = default_omero(np.dtype("uint8"), 9, names=[*"abcdefgh", "Red"])[
        "channels"
    ]
    assert len({channel["color"] for channel in several[:7]}) == 7
    assert several[8]["color"] == "FF0000"
    assert [channel["active"] for channel in several].count(True) == 6


def test_what_the_source_says_of_channels_is_kept_and_what_lacks_is_added():
    source = {
        "id": 7,
        "channels": [
            {"label": "DAPI", "color": "#00f", "window": {"min": 5, "max": 90}},
            {
                "color": "no colour",
                "window": {"start": float("nan")},
                "family": "linear",
            },
            {"label": "surplus"},
        ],
    }
    made = default_omero(np.dtype("uint8"), 2, source=source)
    one, two = made["channels"]
    assert made["id"] == 7
    assert (one["label"], one["color"]) == ("DAPI", "0000FF")
    assert one["window"] == {"min": 5, "max": 90, "start": 5, "end": 90}
    assert two["window"] == {"min": 0, "max": 255, "start": 0, "end": 255}
    assert two["color"] == "00FF00"
    assert two["family"] == "linear"


def test_windows_and_names_must_fit():
    with pytest.raises(ValueError, match="window must be finite and increase"):
        default_omero(np.dtype("uint8"), window=(5, 5))
    with pytest.raises(ValueError, match="one for each of 2 channels"):
        default_omero(np.dtype("uint8"), 2, window=[(0, 1)])
    with pytest.raises(ValueError, match="names must have one entry"):
        default_omero(np.dtype("uint8"), 2, names=["a"])


def test_image_label_stands_beside_multiscales():
    built = build_attributes(gold("0.5", omero=None, image_label={}))
    assert built["ome"]["image-label"] == {}
    assert parse_multiscales(built).image_label == {}
