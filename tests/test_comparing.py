"""What `compare_methods` tells of methods, and how it is shown."""

import json
import math

import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import downscale_local_mean

import dask_pyramid as dp

RNG = np.random.default_rng(11)
TRUTH = ndimage.gaussian_filter(RNG.normal(size=(4, 96, 128)), (0, 6, 6))
TRUTH = 500 + 100 * TRUTH / TRUTH.std()
NOISY = RNG.poisson(TRUTH).astype("uint16")
FACTORS = {"y": 4, "x": 4}


@pytest.fixture(scope="module")
def found():
    methods = ["nearest", "mean", "gaussian", ("gaussian", 2.0)]
    return dp.compare_methods(NOISY, FACTORS, methods, reference=TRUTH, repeats=1)


def test_mean_over_std_is_that_of_the_reduced_image(found):
    for label, method, sigma in (
        ("mean", "mean", None),
        ("gaussian, sigma 2", "gaussian", 2.0),
    ):
        small = dp.downsample(NOISY, (1, 4, 4), method, sigma=sigma)
        np.testing.assert_array_equal(found.results[label], small)
        assert found[label].snr == pytest.approx(small.mean() / small.std())
        assert found[label].shape == (4, 24, 32)


def test_signal_to_noise_of_averages_is_better_by_what_they_average(found):
    gain = found["mean"].snr_db - found["nearest"].snr_db
    assert gain == pytest.approx(20 * math.log10(4), abs=1.2)
    assert found["mean"].noise == pytest.approx(0.25, rel=0.01)


def test_an_ideal_reduction_of_an_image_without_noise_has_hardly_an_error():
    truth = TRUTH.astype("float64")
    smooth = ndimage.gaussian_filter(truth, (0, 6, 6))
    found = dp.compare_methods(
        smooth, FACTORS, ["nearest", "mean"], reference=smooth, repeats=1
    )
    assert found["nearest"].snr_db > 30 < found["mean"].snr_db


def test_functions_of_others_stand_beside_ours_with_the_same_figures():
    methods = {
        "ours": "mean",
        "theirs": lambda array: downscale_local_mean(array, (1, 4, 4)),
        "slices": {"function": lambda a: a[:, ::4, ::4], "sample": "first"},
        "nearest": dp.METHODS["nearest"],
    }
    found = dp.compare_methods(NOISY, FACTORS, methods, reference=TRUTH, repeats=1)
    for one, other in (("ours", "theirs"), ("slices", "nearest")):
        for name in ("snr", "snr_db", "noise", "aliasing", "sharpness"):
            figures = (getattr(found[label], name) for label in (one, other))
            assert next(figures) == pytest.approx(next(figures), rel=2e-3)


def test_resampling_stands_beside_the_methods():
    methods = [{"order": 1}, {"order": 0, "anti_aliasing": False}, {"order": 3}]
    found = dp.compare_methods(NOISY, FACTORS, methods, reference=TRUTH, repeats=1)
    labels = ["order 1", "order 0, aliased", "order 3"]
    assert list(found.results) == [f"resample, {label}" for label in labels]
    smooth, plain, cubic = found.figures
    expected = dp.resample(NOISY, factor={"y": 0.25, "x": 0.25}).data.compute()
    np.testing.assert_array_equal(found.results[smooth.label], expected)
    assert plain.aliasing == pytest.approx(15, rel=0.05)
    assert smooth.aliasing < 0.3
    assert cubic.sharpness > smooth.sharpness


def test_sigma_trades_noise_for_sharpness():
    methods = [("gaussian", sigma) for sigma in (0.5, 1.0, 2.0, 4.0)]
    rows = dp.compare_methods(NOISY, FACTORS, methods, repeats=1).figures
    assert [row.noise for row in rows] == sorted((r.noise for r in rows), reverse=True)
    assert [row.sharpness for row in rows] == sorted(
        (r.sharpness for r in rows), reverse=True
    )


