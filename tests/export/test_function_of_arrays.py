"""The fastest function of arrays against the model."""

import keras
import numpy as np
import pytest

from keras_sep.export import array_function
from keras_sep.models import ConvTasNet

SMALL = {"filters": 16, "bottleneck_dim": 8, "hidden_dim": 12, "skip_dim": 8, "num_blocks": 2}


@pytest.mark.parametrize(
    "arguments", [{}, {"causal": True, "normalization": "cumulative"}], ids=["folded", "plain"]
)
def test_equals_the_model(arguments):
    model = ConvTasNet(num_repeats=1, **SMALL, **arguments)
    model.build((None, None))
    mixture = np.random.default_rng(0).normal(size=(2, 300)).astype("float32")
    sources = array_function(model)(mixture)
    assert isinstance(sources, np.ndarray)
    expected = keras.ops.convert_to_numpy(model(mixture))
    np.testing.assert_allclose(sources, expected, atol=1e-4 * np.abs(expected).max())
