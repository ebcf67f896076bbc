"""PReLU with one slope."""

import keras

from keras_sep.layers import backend_forms


@keras.saving.register_keras_serializable(package="keras_sep")
class ScalarPReLU(keras.layers.Layer):
    """max(0, x) + α min(0, x), with one trained slope α for all frames and channels.

    α is 0.25 at first. On PyTorch it is one operation, where `keras.layers.PReLU` makes four.

    Input and output: `(batch, frames, channels)`.

    Source: He et al. 2015, "Delving Deep into Rectifiers" (arXiv 1502.01852), section 2.1.
    """

    def build(self, input_shape):
        # The shape that `keras.layers.PReLU` gives a slope shared over frames and channels.
        self.alpha = self.add_weight(
            name="alpha", shape=(1, 1), initializer=keras.initializers.Constant(0.25)
        )

    def call(self, inputs):
        return backend_forms.prelu(inputs, self.alpha)

    def compute_output_shape(self, input_shape):
        return input_shape
