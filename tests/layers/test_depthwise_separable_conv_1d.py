"""The separable convolution against Keras's with the same weights."""

import keras
import numpy as np
import pytest
from numerics import layer_gradients, run

from keras_sep.layers import DepthwiseSeparableConv1D


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "dilation"), [(3, 1, 1), (3, 1, 4), (5, 2, 1), (4, 3, 1), (2, 1, 9)]
)
def test_equals_keras_without_normalization(kernel_size, strides, dilation, padding):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 23, 3)).astype("float32")
    layer = DepthwiseSeparableConv1D(5, kernel_size, strides, dilation, padding)
    causal = padding == "causal"
    convolution = keras.layers.SeparableConv1D(
        5, kernel_size, strides, "valid" if causal else padding, "channels_last", dilation
    )
    # Keras's has no causal padding.
    zeros = keras.layers.ZeroPadding1D((dilation * (kernel_size - 1) if causal else 0, 0))
    theirs = keras.Sequential([keras.Input(x.shape[1:]), zeros, convolution])
    layer.build(x.shape)
    depthwise, pointwise, bias = (rng.normal(size=w.shape) for w in theirs.get_weights())
    theirs.set_weights([depthwise, pointwise, bias])
    layer.depthwise.set_weights([depthwise, np.zeros(3)])
    layer.pointwise.set_weights([pointwise[0], bias])
    y = run(layer, x)
    np.testing.assert_allclose(y, run(theirs, x), atol=1e-4)
    cotangent = rng.normal(size=y.shape).astype("float32")
    by_input, by_depthwise, _, by_pointwise, by_bias = layer_gradients(layer, x, cotangent)
    expected = layer_gradients(theirs, x, cotangent)
    for ours, reference in zip(
        (by_input, by_depthwise, by_pointwise[None], by_bias), expected, strict=True
    ):
        np.testing.assert_allclose(ours, reference, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"filters": 0}, "filters"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"padding": "full"}, "padding"),
        ({"normalization": "instance"}, "normalization"),
        ({"normalization": "global", "padding": "causal"}, "causal"),
    ],
)
def test_arguments_out_of_range(arguments, named):
    with pytest.raises(ValueError, match=named):
        DepthwiseSeparableConv1D(**({"filters": 2, "kernel_size": 3} | arguments))
