"""VQ-VAE: images as one grid of codes."""

import keras

from keras_sep.models.vqvae2 import VQVAE2
from keras_sep.models.vqvae_presets import VQVAE_PRESETS, preset_arguments


@keras.saving.register_keras_serializable(package="keras_sep")
class VQVAE(VQVAE2):
    """Images to one grid of codes and back: a `VQVAE2` of one level.

    As wide as its own paper's, 256 channels, but half as wide next to the images, and with one 3×3
    convolution more on each side, as VQ-VAE-2 has.

    Arguments, inputs, outputs, logs and errors are those of `VQVAE2`; `encode` returns a list of
    one grid.

    Source: van den Oord et al. 2017, "Neural Discrete Representation Learning" (arXiv 1711.00937),
    sections 3 and 4.1.
    """

    def __init__(
        self,
        num_embeddings: int = 512,
        embedding_dim: int = 64,
        hidden_dim: int = 256,
        residual_dim: int = 256,
        num_residual_blocks: int = 2,
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
        super().__init__(
            num_embeddings=num_embeddings,
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            residual_dim=residual_dim,
            num_residual_blocks=num_residual_blocks,
            num_levels=1,
            strides=strides,
            channels=channels,
            rank=rank,
            commitment_cost=commitment_cost,
            ema_decay=ema_decay,
            epsilon=epsilon,
            init=init,
            restart_threshold=restart_threshold,
            **kwargs,
        )

    @classmethod
    def from_preset(cls, preset: str, **kwargs) -> "VQVAE":
        """A new, untrained model in a published configuration.

        Args:
            preset: "imagenet_128" (the defaults; 32×32 codes of 128×128 pixels) or "audio"
                (waveforms, one code for 64 samples: grid and strides of the encoder only; the
                decoder is convolutional, the paper's a WaveNet given the speaker).
            **kwargs: Arguments of `VQVAE` to set besides, or instead.

        Raises:
            ValueError: There is no such preset; the message lists them.
        """
        return cls(**preset_arguments(VQVAE_PRESETS, preset, kwargs))

    def get_config(self):
        config = super().get_config()
        del config["num_levels"]
        return config
