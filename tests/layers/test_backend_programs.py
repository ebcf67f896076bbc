"""Models filled with values after they are built."""

import keras
import numpy as np
from keras import ops

from keras_sep.layers.backend_programs import filled


def build(*layers):
    return lambda: keras.Sequential([keras.Input((3,)), *(layer() for layer in layers)])


def test_filled_model_has_the_given_values():
    weights = [np.full((3, 2), 0.5, "float32"), np.array([1.0, 2.0], "float32")]
    model = filled(build(lambda: keras.layers.Dense(2)), lambda model: model.set_weights(weights))
    outputs = ops.convert_to_numpy(model(np.ones((1, 3))))
    np.testing.assert_array_equal(outputs, [[2.5, 3.5]])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)


def test_what_is_not_filled_has_the_values_of_its_initializer():
    model = filled(
        build(lambda: keras.layers.Dense(2, kernel_initializer="ones")), lambda model: None
    )
    outputs = ops.convert_to_numpy(model(np.ones((1, 3))))
    np.testing.assert_array_equal(outputs, [[3.0, 3.0]])
    dropout = filled(build(lambda: keras.layers.Dropout(0.5, seed=7)), lambda model: None)
    (state,) = dropout.non_trainable_variables
    assert ops.convert_to_numpy(state)[0] == 7
    dropout(np.ones((1, 3)), training=True)
