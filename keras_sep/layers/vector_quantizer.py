"""Vectors as the nearest codes of a learned codebook."""

import keras
from keras import ops

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.backend_forms import mean_over_replicas, sum_over_replicas
from keras_sep.layers.codebook_metrics import CodebookMetrics, count_codes
from keras_sep.layers.codebook_search import draw, k_means, nearest_codes, sums_by_code
from keras_sep.layers.quantization import Quantization, check_codebook, mean_loss, rotated


@keras.saving.register_keras_serializable(package="keras_sep")
class VectorQuantizer(keras.layers.Layer):
    """Replaces each vector z by the nearest of K learned codes e (VQ).

    Gradients pass straight through to the inputs. Calls add the losses ‖sg[z] − e‖² + β‖z − sg[e]‖²
    to the model's, means over dimensions and vectors; an EMA codebook needs the second one only,
    and moves with each training call after its codes were looked up:

        N ← γN + (1 − γ)n,  m ← γm + (1 − γ)Σz,  e = m / Ñ,  Ñ = (N + ε) / (ΣN + Kε) · ΣN

    where n of the batch's vectors z have the code. N starts from ones and m from the codebook;
    under a `tf.distribute` strategy or Keras distribution, n and Σz are those of all replicas.
    Everything is float32 inside under any dtype policy. Looking up codes takes a copy of the inputs
    and their distances to the codes, in chunks of 2 MB (64 bytes a code if that is more), of which
    TensorFlow's graph may hold several at once.

    `fit` logs `<name>_perplexity` and `<name>_usage` of the training data of the epoch: the
    exponential of the entropy of the codes' frequencies, and the share of codes that occurred; with
    JAX they are NaN until the epoch ends. `evaluate` logs them for `VQVAE2` and the like only: to a
    layer, Keras's `evaluate` and `predict` look alike, and a prediction must not change state.

    Args:
        num_embeddings: Codes (K).
        embedding_dim: Channels of the inputs and outputs (D).
        commitment_cost: Weight of the encoder's side of the loss (β).
        ema_decay: Decay of the codebook's moving averages (γ), or None for a codebook that the
            optimizer trains.
        epsilon: Of the Laplace smoothing of the counts (ε), used in reading the codes only.
        init: "uniform" as in Sonnet, in ±√(3 / D); "kmeans" sets an EMA codebook by ten rounds
            of k-means on the first training batch.
        restart_threshold: A code of an EMA codebook with N below this becomes a random vector of
            the batch, with N = max(1, `restart_threshold`) and m to match. None for no restarts.
        cosine: Compares directions only: inputs and codes are scaled to length one, and so are the
            outputs.
        projection_dim: Projects the inputs to this many dimensions for the codebook, and back.
        rotation_trick: Gradients are rotated and scaled as the input is to become its code,
            instead of passing straight through.
        frozen: Keeps the codebook as it is. Compile anew after changing this attribute.

    Input: `(..., embedding_dim)`. Output: the same. A `mask` `(...)`, True for vectors that count,
    leaves padding out of losses and statistics; there outputs are 0.

    Attributes:
        usage: The metrics that `fit` logs, for models that count codes themselves, as
            `quantization` says.

    Raises:
        ValueError: An argument is out of range, the inputs have another number of channels, or
            `encode` or `decode` comes before the layer is built.

    Source: van den Oord et al. 2017 (arXiv 1711.00937), equation 3 and appendix A.1; the cosine
    and the projection are those of Yu et al. 2022 (arXiv 2110.04627), section 3.2, the restarts of
    Dhariwal et al. 2020 (arXiv 2005.00341), section 3.1, and the rotation of Fifty et al. 2024
    (arXiv 2410.06424), section 4.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        commitment_cost: float = 0.25,
        ema_decay: float | None = 0.99,
        epsilon: float = 1e-5,
        init: str = "uniform",
        restart_threshold: float | None = None,
        cosine: bool = False,
        projection_dim: int | None = None,
        rotation_trick: bool = False,
        frozen: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(
            num_embeddings=num_embeddings,
            embedding_dim=embedding_dim,
            projection_dim=1 if projection_dim is None else projection_dim,
        )
        check_codebook(commitment_cost, ema_decay, epsilon, init, restart_threshold)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.commitment_cost = commitment_cost
        self.ema_decay = ema_decay
        self.epsilon = epsilon
        self.init = init
        self.restart_threshold = restart_threshold
        self.cosine = cosine
        self.projection_dim = projection_dim
        self.rotation_trick = rotation_trick
        self.frozen = frozen
        self.supports_masking = True
        self.seed_generator = keras.random.SeedGenerator()
        self.usage = CodebookMetrics(self.name, num_embeddings, lambda: self.used)

    @property
    def frozen(self) -> bool:
        return self._frozen

    @frozen.setter
    def frozen(self, frozen: bool):
        self._frozen = frozen
        if self.built and self.ema_decay is None:
            self.embeddings.trainable = not frozen

    def build(self, input_shape):
        self._check_channels(input_shape)
        dim = self.projection_dim or self.embedding_dim
        if self.projection_dim is not None:
            self.project_in = keras.layers.Dense(dim, dtype="float32", name="project_in")
            self.project_in.build(input_shape)
            self.project_out = keras.layers.Dense(
                self.embedding_dim, dtype="float32", name="project_out"
            )
            self.project_out.build((*input_shape[:-1], dim))
        limit = (3 / dim) ** 0.5
        codes = {
            "shape": (self.num_embeddings, dim),
            "initializer": keras.initializers.RandomUniform(-limit, limit),
        }
        if self.ema_decay is None:
            self.embeddings = self.add_weight(
                name="embeddings", dtype="float32", autocast=False, **codes
            )
            self.embeddings.trainable = not self.frozen
        else:
            self.sums = self._add_state("sums", **codes)
            self.counts = self._add_state("counts", (self.num_embeddings,), "ones")
            if self.init == "kmeans":
                self.initialized = self._add_state("initialized", (), "zeros")
        self.used = self._add_state("used", (self.num_embeddings,), "zeros")

    def _add_state(self, name, shape, initializer):
        # All replicas compute the same values from statistics summed over them; the vectors drawn
        # for restarts and k-means are the first replica's.
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    @property
    def codebook(self):
        """The codes, float32 `(num_embeddings, embedding_dim)`, or of `projection_dim`."""
        if self.ema_decay is None:
            codes = ops.convert_to_tensor(self.embeddings)
        else:
            total = ops.sum(self.counts)
            smoothing = total / (total + self.num_embeddings * self.epsilon)
            codes = self.sums / ((self.counts + self.epsilon) * smoothing)[:, None]
        return ops.normalize(codes, axis=-1) if self.cosine else codes

    def call(self, inputs, mask=None, training=None):
        vectors, indices, *losses = self.quantization(inputs, mask, training)
        self.count(indices, training)
        self.add_loss(mean_over_replicas(mean_loss(sum(losses), indices)))
        return vectors

    def quantization(self, inputs, mask=None, training=False) -> Quantization:
        """Quantizes, with the losses of each vector as outputs, for models that sum them up.

        An EMA codebook moves if `training`. The model then tells the metrics with
        `usage.update_state(indices)` in `compute_loss`, which holds for evaluation too.
        """
        vectors = self._vectors(inputs, mask)
        flat = ops.reshape(ops.stop_gradient(vectors), (-1, vectors.shape[-1]))
        weights = None
        if mask is not None:
            weights = ops.cast(ops.reshape(mask, (-1,)), "float32")
            flat = flat * weights[:, None]
        learns = self.trainable and not self.frozen
        moves = training and learns and self.ema_decay is not None
        if moves and self.init == "kmeans":
            self._initialize(flat, weights)
        codes = self.codebook
        indices = nearest_codes(flat, ops.stop_gradient(codes))
        nearest = ops.reshape(ops.take(codes, indices, axis=0), ops.shape(vectors))
        if moves:
            self._move_codebook(flat, indices, weights)
        lead = ops.shape(inputs)[:-1]
        indices = ops.reshape(indices, lead)
        fixed = ops.stop_gradient(nearest)
        commitment_loss = self.commitment_cost * ops.mean(ops.square(vectors - fixed), axis=-1)
        if learns and self.ema_decay is None:
            differences = ops.stop_gradient(vectors) - nearest
            codebook_loss = ops.mean(ops.square(differences), axis=-1)
        else:
            codebook_loss = ops.zeros_like(commitment_loss)
        path = rotated(vectors, fixed) if self.rotation_trick else vectors
        outputs = fixed + (path - ops.stop_gradient(path))
        if self.projection_dim is not None:
            outputs = self.project_out(outputs)
        if mask is not None:
            outputs = ops.where(mask[..., None], outputs, 0.0)
            indices = ops.where(mask, indices, -1)
            codebook_loss = ops.where(mask, codebook_loss, 0.0)
            commitment_loss = ops.where(mask, commitment_loss, 0.0)
        outputs = ops.cast(outputs, self.compute_dtype)
        return Quantization(outputs, indices, codebook_loss, commitment_loss)

    def encode(self, inputs, mask=None):
        """Codes of vectors `(..., embedding_dim)`: int32 `(...)`, -1 at padding."""
        vectors = self._vectors(inputs, mask)
        flat = ops.reshape(vectors, (-1, vectors.shape[-1]))
        indices = ops.reshape(nearest_codes(flat, self.codebook), ops.shape(inputs)[:-1])
        return indices if mask is None else ops.where(mask, indices, -1)

    def decode(self, indices):
        """Vectors `(..., embedding_dim)` of codes `(...)`; those below 0 give zeros."""
        self._check_built()
        vectors = ops.take(self.codebook, ops.maximum(indices, 0), axis=0)
        if self.projection_dim is not None:
            vectors = self.project_out(vectors)
        vectors = ops.where((indices >= 0)[..., None], vectors, 0.0)
        return ops.cast(vectors, self.compute_dtype)

    def count(self, indices, training):
        """Counts the codes of a call for the metrics, if it is one of training."""
        self.usage.in_use = bool(training)
        if training:
            self.used.assign_add(sum_over_replicas(count_codes(indices, self.num_embeddings)))

    def _vectors(self, inputs, mask):
        """The inputs as the codebook sees them."""
        self._check_built()
        vectors = ops.cast(inputs, "float32")
        self._check_channels(vectors.shape)
        if mask is not None:
            if len(mask.shape) != len(inputs.shape) - 1:
                raise ValueError(
                    f"mask must have the shape of the inputs without channels, got {mask.shape} "
                    f"for inputs of shape {inputs.shape}"
                )
            vectors = ops.where(mask[..., None], vectors, 0.0)
        if self.projection_dim is not None:
            vectors = self.project_in(vectors)
        return ops.normalize(vectors, axis=-1) if self.cosine else vectors

    def _check_built(self):
        if not self.built:
            raise ValueError(
                f"{self.name} has no codes yet: call it, or build it for the shape of its inputs, "
                "before encode and decode"
            )

    def _check_channels(self, shape):
        if shape[-1] != self.embedding_dim:
            raise ValueError(
                f"{self.name} quantizes vectors of embedding_dim={self.embedding_dim} channels, "
                f"got an input of shape {tuple(shape)}"
            )

    def _initialize(self, flat, weights):
        random = keras.random.uniform((self.num_embeddings + 1,), seed=self.seed_generator)

        def clusters():
            counts, centres = k_means(flat, weights, random)
            counts = ops.maximum(counts, 1.0)
            return counts, centres * counts[:, None]

        def as_they_are():
            return ops.convert_to_tensor(self.counts), ops.convert_to_tensor(self.sums)

        counts, sums = ops.cond(self.initialized > 0, as_they_are, clusters)
        self.counts.assign(counts)
        self.sums.assign(sums)
        self.initialized.assign(1.0)

    def _move_codebook(self, flat, indices, weights):
        counts, sums = sums_by_code(flat, indices, weights, self.num_embeddings)
        decay = self.ema_decay
        counts = decay * self.counts + (1 - decay) * sum_over_replicas(counts)
        sums = decay * self.sums + (1 - decay) * sum_over_replicas(sums)
        if self.restart_threshold is not None:
            random = keras.random.uniform((self.num_embeddings + 1,), seed=self.seed_generator)
            dead = counts < self.restart_threshold
            if weights is not None:
                dead = ops.logical_and(dead, ops.any(weights > 0))
            fresh = max(1.0, self.restart_threshold)
            drawn = draw(flat, weights, random)
            counts = ops.where(dead, fresh, counts)
            sums = ops.where(dead[:, None], fresh * drawn, sums)
        self.counts.assign(counts)
        self.sums.assign(sums)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "commitment_cost": self.commitment_cost,
            "ema_decay": self.ema_decay,
            "epsilon": self.epsilon,
            "init": self.init,
            "restart_threshold": self.restart_threshold,
            "cosine": self.cosine,
            "projection_dim": self.projection_dim,
            "rotation_trick": self.rotation_trick,
            "frozen": self.frozen,
        }
