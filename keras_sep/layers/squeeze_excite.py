"""Channel attention of MobileNet V3."""

import keras
from keras import ops

from keras_sep.layers.arguments import check_at_least_one


@keras.saving.register_keras_serializable(package="keras_sep")
class SqueezeExcite(keras.layers.Layer):
    """Scales each channel by a gate that sees the mean of every channel over the image.

    Two dense layers make the gates from the means: ReLU after the first, hard sigmoid after the
    second.

    Args:
        squeeze_dim: Units of the first one; V3 takes a quarter of the channels.

    Input and output: `(batch, height, width, channels)`.

    Source: Howard et al. 2019 (arXiv 1905.02244), section 5.3; Hu et al. 2018 (arXiv 1709.01507).
    """

    def __init__(self, squeeze_dim: int, **kwargs):
        super().__init__(**kwargs)
        check_at_least_one(squeeze_dim=squeeze_dim)
        self.squeeze_dim = squeeze_dim
        self.squeeze = keras.layers.Dense(
            squeeze_dim, activation="relu", dtype=self.dtype_policy, name="squeeze"
        )

    def build(self, input_shape):
        channels = input_shape[-1]
        self.excite = keras.layers.Dense(
            channels, activation="hard_sigmoid", dtype=self.dtype_policy, name="excite"
        )
        self.squeeze.build((None, channels))
        self.excite.build((None, self.squeeze_dim))

    def call(self, inputs):
        means = ops.mean(ops.cast(inputs, "float32"), (1, 2))
        gates = self.excite(self.squeeze(means))
        return inputs * gates[:, None, None]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "squeeze_dim": self.squeeze_dim}
