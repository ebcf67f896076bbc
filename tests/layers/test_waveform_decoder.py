"""The synthesis filterbank against keras.layers.Conv1DTranspose, and as the encoder's inverse."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerics import run

from keras_sep.layers import WaveformDecoder, WaveformEncoder

RNG = np.random.default_rng(0)


@st.composite
def framings(draw):
    kernel_size = draw(st.integers(1, 20))
    return kernel_size, draw(st.integers(1, kernel_size))


def equals_conv_transpose(frames, kernel_size, strides):
    x = RNG.normal(size=(2, frames, 4)).astype("float32")
    layer = WaveformDecoder(kernel_size, strides, padding="valid")
    theirs = keras.layers.Conv1DTranspose(
        1, kernel_size, strides, "valid", data_format="channels_last", use_bias=False
    )
    layer.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(layer.get_weights())
    expected = run(theirs, x)[..., 0]
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel_size", "strides"), [(256, 16), (16, 8), (7, 3), (5, 5), (1, 1), (40, 20), (3, 2)]
)
def test_valid_equals_keras(kernel_size, strides):
    equals_conv_transpose(9, kernel_size, strides)


@given(framings(), st.integers(1, 12))
def test_valid_equals_keras_for_any_framing(framing, frames):
    equals_conv_transpose(frames, *framing)


@given(framings(), st.integers(1, 60))
def test_same_decoder_gives_the_encoders_length_back(framing, samples):
    features = run(WaveformEncoder(2, *framing), np.zeros((1, samples), "float32"))
    decoder = WaveformDecoder(*framing)
    whole = run(decoder, features)
    assert samples <= whole.shape[1] < samples + framing[1]
    cut = run(lambda x: decoder(x, length=samples), features)
    np.testing.assert_allclose(cut, whole[:, :samples], atol=1e-6)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 60))
def test_frames_are_put_back_together(strides, hops, samples):
    """The filters cut frames out and put 1/hops of them back; each sample lies in hops frames."""
    kernel_size = strides * hops
    x = RNG.normal(size=(2, samples)).astype("float32")
    encoder, decoder = (
        WaveformEncoder(kernel_size, kernel_size, strides),
        WaveformDecoder(kernel_size, strides),
    )
    encoder.build(x.shape)
    decoder.build((2, None, kernel_size))
    encoder.set_weights([np.eye(kernel_size)[:, None]])
    decoder.set_weights([np.eye(kernel_size)[:, None] / hops])
    y = run(lambda x: decoder(encoder(x), length=samples), x)
    np.testing.assert_allclose(y, x, atol=1e-6)


def test_any_number_of_axes_between():
    x = RNG.normal(size=(2, 3, 4, 9, 5)).astype("float32")
    decoder = WaveformDecoder(7, 3)
    whole = run(decoder, x)
    parts = run(decoder, x.reshape(24, 9, 5))
    np.testing.assert_allclose(whole.reshape(24, -1), parts, atol=1e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("length", [1, 20, 1000])
def test_length(padding, length):
    """Cut to the length, or as long as can be; the symbolic shape says so too."""
    decoder = WaveformDecoder(16, 8, padding)
    x = RNG.normal(size=(2, 5, 3)).astype("float32")
    whole = run(decoder, x)
    y = run(lambda x: decoder(x, length=length), x)
    assert y.shape == decoder(keras.Input((5, 3), 2), length=length).shape
    shared = min(length, whole.shape[1])
    np.testing.assert_array_equal(y[:, :shared], whole[:, :shared])
    np.testing.assert_array_equal(y[:, shared:], 0)
    assert y.shape[1] == min(length, whole.shape[1] + 8 * (padding == "valid"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((0, 1), "kernel_size"), ((4, 0), "strides"), ((4, 5), "strides"), ((4, 2, "x"), "padding")],
)
def test_arguments_out_of_range(arguments, named):
    with pytest.raises(ValueError, match=named):
        WaveformDecoder(*arguments)
