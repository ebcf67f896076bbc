"""SI-SNR against fast_bss_eval and its definition; silence; what it must not depend on."""

import fast_bss_eval
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from numerics import gradients

from keras_sep.losses import SISNR
from keras_sep.losses.si_snr import si_snr

RNG = np.random.default_rng(0)


def by_definition(reference, estimate, epsilon=1e-8):
    s, e = (x - x.mean(-1, keepdims=True) for x in np.float64((reference, estimate)))
    target = (e * s).sum(-1, keepdims=True) * s / ((s**2).sum(-1, keepdims=True) + epsilon)
    noise = ((e - target) ** 2).sum(-1) + epsilon
    return 10 * np.log10(((target**2).sum(-1) + epsilon) / noise)


def pair(snr_db, shape=(3, 2, 500)):
    reference, noise = RNG.normal(size=(2, *shape)).astype("float32")
    return reference, reference + noise * np.float32(10 ** (-snr_db / 20))


def loss(reference, estimate):
    return ops.convert_to_numpy(SISNR(reduction=None)(reference, estimate))


@pytest.mark.parametrize("snr", [-20, 0, 20, 40])
def test_values(snr):
    reference, estimate = pair(snr)
    estimate += 0.5
    result = -loss(reference, estimate)
    assert result.shape == (3, 2)
    np.testing.assert_allclose(result, by_definition(reference, estimate), atol=1e-3)
    one_by_one = (x.reshape(6, 1, 500).astype("float64") for x in (reference, estimate))
    expected = fast_bss_eval.si_sdr(*one_by_one, zero_mean=True).reshape(3, 2)
    np.testing.assert_allclose(result, expected, atol=1e-3)


@given(st.floats(0.05, 20), st.floats(0.05, 20), st.floats(-5, 5))
def test_depends_on_no_scale_and_no_mean(scale, reference_scale, mean):
    reference, estimate = pair(5, (1, 500))
    changed = loss(np.float32(reference_scale) * reference, np.float32(scale) * estimate + mean)
    np.testing.assert_allclose(changed, loss(reference, estimate), atol=1e-2)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 100.0])
def test_a_silent_reference_pulls_the_estimate_towards_silence(size):
    estimate = size * RNG.normal(size=(1, 100)).astype("float32")
    silence = np.zeros_like(estimate)
    expected = 10 * np.log10(1 + np.square(estimate - estimate.mean()).sum() / 1e-8)
    np.testing.assert_allclose(loss(silence, estimate), [expected], rtol=1e-3)
    (gradient,) = gradients(lambda x: -ops.sum(si_snr(silence, x)), estimate)
    assert np.all(np.isfinite(gradient))
    step = estimate - 0.01 * np.abs(estimate).max() / np.abs(gradient).max() * gradient
    assert np.square(step - step.mean()).sum() < np.square(estimate - estimate.mean()).sum()


@pytest.mark.parametrize("references", ["sound", "silence", "constant"])
def test_a_silent_estimate_is_finite(references):
    reference = {
        "sound": RNG.normal(size=(1, 100)),
        "silence": np.zeros((1, 100)),
        "constant": np.full((1, 100), 0.1),
    }[references].astype("float32")
    silence = np.zeros_like(reference)
    np.testing.assert_allclose(loss(reference, silence), [0.0], atol=1e-3)
    (gradient,) = gradients(lambda x: -ops.sum(si_snr(reference, x)), silence)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    reference, estimate = (ops.cast(x, dtype) for x in pair(10, (1, 30000)))
    value = si_snr(reference, estimate)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    exact = (ops.convert_to_numpy(ops.cast(x, "float32")) for x in (reference, estimate))
    np.testing.assert_allclose(ops.convert_to_numpy(value), by_definition(*exact), atol=1e-2)


def test_config_and_reduction():
    reference, estimate = pair(3)
    criterion = SISNR(epsilon=1e-4, name="mine", reduction="sum")
    again = keras.losses.deserialize(keras.losses.serialize(criterion))
    assert again.get_config() == criterion.get_config()
    assert (again.epsilon, again.name) == (1e-4, "mine")
    total = -by_definition(reference, estimate, 1e-4).sum()
    assert float(again(reference, estimate)) == pytest.approx(total, abs=1e-2)
    assert keras.saving.get_registered_name(SISNR) == "keras_sep>SISNR"
