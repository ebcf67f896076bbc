"""The activations that Conv-TasNet names otherwise than Keras."""

import keras
import numpy as np

from keras_sep.layers import WaveformEncoder
from keras_sep.layers.activations import get_activation


def test_leaky_relu_has_the_slope_of_its_paper():
    x = np.array([-3.0, -0.5, 0.0, 2.0], "float32")
    outputs = keras.ops.convert_to_numpy(get_activation("leaky_relu")(x))
    np.testing.assert_allclose(outputs, np.where(x < 0, 0.01 * x, x), rtol=1e-6)


def test_it_is_the_same_after_a_config():
    ours = get_activation("leaky_relu")
    encoder = WaveformEncoder(2, 4, 2, activation=ours)
    assert WaveformEncoder.from_config(encoder.get_config()).activation is ours
