"""MixIT against all remixes in NumPy, in values and gradients; nearly perfect estimates."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from numerics import compiled, gradients, run

from keras_sep.losses import MixtureInvariant, ThresholdSNR

DEFAULT = MixtureInvariant(reduction=None)


def case(num_mixtures, num_estimates, batch=3, samples=60, error=0.5, seed=0):
    """Mixtures, and estimates that add up to them but for an error, in any order."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(batch, num_estimates, samples))
    owners = rng.permutation(np.arange(num_estimates) % num_mixtures)
    mixtures = np.stack([parts[:, owners == m].sum(1) for m in range(num_mixtures)], axis=1)
    estimates = parts + error * rng.normal(size=parts.shape)
    return mixtures.astype("float32"), estimates.astype("float32")


def thresholded(errors, energies, max_snr=30.0):
    return 10 * np.log10(errors / energies + 10 ** (-max_snr / 10))


def best_remix(mixtures, estimates, max_snr=30.0):
    """Of one example: the loss, and its gradient by the estimates, in closed form."""
    mixtures, estimates = np.float64(mixtures), np.float64(estimates)
    energies = np.sum(mixtures**2, -1)
    values = {}
    for owners in itertools.product(range(len(mixtures)), repeat=len(estimates)):
        remix = [estimates[np.array(owners) == m].sum(0) for m in range(len(mixtures))]
        errors = np.sum((mixtures - remix) ** 2, -1)
        values[owners] = thresholded(errors, energies, max_snr).mean(), np.array(remix), errors
    owners = min(values, key=lambda key: values[key][0])
    value, remix, errors = values[owners]
    bounds = (errors + 10 ** (-max_snr / 10) * energies)[:, None]
    gradient = 20 / np.log(10) * (remix - mixtures) / bounds / len(mixtures)
    return value, gradient[list(owners)]


@pytest.mark.parametrize("sizes", [(2, 2), (2, 5), (3, 4), (4, 6)])
def test_equals_all_remixes(sizes):
    mixtures, estimates = case(*sizes)
    expected = [best_remix(*example) for example in zip(mixtures, estimates, strict=True)]
    result = run(DEFAULT, mixtures, estimates)
    np.testing.assert_allclose(result, [value for value, _ in expected], atol=1e-4)
    (gradient,) = gradients(lambda x: ops.sum(DEFAULT.call(mixtures, x)), estimates)
    np.testing.assert_allclose(gradient, [g for _, g in expected], rtol=1e-3, atol=1e-5)


def test_nearly_perfect_estimates():
    """Errors 30 and more dB below four seconds of sound.

    In some examples two estimates of one mixture besides hold opposite sounds 30 or 60 dB louder.
    The loss by inner products in float32 is then off by 0.2 dB, or no number.
    """
    rng = np.random.default_rng(0)
    parts, noise = rng.normal(size=(2, 4, 32000))
    hidden = rng.normal(size=32000) * np.array([[1], [-1], [0], [0]])
    mixtures = np.stack([parts[:2].sum(0), parts[2:].sum(0)])
    scales = itertools.product([10**-1.5, 1e-2, 1e-4, 0], [0, 30, 1000])
    estimates = np.float32([parts + error * noise + level * hidden for error, level in scales])
    mixtures = np.float32([mixtures] * len(estimates))
    result = run(DEFAULT, mixtures, estimates)
    (gradient,) = gradients(lambda x: ops.sum(DEFAULT.call(mixtures, x)), estimates)
    for example in range(len(estimates)):
        value, expected = best_remix(mixtures[example], estimates[example])
        assert result[example] == pytest.approx(value, abs=1e-3)
        tolerance = 1e-3 * max(np.abs(expected).max(), 1e-4)
        np.testing.assert_allclose(gradient[example], expected, atol=tolerance)


