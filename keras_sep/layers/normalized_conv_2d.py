"""Convolution, batch normalization and activation, the unit that the MobileNets repeat."""

import keras
from keras import ops

from keras_sep.layers import backend_forms
from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.convolution_forms import pointwise
from keras_sep.layers.padding import check_padding, output_size


class NormalizedConv2D(keras.layers.Layer):
    """Convolution over images, batch normalization, activation.

    Outside training the normalization is a scale and an offset per channel: the kernel takes the
    scale, so the images are passed over once.

    Args:
        filters: Output channels; None filters each channel on its own (depthwise).
        kernel_size: Taps along each of the two axes.
        strides: Pixels from one output to the next.
        dilation_rate: Pixels from one tap to the next.
        padding: "same", "torch" or "keras", see `DepthwiseConv2D`.
        activation: Keras activation, or None.
        normalization: "batch", or None for a bias in its place.
        epsilon: Added to the variances.

    Input: `(batch, height, width, channels)`. Output: `(batch, new_height, new_width, filters)`.
    Kernels are laid out as in `keras.layers.Conv2D` and `DepthwiseConv2D`.
    """

    def __init__(
        self,
        filters: int | None,
        kernel_size: int = 1,
        strides: int = 1,
        dilation_rate: int = 1,
        padding: str = "same",
        activation=None,
        normalization: str | None = "batch",
        epsilon: float = 1e-3,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(
            filters=1 if filters is None else filters,
            kernel_size=kernel_size,
            strides=strides,
            dilation_rate=dilation_rate,
        )
        check_padding(padding)
        if normalization not in ("batch", None):
            raise ValueError(f'normalization must be "batch" or None, got {normalization!r}')
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.padding = padding
        self.activation = keras.activations.get(activation)
        self.norm = None
        if normalization == "batch":
            self.norm = keras.layers.BatchNormalization(
                epsilon=epsilon, dtype=self.dtype_policy, name="norm"
            )

    def build(self, input_shape):
        channels, outputs = input_shape[-1], self.filters or input_shape[-1]
        self.input_spec = keras.InputSpec(ndim=4, axes={-1: channels})
        # Not cast automatically: the scale is taken in before, in float32.
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels, self.filters or 1),
            initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "uniform"),
            autocast=False,
        )
        if self.norm is None:
            self.bias = self.add_weight(
                name="bias", shape=(outputs,), initializer="zeros", autocast=False
            )
        else:
            self.norm.build((*input_shape[:-1], outputs))

    def call(self, inputs, training=None):
        if training and self.norm is not None and self.norm.trainable:
            return self.activation(self.norm(self._convolve(inputs, self.kernel), training=True))
        kernel, bias = self.folded()
        return self.activation(self._convolve(inputs, kernel) + ops.cast(bias, self.compute_dtype))

    def folded(self):
        """Kernel and bias that do outside training what kernel and normalization do."""
        if self.norm is None:
            return self.kernel, self.bias
        scale = self.norm.gamma * ops.rsqrt(self.norm.moving_variance + self.norm.epsilon)
        bias = self.norm.beta - self.norm.moving_mean * scale
        # A depthwise kernel has its channels on the axis before the last.
        return self.kernel * (scale[:, None] if self.filters is None else scale), bias

    def _convolve(self, inputs, kernel):
        kernel = ops.cast(kernel, self.compute_dtype)
        arguments = (self.strides, self.dilation_rate, self.padding)
        if self.filters is None:
            return backend_forms.fastest_2d(inputs, kernel[..., 0], *arguments)
        if self.kernel_size == self.strides == 1:
            return pointwise(inputs, kernel[0, 0])
        return backend_forms.convolution_2d(inputs, kernel, *arguments)

    def compute_output_shape(self, input_shape):
        batch, *sizes, channels = input_shape
        arguments = (self.kernel_size, self.strides, self.dilation_rate, self.padding)
        sizes = (output_size(size, *arguments) for size in sizes)
        return (batch, *sizes, self.filters or channels)
