"""The variational autoencoder."""

import keras
from keras import ops

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.residual_stack import check_rank, convolution
from keras_sep.models.autoencoder import Autoencoder
from keras_sep.models.convolutional import check_inputs, check_strides, decoder, encoder


@keras.saving.register_keras_serializable(package="keras_sep")
class VAE(Autoencoder):
    """Images to grids of Gaussian latents and back, with the encoder and decoder of the `VQVAE`.

    The starting point that the quantized models are compared with. With the loss "mse" and
    `kl_weight=1` the training loss is the negative evidence lower bound (ELBO) per value of the
    input, up to a constant, under a Gaussian decoder of variance 1/2.

    Args:
        latent_dim: Channels of the latents (D).
        hidden_dim: Channels of encoder and decoder.
        residual_dim: Channels in their residual blocks.
        num_residual_blocks: Residual blocks of each.
        strides: Values of the input from one latent to the next along each axis, a power of two.
        channels: Channels of the inputs.
        rank: 2 for images and spectrograms, 1 for waveforms.
        kl_weight: Weight of the Kullback-Leibler divergence (β).
        free_bits: Nats that each latent channel at each position may use freely: its divergence,
            averaged over the batch, counts as this much at least (λ).
        seed: Of the noise in latents and samples; None for other noise in each model, but for
            `keras.utils.set_random_seed`.

    Input: `(batch, height, width, channels)`, or `(batch, length, channels)` for `rank=1`, with
    lengths divisible by `strides`. Output: dictionary of `reconstruction`, float32, as the input;
    `mean` and `log_variance` of the latents, float32
    `(batch, height / strides, width / strides, latent_dim)`; `kl_loss`, float32 `(batch,)`:
    β times the divergence in nats divided by the values of an input.

    `fit` logs `reconstruction_loss` and `kl_loss`.

    Raises:
        ValueError: An argument is out of range, a length is not divisible by `strides`, or the
            inputs have other channels.

    Source: Kingma & Welling 2014 (arXiv 1312.6114), sections 2.3, 2.4 and appendix B; β of Higgins
    et al. 2017 ("beta-VAE"), free bits of Kingma et al. 2016 (arXiv 1606.04934), appendix C.8.
    """

    latent_losses = ("kl_loss",)

    def __init__(
        self,
        latent_dim: int = 64,
        hidden_dim: int = 128,
        residual_dim: int = 64,
        num_residual_blocks: int = 2,
        strides: int = 4,
        channels: int = 3,
        rank: int = 2,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(
            latent_dim=latent_dim,
            hidden_dim=hidden_dim,
            residual_dim=residual_dim,
            num_residual_blocks=num_residual_blocks,
            channels=channels,
        )
        check_strides(strides=strides)
        check_rank(rank)
        for name, value in {"kl_weight": kl_weight, "free_bits": free_bits}.items():
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        self.latent_dim = latent_dim
        self.hidden_dim = hidden_dim
        self.residual_dim = residual_dim
        self.num_residual_blocks = num_residual_blocks
        self.strides = strides
        self.channels = channels
        self.rank = rank
        self.kl_weight = kl_weight
        self.free_bits = free_bits
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        sizes = hidden_dim, strides, num_residual_blocks, residual_dim, rank
        self.encoder = encoder(*sizes, dtype=self.dtype_policy, name="encoder")
        self.to_gaussian = convolution(rank)(2 * latent_dim, 1, dtype="float32", name="to_gaussian")
        self.decoder = decoder(channels, *sizes, dtype=self.dtype_policy, name="decoder")
        self.build((None,) * (rank + 1) + (channels,))

    def build(self, input_shape):
        if not self.built:
            lead = (None,) * (self.rank + 1)
            self.encoder.build(input_shape)
            self.to_gaussian.build((*lead, self.hidden_dim))
            self.decoder.build((*lead, self.latent_dim))

    def call(self, images):
        mean, log_variance = self.encode(images)
        noise = keras.random.normal(ops.shape(mean), dtype="float32", seed=self.seed_generator)
        latents = mean + ops.exp(0.5 * log_variance) * noise
        return {
            "reconstruction": self.decode(latents),
            "mean": mean,
            "log_variance": log_variance,
            "kl_loss": self._kl_loss(mean, log_variance),
        }

    def encode(self, images):
        """Mean and log variance of the latents, float32, as in the outputs."""
        check_inputs(images, self.strides, self.channels, self.rank)
        gaussian = self.to_gaussian(self.encoder(images))
        return gaussian[..., : self.latent_dim], gaussian[..., self.latent_dim :]

    def decode(self, latents):
        """Images, float32, of latents."""
        return ops.cast(self.decoder(latents), "float32")

    def reconstruct(self, images):
        """Images, float32, of the means of their latents."""
        mean, _ = self.encode(images)
        return self.decode(mean)

    def sample(self, num_samples: int, grid: tuple[int, ...]):
        """Images, float32, of latents drawn from the prior.

        Args:
            num_samples: How many.
            grid: Their heights and widths divided by `strides`.
        """
        shape = (num_samples, *grid, self.latent_dim)
        return self.decode(keras.random.normal(shape, dtype="float32", seed=self.seed_generator))

    def _kl_loss(self, mean, log_variance):
        """Divergence from the prior in nats, of each example, by β and per value of the input."""
        divergence = 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)
        beyond = ops.mean(divergence, axis=0) > self.free_bits
        divergence = ops.where(beyond, divergence, self.free_bits)
        positions = tuple(range(1, self.rank + 1))
        values = self.strides**self.rank * self.channels
        return self.kl_weight / values * ops.mean(ops.sum(divergence, axis=-1), axis=positions)

    def get_config(self):
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "hidden_dim": self.hidden_dim,
            "residual_dim": self.residual_dim,
            "num_residual_blocks": self.num_residual_blocks,
            "strides": self.strides,
            "channels": self.channels,
            "rank": self.rank,
            "kl_weight": self.kl_weight,
            "free_bits": self.free_bits,
            "seed": self.seed,
        }
