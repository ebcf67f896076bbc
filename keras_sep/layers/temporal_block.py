"""One dilated block of the TCN."""

import keras
from keras import ops

from keras_sep.layers import backend_forms
from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.depthwise_separable_conv_1d import DepthwiseSeparableConv1D
from keras_sep.layers.normalization import (
    check_normalization,
    initial_norm_state,
    norm_step,
    normalization_layer,
)
from keras_sep.layers.pointwise_dense import PointwiseDense
from keras_sep.layers.scalar_prelu import ScalarPReLU


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
        normalization: "global", "cumulative", "layer" or "batch".
        causal: Whether outputs see past frames only.
        residual: Whether there is a residual output; the last block of a TCN with skip path
            needs none.

    Input: `(batch, frames, B)`. Output: the pair of the input plus the residual
    `(batch, frames, B)` and the skip `(batch, frames, skip_dim)`; where there is only one of
    them, that one alone. Called with `training=True`, as `fit` does, XLA on a CPU and PyTorch take
    operations with gradients of their own for float32 and the global normalization
    (`backend_forms.training_forms`).

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
        check_at_least_one(
            hidden_dim=hidden_dim,
            skip_dim=1 if skip_dim is None else skip_dim,
            conv_kernel_size=conv_kernel_size,
            dilation_rate=dilation_rate,
        )
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
        self.expand = PointwiseDense(hidden_dim, dtype=self.dtype_policy, name="expand")
        self.prelu = ScalarPReLU(dtype=self.dtype_policy, name="prelu")
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

    def call(self, inputs, training=None):
        is_global = self.normalization == "global" and self.compute_dtype == "float32"
        forms = backend_forms.training_forms() if training is True and is_global else None
        if forms:
            return self._call_with_gradients(forms, inputs)
        x = self.norm(self.prelu(self.expand(inputs)))
        return self._outputs(inputs, self.separable_conv(x))

    def _call_with_gradients(self, forms, inputs):
        """The same by operations that take the layers' weights and have gradients of their own."""
        conv = self.separable_conv
        depthwise = (conv.depthwise.kernel[..., 0], conv.depthwise.bias)
        pointwise = (conv.pointwise.kernel, conv.pointwise.bias)
        x = self.expand(inputs)
        weights = (self.prelu.alpha, self.norm.gamma, self.norm.beta, *depthwise)
        x = forms.normalized_depthwise(x, weights, self.dilation_rate, self.norm.epsilon)
        weights = (conv.prelu.alpha, conv.norm.gamma, conv.norm.beta, *pointwise)
        x = forms.normalized_product(x, weights, conv.norm.epsilon)
        # Unlike that of slices, the gradient of a split is one copy.
        return self._add(inputs, *ops.split(x, [self._residual_dim], axis=-1))

    def _outputs(self, inputs, x):
        # Not by `ops.split`, at which LiteRT's library for CPUs breaks off (`LiteStream`).
        return self._add(inputs, x[..., : self._residual_dim], x[..., self._residual_dim :])

    def _add(self, inputs, residual, skip):
        if self.skip_dim is None:
            return inputs + residual
        return (inputs + residual, skip) if self.residual else skip

    def initial_state(self, batch_size):
        """State before the first frame: the first norm's, then the separable convolution's."""
        return [
            *initial_norm_state(self.norm, batch_size),
            *self.separable_conv.initial_state(batch_size),
        ]

    def step(self, inputs, state):
        """The next frames of a stream, one or more, and the state after them."""
        split = len(initial_norm_state(self.norm, 1))
        x, norm_state = norm_step(self.norm, self.prelu(self.expand(inputs)), state[:split])
        x, conv_state = self.separable_conv.step(x, state[split:])
        return self._outputs(inputs, x), [*norm_state, *conv_state]

    def compute_output_shape(self, input_shape):
        if self.skip_dim is None:
            return input_shape
        skip_shape = (*input_shape[:-1], self.skip_dim)
        return (input_shape, skip_shape) if self.residual else skip_shape

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
