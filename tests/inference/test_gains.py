"""Gains with which the sources sum to the mixture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sep.inference.gains import fit_gains


def voices(num_sources, seed=0):
    return np.random.default_rng(seed).normal(size=(num_sources, 4000))


@given(scale=st.floats(1e-6, 1e6), sign=st.sampled_from([-1, 1]), num_sources=st.integers(1, 4))
def test_any_common_scale_and_sign_is_undone(scale, sign, num_sources):
    sources = voices(num_sources)
    gains = fit_gains(sources.sum(axis=0), (sign * scale * sources).astype("float32"))
    np.testing.assert_allclose(gains * sign * scale, 1.0, rtol=1e-4)


@pytest.mark.parametrize("scales", [(1, 100), (0.01, 1), (1, 3), (5, 5)])
def test_a_scale_of_each_source_is_undone(scales):
    sources = voices(2)
    gains = fit_gains(sources.sum(axis=0), np.array(scales)[:, None] * sources)
    np.testing.assert_allclose(gains * scales, 1.0, rtol=0.02)


def test_a_silent_source_gets_nothing():
    (voice,) = voices(1)
    np.testing.assert_allclose(fit_gains(voice, np.stack([2 * voice, 0 * voice])), [0.5, 0.0])
    np.testing.assert_array_equal(fit_gains(voice, np.zeros((2, 4000))), [0.0, 0.0])


def test_a_faint_copy_is_not_blown_up():
    (voice,) = voices(1)
    gains = fit_gains(voice, np.stack([0.8 * voice, 0.001 * voice]))
    np.testing.assert_allclose(gains, 1 / 0.801)


def test_noise_beside_one_voice_stays_below_what_is_missing():
    voice, distortion, residue = voices(3)
    estimates = np.stack([voice + 0.1 * distortion, 0.001 * (residue - distortion)])
    gains = fit_gains(voice, estimates)
    assert np.std(gains[1] * estimates[1]) < 0.1


def test_estimates_that_cancel_each_other_stay_finite():
    (voice,) = voices(1)
    gains = fit_gains(voice, np.stack([voice, -voice]))
    assert np.abs(gains).max() < 1e3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_model_is_an_error(value):
    sources = voices(2)
    sources[1, 7] = value
    with pytest.raises(ValueError, match="model gave NaN"):
        fit_gains(sources[0], sources)
