"""The step by LiteRT against the model's own."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_sep.export.lite_stream import LiteStream
from keras_sep.models import ConvTasNet

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
CONFIGURATIONS = {
    "cumulative": {},
    "even_taps": {"conv_kernel_size": 4, "num_sources": 3, "mask_activation": "softmax"},
    "two_taps": {"conv_kernel_size": 2, "encoder_activation": "relu", "num_blocks": 5},
    "five_taps": {"conv_kernel_size": 5, "mask_activation": "relu", "kernel_size": 10},
    "without_skips": {"skip_dim": None, "mask_activation": "silu"},
    "each_frame": {"normalization": "layer", "mask_activation": "tanh", "strides": 3},
    "batch": {"normalization": "batch", "mask_activation": "leaky_relu"},
    # LiteRT has none of its own for these.
    "of_tensorflow": {"encoder_activation": "gelu", "mask_activation": "log_sigmoid"},
}


def build(**arguments):
    sizes = {"filters": 8, "bottleneck_dim": 4, "hidden_dim": 6, "skip_dim": 5, "num_repeats": 2}
    defaults = {"kernel_size": 8, "num_blocks": 3, "causal": True, "normalization": "cumulative"}
    model = ConvTasNet(**{**sizes, **defaults, **arguments})
    model.build((None, None))
    rng = np.random.default_rng(0)
    # Variances too: above 0, and nothing as it is at first.
    model.set_weights(
        [w + rng.uniform(0.1, 0.4, w.shape).astype("float32") for w in model.get_weights()]
    )
    return model


@pytest.mark.skipif(not ON_TENSORFLOW, reason="LiteRT takes programs of TensorFlow")
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_equals_the_models_step(name):
    """For numbers of hops below and above the dilations, in turn, so that rings wrap."""
    model = build(**CONFIGURATIONS[name])
    stream = LiteStream(model)
    assert stream.takes(model)
    state, own_state = stream.initial_state(), model.initial_state(1)
    rng = np.random.default_rng(1)
    for hops in (5, 1, 1, 5, 20, 1, 5):
        # Around a mean, which norms have to take off.
        mixture = (0.3 + rng.normal(size=(1, hops * model.strides))).astype("float32")
        sources, state = stream(mixture, state)
        own, own_state = model.step(ops.convert_to_tensor(mixture), own_state)
        np.testing.assert_allclose(sources, own, rtol=1e-5, atol=1e-5)
    assert state[1] == 38


@pytest.mark.skipif(not ON_TENSORFLOW, reason="LiteRT takes programs of TensorFlow")
def test_weights_are_those_it_was_made_of():
    model = build()
    stream = LiteStream(model)
    mixture = np.ones((1, 4 * model.strides), "float32")
    expected, _ = model.step(ops.convert_to_tensor(mixture), model.initial_state(1))
    expected = ops.convert_to_numpy(expected)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    sources, _ = stream(mixture, stream.initial_state())
    np.testing.assert_allclose(sources, expected, atol=1e-5)


def test_what_it_takes():
    assert LiteStream.takes(build()) == ON_TENSORFLOW
    assert not LiteStream.takes(build(causal=False, normalization="global"))
    assert not LiteStream.takes(build(conv_kernel_size=1))
    assert not LiteStream.takes(build(dtype="mixed_float16"))
