"""The analysis filterbank against keras.layers.Conv1D and its number of frames."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerics import run

from keras_sep.layers import WaveformEncoder

RNG = np.random.default_rng(0)


def equals_conv(samples, kernel_size, strides, activation=None):
    x = RNG.normal(size=(2, samples)).astype("float32")
    layer = WaveformEncoder(4, kernel_size, strides, activation, padding="valid")
    theirs = keras.layers.Conv1D(
        4, kernel_size, strides, "valid", "channels_last", activation=activation, use_bias=False
    )
    layer.build(x.shape)
    theirs.build((*x.shape, 1))
    theirs.set_weights(layer.get_weights())
    expected = run(theirs, x[..., None])
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-5)


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize(
    ("kernel_size", "strides"), [(256, 16), (16, 8), (7, 3), (5, 5), (1, 1), (40, 20), (3, 2)]
)
def test_valid_equals_keras(kernel_size, strides, activation):
    equals_conv(kernel_size + 50, kernel_size, strides, activation)


@st.composite
def framings(draw):
    kernel_size = draw(st.integers(1, 20))
    return kernel_size, draw(st.integers(1, kernel_size))


@given(framings(), st.integers(0, 30))
def test_valid_equals_keras_for_any_framing(framing, more):
    equals_conv(framing[0] + more, *framing)


@given(framings(), st.integers(1, 100))
def test_same_covers_every_sample_as_often(framing, samples):
    kernel_size, strides = framing
    layer = WaveformEncoder(1, kernel_size, strides)
    frames = layer.num_frames(samples)
    starts = strides * np.arange(frames) - (kernel_size - strides)
    covering = (starts <= np.arange(samples)[:, None]) & (
        np.arange(samples)[:, None] < starts + kernel_size
    )
    fewest, rest = divmod(kernel_size, strides)
    assert set(covering.sum(1)) <= {fewest, fewest + (rest > 0)}


@pytest.mark.parametrize("samples", [0, 1, 15])
def test_valid_needs_a_frame(samples):
    layer = WaveformEncoder(4, 16, 8, padding="valid")
    with pytest.raises(ValueError, match=f"at least kernel_size=16 samples.*got {samples}"):
        layer(np.zeros((1, samples), "float32"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"filters": 0}, "filters"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"strides": 0}, "strides"),
        ({"strides": 5}, "strides"),
        ({"padding": "causal"}, "padding"),
    ],
)
def test_arguments_out_of_range(arguments, named):
    with pytest.raises(ValueError, match=named):
        WaveformEncoder(**({"filters": 2, "kernel_size": 4, "strides": 2} | arguments))
