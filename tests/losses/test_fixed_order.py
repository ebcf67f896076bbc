"""Losses of sources in a given order, and what they refuse."""

import keras
import numpy as np
import pytest
from keras import ops
from numerics import gradients, run

from keras_sep.losses import SISNR, FixedOrder

LOSSES = {"si_snr": SISNR, "mse": keras.losses.MeanSquaredError}


def sources(num_sources=3, batch=2, samples=40):
    references, noise = np.random.default_rng(0).normal(size=(2, batch, num_sources, samples))
    return references.astype("float32"), (references + 0.5 * noise).astype("float32")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_sources", [1, 3, 7])
def test_is_the_mean_over_sources(num_sources, name):
    references, estimates = sources(num_sources)
    loss = LOSSES[name]()
    result = run(FixedOrder(loss, reduction=None), references, estimates)
    losses = [
        [run(loss, y[None], e[None]) for y, e in zip(*example, strict=True)]
        for example in zip(references, estimates, strict=True)
    ]
    np.testing.assert_allclose(result, np.mean(losses, axis=1), rtol=1e-4)


def test_the_order_matters():
    references, estimates = sources()
    loss = FixedOrder(keras.losses.MeanSquaredError())
    assert float(loss(references, estimates[:, ::-1])) > 2 * float(loss(references, estimates))
    (gradient,) = gradients(lambda x: ops.sum(loss.call(references, x)), estimates)
    np.testing.assert_allclose(gradient, 2 * (estimates - references) / 40 / 3, atol=1e-6)


@pytest.mark.parametrize(
    ("references", "estimates", "message"),
    [
        ((1, 2, 9), (1, 3, 9), "3 estimates for 2 references"),
        ((1, 1, 9), (1, 2, 9), "2 estimates for 1 references"),
        ((2, 9), (2, 9), r"\(batch, num_sources, samples\)"),
        ((1, 2, 9), (1, 2, 8), "as long as"),
    ],
    ids=str,
)
def test_wrong_shapes(references, estimates, message):
    with pytest.raises(ValueError, match=message):
        FixedOrder(SISNR()).call(np.zeros(references), np.zeros(estimates))


def test_no_loss():
    with pytest.raises(ValueError, match=r"loss must be a keras.losses.Loss, got 'mse'"):
        FixedOrder("mse")


def test_config():
    criterion = FixedOrder(SISNR(epsilon=1e-5), name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(criterion))
    assert isinstance(again, FixedOrder)
    assert again.get_config() == criterion.get_config()
    assert (again.loss.epsilon, again.name) == (1e-5, "mine")
    assert keras.saving.get_registered_name(FixedOrder) == "keras_sep>FixedOrder"