def test_the_sample_is_the_centre_in_whole_windows():
    image = np.broadcast_to(np.uint8(7), (2, 300, 1003, 1001))
    found = dp.compare_methods(image, FACTORS, ["nearest"], repeats=1)
    t, z, y, x = (stop - start for start, stop in found.region)
    assert (t, y, x) == (1, 1000, 1000)
    assert z * y * x <= 2**24 < 3 * z * y * x
    assert found.region[1][0] > 100
    assert found["nearest"].snr == math.inf
    assert found.to_json()["methods"][0]["snr"] is None


def test_a_region_is_what_is_read():
    region = {"z": (1, 2), "y": slice(0, 50), "x": slice(64, None)}
    found = dp.compare_methods(NOISY, FACTORS, ["mean"], region=region, repeats=1)
    assert found.region == ((1, 2), (0, 48), (64, 128))
    expected = dp.downsample(NOISY[1:2, :48, 64:], (1, 4, 4))
    np.testing.assert_array_equal(found.results["mean"], expected)


def test_lazy_images_and_stored_ones_give_the_same_figures(tmp_path):
    import dask.array as da

    dp.write_pyramid(NOISY, tmp_path / "a.ome.zarr", scale_factors=[2])
    for image in (da.from_array(NOISY, chunks=32), tmp_path / "a.ome.zarr"):
        found = dp.compare_methods(image, FACTORS, ["mean"], repeats=1)
        np.testing.assert_array_equal(
            found.results["mean"], dp.downsample(NOISY, (1, 4, 4))
        )


def test_the_table_prints_and_goes_to_json_and_html(found):
    lines = str(found).splitlines()
    assert lines[0] == "image: 4 x 96 x 128 uint16 reduced by y 4, x 4"
    assert "SNR [dB]" in lines[2]
    assert lines[3].startswith("nearest")
    stored = json.loads(json.dumps(found.to_json()))
    assert [row["label"] for row in stored["methods"]] == list(found.results)
    assert stored["factors"] == [1, 4, 4]
    assert "<table" in found._repr_html_()
    assert "SNR: against" in found._repr_html_()
    bare = dp.compare_methods(NOISY, FACTORS, ["mean"], repeats=1)
    assert "SNR" not in str(bare) + bare._repr_html_()
    with pytest.raises(KeyError):
        bare["median"]


def test_the_figure_has_a_piece_for_each_result_and_a_chart_for_each_figure(found):
    figure = found.plot(width=9)
    assert figure._repr_png_().startswith(b"\x89PNG")
    n = len(found.figures)
    assert len(figure.axes) == n + len(found.columns)
    charts = {panel.get_title(): panel for panel in figure.axes[n:]}
    drawn = [bar.get_width() for bar in charts["aliased / kept"].patches]
    assert drawn == [entry.aliasing for entry in found.figures]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factors": 1}, "factors must be above 1 along some axis, got 1"),
        ({"factors": 2.5}, "factors must be a whole number or a dict by axis"),
        ({"factors": {"z": 5}}, "must hold a whole window of 5 voxels along axis 'z'"),
        ({"methods": "mean"}, "methods must be a list or a dict by label"),
        ({"methods": []}, "methods must name different things"),
        ({"methods": ["mean", "mean"]}, "methods must name different things"),
        ({"methods": ["mena"]}, "method must be one of"),
        ({"methods": [{"method": "mean", "order": 1}]}, "methods must hold names"),
        ({"methods": [{"function": abs, "sample": "last"}]}, "sample must be 'centre'"),
        ({"methods": [np.max]}, "must make an array of"),
        ({"reference": np.zeros((4, 96, 127))}, "reference must have the shape"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"region": {"y": (0, 3)}}, "whole window of 4 voxels along axis 'y'"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, message):
    given = {"factors": FACTORS, "methods": ["mean"], **arguments}
    with pytest.raises(ValueError, match=message):
        dp.compare_methods(NOISY, **given)


def test_labels_are_refused():
    image = dp.open_image(NOISY).with_metadata(labels=True)
    with pytest.raises(ValueError, match="image must hold intensities"):
        dp.compare_methods(image, 2)
