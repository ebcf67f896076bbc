"""The falling rate, also across a resumed fit."""

import keras
import numpy as np
import pytest

from keras_sep.callbacks import Cooldown


def rates(model, epochs, initial_epoch=0):
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        )
    )
    x = np.ones((4, 2), "float32")
    callbacks = [Cooldown(4), record]
    model.fit(x, x, epochs=epochs, initial_epoch=initial_epoch, callbacks=callbacks, verbose=0)
    return seen


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.optimizer.learning_rate = 1.0
    return model


def test_falls_linearly_over_the_last_epochs(model):
    assert rates(model, 7) == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_goes_on_where_it_was(model):
    model.optimizer.learning_rate = 0.6  # as after the fifth of seven epochs
    assert rates(model, 7, initial_epoch=5) == pytest.approx([0.4, 0.2])
