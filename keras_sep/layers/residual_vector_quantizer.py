"""Vectors as sums of codes, each the nearest to what the ones before left over."""

import keras
from keras import ops

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.backend_forms import mean_over_replicas
from keras_sep.layers.quantization import Quantization, mean_loss
from keras_sep.layers.vector_quantizer import VectorQuantizer


@keras.saving.register_keras_serializable(package="keras_sep")
class ResidualVectorQuantizer(keras.layers.Layer):
    """Replaces each vector by a sum of codes, one of each of several codebooks (RVQ).

    Each `VectorQuantizer` quantizes what those before it left over, which counts as a constant for
    them. Gradients pass straight through to the inputs once, and the losses of all quantizers add
    up. `fit` logs perplexity and usage of each, as `<name>_0_perplexity` and so on.

    Args:
        num_quantizers: Codebooks.
        num_embeddings: Codes of each (K).
        embedding_dim: Channels of the inputs and outputs (D).
        commitment_cost, ema_decay, epsilon, init, restart_threshold: As of `VectorQuantizer`.
        quantizer_dropout: In training, each example goes through the first n quantizers only, n
            drawn from 1 to `num_quantizers`, so that fewer codes can be decoded too.

    Input: `(..., embedding_dim)`. Output: the same. A `mask` `(...)`, True for vectors that count,
    leaves padding out of losses and statistics; there outputs are 0.

    Raises:
        ValueError: An argument is out of range, or the inputs have another number of channels.

    Source: Zeghidour et al. 2021, "SoundStream: An End-to-End Neural Audio Codec" (arXiv
    2107.03312), section III-C and algorithm 1.
    """

    def __init__(
        self,
        num_quantizers: int,
        num_embeddings: int,
        embedding_dim: int,
        commitment_cost: float = 0.25,
        ema_decay: float | None = 0.99,
        epsilon: float = 1e-5,
        init: str = "uniform",
        restart_threshold: float | None = None,
        quantizer_dropout: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(num_quantizers=num_quantizers)
        self.num_quantizers = num_quantizers
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.commitment_cost = commitment_cost
        self.ema_decay = ema_decay
        self.epsilon = epsilon
        self.init = init
        self.restart_threshold = restart_threshold
        self.quantizer_dropout = quantizer_dropout
        self.supports_masking = True
        self.seed_generator = keras.random.SeedGenerator()
        self.quantizers = [
            VectorQuantizer(
                num_embeddings,
                embedding_dim,
                commitment_cost,
                ema_decay,
                epsilon,
                init,
                restart_threshold,
                dtype="float32",
                name=f"{self.name}_{index}",
            )
            for index in range(num_quantizers)
        ]

    def build(self, input_shape):
        for quantizer in self.quantizers:
            quantizer.build(input_shape)

    def call(self, inputs, mask=None, training=None):
        vectors, indices, *losses = self.quantization(inputs, mask, training)
        for quantizer, codes in zip(self.quantizers, self._unstack(indices), strict=True):
            quantizer.count(codes, training)
        self.add_loss(mean_over_replicas(mean_loss(sum(losses), indices[..., 0])))
        return vectors

    def quantization(self, inputs, mask=None, training=False) -> Quantization:
        """As of `VectorQuantizer`, with indices `(..., num_quantizers)` and losses summed up.

        Indices are -1 where dropout left a quantizer out.
        """
        x = residual = ops.cast(inputs, "float32")
        drops = training and self.quantizer_dropout
        if drops:
            shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 2)
            used = keras.random.randint(shape, 1, self.num_quantizers + 1, seed=self.seed_generator)
            used = used + ops.zeros(ops.shape(x)[:-1], "int32")
        stages = []
        for index, quantizer in enumerate(self.quantizers):
            stage_mask = mask
            if drops:
                stage_mask = used > index if mask is None else ops.logical_and(mask, used > index)
            stages.append(quantizer.quantization(residual, stage_mask, training))
            residual = residual - ops.stop_gradient(stages[-1].vectors)
        vectors, indices, codebook_losses, commitment_losses = zip(*stages, strict=True)
        outputs = ops.stop_gradient(sum(vectors)) + (x - ops.stop_gradient(x))
        if mask is not None:
            outputs = ops.where(mask[..., None], outputs, 0.0)
        return Quantization(
            ops.cast(outputs, self.compute_dtype),
            ops.stack(indices, axis=-1),
            sum(codebook_losses),
            sum(commitment_losses),
        )

    def encode(self, inputs, mask=None):
        """Codes of vectors `(..., embedding_dim)`: int32 `(..., num_quantizers)`."""
        return self.quantization(inputs, mask).indices

    def decode(self, indices):
        """Vectors `(..., embedding_dim)` of codes `(..., n)`, of the first n quantizers.

        Raises:
            ValueError: n is 0, or more than `num_quantizers`.
        """
        shape = tuple(indices.shape)
        if not shape or shape[-1] not in range(1, self.num_quantizers + 1):
            raise ValueError(
                f"indices must be (..., n), of n from 1 to {self.num_quantizers} quantizers, got "
                f"shape {shape}"
            )
        codes = self._unstack(indices)
        vectors = sum(q.decode(c) for q, c in zip(self.quantizers, codes, strict=False))
        return ops.cast(vectors, self.compute_dtype)

    def _unstack(self, indices):
        return [indices[..., index] for index in range(indices.shape[-1])]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_quantizers": self.num_quantizers,
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "commitment_cost": self.commitment_cost,
            "ema_decay": self.ema_decay,
            "epsilon": self.epsilon,
            "init": self.init,
            "restart_threshold": self.restart_threshold,
            "quantizer_dropout": self.quantizer_dropout,
        }
