"""One dilated block of the TCN."""

import keras
from keras import ops

from keras_sep.layers.depthwise_separable_conv_1d import DepthwiseSeparableConv1D, scalar_prelu
from keras_sep.layers.normalization import check_normalization, normalization_layer


@keras.saving.register_keras_serializable(package="keras_sep")
class TemporalBlock(keras.layers.Layer):
    """1×1 convolution, PReLU, norm, and a depthwise-separable convolution with two outputs.

    The pointwise half computes residual and skip in one product: its first outputs are the
    residual, the rest the skip.

    Args:
        hidden_dim: Channels inside (H).
        skip_dim: Channels of the skip output (Sc), None for no skip output.
        conv_kernel_size: Taps of the depthwise convolution (P), odd unless `causal`.
        dilation_rate: Frames from one tap to the next (d).
        normalization: "global", "cumulative" or "batch".
        causal: Whether outputs see past frames only.
        residual: Whether there is a residual output; the last block of a TCN with skip path
            needs none.

    Input: `(batch, frames, B)`. Output: the pair of the input plus the residual
    `(batch, frames, B)` (None without `residual`) and the skip `(batch, frames, skip_dim)`
    (None without `skip_dim`).

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), figure 1C.
    """

    def __init__(
        self,
        hidden_dim: int,
        skip_dim: int | None,
        conv_kernel_size: int = 3,
        dilation_rate: int = 1,
        normalization: str = "global",
        causal: bool = False,
        residual: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_normalization(normalization, causal)
        if not causal and conv_kernel_size % 2 == 0:
            raise ValueError(
                f"conv_kernel_size must be odd unless causal=True, got {conv_kernel_size}"
            )
        if not residual and skip_dim is None:
            raise ValueError("a block needs an output: residual=False takes a skip_dim, got None")
        self.hidden_dim = hidden_dim
        self.skip_dim = skip_dim
        self.conv_kernel_size = conv_kernel_size
        self.dilation_rate = dilation_rate
        self.normalization = normalization
        self.causal = causal
        self.residual = residual
        self.expand = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy, name="expand")
        self.prelu = scalar_prelu(dtype=self.dtype_policy, name="prelu")
        self.norm = normalization_layer(normalization, dtype=self.dtype_policy, name="norm")

    def build(self, input_shape):
        self._residual_dim = input_shape[-1] if self.residual else 0
        self.separable_conv = DepthwiseSeparableConv1D(
            self._residual_dim + (self.skip_dim or 0),
            self.conv_kernel_size,
            dilation_rate=self.dilation_rate,
            padding="causal" if self.causal else "same",
            normalization=self.normalization,
            dtype=self.dtype_policy,
            name="separable_conv",
        )
        hidden_shape = (*input_shape[:-1], self.hidden_dim)
        self.expand.build(input_shape)
        self.prelu.build(hidden_shape)
        self.norm.build(hidden_shape)
        self.separable_conv.build(hidden_shape)

    def call(self, inputs):
        x = self.norm(self.prelu(self.expand(inputs)))
        residual, skip = ops.split(self.separable_conv(x), [self._residual_dim], axis=-1)
        return (
            inputs + residual if self.residual else None,
            skip if self.skip_dim else None,
        )

    def compute_output_shape(self, input_shape):
        outputs = input_shape if self.residual else None
        skip = (*input_shape[:-1], self.skip_dim) if self.skip_dim else None
        return outputs, skip

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "skip_dim": self.skip_dim,
            "conv_kernel_size": self.conv_kernel_size,
            "dilation_rate": self.dilation_rate,
            "normalization": self.normalization,
            "causal": self.causal,
            "residual": self.residual,
        }
