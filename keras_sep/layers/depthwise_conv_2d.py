"""Depthwise convolution over images."""

import keras

from keras_sep.layers import backend_forms
from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.padding import PADDINGS, check_padding, output_size


@keras.saving.register_keras_serializable(package="keras_sep")
class DepthwiseConv2D(keras.layers.Layer):
    """Filters each channel over rows and columns on its own, in the fastest form for the backend.

    Args:
        kernel_size: Taps along each of the two axes (D_K).
        strides: Pixels from one output to the next.
        dilation_rate: Pixels from one tap to the next.
        padding: "valid"; "same", zeros as TensorFlow adds them; "torch", half the kernel's reach
            on both sides, as torchvision and timm; or "keras", as the strided layers of
            `keras.applications`: as "same" on a size that the strides divide, on any size.
        use_bias: Adds a bias per channel.

    Input: `(batch, height, width, channels)`. Output: `(batch, new_height, new_width, channels)`.
    The kernel has the layout of `keras.layers.DepthwiseConv2D`:
    `(kernel_size, kernel_size, channels, 1)`.

    JAX on a CPU has a gradient of reverse mode for it, which `jax.jvp` refuses, and so has PyTorch
    for dilated kernels.

    Raises:
        ValueError: An argument is out of range, or the kernel reaches beyond the inputs.

    Source: Howard et al. 2017 (arXiv 1704.04861), section 3.1, equation 3.
    """

    def __init__(
        self,
        kernel_size: int,
        strides: int = 1,
        dilation_rate: int = 1,
        padding: str = "valid",
        use_bias: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(kernel_size=kernel_size, strides=strides, dilation_rate=dilation_rate)
        check_padding(padding, ("valid", *PADDINGS))
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.padding = padding
        self.use_bias = use_bias

    def build(self, input_shape):
        channels = input_shape[-1]
        self.input_spec = keras.InputSpec(ndim=4, axes={-1: channels})
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels, 1),
            initializer=keras.initializers.RandomUniform(
                -1 / self.kernel_size, 1 / self.kernel_size
            ),
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(channels,), initializer="zeros")

    def call(self, inputs):
        outputs = backend_forms.fastest_2d(
            inputs, self.kernel[..., 0], self.strides, self.dilation_rate, self.padding
        )
        return outputs + self.bias if self.use_bias else outputs

    def compute_output_shape(self, input_shape):
        batch, *sizes, channels = input_shape
        arguments = (self.kernel_size, self.strides, self.dilation_rate, self.padding)
        return (batch, *(output_size(size, *arguments) for size in sizes), channels)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "padding": self.padding,
            "use_bias": self.use_bias,
        }
