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
        self.gamma = self.add_weight(
            name="gamma", shape=channels, initializer="ones", autocast=False
        )
        self.beta = self.add_weight(
            name="beta", shape=channels, initializer="zeros", autocast=False
        )

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        # Frames first, channels after: one pass for both statistics, in sums that vectorize.
        mean = ops.mean(ops.mean(x, axis=1, keepdims=True), axis=2, keepdims=True)
        mean_square = ops.mean(
            ops.mean(ops.square(x), axis=1, keepdims=True), axis=2, keepdims=True
        )
        variance = ops.maximum(mean_square - ops.square(mean), 0.0)
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return ops.cast(x * scale + (self.beta - mean * scale), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
