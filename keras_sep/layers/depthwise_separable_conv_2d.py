"""The block of MobileNet V1."""

import keras

from keras_sep.layers.normalized_conv_2d import NormalizedConv2D


@keras.saving.register_keras_serializable(package="keras_sep")
class DepthwiseSeparableConv2D(keras.layers.Layer):
    """Each channel filtered over the image, then all mixed by a 1×1 convolution.

    Batch normalization and activation follow either half. Relative to a full convolution the
    products are 1/N + 1/D_K² as many.

    Args:
        filters: Output channels (N).
        kernel_size: Taps of the depthwise half along each axis (D_K).
        strides: Pixels from one output to the next.
        dilation_rate: Pixels from one tap to the next.
        padding: "same", "torch" or "keras", see `DepthwiseConv2D`.
        activation: Keras activation after either half.
        normalization: "batch", or None for a bias in its place.
        epsilon: Added to the variances.

    Input: `(batch, height, width, channels)`. Output: `(batch, new_height, new_width, filters)`.

    Source: Howard et al. 2017 (arXiv 1704.04861), section 3.1 and figure 3.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        dilation_rate: int = 1,
        padding: str = "same",
        activation="relu6",
        normalization: str | None = "batch",
        epsilon: float = 1e-3,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.padding = padding
        self.activation = keras.activations.get(activation)
        self.normalization = normalization
        self.epsilon = epsilon
        shared = {
            "activation": activation,
            "normalization": normalization,
            "epsilon": epsilon,
            "dtype": self.dtype_policy,
        }
        self.depthwise = NormalizedConv2D(
            None, kernel_size, strides, dilation_rate, padding, name="depthwise", **shared
        )
        self.pointwise = NormalizedConv2D(filters, name="pointwise", **shared)

    def build(self, input_shape):
        self.depthwise.build(input_shape)
        self.pointwise.build(self.depthwise.compute_output_shape(input_shape))

    def call(self, inputs, training=None):
        return self.pointwise(self.depthwise(inputs, training=training), training=training)

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
            "activation": keras.activations.serialize(self.activation),
            "normalization": self.normalization,
            "epsilon": self.epsilon,
        }
