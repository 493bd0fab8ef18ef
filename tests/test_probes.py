"""What probes tell, against what theory and the table of the design say."""

import math

import numpy as np
import pytest
from scipy import ndimage

import dask_pyramid as dp
from dask_pyramid.probes import band_limited, probe


def reducing(method, factors):
    return lambda array: dp.downsample(array, factors, method)


def transfer_of_mean(factor, frequency):
    return math.sin(factor * frequency / 2) / (factor * math.sin(frequency / 2))


# Energy of white noise that is folded back, over energy that is kept, along one axis.
DESIGN = {
    ("mean", 2): 0.22,
    ("gaussian", 2): 0.127,
    ("gaussian-stride", 2): 0.50,
    ("mean", 4): 0.27,
    ("gaussian", 4): 0.082,
    ("gaussian-stride", 4): 0.11,
}


@pytest.mark.parametrize(("method", "factor"), DESIGN)
def test_aliasing_is_that_of_the_design(method, factor):
    found = probe(reducing(method, factor), (factor,)).aliasing
    assert found == pytest.approx(DESIGN[method, factor], abs=0.005)


@pytest.mark.parametrize("method", ["gaussian", "gaussian-stride", "mean"])
@pytest.mark.parametrize("factor", [2, 3, 9])
def test_energies_are_those_of_the_transfer_function(method, factor):
    if method == "mean":
        taps = np.full(factor, 1 / factor)
    else:
        reduction = dp.METHODS[method].reduction((factor,), axes="x")
        taps = np.array(reduction.filters[0].taps(factor))
    power = np.abs(np.fft.rfft(taps, 2**16)) ** 2
    frequency = np.arange(power.size) / 2**15 * factor  # 1: the new Nyquist frequency
    response = probe(reducing(method, factor), (factor,))
    assert response.kept == pytest.approx(power[frequency <= 1].mean() / factor, 0.02)
    aliased = power[frequency > 1].mean() * (1 - 1 / factor)
    assert response.aliased == pytest.approx(aliased, rel=0.03)
    half = np.abs(frequency - 0.5).argmin()
    assert response.transfer == pytest.approx(math.sqrt(power[half]), rel=0.002)


def test_sharpness_is_that_of_the_design():
    assert probe(reducing("gaussian", 2), (2,)).transfer == pytest.approx(
        0.87, abs=0.01
    )
    mean = probe(reducing("mean", 9), (9,)).transfer
    assert mean == pytest.approx(transfer_of_mean(9, math.pi / 18), abs=1e-4)


def test_energies_multiply_over_axes_and_axes_that_stay_do_not_count():
    one = probe(reducing("mean", (3,)), (3,)).aliasing
    two = probe(reducing("mean", (1, 3, 3)), (1, 3, 3)).aliasing
    assert 1 + two == pytest.approx((1 + one) ** 2, rel=0.02)


def test_decimation_keeps_all_noise():
    response = probe(reducing("nearest", (4, 4)), (4, 4))
    assert response.noise == pytest.approx(1, rel=0.01)
    assert response.aliasing == pytest.approx(15, rel=0.05)
    assert response.transfer == pytest.approx(1)


def test_functions_of_others_and_factors_with_a_fraction_are_measured():
    def zoomed(array):
        return ndimage.zoom(array, 0.4, order=1, grid_mode=True, mode="reflect")

    response = probe(zoomed, (2.5, 2.5))
    assert 0.3 < response.aliasing < 5.25
    assert 0.9 < response.transfer < 1


@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_band_limiting_keeps_low_waves_where_they_are_and_removes_high_ones(offset):
    x = np.arange(64) + 0.5

    def wave(k, at):
        return np.cos(np.pi * k * at / 64)

    at = 4 * np.arange(16) + offset + 0.5
    array = 3 + wave(5, x) + wave(15, x) + wave(17, x) + wave(40, x)
    found = band_limited(array[None], 4, axis=1, offset=offset, count=16)
    np.testing.assert_allclose(found[0], 3 + wave(5, at) + wave(15, at), atol=1e-12)
