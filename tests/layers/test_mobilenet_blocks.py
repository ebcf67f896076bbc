"""The blocks of MobileNet against chains of Keras's own layers with the same weights."""

import keras
import numpy as np
import pytest
from keras import ops
from numerics import layer_gradients, run

from keras_sep.layers import DepthwiseSeparableConv2D, InvertedResidual, SqueezeExcite

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def randomize(layer):
    for weight in layer.weights:
        positive = weight.name in ("gamma", "moving_variance")
        weight.assign(RNG.uniform(0.5, 1.5, weight.shape) if positive else normal(*weight.shape))
    return layer


def convolved(x, layer, activation, strides=1, dilation=1, depthwise=False):
    """Convolution, batch normalization and activation of Keras, outside training."""
    kernel = ops.convert_to_numpy(layer.kernel)
    convolve = ops.depthwise_conv if depthwise else ops.conv
    x = convolve(x, kernel, strides, "same", "channels_last", dilation)
    gamma, beta, mean, variance = layer.norm.get_weights()
    x = (ops.convert_to_numpy(x) - mean) / np.sqrt(variance + layer.norm.epsilon)
    return activation(x * gamma + beta)


def gated(x, layer):
    """Squeeze and excitation as the paper writes it."""
    w1, b1, w2, b2 = layer.get_weights()
    x = ops.convert_to_numpy(x)
    squeezed = np.maximum(x.mean((1, 2)) @ w1 + b1, 0)
    gates = np.clip((squeezed @ w2 + b2 + 3) / 6, 0, 1)
    return x * gates[:, None, None]


def test_squeeze_excite():
    layer, x = SqueezeExcite(3), normal(2, 5, 4, 8)
    layer.build(x.shape)
    randomize(layer)
    np.testing.assert_allclose(run(layer, x), gated(x, layer), atol=1e-5)


@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_separable_block(strides, dilation):
    layer, x = DepthwiseSeparableConv2D(5, 3, strides, dilation), normal(2, 7, 8, 4)
    layer.build(x.shape)
    randomize(layer)
    relu6 = keras.ops.relu6
    expected = convolved(x, layer.depthwise, relu6, strides, dilation, depthwise=True)
    expected = convolved(expected, layer.pointwise, relu6)
    np.testing.assert_allclose(run(layer, x), ops.convert_to_numpy(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("filters", "hidden_dim", "strides", "squeeze_dim"),
    [(4, 8, 1, None), (4, 4, 1, 2), (6, 8, 2, 3)],
)
def test_inverted_residual(filters, hidden_dim, strides, squeeze_dim):
    layer = InvertedResidual(
        filters, hidden_dim, 5, strides, activation="hard_swish", squeeze_dim=squeeze_dim
    )
    x = normal(2, 7, 8, 4)
    layer.build(x.shape)
    randomize(layer)

    def hard_swish(x):
        return x * np.clip(x + 3, 0, 6) / 6

    y = x if hidden_dim == 4 else convolved(x, layer.expand, hard_swish)
    y = convolved(y, layer.depthwise, hard_swish, strides, depthwise=True)
    y = y if squeeze_dim is None else gated(y, layer.squeeze_excite)
    y = ops.convert_to_numpy(convolved(y, layer.project, lambda x: x))
    y = y + x if (filters, strides) == (4, 1) else y
    np.testing.assert_allclose(run(layer, x), y, atol=1e-4 * np.abs(y).max())


def test_training_normalizes_the_batch_and_moves_the_statistics():
    layer, x = DepthwiseSeparableConv2D(5), normal(4, 6, 6, 3)
    layer.build(x.shape)
    y = ops.convert_to_numpy(layer(x, training=True))
    kernel = ops.convert_to_numpy(layer.depthwise.kernel)
    hidden = ops.convert_to_numpy(ops.depthwise_conv(x, kernel, 1, "same", "channels_last"))
    mean, variance = hidden.mean((0, 1, 2)), hidden.var((0, 1, 2))
    hidden = np.clip((hidden - mean) / np.sqrt(variance + 1e-3), 0, 6)
    outputs = hidden @ ops.convert_to_numpy(layer.pointwise.kernel)[0, 0]
    scaled = (outputs - outputs.mean((0, 1, 2))) / np.sqrt(outputs.var((0, 1, 2)) + 1e-3)
    np.testing.assert_allclose(y, np.clip(scaled, 0, 6), atol=1e-4)
    moved = ops.convert_to_numpy(layer.depthwise.norm.moving_mean)
    np.testing.assert_allclose(moved, 0.01 * mean, atol=1e-5)


def test_a_frozen_block_normalizes_by_its_statistics():
    layer, x = DepthwiseSeparableConv2D(5), normal(4, 6, 6, 3)
    layer.build(x.shape)
    randomize(layer)
    expected = run(layer, x)
    layer.trainable = False
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x, training=True)), expected, atol=1e-5 * np.abs(expected).max()
    )


def test_gradients_outside_training_reach_every_weight():
    layer, x = InvertedResidual(4, 8), normal(2, 5, 5, 4)
    layer.build(x.shape)
    randomize(layer)
    grads = layer_gradients(layer, x, normal(2, 5, 5, 4))
    assert all(np.all(np.isfinite(grad)) and np.any(grad) for grad in grads)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"filters": 0}, "filters"),
        ({"hidden_dim": 0}, "hidden_dim"),
        ({"squeeze_dim": 0}, "squeeze_dim"),
        ({"padding": "valid"}, "padding"),
        ({"normalization": "layer"}, "normalization"),
    ],
)
def test_arguments_out_of_range(arguments, named):
    with pytest.raises(ValueError, match=named):
        InvertedResidual(**({"filters": 2, "hidden_dim": 4} | arguments))
