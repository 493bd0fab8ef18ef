import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from dask_pyramid.filters import AxisFilter, gaussian_weights
from dask_pyramid.geometry import Reach
from dask_pyramid.methods import METHODS, find_method

LINEAR = [name for name, method in METHODS.items() if method.linear]


def test_the_table_is_that_of_the_design():
    assert list(METHODS) == [
        "gaussian",
        "gaussian-stride",
        "mean",
        "nearest",
        "mode",
        "mode-exact",
        "median",
        "min",
        "max",
    ]
    assert [m.name for m in METHODS.values()] == list(METHODS)
    assert [n for n, m in METHODS.items() if m.labels] == [
        "nearest",
        "mode",
        "mode-exact",
    ]
    assert [n for n, m in METHODS.items() if m.sample == "first"] == [
        "gaussian-stride",
        "nearest",
    ]


# SciPy divides by sigma squared; a tiny sigma is tested below.
@given(sigma=st.just(0.0) | st.floats(1e-3, 20))
def test_weights_are_the_impulse_response_of_scipy(sigma):
    weights = np.array(gaussian_weights(sigma))
    assert weights.sum() == pytest.approx(1, rel=1e-14)
    np.testing.assert_array_equal(weights, weights[::-1])
    impulse = np.zeros(2 * len(weights) + 1)
    impulse[len(weights)] = 1
    expected = gaussian_filter1d(impulse, sigma) if sigma else impulse
    middle = slice(
        len(weights) - len(weights) // 2, len(weights) + len(weights) // 2 + 1
    )
    np.testing.assert_allclose(weights, expected[middle], rtol=1e-12)


@pytest.mark.parametrize("sigma", [0, 1e-300, 1e-160, 0.1])
def test_a_sigma_too_small_for_a_neighbour_is_no_filter(sigma):
    assert gaussian_weights(sigma) == (1.0,)


@pytest.mark.parametrize("step", [2, 3, 4, 7])
def test_default_sigmas_are_f_over_4_and_f_minus_1_over_2(step):
    assert METHODS["gaussian"].default_sigma(step) == step / 4
    assert METHODS["gaussian-stride"].default_sigma(step) == (step - 1) / 2
    assert METHODS["mean"].default_sigma(step) is None


@given(step=st.integers(2, 6), sigma=st.floats(0, 4), box=st.booleans())
def test_taps_sum_to_one_and_fit_into_window_and_reach(step, sigma, box):
    filt = AxisFilter(step=step, gauss=gaussian_weights(sigma), box=box)
    for width in range(1, step + 1):
        taps = filt.taps(width)
        assert sum(taps) == pytest.approx(1, rel=1e-12)
        last = len(taps) - 1 - filt.reach.before
        assert last <= step - 1 + filt.reach.after
        if box:
            assert last == width - 1 + filt.reach.after


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_a_linear_method_has_its_centre_of_mass_where_the_sample_sits(name, step):
    method = METHODS[name]
    reduction = method.reduction((step,), axes="x")
    if not reduction.filters:
        return
    (filt,) = reduction.filters
    positions = np.arange(len(filt.taps(step))) - filt.reach.before
    centre = float(np.dot(positions, filt.taps(step)))
    assert centre == pytest.approx(method.offset(step), abs=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_an_axis_with_step_1_needs_no_halo(name):
    reduction = METHODS[name].reduction((1, 2), axes="yx")
    assert reduction.reaches[0] == Reach()
    assert METHODS[name].reduction((1, 1), axes="yx").halo_free


def test_only_the_filters_need_a_halo():
    needy = [
        name
        for name, m in METHODS.items()
        if not m.reduction((2, 2), axes="yx").halo_free
    ]
    assert needy == ["gaussian", "gaussian-stride"]


def test_sigma_by_axis_leaves_the_default_to_the_others():
    reduction = METHODS["gaussian"].reduction((2, 2), axes="yx", sigma={"x": 2})
    assert reduction.filters[0].gauss == gaussian_weights(0.5)
    assert reduction.filters[1].gauss == gaussian_weights(2)


@pytest.mark.parametrize(
    ("name", "sigma", "message"),
    [
        ("mean", 1.0, r"sigma must not be given with method 'mean', got 1\.0"),
        ("gaussian", -1, "sigma must be zero or more, got -1; "),
        ("gaussian", float("nan"), "sigma must be zero or more, got nan"),
        ("gaussian", {"q": 1}, "sigma must name axes .*got 'q'"),
        ("gaussian", (1, 2, 3), r"sigma must have one entry .*got \(1, 2, 3\)"),
    ],
)
def test_sigma_that_cannot_be_is_refused(name, sigma, message):
    with pytest.raises(ValueError, match=message):
        METHODS[name].reduction((2, 2), axes="yx", sigma=sigma)


def test_a_method_is_found_by_name_or_given_as_a_record():
    record = METHODS["mean"]
    assert find_method("mean") is find_method(record) is record
    for unknown in ("cubic", None, 3, ["mean"]):
        with pytest.raises(ValueError, match=r"method must be one of gaussian, .*got"):
            find_method(unknown)
