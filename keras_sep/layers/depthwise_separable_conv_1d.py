"""The depthwise-separable convolution of the TCN."""

import keras

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.depthwise_conv_1d import DepthwiseConv1D
from keras_sep.layers.normalization import (
    check_normalization,
    initial_norm_state,
    norm_step,
    normalization_layer,
    normalized_dense,
)
from keras_sep.layers.pointwise_dense import PointwiseDense
from keras_sep.layers.scalar_prelu import ScalarPReLU


@keras.saving.register_keras_serializable(package="keras_sep")
class DepthwiseSeparableConv1D(keras.layers.Layer):
    """S-conv: each channel filtered over time, then all channels mixed by a 1×1 convolution.

    Args:
        filters: Output channels.
        kernel_size: Taps of the depthwise convolution (P).
        strides: Frames from one output to the next.
        dilation_rate: Frames from one tap to the next (d).
        padding: "valid", "same" or "causal", as in `DepthwiseConv1D`.
        normalization: "global", "cumulative", "layer" or "batch" puts a PReLU with one slope and
            that normalization between the halves, as Conv-TasNet does. None puts nothing there;
            the layer then equals `keras.layers.SeparableConv1D` (if the depthwise bias is zero).

    Input: `(batch, frames, channels)`. Output: `(batch, new_frames, filters)`.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), section II-C, equation 8 and figure 1C.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        dilation_rate: int = 1,
        padding: str = "same",
        normalization: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(filters=filters)
        if normalization is not None:
            check_normalization(normalization, causal=padding == "causal")
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.padding = padding
        self.normalization = normalization
        self.depthwise = DepthwiseConv1D(
            kernel_size, strides, dilation_rate, padding, dtype=self.dtype_policy, name="depthwise"
        )
        if normalization is not None:
            self.prelu = ScalarPReLU(dtype=self.dtype_policy, name="prelu")
            self.norm = normalization_layer(normalization, dtype=self.dtype_policy, name="norm")
        self.pointwise = PointwiseDense(filters, dtype=self.dtype_policy, name="pointwise")

    def build(self, input_shape):
        self.depthwise.build(input_shape)
        shape = self.depthwise.compute_output_shape(input_shape)
        if self.normalization is not None:
            self.prelu.build(shape)
            self.norm.build(shape)
        self.pointwise.build(shape)

    def call(self, inputs):
        x = self.depthwise(inputs)
        if self.normalization is not None:
            return normalized_dense(self.norm, self.pointwise, self.prelu(x))
        return self.pointwise(x)

    def initial_state(self, batch_size):
        """State before the first frame: the depthwise convolution's, then the norm's."""
        state = self.depthwise.initial_state(batch_size)
        if self.normalization is not None:
            state += initial_norm_state(self.norm, batch_size)
        return state

    def step(self, inputs, state):
        """The next frames of a stream, one or more, and the state after them."""
        past, *norm_state = state
        x, new_state = self.depthwise.step(inputs, [past])
        if self.normalization is not None:
            x, norm_state = norm_step(self.norm, self.prelu(x), norm_state)
        return self.pointwise(x), [*new_state, *norm_state]

    def compute_output_shape(self, input_shape):
        return (*self.depthwise.compute_output_shape(input_shape)[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "padding": self.padding,
            "normalization": self.normalization,
        }
