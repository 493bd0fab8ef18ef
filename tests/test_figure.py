"""Pictures of the levels."""

import builtins
import io
from pathlib import Path

import numpy as np
import pytest

import dask_pyramid as dp
from dask_pyramid.figure import plot_pyramid, scale_bar_length

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"
RNG = np.random.default_rng(3)


def build(array, **options):
    metadata = {"scale": options.pop("scale", None), "unit": options.pop("unit", None)}
    metadata["axes"] = options.pop("axes", None)
    image = dp.open_image(array, **metadata)
    if options.pop("labels", False):
        image = image.with_metadata(labels=True)
    return dp.build_pyramid(image, **{"scale_factors": [2, 4], **options})


def shown(panel):
    return np.asarray(panel.images[0].get_array())


def grey(panel):
    return shown(panel)[..., 0]


def test_all_levels_of_real_nuclei_have_the_same_size_and_tell_their_voxels():
    nuclei = EXAMPLES / "nuclei.tif"
    pyramid = build(str(nuclei), scale=(0.29, 0.26, 0.26), unit="um")
    figure = plot_pyramid(pyramid)
    limits = {(panel.get_xlim(), panel.get_ylim()) for panel in figure.axes}
    assert len(limits) == 1
    assert [panel.get_title("left").splitlines()[0] for panel in figure.axes] == [
        "level 0: 0.29 \u00d7 0.26 \u00d7 0.26 \u00b5m",
        "level 1: 0.58 \u00d7 0.52 \u00d7 0.52 \u00b5m",
        "level 2: 1.16 \u00d7 1.04 \u00d7 1.04 \u00b5m",
    ]
    for panel in figure.axes:
        [bar] = [x for x in panel.lines if x.get_label() == "scale bar"]
        assert np.ptp(bar.get_xdata()) == pytest.approx(10)
        assert panel.texts[0].get_text() == "10 \u00b5m"


def test_every_level_is_drawn_where_its_metadata_say():
    pyramid = build(np.zeros((9, 21, 21), "uint8"), scale=(1, 3, 2), method="nearest")
    for k, panel in enumerate(plot_pyramid(pyramid).axes):
        left, right, bottom, top = panel.images[0].get_extent()
        (_, sy, sx), (_, ty, tx) = pyramid.scale[k], pyramid.translation[k]
        _, ny, nx = pyramid.shapes[k]
        assert (left, top) == (tx - sx / 2, ty - sy / 2)
        assert (right, bottom) == (tx + (nx - 0.5) * sx, ty + (ny - 0.5) * sy)


def test_the_plane_is_the_central_one_or_the_one_asked_for():
    ramp = np.broadcast_to(np.arange(16, dtype="uint8")[:, None, None], (16, 8, 8))
    pyramid = build(ramp.copy(), method="mean", scale_factors=[2])
    figure = plot_pyramid(pyramid, window=(0, 15))
    assert grey(figure.axes[0])[0, 0] == pytest.approx(8 / 15)
    assert grey(figure.axes[1])[0, 0] == pytest.approx(8 / 15)  # planes 8, 9: half-even
    figure = plot_pyramid(pyramid, window=(0, 15), at={"z": 3})
    assert grey(figure.axes[0])[0, 0] == pytest.approx(3 / 15)
    assert grey(figure.axes[1])[0, 0] == pytest.approx(2 / 15)  # planes 2, 3: half-even


def test_both_views_make_two_rows():
    array = RNG.integers(0, 255, (6, 16, 16), dtype="uint8")
    figure = plot_pyramid(build(array, scale_factors=[2]), view="both", window=(0, 255))
    assert len(figure.axes) == 4
    names = [panel.get_ylabel() for panel in figure.axes]
    assert names == ["central plane", "", "maximum\nalong z", ""]
    np.testing.assert_allclose(grey(figure.axes[0]), array[2] / 255)
    np.testing.assert_allclose(grey(figure.axes[2]), array.max(axis=0) / 255)


def test_orthogonal_projections_stand_beside_each_other():
    array = RNG.integers(0, 255, (6, 16, 12), dtype="uint8")
    pyramid = build(array, scale=(2000, 1, 1), unit=("nm", "um", "um"))
    figure = plot_pyramid(pyramid, view="ortho", levels=[0, 1], window=(0, 255))
    above, _, beside, _, below, _ = figure.axes
    np.testing.assert_allclose(grey(above), array.max(axis=0) / 255)
    np.testing.assert_allclose(grey(beside), array.max(axis=2).T / 255)
    np.testing.assert_allclose(grey(below), array.max(axis=1) / 255)
    assert beside.get_xlabel() == "maximum\nalong x"
    assert below.get_ylabel() == "maximum\nalong y"
    # 6 x 2000 nm are as long as 12 x 1 um.
    assert np.ptp(beside.get_xlim()) == pytest.approx(12)
    assert above.get_title("left").startswith("level 0: 2 \u00d7 1 \u00d7 1 \u00b5m")
    places = [panel.get_position() for panel in (above, beside, below)]
    assert places[0].y0 == pytest.approx(places[1].y0)
    assert places[0].width == pytest.approx(places[2].width)
    assert places[1].width == pytest.approx(places[0].width)


