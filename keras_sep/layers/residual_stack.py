"""Residual blocks of the VQ-VAE."""

import keras
from keras import ops

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.convolutions import Conv2D, Conv2DTranspose


def check_rank(rank: int) -> None:
    """Raises ValueError for a rank other than 1 and 2."""
    if rank not in (1, 2):
        raise ValueError(f"rank must be 1 or 2, got {rank}")


def convolution(rank: int):
    """The class of convolutions over `rank` axes, 1 or 2."""
    return {1: keras.layers.Conv1D, 2: Conv2D}[rank]


def transposed_convolution(rank: int):
    """The class of transposed convolutions over `rank` axes, 1 or 2."""
    return {1: keras.layers.Conv1DTranspose, 2: Conv2DTranspose}[rank]


@keras.saving.register_keras_serializable(package="keras_sep")
class ResidualStack(keras.layers.Layer):
    """Adds ReLU, 3×3 convolution, ReLU, 1×1 convolution to the input, repeatedly; ReLU at last.

    Args:
        num_blocks: Times.
        hidden_dim: Channels between the two convolutions.
        rank: Axes of the convolutions: 2 for images, 1 for waveforms.

    Input: `(batch, height, width, channels)`, or `(batch, length, channels)` for `rank=1`. Output:
    the same.

    Raises:
        ValueError: An argument is out of range.

    Source: van den Oord et al. 2017 (arXiv 1711.00937), section 4.1.
    """

    def __init__(self, num_blocks: int, hidden_dim: int, rank: int = 2, **kwargs):
        super().__init__(**kwargs)
        check_at_least_one(num_blocks=num_blocks, hidden_dim=hidden_dim)
        check_rank(rank)
        self.num_blocks = num_blocks
        self.hidden_dim = hidden_dim
        self.rank = rank

    def build(self, input_shape):
        conv = convolution(self.rank)
        self.blocks = []
        for index in range(self.num_blocks):
            wide = conv(
                self.hidden_dim,
                3,
                padding="same",
                dtype=self.dtype_policy,
                name=f"block_{index}_wide",
            )
            narrow = conv(input_shape[-1], 1, dtype=self.dtype_policy, name=f"block_{index}_narrow")
            wide.build(input_shape)
            narrow.build((*input_shape[:-1], self.hidden_dim))
            self.blocks.append((wide, narrow))

    def call(self, inputs):
        x = inputs
        for wide, narrow in self.blocks:
            x = x + narrow(ops.relu(wide(ops.relu(x))))
        return ops.relu(x)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_blocks": self.num_blocks,
            "hidden_dim": self.hidden_dim,
            "rank": self.rank,
        }
