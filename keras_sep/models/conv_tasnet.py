"""Conv-TasNet, speech separation in the time domain."""

import keras
from keras import ops

from keras_sep.layers import TemporalConvNet, WaveformDecoder, WaveformEncoder
from keras_sep.layers.activations import get_activation
from keras_sep.layers.arguments import check_at_least_one
from keras_sep.models.conv_tasnet_costs import PartCost, part_costs
from keras_sep.models.conv_tasnet_presets import PRESETS
from keras_sep.models.stream_state import kinds, pack, unpack


@keras.saving.register_keras_serializable(package="keras_sep")
class ConvTasNet(keras.Model):
    """Separates the sources of a one-channel recording by masks over a learned filterbank.

    The defaults are the paper's best configuration: 4,984,881 parameters for two sources, masks
    that see 1.53 s at 8 kHz. Any length of at least one sample works; the sources are as long as
    the mixture and float32 under any dtype policy.

    Args:
        num_sources: Sources in a mixture (C).
        sample_rate: Samples per second the model is meant for; kept with it, not used in `call`.
        filters: Filters of encoder and decoder (N).
        kernel_size: Their length in samples (L).
        strides: Their hop in samples; by default half of `kernel_size`.
        bottleneck_dim: Channels between the blocks of the TCN (B).
        hidden_dim: Channels in the blocks (H).
        skip_dim: Channels of the skip path (Sc), None for no skip path.
        conv_kernel_size: Taps of the depthwise convolutions (P).
        num_blocks: Blocks in a stack (X).
        num_repeats: Stacks (R).
        normalization: "global" (gLN), "cumulative" (cLN), "layer" (each frame by itself) or
            "batch".
        mask_activation: "sigmoid", "relu", "softmax" (over the sources), or another one of
            `TemporalConvNet`.
        causal: Whether outputs depend on no later input than the encoder's window.
        encoder_activation: Keras activation of the features, such as "relu", or None. "leaky_relu"
            has the slope 0.01 here, not 0.2.
        padding: "same" pads the mixture, so that every sample lies in equally many frames and any
            length from one sample works. "valid" takes the frames that lie wholly inside: inputs
            need `kernel_size` samples, the edges lie in fewer frames, and the sources end in
            zeros where the last frame ends before the mixture (as in asteroid).

    Input: mixture `(batch, samples)`. Output: sources `(batch, num_sources, samples)`.

    Raises:
        ValueError: An argument is out of range, or `causal` meets a global normalization.

    Source: Luo & Mesgarani 2019, "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking
    for Speech Separation" (arXiv 1809.07454), section II and table I.
    """

    def __init__(
        self,
        num_sources: int = 2,
        sample_rate: int = 8000,
        filters: int = 512,
        kernel_size: int = 16,
        strides: int | None = None,
        bottleneck_dim: int = 128,
        hidden_dim: int = 512,
        skip_dim: int | None = 128,
        conv_kernel_size: int = 3,
        num_blocks: int = 8,
        num_repeats: int = 3,
        normalization: str = "global",
        mask_activation: str = "sigmoid",
        causal: bool = False,
        encoder_activation: str | None = None,
        padding: str = "same",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(sample_rate=sample_rate)
        self.num_sources = num_sources
        self.sample_rate = sample_rate
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = max(kernel_size // 2, 1) if strides is None else strides
        self.bottleneck_dim = bottleneck_dim
        self.hidden_dim = hidden_dim
        self.skip_dim = skip_dim
        self.conv_kernel_size = conv_kernel_size
        self.num_blocks = num_blocks
        self.num_repeats = num_repeats
        self.normalization = normalization
        self.mask_activation = mask_activation
        self.causal = causal
        self.encoder_activation = encoder_activation
        self.padding = padding
        self.encoder = WaveformEncoder(
            filters,
            kernel_size,
            self.strides,
            activation=get_activation(encoder_activation),
            padding=padding,
            dtype=self.dtype_policy,
            name="encoder",
        )
        self.separator = TemporalConvNet(
            num_sources,
            bottleneck_dim,
            hidden_dim,
            skip_dim,
            conv_kernel_size,
            num_blocks,
            num_repeats,
            normalization,
            mask_activation,
            causal,
            dtype=self.dtype_policy,
            name="separator",
        )
        self.decoder = WaveformDecoder(
            kernel_size, self.strides, padding=padding, dtype="float32", name="decoder"
        )

    def build(self, input_shape):
        features_shape = self.encoder.compute_output_shape(input_shape)
        self.encoder.build(input_shape)
        self.separator.build(features_shape)
        self.decoder.build(self.separator.compute_output_shape(features_shape))

    def call(self, mixture, training=None):
        features = self.encoder(mixture)
        masks = self.separator(features, training=training)
        return self.decoder(masks * features[:, None], length=ops.shape(mixture)[1])

    @classmethod
    def from_preset(cls, preset: str, **kwargs) -> "ConvTasNet":
        """A new, untrained model in a published configuration.

        Args:
            preset: A row of the paper's table II, such as "n512_l16_b128_h512_sc128_x8_r3";
                "paper_best" (that row, the defaults); "paper_causal" (the same, causal with
                cumulative norms); or "wide_kernel" (kernel 256, hop 16, four stacks).
            **kwargs: Arguments of `ConvTasNet` to set besides, or instead.

        Raises:
            ValueError: There is no such preset; the message lists them.
        """
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        return cls(**{**PRESETS[preset], **kwargs})

    @property
    def receptive_field(self) -> int:
        """Samples of the mixture that a mask depends on, norms aside (paper, section II-C)."""
        return (self.separator.receptive_field - 1) * self.strides + self.kernel_size

    def costs(self) -> list[PartCost]:
        """Parameters, multiply-adds and receptive field of each part; the model must be built."""
        return part_costs(self)

    def initial_state(self, batch_size: int) -> list:
        """State before the first sample of a stream: a flat list of tensors. Needs `causal`.

        With `padding="valid"` the first tensor's zeros are to be replaced by the first
        `kernel_size - strides` samples, and `step` starts after them.
        """
        if not self.causal:
            raise ValueError("only a model with causal=True can run on a stream, got causal=False")
        separator_state = self.separator.initial_state(batch_size)
        return [
            *self.encoder.initial_state(batch_size),
            *pack(separator_state, kinds(separator_state)),
            *self.decoder.initial_state((batch_size, self.num_sources)),
        ]

    def step(self, mixture, state: list) -> tuple:
        """Separates the next samples of a stream, a whole number of hops, one or more.

        Args:
            mixture: `(batch, n·strides)`.
            state: From `initial_state` or the step before.

        Returns: sources `(batch, num_sources, n·strides)`, which lag `kernel_size - strides`
            samples behind these of the mixture, and the state after them.
        """
        encoder_state, *packed, decoder_state = state
        features, encoder_state = self.encoder.step(mixture, [encoder_state])
        state_kinds = kinds(self.separator.initial_state(1))
        masks, separator_state = self.separator.step(features, unpack(packed, state_kinds))
        sources, decoder_state = self.decoder.step(masks * features[:, None], [decoder_state])
        return sources, [*encoder_state, *pack(separator_state, state_kinds), *decoder_state]

    def compute_output_shape(self, input_shape):
        batch, samples = input_shape
        return (batch, self.num_sources, samples)

    def get_config(self):
        return {
            **super().get_config(),
            "num_sources": self.num_sources,
            "sample_rate": self.sample_rate,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "bottleneck_dim": self.bottleneck_dim,
            "hidden_dim": self.hidden_dim,
            "skip_dim": self.skip_dim,
            "conv_kernel_size": self.conv_kernel_size,
            "num_blocks": self.num_blocks,
            "num_repeats": self.num_repeats,
            "normalization": self.normalization,
            "mask_activation": self.mask_activation,
            "causal": self.causal,
            "encoder_activation": self.encoder_activation,
            "padding": self.padding,
        }
