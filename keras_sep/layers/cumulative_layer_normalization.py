"""Layer normalization over all channels and all frames heard so far (cLN)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_sep")
class CumulativeLayerNormalization(keras.layers.Layer):
    """Normalizes each frame by the statistics of the frames up to it.

    Causal counterpart of `GlobalLayerNormalization`: frame k uses the mean and variance over all
    channels of frames 0..k, so a stream can be normalized while it arrives. Statistics are
    float32 under any dtype policy.

    Args:
        epsilon: Added to the variance.

    Input and output: `(batch, frames, channels)`.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), equations 12 to 14.
    """

    def __init__(self, epsilon: float = 1e-8, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=channels, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=channels, initializer="zeros")

    def call(self, inputs):
        outputs, _ = self.step(inputs, self.initial_state(ops.shape(inputs)[0]))
        return outputs

    def initial_state(self, batch_size):
        """State before the first frame.

        Frames heard, int32 `(batch, 1, 1)`; then mean and mean square, and what they rounded off,
        float32 `(batch, 1, 2)` each.
        """
        return [
            ops.zeros((batch_size, 1, 1), "int32"),
            ops.zeros((batch_size, 1, 2), "float32"),
            ops.zeros((batch_size, 1, 2), "float32"),
        ]

    def step(self, inputs, state):
        """Normalizes the next frames of a stream, one or more.

        Returns the outputs and the state after them, which stays accurate for days: until int32
        can count the frames no more, 24 days at 1,000 a second.
        """
        count, past, rest = state
        x = ops.cast(inputs, "float32")
        new_counts = ops.arange(1, ops.shape(x)[1] + 1, dtype="int32")
        counts = count + ops.expand_dims(new_counts, (0, 2))
        frame_moments = ops.stack([ops.mean(x, -1), ops.mean(ops.square(x), -1)], axis=-1)
        # The past's mean is moved by the new frames' deviations. After hours of audio a step moves
        # it by less than float32 resolves, so what is rounded off is carried along (Knuth's exact
        # sum of two).
        moves = rest + ops.cumsum(frame_moments - past - rest, axis=1) / ops.cast(counts, "float32")
        move = moves[:, -1:]
        total = past + move
        moved = total - past
        rest = (past - (total - moved)) + (move - moved)
        means, mean_squares = ops.split(past + moves, 2, axis=-1)
        variances = ops.maximum(mean_squares - ops.square(means), 0.0)
        x = (x - means) * ops.rsqrt(variances + self.epsilon)
        outputs = ops.cast(x, self.compute_dtype) * self.gamma + self.beta
        return outputs, [counts[:, -1:], total, rest]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
