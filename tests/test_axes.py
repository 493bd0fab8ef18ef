import itertools

import pytest

from dask_pyramid.axes import (
    STORAGE_ORDER,
    axis_type,
    default_axes,
    normalise_unit,
    parse_axes,
    parse_units,
    per_axis,
    storage_permutation,
)


def test_every_order_of_every_set_of_axes_is_brought_into_storage_order():
    for n in range(2, 6):
        for names in itertools.permutations(STORAGE_ORDER, n):
            order = storage_permutation(names)
            sorted_names = [names[i] for i in order]
            assert sorted_names == [a for a in STORAGE_ORDER if a in names]


def test_axes_are_the_last_of_tczyx_by_default():
    assert [default_axes(n) for n in (2, 3, 4, 5)] == [
        ("y", "x"),
        ("z", "y", "x"),
        ("c", "z", "y", "x"),
        ("t", "c", "z", "y", "x"),
    ]


@pytest.mark.parametrize("ndim", [0, 1, 6])
def test_an_image_has_2_to_5_axes(ndim):
    with pytest.raises(ValueError, match=f"2 to 5 axes, got {ndim}"):
        parse_axes(None, ndim)


@pytest.mark.parametrize(
    ("axes", "ndim", "message"),
    [
        ("zyq", 3, "out of t, c, z, y, x, got 'q'"),
        ("zyy", 3, "unique, got 'zyy'"),
        ("yx", 3, "all 3 dimensions .*'yx', which names 2"),
        ("tcx", 3, "two or three of z, y, x, got 'tcx'"),
    ],
)
def test_axes_that_cannot_be_are_refused_with_the_value(axes, ndim, message):
    with pytest.raises(ValueError, match=message):
        parse_axes(axes, ndim)


def test_axis_types_are_those_of_ome_zarr():
    assert [axis_type(a) for a in STORAGE_ORDER] == ["time", "channel", *["space"] * 3]


def test_a_dict_fills_the_axes_it_names_and_a_sequence_all():
    assert per_axis({"x": 3}, "zyx", name="scale", default=1) == (1, 1, 3)
    assert per_axis((4, 5, 6), "zyx", name="scale", default=1) == (4, 5, 6)
    assert per_axis(None, "zyx", name="scale", default=1) == (1, 1, 1)
    with pytest.raises(ValueError, match=r"scale must name axes .*\(zyx\), got 'c'"):
        per_axis({"c": 1}, "zyx", name="scale", default=1)
    with pytest.raises(ValueError, match=r"scale must have one entry .*got \(1, 2\)"):
        per_axis((1, 2), "zyx", name="scale", default=1)


@pytest.mark.parametrize(
    ("unit", "axis", "word"),
    [
        ("um", "x", "micrometer"),
        ("\u00b5m", "x", "micrometer"),
        ("\u03bcm", "x", "micrometer"),
        ("Micrometers", "z", "micrometer"),
        ("micrometre", "y", "micrometer"),
        ("nm", "x", "nanometer"),
        ("s", "t", "second"),
        ("ms", "t", "millisecond"),
        ("min", "t", "minute"),
    ],
)
def test_units_become_full_words(unit, axis, word):
    assert normalise_unit(unit, axis) == word


@pytest.mark.parametrize(
    ("unit", "axis"), [("furlong", "x"), ("second", "x"), ("um", "t"), ("um", "c")]
)
def test_units_of_the_wrong_kind_are_refused(unit, axis):
    with pytest.raises(ValueError, match=f"unit of axis '{axis}' .*got '{unit}'"):
        normalise_unit(unit, axis)


def test_one_unit_is_that_of_the_spatial_axes():
    assert parse_units("nm", "tczyx") == (None, None, *["nanometer"] * 3)
    assert parse_units({"t": "s"}, "tyx") == ("second", None, None)
    assert parse_units(None, "yx") == (None, None)
