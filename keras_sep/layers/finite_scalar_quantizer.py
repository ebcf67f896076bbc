"""Vectors with each channel rounded to a few levels."""

import math

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_sep")
class FiniteScalarQuantizer(keras.layers.Layer):
    """Rounds each channel to one of a few levels in [−1, 1] (FSQ).

    The levels span a codebook of `num_embeddings = prod(levels)` codes, without parameters, losses
    or codes that die. A channel is bounded by tanh before it is rounded, and gradients pass
    straight through the rounding. Everything is float32 inside under any dtype policy.

    Args:
        levels: How many levels each channel has (L), two or more; (8, 5, 5, 5) for 1000 codes.

    Input: `(..., len(levels))`. Output: the same.

    Raises:
        ValueError: `levels` is empty or has a number below 2, or the inputs have another number of
            channels.

    Source: Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple" (arXiv
    2309.15505), section 3.1 and appendix A, with the shift for even L exact (arctanh).
    """

    def __init__(self, levels: list[int] | tuple[int, ...], **kwargs):
        super().__init__(**kwargs)
        if not levels or min(levels) < 2:
            raise ValueError(f"levels must be numbers from 2 on, one a channel, got {levels}")
        self.levels = list(levels)
        self.supports_masking = True
        counts = np.array(levels)
        self._half_widths = (counts // 2).astype("float32")
        # Slightly beyond the outer levels, so that rounding reaches them.
        self._scales = ((counts - 1) * 1.001 / 2).astype("float32")
        self._offsets = np.where(counts % 2 == 0, 0.5, 0.0).astype("float32")
        self._shifts = np.arctanh(self._offsets / self._scales)
        self._strides = np.cumprod([1, *levels[:-1]]).astype("int32")

    @property
    def num_embeddings(self) -> int:
        """Codes there are."""
        return math.prod(self.levels)

    def build(self, input_shape):
        self._check_channels(input_shape)

    def call(self, inputs):
        bounded = self._bounded(inputs)
        rounded = ops.round(bounded)
        outputs = ops.stop_gradient(rounded) + (bounded - ops.stop_gradient(bounded))
        return ops.cast(ops.divide(outputs, self._half_widths), self.compute_dtype)

    def encode(self, inputs):
        """Codes of vectors `(..., len(levels))`: int32 `(...)`, from 0 to `num_embeddings - 1`."""
        digits = ops.add(ops.round(self._bounded(inputs)), self._half_widths)
        return ops.sum(ops.multiply(ops.cast(digits, "int32"), self._strides), axis=-1)

    def decode(self, indices):
        """Vectors `(..., len(levels))` of codes `(...)`."""
        places = ops.floor_divide(ops.expand_dims(indices, -1), self._strides)
        digits = ops.cast(ops.mod(places, np.array(self.levels, "int32")), "float32")
        vectors = ops.divide(ops.subtract(digits, self._half_widths), self._half_widths)
        return ops.cast(vectors, self.compute_dtype)

    def _bounded(self, inputs):
        """Between half a step below the lowest level and half a step above the highest."""
        x = ops.cast(inputs, "float32")
        self._check_channels(x.shape)
        x = ops.tanh(ops.add(x, self._shifts))
        return ops.subtract(ops.multiply(x, self._scales), self._offsets)

    def _check_channels(self, shape):
        if shape[-1] != len(self.levels):
            raise ValueError(
                f"{self.name} quantizes {len(self.levels)} channels, one for each of "
                f"levels={self.levels}, got an input of shape {tuple(shape)}"
            )

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "levels": self.levels}
