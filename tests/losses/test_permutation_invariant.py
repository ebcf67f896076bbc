"""Permutation-invariant loss against brute force in NumPy."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from numerics import compiled, gradients

from keras_sep.losses import SISNR, PermutationInvariant

LOSSES = {"si_snr": SISNR, "mse": keras.losses.MeanSquaredError}


def sources(num_sources, batch=3, samples=40, seed=0):
    """References and estimates of them in another order, different in each example."""
    rng = np.random.default_rng(seed)
    references = rng.normal(size=(batch, num_sources, samples))
    estimates = [example[rng.permutation(num_sources)] for example in references]
    estimates = estimates + 0.7 * rng.normal(size=references.shape)
    return references.astype("float32"), estimates.astype("float32")


def best_order(loss, references, estimates):
    """Of one example."""
    pairwise = [[float(loss(r[None], e[None])) for e in estimates] for r in references]
    num_sources = len(references)
    means = {
        order: np.mean([pairwise[c][order[c]] for c in range(num_sources)])
        for order in itertools.permutations(range(num_sources))
    }
    return min(means.items(), key=lambda item: item[1])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_sources", range(1, 7))
def test_equals_brute_force(num_sources, name):
    references, estimates = sources(num_sources, batch=1 + (num_sources < 4))
    loss = LOSSES[name]()
    result = PermutationInvariant(loss, reduction=None)(references, estimates)
    expected = [best_order(loss, *example)[1] for example in zip(references, estimates)]  # noqa: B905
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, rtol=1e-4)


@given(st.integers(0, 1000))
def test_the_order_of_the_estimates_does_not_matter(seed):
    references, estimates = sources(3, seed=seed)
    order = np.random.default_rng(seed).permutation(3)
    loss = PermutationInvariant(SISNR())
    assert float(loss(references, estimates[:, order])) == pytest.approx(
        float(loss(references, estimates)), abs=1e-4
    )


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_best_order(name):
    references, estimates = sources(3)
    loss = LOSSES[name]()
    orders = [best_order(loss, *example)[0] for example in zip(references, estimates)]  # noqa: B905
    choice = np.eye(3, dtype="float32")[np.array(orders)]
    (ours,) = gradients(
        lambda x: ops.sum(PermutationInvariant(loss).call(references, x)), estimates
    )
    (expected,) = gradients(
        lambda x: ops.sum(ops.mean(loss.call(references, ops.matmul(choice, x)), axis=-1)),
        estimates,
    )
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_six_sources_compile():
    references, estimates = sources(6)
    loss = PermutationInvariant(SISNR())
    result = compiled(loss.call)(*map(ops.convert_to_tensor, (references, estimates)))
    expected = loss.call(references, estimates)
    np.testing.assert_allclose(
        ops.convert_to_numpy(result), ops.convert_to_numpy(expected), atol=1e-3
    )


def test_a_silent_reference_trains():
    references, estimates = sources(2)
    references[:, 1] = 0
    (gradient,) = gradients(
        lambda x: ops.sum(PermutationInvariant(SISNR()).call(references, x)), estimates
    )
    assert np.all(np.isfinite(gradient))
    assert np.all(np.any(gradient != 0, axis=-1))


@pytest.mark.parametrize(
    ("references", "estimates", "message"),
    [
        ((1, 7, 9), (1, 7, 9), "at most 6 sources"),
        ((1, 2, 9), (1, 3, 9), "3 estimates for 2 references"),
        ((2, 9), (2, 9), r"\(batch, num_sources, samples\)"),
        ((1, 2, 9), (1, 2, 8), "as long as"),
    ],
    ids=str,
)
def test_wrong_shapes(references, estimates, message):
    with pytest.raises(ValueError, match=message):
        PermutationInvariant(SISNR()).call(np.zeros(references), np.zeros(estimates))


@pytest.mark.parametrize("loss", [SISNR(epsilon=1e-5), keras.losses.MeanSquaredError()])
def test_config(loss):
    criterion = PermutationInvariant(loss, name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(criterion))
    assert type(again.loss) is type(loss)
    assert again.get_config() == criterion.get_config()
    assert again.loss.get_config() == loss.get_config()


def test_trains_in_fit():
    references, estimates = sources(2)
    model = keras.Sequential([keras.Input((2, 40)), keras.layers.Dense(40)])
    model.compile(keras.optimizers.Adam(0.01), PermutationInvariant(SISNR()))
    losses = model.fit(estimates, references, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
