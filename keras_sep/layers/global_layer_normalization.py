"""Layer normalization over all channels and all frames (gLN)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_sep")
class GlobalLayerNormalization(keras.layers.Layer):
    """Normalizes each example by the mean and variance over its frames and channels.

    Every output frame depends on the whole input, so the layer is not causal; the causal
    counterpart is `CumulativeLayerNormalization`. Statistics are float32 under any dtype policy.

    Args:
        epsilon: Added to the variance.

    Input and output: `(batch, frames, channels)`.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), equations 9 to 11.
    """

    def __init__(self, epsilon: float = 1e-8, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=channels, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=channels, initializer="zeros")

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        mean = ops.mean(x, axis=(1, 2), keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=(1, 2), keepdims=True)
        x = (x - mean) * ops.rsqrt(variance + self.epsilon)
        return ops.cast(x, self.compute_dtype) * self.gamma + self.beta

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
