"""The block of MobileNet V2 and V3."""

import keras

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.normalized_conv_2d import NormalizedConv2D
from keras_sep.layers.squeeze_excite import SqueezeExcite


@keras.saving.register_keras_serializable(package="keras_sep")
class InvertedResidual(keras.layers.Layer):
    """Few channels widened by a 1×1 convolution, filtered each on its own, and narrowed again.

    The narrowing 1×1 convolution has no activation. The input is added where the strides are 1
    and it has as many channels as the output. The defaults are the block of V2; V3's has
    `activation="hard_swish"` or "relu", kernels of 3 or 5 and, in some blocks, `squeeze_dim`.

    Args:
        filters: Output channels (k').
        hidden_dim: Channels of the depthwise convolution (t·k). As many as the input has: there
            is nothing to widen, and no convolution for it.
        kernel_size: Taps of the depthwise convolution along each axis.
        strides: Pixels from one output to the next.
        dilation_rate: Pixels from one tap to the next.
        padding: "same", "torch" or "keras", see `DepthwiseConv2D`.
        activation: Keras activation of the hidden channels.
        squeeze_dim: Units of a `SqueezeExcite` on the hidden channels, None for none.
        normalization: "batch", or None for a bias in its place.
        epsilon: Added to the variances.

    Input: `(batch, height, width, channels)`. Output: `(batch, new_height, new_width, filters)`.

    Source: Sandler et al. 2018 (arXiv 1801.04381), table 1 and figure 4d; Howard et al. 2019
    (arXiv 1905.02244), figure 4.
    """

    def __init__(
        self,
        filters: int,
        hidden_dim: int,
        kernel_size: int = 3,
        strides: int = 1,
        dilation_rate: int = 1,
        padding: str = "same",
        activation="relu6",
        squeeze_dim: int | None = None,
        normalization: str | None = "batch",
        epsilon: float = 1e-3,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(hidden_dim=hidden_dim)
        self.filters = filters
        self.hidden_dim = hidden_dim
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.padding = padding
        self.activation = keras.activations.get(activation)
        self.squeeze_dim = squeeze_dim
        self.normalization = normalization
        self.epsilon = epsilon
        self._shared = {
            "normalization": normalization,
            "epsilon": epsilon,
            "dtype": self.dtype_policy,
        }
        self.depthwise = NormalizedConv2D(
            None,
            kernel_size,
            strides,
            dilation_rate,
            padding,
            activation,
            name="depthwise",
            **self._shared,
        )
        self.squeeze_excite = None
        if squeeze_dim is not None:
            self.squeeze_excite = SqueezeExcite(
                squeeze_dim, dtype=self.dtype_policy, name="squeeze_excite"
            )
        self.project = NormalizedConv2D(filters, name="project", **self._shared)

    def build(self, input_shape):
        channels = input_shape[-1]
        self._adds_input = self.strides == 1 and channels == self.filters
        self.expand = None
        if channels != self.hidden_dim:
            self.expand = NormalizedConv2D(
                self.hidden_dim, activation=self.activation, name="expand", **self._shared
            )
            self.expand.build(input_shape)
        hidden_shape = (*input_shape[:-1], self.hidden_dim)
        self.depthwise.build(hidden_shape)
        hidden_shape = self.depthwise.compute_output_shape(hidden_shape)
        if self.squeeze_excite is not None:
            self.squeeze_excite.build(hidden_shape)
        self.project.build(hidden_shape)

    def call(self, inputs, training=None):
        x = inputs
        if self.expand is not None:
            x = self.expand(x, training=training)
        x = self.depthwise(x, training=training)
        if self.squeeze_excite is not None:
            x = self.squeeze_excite(x)
        x = self.project(x, training=training)
        return inputs + x if self._adds_input else x

    def compute_output_shape(self, input_shape):
        return (*self.depthwise.compute_output_shape(input_shape)[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "hidden_dim": self.hidden_dim,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "padding": self.padding,
            "activation": keras.activations.serialize(self.activation),
            "squeeze_dim": self.squeeze_dim,
            "normalization": self.normalization,
            "epsilon": self.epsilon,
        }
