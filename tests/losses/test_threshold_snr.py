"""Thresholded SNR against its definition; silent references; what it must not depend on."""

import functools
import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from numerics import gradients, run

from keras_sep.losses import FixedOrder, PermutationInvariant, ThresholdSNR

RNG = np.random.default_rng(0)


def by_definition(references, estimates, max_snr=30.0, max_snr_silent=20.0):
    """Of each source of one example, `(num_sources, samples)`."""
    references, estimates = np.float64(references), np.float64(estimates)
    mixture = references.sum(0)
    losses = []
    for y, estimate in zip(references, estimates, strict=True):
        error = np.sum((y - estimate) ** 2)
        if np.any(y):
            bound = 10 ** (-max_snr / 10) * np.sum(y**2)
            losses.append(-10 * np.log10(np.sum(y**2) / (error + bound)))
        else:
            bound = 10 ** (-max_snr_silent / 10) * np.sum(mixture**2)
            losses.append(10 * np.log10(np.sum(estimate**2) + bound + 1e-8))
    return np.array(losses)


def case(snr_db, shape=(3, 2, 500)):
    references, noise = RNG.normal(size=(2, *shape)).astype("float32")
    return references, references + noise * np.float32(10 ** (-snr_db / 20))


@functools.cache  # JAX compiles each object.
def criterion(**arguments):
    return ThresholdSNR(reduction=None, **arguments)


def loss(references, estimates, **arguments):
    return run(criterion(**arguments), references, estimates)


@pytest.mark.parametrize("snr", [-20, 0, 20, 40])
@pytest.mark.parametrize("max_snr", [10.0, 30.0])
def test_values(snr, max_snr):
    references, estimates = case(snr)
    references[0, 0] = references[1] = 0
    result = loss(references, estimates, max_snr=max_snr, max_snr_silent=max_snr - 5)
    assert result.shape == (3, 2)
    expected = [
        by_definition(*example, max_snr, max_snr - 5)
        for example in zip(references, estimates, strict=True)
    ]
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_ends_at_the_thresholds():
    references, _ = case(0)
    np.testing.assert_allclose(loss(references, references), np.full((3, 2), -30), atol=1e-4)
    references[:, 1] = 0
    mixture_db = 10 * np.log10(np.sum(np.float64(references[:, 0]) ** 2, -1))
    silenced = loss(references, references)[:, 1]
    np.testing.assert_allclose(silenced, mixture_db - 20, atol=1e-4)


SILENT = [(), (1,), (0, 2), (0, 1, 2)]  # Of three references, in each of four examples.


def case_with_silence():
    references, estimates = case(3, (4, 3, 500))
    for example, silent in zip(references, SILENT, strict=True):
        example[list(silent)] = 0
    return references, estimates


def test_pairs_have_the_mixture_of_all_references():
    """In `PermutationInvariant`, too, x is the sum of the references of the example."""
    references, estimates = case_with_silence()
    orders = list(itertools.permutations(range(3)))
    examples = list(zip(references, estimates, strict=True))
    best = [min(by_definition(y, e[list(p)]).mean() for p in orders) for y, e in examples]
    permuted = PermutationInvariant(ThresholdSNR(), reduction=None)
    result = run(permuted, references, estimates[:, [2, 0, 1]])
    np.testing.assert_allclose(result, best, atol=1e-3)
    in_order = run(FixedOrder(ThresholdSNR(), reduction=None), references, estimates)
    means = [by_definition(*example).mean() for example in examples]
    np.testing.assert_allclose(in_order, means, atol=1e-3)


def test_gradients():
    """In closed form; for silent references they silence the estimate, also where all is silent."""
    references, estimates = case_with_silence()
    estimates[:, 1] *= 1e-2
    (result,) = gradients(lambda x: ops.sum(ThresholdSNR().call(references, x)), estimates)
    y, estimate = np.float64(references), np.float64(estimates)
    energy = np.sum(y**2, -1, keepdims=True)
    mixture = np.sum(y.sum(1, keepdims=True) ** 2, -1, keepdims=True)
    bound = np.where(energy > 0, 1e-3 * energy, 1e-2 * mixture) + 1e-8
    error = np.sum((y - estimate) ** 2, -1, keepdims=True)
    expected = 20 / np.log(10) * (estimate - y) / (error + bound)
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-5)
    assert np.all(np.any(result != 0, axis=-1))


def test_silent_estimates_are_finite():
    references, _ = case_with_silence()
    silence = np.zeros_like(references)
    assert np.all(np.isfinite(loss(references, silence)))
    (gradient,) = gradients(lambda x: ops.sum(ThresholdSNR().call(references, x)), silence)
    assert np.all(np.isfinite(gradient))


def test_a_faint_reference_is_not_worth_more():
    """Than 0 dB for silence, as the energies have a floor."""
    references, _ = case(0, (1, 2, 500))
    references[:, 1] *= 1e-12
    np.testing.assert_allclose(loss(references, 0 * references), [[0, 0]], atol=0.01)


@given(st.floats(0.01, 100))
def test_depends_on_no_common_scale(scale):
    """With a silent reference but for a constant, which changes neither gradient nor order."""
    references, estimates = (np.float32(scale) * x for x in case(5, (1, 2, 500)))
    unscaled = references / np.float32(scale), estimates / np.float32(scale)
    np.testing.assert_allclose(loss(references, estimates), loss(*unscaled), atol=1e-3)
    references[:, 1] = unscaled[0][:, 1] = 0
    changed = loss(references, estimates)[0, 1] - loss(*unscaled)[0, 1]
    assert changed == pytest.approx(20 * np.log10(scale), abs=1e-2)


def test_half_precision_is_computed_in_float32():
    references, estimates = (ops.cast(x, "float16") for x in case(10, (1, 2, 30000)))
    value = run(ThresholdSNR().call, references, estimates)
    assert value.dtype == "float32"
    exact = (ops.convert_to_numpy(ops.cast(x, "float32"))[0] for x in (references, estimates))
    np.testing.assert_allclose(value[0], by_definition(*exact), atol=1e-2)


def test_references_without_an_axis_of_sources():
    with pytest.raises(ValueError, match=r"\(batch, num_sources, …, samples\), got \(2, 9\)"):
        ThresholdSNR().call(np.zeros((2, 9)), np.zeros((2, 9)))


def test_config():
    ours = ThresholdSNR(max_snr=25.0, max_snr_silent=15.0, name="mine", reduction="sum")
    again = keras.losses.deserialize(keras.losses.serialize(ours))
    assert again.get_config() == ours.get_config()
    assert (again.max_snr, again.max_snr_silent, again.name) == (25.0, 15.0, "mine")
    assert keras.saving.get_registered_name(ThresholdSNR) == "keras_sep>ThresholdSNR"
