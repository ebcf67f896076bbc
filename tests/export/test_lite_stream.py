"""The step by LiteRT against the model's own."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_sep.export import LiteStream
from keras_sep.layers.backend_forms import on_cpu
from keras_sep.models import ConvTasNet

ON_TENSORFLOW = keras.backend.backend() == "tensorflow" and on_cpu()
on_tensorflow = pytest.mark.skipif(not ON_TENSORFLOW, reason="LiteRT runs what TensorFlow makes")
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
    slopes = [weight for weight in model.weights if weight.name == "alpha"]
    for slope, value in zip(slopes, (0.3, -0.5, 1.5, 0.0), strict=False):
        slope.assign([[value]])
    return model


@on_tensorflow
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


@on_tensorflow
def test_weights_are_those_it_was_made_of():
    model = build()
    stream = LiteStream(model)
    mixture = np.ones((1, 4 * model.strides), "float32")
    expected, _ = model.step(ops.convert_to_tensor(mixture), model.initial_state(1))
    expected = ops.convert_to_numpy(expected)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    sources, _ = stream(mixture, stream.initial_state())
    np.testing.assert_allclose(sources, expected, atol=1e-5)


@on_tensorflow
def test_streams_take_turns():
    """Two of one `LiteStream`, and as long ones by another, which keeps programs of its own."""
    model = build()
    both, other = LiteStream(model), LiteStream(model)
    rng = np.random.default_rng(2)
    mixtures = rng.normal(size=(2, 6, 1, 4 * model.strides)).astype("float32")
    states = [both.initial_state(), both.initial_state()]
    together = [[], []]
    for turn in range(6):
        for index in range(2):
            sources, states[index] = both(mixtures[index, turn], states[index])
            together[index].append(sources)
    for index in range(2):
        state = other.initial_state()
        for turn in range(6):
            sources, state = other(mixtures[index, turn], state)
            np.testing.assert_array_equal(together[index][turn], sources)


@on_tensorflow
@pytest.mark.parametrize("shape", [(1, 0), (1, 5), (2, 8), (8,)])
def test_other_mixtures_are_refused(shape):
    model = build()
    stream = LiteStream(model)
    with pytest.raises(ValueError, match="strides=4, got"):
        stream(np.ones(shape, "float32"), stream.initial_state())


@on_tensorflow
def test_what_it_takes():
    with pytest.raises(ValueError, match="got causal=False, dtype float32"):
        LiteStream(build(causal=False, normalization="global"))
    assert not LiteStream.takes(build(conv_kernel_size=1))
    assert not LiteStream.takes(build(kernel_size=8, strides=8))
    assert not LiteStream.takes(build(dtype="mixed_float16"))
