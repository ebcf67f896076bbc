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
        """State before the first frame, each `(batch, 1, 1)`.

        Frames heard (int32), then mean and mean square, each float32 with what it rounded off.
        """
        zeros = [ops.zeros((batch_size, 1, 1), "float32") for _ in range(4)]
        return [ops.zeros((batch_size, 1, 1), "int32"), *zeros]

    def step(self, inputs, state):
        """Normalizes the next frames of a stream, one or more.

        Returns the outputs and the state after them, which stays accurate for days.
        """
        count, *mean_and_square = state
        x = ops.cast(inputs, "float32")
        new_counts = ops.arange(1, ops.shape(x)[1] + 1, dtype="int32")
        counts = count + ops.expand_dims(new_counts, (0, 2))
        means, mean = _running_mean(mean_and_square[:2], ops.mean(x, -1, keepdims=True), counts)
        mean_squares, mean_square = _running_mean(
            mean_and_square[2:], ops.mean(ops.square(x), -1, keepdims=True), counts
        )
        variances = ops.maximum(mean_squares - ops.square(means), 0.0)
        x = (x - means) * ops.rsqrt(variances + self.epsilon)
        outputs = ops.cast(x, self.compute_dtype) * self.gamma + self.beta
        return outputs, [counts[:, -1:], *mean, *mean_square]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def _running_mean(past, frame_means, counts):
    """Mean over all frames up to each one, and the last of them with what it rounded off.

    The past's mean is moved by the new frames' deviations. After hours of audio one step moves it
    by less than float32 resolves; the rest that was rounded off is carried along (Knuth's exact
    sum of two).
    """
    mean, rest = past
    moves = rest + ops.cumsum(frame_means - mean - rest, axis=1) / ops.cast(counts, "float32")
    move = moves[:, -1:]
    total = mean + move
    moved = total - mean
    return mean + moves, (total, (mean - (total - moved)) + (move - moved))
