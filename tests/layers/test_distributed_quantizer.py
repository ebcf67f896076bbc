"""Quantizers on two virtual devices: their state is one device's, or equal on both."""

import os
import subprocess
import sys

import keras
import pytest

BACKEND = keras.backend.backend()

# Losses of unequal halves: the replicas' codes differ, and so do their losses.
FIT = """
import keras
import numpy as np
from keras import ops

from keras_sep.layers import VectorQuantizer
from keras_sep.models import VQVAE2


def functional():
    inputs = keras.Input((5, 4))
    x = VectorQuantizer(8, 4, ema_decay=0.5, name="ema")(keras.layers.Dense(4)(inputs))
    outputs = VectorQuantizer(8, 4, ema_decay=None, name="trained")(x)
    return keras.Model(inputs, outputs)


def vqvae2():
    sizes = {"hidden_dim": 4, "residual_dim": 2, "num_residual_blocks": 1, "strides": 2, "rank": 1}
    return VQVAE2(8, 4, channels=4, ema_decay=0.5, **sizes)


def restarting():
    inputs = keras.Input((5, 4))
    sizes = {"ema_decay": 0.5, "init": "kmeans", "restart_threshold": 8.0}
    return keras.Model(inputs, VectorQuantizer(8, 4, name="ema", **sizes)(inputs))


def fitted(make, x, weights):
    keras.utils.set_random_seed(0)
    model = make()
    model.set_weights(weights or model.get_weights())
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    logs = model.fit(x, x, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    evaluated = model.evaluate(x, x, batch_size=8, verbose=0, return_dict=True)
    return before, model.get_weights(), {**logs, **{f"val_{k}": v for k, v in evaluated.items()}}


def check(distribute, makers=((functional, 5), (vqvae2, 8))):
    for make, length in makers:
        x = np.random.default_rng(0).normal(size=(16, length, 4)).astype("float32")
        x[::2] *= 3
        x[4:8] += 2
        weights, *alone = fitted(make, x, None)
        with distribute():
            _, *together = fitted(make, x, weights)
        for one, two in zip(alone[0], together[0], strict=True):
            np.testing.assert_allclose(two, one, atol=1e-4)
        assert alone[1].keys() == together[1].keys()
        assert "ema_perplexity" in alone[1] or "top_perplexity" in alone[1]
        for name, value in alone[1].items():
            np.testing.assert_allclose(together[1][name], value, rtol=1e-3, err_msg=name)


"""

DEVICES = {
    "tensorflow": """
import tensorflow as tf

cpu, half = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
check(strategy.scope)


def replicas(variable):
    # Its values, one a replica.
    return [copy.numpy() for copy in variable.value.values]


# K-means and restarts draw vectors of the first replica; both must end with the same state.
x = np.random.default_rng(0).normal(size=(8, 5, 4)).astype("float32")
x[4:] += 100
with strategy.scope():
    model = restarting()
    model.compile(keras.optimizers.SGD(0.0), "mse")
layer = model.get_layer("ema")
for step in range(3):
    model.train_on_batch(x, x)
    for variable in (layer.counts, layer.sums, layer.initialized, layer.used):
        first, second = replicas(variable)
        np.testing.assert_array_equal(first, second)
    assert layer.initialized.numpy() == 1
    counts = layer.counts.numpy()
    assert np.all(counts >= 8)
    codes = layer.sums.numpy() / counts[:, None]
    if step == 0:
        # N was k-means' of the first half, then half that and half both replicas' of its codes.
        distances = np.square(codes[:, None] - x[:4].reshape(-1, 4)).sum(-1)
        fresh = (counts == 8) & (distances.min(1) < 1e-9)
        assert fresh.any()
        # All of the second half has the same code, which moves towards it.
        assert counts[codes.max(1) > 20].sum() > 10
""",
    "jax": """
import contextlib

import jax

assert jax.device_count() == 2


@contextlib.contextmanager
def distribute():
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    yield
    keras.distribution.set_distribution(None)


check(distribute)
check(distribute, [(restarting, 5)])
""",
}


@pytest.mark.skipif(BACKEND not in DEVICES, reason="Keras distributes on TensorFlow and JAX")
def test_replicas_equal_one_device():
    child = subprocess.run(
        [sys.executable, "-c", FIT + DEVICES[BACKEND]],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
