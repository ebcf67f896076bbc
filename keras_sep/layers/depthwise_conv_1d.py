"""Depthwise convolution over frames."""

import keras
from keras import ops

from keras_sep.layers import backend_forms
from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.padding import output_size


@keras.saving.register_keras_serializable(package="keras_sep")
class DepthwiseConv1D(keras.layers.Layer):
    """Filters each channel over time on its own, in the fastest form for the backend.

    Args:
        kernel_size: Taps (P).
        strides: Frames from one output to the next.
        dilation_rate: Frames from one tap to the next (d).
        padding: "valid"; "same", zeros on both sides, as many as TensorFlow adds; or "causal",
            zeros before the input only.
        use_bias: Adds a bias per channel.

    Input: `(batch, frames, channels)`. Output: `(batch, new_frames, channels)`, where
    `new_frames` is `ceil(frames / strides)` for "same" and "causal". The kernel has the layout of
    `keras.layers.DepthwiseConv1D`: `(kernel_size, channels, 1)`.

    JAX on a CPU has a gradient of reverse mode for it: `jax.jvp` refuses it.

    Raises:
        ValueError: An argument is out of range, or the kernel reaches beyond the inputs.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), section II-C, equation 8.
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
        if padding not in ("valid", "same", "causal"):
            raise ValueError(f'padding must be "valid", "same" or "causal", got {padding!r}')
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.padding = padding
        self.use_bias = use_bias

    def build(self, input_shape):
        channels = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, channels, 1),
            initializer=keras.initializers.RandomUniform(
                -(self.kernel_size**-0.5), self.kernel_size**-0.5
            ),
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(channels,), initializer="zeros")

    def call(self, inputs):
        outputs = backend_forms.fastest(
            inputs, self.kernel[..., 0], self.strides, self.dilation_rate, self.padding
        )
        return backend_forms.biased(outputs, self.bias) if self.use_bias else outputs

    def initial_state(self, batch_size):
        """State before the first frame: the frames the taps reach back to, zeros."""
        if self.padding != "causal" or self.strides != 1:
            raise ValueError(
                'a stream needs padding="causal" and strides=1, got '
                f"padding={self.padding!r}, strides={self.strides}"
            )
        reach = self.dilation_rate * (self.kernel_size - 1)
        return [ops.zeros((batch_size, reach, self.kernel.shape[1]), self.compute_dtype)]

    def step(self, inputs, state):
        """The next frames of a stream, one or more, filtered, and the state after them."""
        x = ops.concatenate([state[0], inputs], axis=1)
        outputs = backend_forms.fastest(x, self.kernel[..., 0], 1, self.dilation_rate)
        return (
            outputs + self.bias if self.use_bias else outputs,
            [x[:, ops.shape(inputs)[1] :]],
        )

    def compute_output_shape(self, input_shape):
        batch, frames, channels = input_shape
        arguments = (self.kernel_size, self.strides, self.dilation_rate, self.padding)
        return (batch, output_size(frames, *arguments), channels)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "padding": self.padding,
            "use_bias": self.use_bias,
        }