@given(st.integers(0, 1000))
def test_no_order_matters(seed):
    mixtures, estimates = case(2, 4, seed=seed)
    rng = np.random.default_rng(seed)
    other = mixtures[:, rng.permutation(2)], estimates[:, rng.permutation(4)]
    value = run(DEFAULT, mixtures, estimates)
    np.testing.assert_allclose(run(DEFAULT, *other), value, atol=1e-4)


@pytest.mark.parametrize("max_snr", [-5.0, 10.0, 40.0])
def test_the_threshold(max_snr):
    """Of estimates so poor that which remix is the best depends on it."""
    mixtures, estimates = case(2, 4, batch=32, error=1.5)
    examples = zip(mixtures, estimates, strict=True)
    expected = [best_remix(*example, max_snr)[0] for example in examples]
    result = run(MixtureInvariant(max_snr, reduction=None), mixtures, estimates)
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_twelve_estimates_compile():
    mixtures, estimates = case(2, 12, batch=2)
    criterion = MixtureInvariant()
    result = compiled(criterion.call)(*map(ops.convert_to_tensor, (mixtures, estimates)))
    expected = [best_remix(*example)[0] for example in zip(mixtures, estimates, strict=True)]
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, atol=1e-3)


def test_a_silent_mixture():
    """The loss and the choice are those of `ThresholdSNR`."""
    rng = np.random.default_rng(0)
    sound, error, other = rng.normal(size=(3, 32, 60))
    faint = 10 ** rng.uniform(-2, 0, (32, 1)) * other
    mixtures = np.float32(np.stack([sound, 0 * sound], axis=1))
    estimates = np.float32(np.stack([sound + 0.01 * error, faint], axis=1))
    everything, nothing = estimates.sum(1), 0 * estimates[:, 0]
    options = [estimates, estimates[:, ::-1]]
    options += [np.stack(pair, axis=1) for pair in ((everything, nothing), (nothing, everything))]
    criterion = ThresholdSNR(reduction=None)
    losses = [run(criterion, mixtures, remix).mean(-1) for remix in options]
    result = run(DEFAULT, mixtures, estimates)
    np.testing.assert_allclose(result, np.min(losses, axis=0), atol=1e-4)


def test_silence_is_finite():
    silence = np.zeros((1, 2, 60), "float32")
    assert np.all(np.isfinite(run(DEFAULT, silence, silence)))
    (gradient,) = gradients(lambda x: ops.sum(DEFAULT.call(silence, x)), silence)
    assert np.all(np.isfinite(gradient))


def test_half_precision_is_computed_in_float32():
    mixtures, estimates = (ops.cast(x, "float16") for x in case(2, 4, 1, 30000))
    value = run(MixtureInvariant().call, mixtures, estimates)
    assert value.dtype == "float32"
    exact = (ops.convert_to_numpy(ops.cast(x, "float32"))[0] for x in (mixtures, estimates))
    assert value[0] == pytest.approx(best_remix(*exact)[0], abs=1e-3)


@pytest.mark.parametrize(
    ("mixtures", "estimates", "message"),
    [
        ((1, 1, 9), (1, 2, 9), "at least 2 mixtures are needed, got 1"),
        ((1, 3, 9), (1, 2, 9), "2 estimates for 3 mixtures"),
        ((1, 2, 9), (1, 13, 9), "at most 4096 .* 2 mixtures and 13 estimates, which have 8192"),
        ((2, 9), (1, 2, 9), r"\(batch, num_sources, samples\)"),
        ((1, 2, 9), (1, 2, 8), "as long as"),
    ],
    ids=str,
)
def test_wrong_shapes(mixtures, estimates, message):
    with pytest.raises(ValueError, match=message):
        MixtureInvariant().call(np.zeros(mixtures), np.zeros(estimates))


def test_config():
    criterion = MixtureInvariant(max_snr=20.0, name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(criterion))
    assert again.get_config() == criterion.get_config()
    assert (again.max_snr, again.name) == (20.0, "mine")
    assert keras.saving.get_registered_name(MixtureInvariant) == "keras_sep>MixtureInvariant"
