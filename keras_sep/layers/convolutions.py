"""Keras's convolutions of images, in the form that is fastest on the running backend.

The classes are named as Keras's own, under whose names `.keras` files store the weights.
"""

import keras

from keras_sep.layers import backend_forms
from keras_sep.layers.convolution_forms import pointwise


@keras.saving.register_keras_serializable(package="keras_sep")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, faster where the kernel is 1×1, or 4×4 with strides of 2.

    With PyTorch also where kernel, strides and dilation are the same along both axes.
    """

    def convolution_op(self, inputs, kernel):
        if _is_plain(self, 1, 1):
            return pointwise(inputs, kernel[0, 0])
        if _is_plain(self, 4, 2):
            return backend_forms.halving_conv(inputs, kernel)
        numbers = self.kernel_size, self.strides, self.dilation_rate
        if self.data_format != "channels_last" or any(x != y for x, y in numbers):
            return super().convolution_op(inputs, kernel)
        strides, dilation = self.strides[0], self.dilation_rate[0]
        return backend_forms.convolution_2d(inputs, kernel, strides, dilation, self.padding)


@keras.saving.register_keras_serializable(package="keras_sep")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, faster where the kernel is 4×4 with strides of 2."""

    def call(self, inputs):
        if not _is_plain(self, 4, 2) or self.output_padding is not None:
            return super().call(inputs)
        outputs = backend_forms.doubling_conv(inputs, self.kernel)
        return self.activation(outputs + self.bias if self.use_bias else outputs)


def _is_plain(layer, size: int, strides: int) -> bool:
    """Whether a layer's kernel and strides are these, its padding "same", and all else default."""
    return (
        (layer.kernel_size, layer.strides) == ((size, size), (strides, strides))
        and (layer.padding == "same" or size == 1)
        and (layer.dilation_rate, layer.data_format) == ((1, 1), "channels_last")
        and getattr(layer, "groups", 1) == 1
    )
