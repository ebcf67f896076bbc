"""Layer normalization over all channels and all frames (gLN)."""

import keras
from keras import ops

from keras_sep.layers import backend_forms


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
        mean, scale = self.statistics(inputs)
        scale = self.gamma * scale
        x = ops.cast(inputs, "float32")
        x = backend_forms.affine(x, scale, self.beta - mean * scale)
        return ops.cast(x, self.compute_dtype)

    def then_dense(self, inputs, dense):
        """`dense(self(inputs))`, with the normalization done to the smaller outputs.

        With mean m, reciprocal deviation s and K = γ · kernel, it is (x K) s + (β kernel + bias)
        - m s Σ K: no normalized input is written to memory.
        """
        if self.compute_dtype != "float32":
            return dense(self(inputs))
        mean, scale = self.statistics(inputs)
        kernel = self.gamma[:, None] * dense.kernel
        bias = ops.matmul(self.beta, dense.kernel) + dense.bias
        shift = bias - mean * scale * ops.sum(kernel, axis=0)
        return backend_forms.affine(backend_forms.product(inputs, kernel), scale, shift)

    def statistics(self, inputs):
        """Mean of each example and reciprocal of its deviation, float32 `(batch, 1, 1)` each."""
        mean, mean_square = backend_forms.moments(ops.cast(inputs, "float32"))
        variance = ops.maximum(mean_square - ops.square(mean), 0.0)
        return mean, ops.rsqrt(variance + self.epsilon)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
