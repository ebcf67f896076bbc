"""The mask-estimating network of Conv-TasNet."""

import keras
from keras import ops

from keras_sep.layers.activations import get_activation
from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.normalization import (
    check_normalization,
    initial_norm_state,
    norm_step,
    normalization_layer,
)
from keras_sep.layers.pointwise_dense import PointwiseDense
from keras_sep.layers.scalar_prelu import ScalarPReLU
from keras_sep.layers.temporal_block import TemporalBlock

MASK_ACTIVATIONS = (
    "sigmoid",
    "relu",
    "leaky_relu",
    "softmax",
    "linear",
    "tanh",
    "silu",
    "gelu",
    "log_sigmoid",
)


@keras.saving.register_keras_serializable(package="keras_sep")
class TemporalConvNet(keras.layers.Layer):
    """Estimates one mask per source with stacks of dilated blocks (TCN).

    Norm and 1×1 bottleneck, `num_repeats` stacks of `num_blocks` blocks of dilation 1, 2, 4, …,
    then PReLU, 1×1 convolution and the mask activation on the sum of the skips, or on the last
    block's output where there is no skip path.

    Args:
        num_sources: Masks (C).
        bottleneck_dim: Channels between the blocks (B).
        hidden_dim: Channels in the blocks (H).
        skip_dim: Channels of the skip path (Sc), None for no skip path.
        conv_kernel_size: Taps of the depthwise convolutions (P), odd unless `causal`.
        num_blocks: Blocks in a stack (X).
        num_repeats: Stacks (R).
        normalization: "global", "cumulative", "layer" or "batch".
        mask_activation: "sigmoid", "relu" or "softmax" (over the sources), as published; or
            "linear", "leaky_relu" (of slope 0.01), "tanh", "silu", "gelu" or "log_sigmoid".
        causal: Whether masks see past frames only.

    Input: `(batch, frames, filters)`. Output: masks `(batch, num_sources, frames, filters)`.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), section II-C and figure 1B.
    """

    def __init__(
        self,
        num_sources: int,
        bottleneck_dim: int = 128,
        hidden_dim: int = 512,
        skip_dim: int | None = 128,
        conv_kernel_size: int = 3,
        num_blocks: int = 8,
        num_repeats: int = 3,
        normalization: str = "global",
        mask_activation: str = "sigmoid",
        causal: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_normalization(normalization, causal)
        if mask_activation not in MASK_ACTIVATIONS:
            raise ValueError(
                f"mask_activation must be one of {MASK_ACTIVATIONS}, got {mask_activation!r}"
            )
        check_at_least_one(
            num_sources=num_sources,
            bottleneck_dim=bottleneck_dim,
            num_blocks=num_blocks,
            num_repeats=num_repeats,
        )
        self.num_sources = num_sources
        self.bottleneck_dim = bottleneck_dim
        self.hidden_dim = hidden_dim
        self.skip_dim = skip_dim
        self.conv_kernel_size = conv_kernel_size
        self.num_blocks = num_blocks
        self.num_repeats = num_repeats
        self.normalization = normalization
        self.mask_activation = mask_activation
        self.causal = causal
        self.norm = normalization_layer(normalization, dtype=self.dtype_policy, name="norm")
        self.bottleneck = PointwiseDense(bottleneck_dim, dtype=self.dtype_policy, name="bottleneck")
        last = num_blocks * num_repeats - 1
        self.blocks = [
            TemporalBlock(
                hidden_dim,
                skip_dim,
                conv_kernel_size,
                dilation_rate=2 ** (index % num_blocks),
                normalization=normalization,
                causal=causal,
                residual=skip_dim is None or index < last,
                dtype=self.dtype_policy,
                name=f"block_{index}",
            )
            for index in range(last + 1)
        ]
        self.prelu = ScalarPReLU(dtype=self.dtype_policy, name="prelu")

    def build(self, input_shape):
        *lead, filters = input_shape
        self.masks = PointwiseDense(
            self.num_sources * filters, dtype=self.dtype_policy, name="masks"
        )
        self.norm.build(input_shape)
        self.bottleneck.build(input_shape)
        for block in self.blocks:
            block.build((*lead, self.bottleneck_dim))
        head_shape = (*lead, self.skip_dim or self.bottleneck_dim)
        self.prelu.build(head_shape)
        self.masks.build(head_shape)

    def call(self, inputs, training=None):
        x = self.bottleneck(self.norm(inputs))
        return self._head(self._through_blocks(x, lambda block, x: block(x, training=training)))

    @property
    def receptive_field(self) -> int:
        """Frames that a mask depends on, norms aside: 1 + R (P - 1) (2^X - 1)."""
        return 1 + self.num_repeats * (self.conv_kernel_size - 1) * (2**self.num_blocks - 1)

    def initial_state(self, batch_size):
        """State before the first frame: the norm's, then each block's, one flat list."""
        state = initial_norm_state(self.norm, batch_size)
        for block in self.blocks:
            state += block.initial_state(batch_size)
        return state

    def step(self, inputs, state):
        """Masks of the next frames of a stream, one or more, and the state after them."""
        norm_size = len(initial_norm_state(self.norm, 1))
        block_size = 2 * norm_size + 1
        x, new_state = norm_step(self.norm, inputs, state[:norm_size])
        new_state = list(new_state)

        def through(block, x):
            start = len(new_state)
            outputs, block_state = block.step(x, state[start : start + block_size])
            new_state.extend(block_state)
            return outputs

        x = self._through_blocks(self.bottleneck(x), through)
        return self._head(x), new_state

    def _through_blocks(self, x, through):
        if self.skip_dim is None:
            for block in self.blocks:
                x = through(block, x)
            return x
        *blocks, last = self.blocks
        skips = 0
        for block in blocks:
            x, skip = through(block, x)
            skips = skips + skip
        return skips + through(last, x)

    def _head(self, x):
        masks = self.masks(self.prelu(x))
        batch, frames, channels = ops.shape(masks)
        shape = (batch, frames, self.num_sources, channels // self.num_sources)
        masks = ops.transpose(ops.reshape(masks, shape), (0, 2, 1, 3))
        return activate_masks(masks, self.mask_activation)

    def compute_output_shape(self, input_shape):
        batch, frames, filters = input_shape
        return (batch, self.num_sources, frames, filters)

    def get_config(self):
        return {
            **super().get_config(),
            "num_sources": self.num_sources,
            "bottleneck_dim": self.bottleneck_dim,
            "hidden_dim": self.hidden_dim,
            "skip_dim": self.skip_dim,
            "conv_kernel_size": self.conv_kernel_size,
            "num_blocks": self.num_blocks,
            "num_repeats": self.num_repeats,
            "normalization": self.normalization,
            "mask_activation": self.mask_activation,
            "causal": self.causal,
        }


def activate_masks(masks, activation: str):
    """Masks `(batch, num_sources, frames, filters)` by one of `MASK_ACTIVATIONS`."""
    return (
        ops.softmax(masks, axis=1) if activation == "softmax" else get_activation(activation)(masks)
    )
