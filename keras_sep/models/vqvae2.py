"""VQ-VAE-2: images as a hierarchy of small grids of codes."""

import math

import keras
from keras import ops

from keras_sep.layers import VectorQuantizer
from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.residual_stack import check_rank, convolution, transposed_convolution
from keras_sep.models.autoencoder import Autoencoder
from keras_sep.models.convolutional import check_inputs, check_strides, decoder, encoder
from keras_sep.models.generation import Generative
from keras_sep.models.vqvae_presets import VQVAE2_PRESETS, preset_arguments

LEVEL_NAMES = {1: ["codebook"], 2: ["top", "bottom"], 3: ["top", "middle", "bottom"]}


@keras.saving.register_keras_serializable(package="keras_sep")
class VQVAE2(Generative, Autoencoder):
    """Images to grids of codes, the top one coarsest, and back (VQ-VAE-2).

    The defaults are the paper's for 256×256 pixels: 32×32 top and 64×64 bottom codes. The top level
    is quantized first; each level below sees what is decoded from those above; the decoder sees
    all, each upsampled and concatenated to the next.

    Args:
        num_embeddings: Codes of each level's codebook (K).
        embedding_dim: Channels of a code (D).
        hidden_dim: Channels of encoders and decoders.
        residual_dim: Channels in their residual blocks.
        num_residual_blocks: Residual blocks of each.
        num_levels: Grids of codes, each half as fine as the next.
        strides: Values of the input from one bottom code to the next along each axis, a power of
            two.
        channels: Channels of the inputs.
        rank: 2 for images and spectrograms, 1 for waveforms.
        commitment_cost, ema_decay, epsilon, init, restart_threshold: As of `VectorQuantizer`.

    Input: `(batch, height, width, channels)`, or `(batch, length, channels)` for `rank=1`, with
    lengths divisible by `strides · 2^(num_levels - 1)`. Output: dictionary of `reconstruction`,
    float32, as the input; `codes`, a list from top to bottom of int32 `(batch, rows, columns)`; and
    `codebook_loss` and `commitment_loss`, float32 `(batch,)`, sums over the levels.

    `fit` logs `reconstruction_loss`, `codebook_loss` (0 with an EMA codebook) and
    `commitment_loss`, of which the loss is the sum, and each codebook's perplexity and usage, as
    `top_perplexity`, `bottom_usage` and so on; with one level `codebook_perplexity`.

    Raises:
        ValueError: An argument is out of range, a length is not divisible as said, or the inputs
            have other channels.

    Source: Razavi et al. 2019, "Generating Diverse High-Fidelity Images with VQ-VAE-2" (arXiv
    1906.00446), section 3.1, algorithm 1 and table 3 of the appendix.
    """

    latent_losses = ("codebook_loss", "commitment_loss")

    def __init__(
        self,
        num_embeddings: int = 512,
        embedding_dim: int = 64,
        hidden_dim: int = 128,
        residual_dim: int = 64,
        num_residual_blocks: int = 2,
        num_levels: int = 2,
        strides: int = 4,
        channels: int = 3,
        rank: int = 2,
        commitment_cost: float = 0.25,
        ema_decay: float | None = 0.99,
        epsilon: float = 1e-5,
        init: str = "uniform",
        restart_threshold: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(
            hidden_dim=hidden_dim,
            residual_dim=residual_dim,
            num_residual_blocks=num_residual_blocks,
            num_levels=num_levels,
            channels=channels,
        )
        check_strides(strides=strides)
        check_rank(rank)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim
        self.residual_dim = residual_dim
        self.num_residual_blocks = num_residual_blocks
        self.num_levels = num_levels
        self.strides = strides
        self.channels = channels
        self.rank = rank
        self.commitment_cost = commitment_cost
        self.ema_decay = ema_decay
        self.epsilon = epsilon
        self.init = init
        self.restart_threshold = restart_threshold
        policy = {"dtype": self.dtype_policy}
        residual = num_residual_blocks, residual_dim, rank
        # Encoders from the bottom up; all else from the top down, as it is used.
        self.encoders = [
            encoder(
                hidden_dim, 2 if level else strides, *residual, name=f"encoder_{level}", **policy
            )
            for level in range(num_levels)
        ]
        self.projections = [
            convolution(rank)(embedding_dim, 1, name=f"projection_{level}", **policy)
            for level in range(num_levels)
        ]
        self.quantizers = [
            VectorQuantizer(
                num_embeddings,
                embedding_dim,
                commitment_cost,
                ema_decay,
                epsilon,
                init,
                restart_threshold,
                name=name,
                **policy,
            )
            for name in self.level_names
        ]
        self.conditioners = [
            decoder(embedding_dim, hidden_dim, 2, *residual, name=f"conditioner_{level}", **policy)
            for level in range(num_levels - 1)
        ]
        self.upsamplers = [
            transposed_convolution(rank)(
                embedding_dim, 4, 2, "same", name=f"upsampler_{level}", **policy
            )
            for level in range(num_levels - 1)
        ]
        self.decoder = decoder(channels, hidden_dim, strides, *residual, name="decoder", **policy)
        self.build((None,) * (rank + 1) + (channels,))

    @classmethod
    def from_preset(cls, preset: str, **kwargs) -> "VQVAE2":
        """A new, untrained model in a published configuration.

        Args:
            preset: "imagenet_256" (the defaults) or "ffhq_1024" (32×32, 64×64 and 128×128 codes).
            **kwargs: Arguments of `VQVAE2` to set besides, or instead.

        Raises:
            ValueError: There is no such preset; the message lists them.
        """
        return cls(**preset_arguments(VQVAE2_PRESETS, preset, kwargs))

    @property
    def level_names(self) -> list[str]:
        """Names of the levels from top to bottom."""
        numbered = [f"level_{level}" for level in range(self.num_levels, 0, -1)]
        return LEVEL_NAMES.get(self.num_levels, numbered)

    def build(self, input_shape):
        if self.built:
            return
        lead = (None,) * (self.rank + 1)
        for level, level_encoder in enumerate(self.encoders):
            level_encoder.build((*lead, self.hidden_dim) if level else input_shape)
        codes, both = (*lead, self.embedding_dim), (*lead, 2 * self.embedding_dim)
        conditioned = (*lead, self.hidden_dim + self.embedding_dim)
        for level in range(self.num_levels):
            self.projections[level].build(conditioned if level else (*lead, self.hidden_dim))
            self.quantizers[level].build(codes)
        for level in range(self.num_levels - 1):
            self.conditioners[level].build(both if level else codes)
            self.upsamplers[level].build(both if level else codes)
        self.decoder.build(both if self.num_levels > 1 else codes)

    def call(self, images, training=None):
        quantized = self._quantize(images, training)
        return {
            "reconstruction": self._decode([level.vectors for level in quantized]),
            "codes": [level.indices for level in quantized],
            "codebook_loss": self._over_levels([level.codebook_loss for level in quantized]),
            "commitment_loss": self._over_levels([level.commitment_loss for level in quantized]),
        }

    def encode(self, images) -> list:
        """Codes of images, from top to bottom: int32 `(batch, rows, columns)` each."""
        return [level.indices for level in self._quantize(images, training=False)]

    def decode(self, codes: list):
        """Images, float32, of codes from top to bottom.

        Levels left out at the bottom count as vectors of zeros: the top level alone gives what it
        knows of the image.

        Raises:
            ValueError: There are no codes, more than levels, or one's grid is not twice as fine as
                the one above.
        """
        if not 1 <= len(codes) <= self.num_levels:
            raise ValueError(
                f"codes must be a list of 1 to {self.num_levels} grids, from top to bottom, "
                f"got {len(codes)}"
            )
        self._check_grids([tuple(grid.shape) for grid in codes])
        pairs = zip(self.quantizers, codes, strict=False)
        return self._decode([quantizer.decode(indices) for quantizer, indices in pairs])

    def reconstruct(self, images):
        """Images, float32, decoded from the codes of images."""
        return self(images, training=False)["reconstruction"]

    def code_shapes(self, lengths: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Grids of the codes, from top to bottom, of inputs with these lengths of their axes."""
        strides = [self.strides * 2**level for level in reversed(range(self.num_levels))]
        return [tuple(length // stride for length in lengths) for stride in strides]

    def compression_ratio(self, lengths: tuple[int, ...], bits: int = 8) -> float:
        """How many times smaller the codes are than inputs with these lengths of their axes.

        Args:
            lengths: Height and width, for `rank=1` the length.
            bits: Of each value of the input.
        """
        codes = sum(math.prod(shape) for shape in self.code_shapes(lengths))
        values = math.prod(lengths) * self.channels
        return values * bits / (codes * math.log2(self.num_embeddings))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        for quantizer, codes in zip(self.quantizers, y_pred["codes"], strict=True):
            quantizer.usage.update_state(codes)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _check_grids(self, shapes):
        axes = "(batch, rows, columns)" if self.rank == 2 else "(batch, length)"
        for level, shape in enumerate(shapes):
            name = self.level_names[level]
            if len(shape) != self.rank + 1:
                raise ValueError(f"codes of level {name} must be {axes}, got shape {shape}")
            above = shapes[level - 1] if level else shape
            lengths = [pair for pair in zip(above[1:], shape[1:], strict=True) if None not in pair]
            if level and any(fine != 2 * coarse for coarse, fine in lengths):
                raise ValueError(
                    f"codes of level {name} must have twice the lengths of those above, "
                    f"{above[1:]}, got {shape[1:]}; levels go from top to bottom"
                )

    def _quantize(self, images, training) -> list:
        check_inputs(images, self.strides * 2 ** (self.num_levels - 1), self.channels, self.rank)
        features = [images]
        for level_encoder in self.encoders:
            features.append(level_encoder(features[-1]))
        quantized, above = [], None
        for level in range(self.num_levels):
            x = features.pop()
            if level:
                x = ops.concatenate([self.conditioners[level - 1](above), x], axis=-1)
            x = self.projections[level](x)
            quantized.append(self.quantizers[level].quantization(x, training=training))
            above = self._join(level, above, quantized[-1].vectors)
        return quantized

    def _decode(self, vectors):
        above = None
        for level in range(self.num_levels):
            above = self._join(level, above, vectors[level] if level < len(vectors) else None)
        return ops.cast(self.decoder(above), "float32")

    def _join(self, level, above, vectors):
        """The vectors of a level, None for zeros, beside those of all levels above."""
        if level == 0:
            return vectors
        x = self.upsamplers[level - 1](above)
        return ops.concatenate([x, ops.zeros_like(x) if vectors is None else vectors], axis=-1)

    def _over_levels(self, losses):
        """Sum over the levels of each example's mean."""
        axes = tuple(range(1, self.rank + 1))
        return sum(ops.mean(loss, axis=axes) for loss in losses)

    def get_config(self):
        return {
            **super().get_config(),
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "hidden_dim": self.hidden_dim,
            "residual_dim": self.residual_dim,
            "num_residual_blocks": self.num_residual_blocks,
            "num_levels": self.num_levels,
            "strides": self.strides,
            "channels": self.channels,
            "rank": self.rank,
            "commitment_cost": self.commitment_cost,
            "ema_decay": self.ema_decay,
            "epsilon": self.epsilon,
            "init": self.init,
            "restart_threshold": self.restart_threshold,
        }