def test_levels_that_take_long_to_read_are_not_drawn_unless_asked_for(monkeypatch):
    pyramid = build(np.zeros((8, 32, 32), "uint8"))
    monkeypatch.setattr("dask_pyramid.pictures._CHEAP", 16 * 16)
    titles = [p.get_title("left")[:7] for p in plot_pyramid(pyramid).axes]
    assert titles == ["level 1", "level 2"]
    [panel] = plot_pyramid(pyramid, view="max").axes
    assert panel.get_title("left")[:7] == "level 2"
    assert len(plot_pyramid(pyramid, levels=[0, 1, 2]).axes) == 3


def test_grey_levels_come_from_the_stored_window(tmp_path):
    array = RNG.integers(100, 900, (1, 8, 32, 32)).astype("uint16")
    pyramid = dp.write_pyramid(array, tmp_path / "a.ome.zarr", scale_factors=[2])
    window = pyramid.image.omero["channels"][0]["window"]
    expected = (array[0, 3:5] - window["start"]) / (window["end"] - window["start"])
    found = grey(plot_pyramid(pyramid, at={"z": 3}).axes[0])
    np.testing.assert_allclose(found, np.clip(expected[0], 0, 1))


def test_channels_are_drawn_in_their_colours_or_one_by_one(tmp_path):
    array = np.zeros((2, 16, 16), "uint8")
    array[0, :8], array[1, 8:] = 200, 100
    pyramid = dp.write_pyramid(
        array, tmp_path / "a.ome.zarr", axes="cyx", scale_factors=[2], method="mean"
    )
    both = shown(plot_pyramid(pyramid).axes[0])
    np.testing.assert_array_equal(both[0, 0], (1, 0, 1))
    np.testing.assert_array_equal(both[-1, 0], (0, 1, 0))
    one = shown(plot_pyramid(pyramid, at={"c": 1}).axes[0])
    np.testing.assert_array_equal(one[0, 0], (0, 0, 0))
    np.testing.assert_array_equal(one[-1, 0], (1, 1, 1))


def test_labels_keep_their_colour_at_every_level():
    ids = np.zeros((16, 16), "uint64")
    ids[:8, :8], ids[8:, 8:] = 2**60 + 1, 2**60 + 2
    first, last = (
        shown(p) for p in plot_pyramid(build(ids, labels=True), levels=[0, 2]).axes
    )
    np.testing.assert_array_equal(first[0, 0], last[0, 0])
    np.testing.assert_array_equal(first[-1, -1], last[-1, -1])
    np.testing.assert_array_equal(first[0, -1], (0, 0, 0))
    assert (first[0, 0] != first[-1, -1]).any()


@pytest.mark.parametrize("dtype", ["bool", "float32", "int16"])
def test_constant_and_missing_values_are_drawn(dtype):
    array = np.zeros((12, 12), dtype)
    if dtype == "float32":
        array[:6] = np.nan
    figure = plot_pyramid(build(array, method="mean", scale_factors=[2]))
    figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_a_large_plane_is_thinned():
    pyramid = build(np.zeros((5000, 64), "uint8"), scale_factors=[2])
    assert shown(plot_pyramid(pyramid).axes[0]).shape[0] <= 2048


def test_jupyter_gets_a_png():
    figure = plot_pyramid(build(np.zeros((16, 16), "uint8"), scale_factors=[2]))
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "side"}, "view must be one of plane, max, both, ortho, got 'side'"),
        ({"levels": [3]}, "levels must be some of 0 to 1"),
        ({"levels": []}, "levels must be some of"),
        ({"at": {"z": 4}}, "at must be below 4, got 4 for axis 'z'"),
        ({"at": {"x": 4}}, "at must not name y or x"),
        ({"at": {"t": 0}}, "at must name axes of the image"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    pyramid = build(np.zeros((4, 8, 8), "uint8"), scale_factors=[2])
    with pytest.raises(ValueError, match=message):
        plot_pyramid(pyramid, **options)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    pyramid = build(np.zeros((8, 8), "uint8"), scale_factors=[2])
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"dask-pyramid\[plot\]"):
        plot_pyramid(pyramid)


@pytest.mark.parametrize("extent", [1e-6, 0.7, 1, 3.3, 66.56, 1e9])
def test_scale_bars_are_round_and_fit(extent):
    length = scale_bar_length(extent)
    assert f"{length:e}"[0] in "125"
    assert 0.1 * extent < length <= 0.3 * extent
