"""Gated PixelCNN: the distribution of grids of codes, one code at a time."""

import keras
from keras import ops

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.causal_self_attention import CausalSelfAttention
from keras_sep.layers.gated_pixel_block import GatedPixelBlock
from keras_sep.layers.residual_stack import ResidualStack
from keras_sep.metrics import BitsPerDimension
from keras_sep.models.pixelcnn_sampling import sample
from keras_sep.models.pixelcnn_steps import PixelCNNSteps


@keras.saving.register_keras_serializable(package="keras_sep")
class PixelCNN(PixelCNNSteps, keras.Model):
    """Distribution of grids of integers, each given those before it in raster order.

    Gated convolutions in a vertical stack (the rows above) and a horizontal one (the row so far),
    so that every position sees all before it within reach, and no other. Optionally conditioned on
    a class, on a coarser grid of codes, or both, and with self-attention between the blocks.

    Args:
        num_embeddings: Values of the integers (K).
        filters: Channels of each stack (p).
        num_layers: Gated blocks.
        kernel_size: Odd; of the blocks (n).
        first_kernel_size: Odd; of the first block.
        num_attention_layers: Layers of causal self-attention, spread evenly over the blocks.
        num_heads: Heads of each.
        key_dim: Channels of each head.
        num_classes: Classes to condition on, or None.
        condition_num_embeddings: Values of the coarser grid to condition on, or None.
        num_condition_blocks: Residual blocks over the coarser grid, once it is upsampled.
        dropout: Fraction of the blocks' and attention's values set to 0 in training.

    Input: integers `(batch, rows, columns)`, a sequence as one column, or, with conditions, a
    dictionary of these as `codes`, `labels` `(batch,)` and `condition` `(batch, rows', columns')`,
    whose lengths divide those of the codes. Output: logits, float32
    `(batch, rows, columns, num_embeddings)`.

    `fit(x)` takes the codes as targets, and without a loss in `compile` the cross-entropy, in nats;
    it logs `bits_per_dimension`.

    Raises:
        ValueError: An argument is out of range, or an input's parts are not those of the model.

    Source: van den Oord et al. 2016 (arXiv 1606.05328), sections 2.1 to 2.3; the attention: Chen
    et al. 2018 (arXiv 1712.09763); as a prior of codes: Razavi et al. 2019 (arXiv 1906.00446),
    section 3.2.
    """

    def __init__(
        self,
        num_embeddings: int,
        filters: int = 128,
        num_layers: int = 20,
        kernel_size: int = 5,
        first_kernel_size: int = 7,
        num_attention_layers: int = 0,
        num_heads: int = 8,
        key_dim: int = 16,
        num_classes: int | None = None,
        condition_num_embeddings: int | None = None,
        num_condition_blocks: int = 2,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least_one(
            num_embeddings=num_embeddings,
            filters=filters,
            num_layers=num_layers,
            num_heads=num_heads,
            key_dim=key_dim,
            num_classes=1 if num_classes is None else num_classes,
            condition_num_embeddings=(
                1 if condition_num_embeddings is None else condition_num_embeddings
            ),
        )
        if num_condition_blocks < 0:
            raise ValueError(f"num_condition_blocks must be at least 0, got {num_condition_blocks}")
        for name, size in (("kernel_size", kernel_size), ("first_kernel_size", first_kernel_size)):
            if size < 3 or size % 2 == 0:
                raise ValueError(f"{name} must be odd and at least 3, got {size}")
        if not 0 <= num_attention_layers <= num_layers:
            raise ValueError(
                f"num_attention_layers must be from 0 to num_layers ({num_layers}), "
                f"got {num_attention_layers}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.num_embeddings = num_embeddings
        self.filters = filters
        self.num_layers = num_layers
        self.kernel_size = kernel_size
        self.first_kernel_size = first_kernel_size
        self.num_attention_layers = num_attention_layers
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.num_classes = num_classes
        self.condition_num_embeddings = condition_num_embeddings
        self.num_condition_blocks = num_condition_blocks
        self.dropout = dropout
        policy = {"dtype": self.dtype_policy}
        self.embedding = keras.layers.Embedding(num_embeddings, filters, name="embedding", **policy)
        self.label_embedding = self.condition_embedding = None
        if num_classes is not None:
            self.label_embedding = keras.layers.Embedding(
                num_classes, filters, name="label_embedding", **policy
            )
        if condition_num_embeddings is not None:
            self.condition_embedding = keras.layers.Embedding(
                condition_num_embeddings, filters, name="condition_embedding", **policy
            )
            self.conditioner = keras.Sequential(
                [
                    keras.layers.Conv2D(filters, 3, padding="same", **policy),
                    ResidualStack(num_condition_blocks, max(filters // 2, 1), **policy),
                ],
                name="conditioner",
            )
        is_conditional = num_classes is not None or condition_num_embeddings is not None
        self.blocks = [
            GatedPixelBlock(
                filters,
                kernel_size if index else first_kernel_size,
                is_first=index == 0,
                dropout=dropout,
                context_dim=filters if is_conditional else None,
                name=f"block_{index}",
                **policy,
            )
            for index in range(num_layers)
        ]
        # By the index of the block that each one follows.
        self.attention = {
            str((index + 1) * num_layers // num_attention_layers - 1): CausalSelfAttention(
                num_heads, key_dim, dropout, name=f"attention_{index}", **policy
            )
            for index in range(num_attention_layers)
        }
        self.hidden = keras.layers.Dense(filters, "relu", name="hidden", **policy)
        self.logits = keras.layers.Dense(num_embeddings, name="logits", dtype="float32")
        self.bits = BitsPerDimension()
        self._loops = {}  # Compiled loops of `sample`.
        self.build((None, None, None))

    def build(self, input_shape):
        if self.built:
            return
        features = (None, None, None, self.filters)
        self.embedding.build()
        if self.label_embedding is not None:
            self.label_embedding.build()
        if self.condition_embedding is not None:
            self.condition_embedding.build()
            self.conditioner.build(features)
        for layer in (*self.blocks, *self.attention.values(), self.hidden, self.logits):
            layer.build(features)

    def call(self, inputs, training=None):
        codes, labels, condition = self._parts(inputs)
        context = self._context(labels, condition, codes.shape[1:])
        embedded = self.embedding(codes)
        vertical = ops.pad(embedded, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
        horizontal = ops.pad(embedded, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
        for index, block in enumerate(self.blocks):
            vertical, horizontal = block(vertical, horizontal, context, training=training)
            if str(index) in self.attention:
                attention = self.attention[str(index)]
                horizontal = horizontal + attention(horizontal, training=training)
        return self._head(horizontal)

    def sample(
        self,
        shape: tuple[int, int],
        batch_size: int = 1,
        labels=None,
        condition=None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        fixed=None,
        fixed_mask=None,
        progress=None,
    ):
        """Grids drawn from the distribution, int32 `(batch_size, rows, columns)`.

        Compiled as one loop, run in chunks of rows. The same seed gives the same grids, on every
        backend but for rounding.

        Args:
            shape: Rows and columns.
            batch_size: Grids.
            labels: Class of each grid, `(batch_size,)`, if the model has classes.
            condition: Coarser grids `(batch_size, rows', columns')`, if the model has them.
            temperature: Divides the logits; 0 takes the most likely code.
            top_k: Draws among so many of the most likely codes; None for all.
            top_p: Draws among the fewest most likely codes whose probabilities add up to it; None
                for all.
            seed: Of the random numbers; None for others each time.
            fixed: Grids, of which the positions in `fixed_mask` are kept (inpainting).
            fixed_mask: Booleans of the shape of the grids, or of one.
            progress: Called with the rows done and all rows after each chunk.

        Raises:
            ValueError: An argument is out of range, or does not fit the model.
        """
        self._check_conditions(labels, condition)
        conditions = {"labels": labels, "condition": condition}
        restrictions = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        return sample(
            self, shape, batch_size, conditions, restrictions, seed, fixed, fixed_mask, progress
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        target = _codes_of(x) if y is None else y
        if sample_weight is not None:
            ones = (1,) * (len(target.shape) - 1)
            sample_weight = ops.reshape(sample_weight, (-1, *ones))
        if self.loss is None:
            cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            return cross_entropy(target, y_pred, sample_weight)
        return super().compute_loss(x, target, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        target = _codes_of(x) if y is None else y
        self.bits.update_state(target, y_pred, sample_weight)
        return super().compute_metrics(x, target, y_pred, sample_weight)

    def _parts(self, inputs):
        """Codes, labels and condition of an input; None for those that the model has not."""
        if not isinstance(inputs, dict):
            inputs = {"codes": inputs}
        known = {"codes", "labels", "condition"}
        if "codes" not in inputs or not known >= inputs.keys():
            raise ValueError(
                f"inputs must be codes, or a dictionary of codes, labels and condition, got "
                f"{sorted(inputs)}"
            )
        codes, labels, condition = (inputs.get(n) for n in ("codes", "labels", "condition"))
        if len(codes.shape) != 3:
            raise ValueError(
                "codes must have the shape (batch, rows, columns), a sequence one column, got "
                f"{tuple(codes.shape)}"
            )
        self._check_conditions(labels, condition)
        return codes, labels, condition

    def _check_conditions(self, labels, condition):
        for name, given, argument, has in (
            ("labels", labels, "num_classes", self.num_classes),
            ("condition", condition, "condition_num_embeddings", self.condition_num_embeddings),
        ):
            if given is None and has is not None:
                raise ValueError(f"{name} must be given to a model with {argument}={has}")
            if given is not None and has is None:
                raise ValueError(f"{name} must not be given to a model without {argument}")

    def _context(self, labels, condition, shape):
        """What all positions, or each one, are conditioned on; None for nothing."""
        parts = []
        if labels is not None:
            embedded = self.label_embedding(ops.convert_to_tensor(labels, "int32"))
            parts.append(embedded[:, None, None])
        if condition is not None:
            x = self.condition_embedding(ops.convert_to_tensor(condition, "int32"))
            for axis, length in enumerate(shape, start=1):
                if length is None:
                    raise ValueError("codes must have known rows and columns with a condition")
                if length % x.shape[axis]:
                    raise ValueError(
                        f"condition must have lengths that divide those of the codes, "
                        f"{tuple(shape)}, got {tuple(x.shape[1:3])}"
                    )
                x = ops.repeat(x, length // x.shape[axis], axis=axis)
            parts.append(self.conditioner(x))
        return sum(parts) if parts else None

    def _head(self, horizontal):
        return self.logits(self.hidden(ops.relu(horizontal)))

    def get_config(self):
        return {
            **super().get_config(),
            "num_embeddings": self.num_embeddings,
            "filters": self.filters,
            "num_layers": self.num_layers,
            "kernel_size": self.kernel_size,
            "first_kernel_size": self.first_kernel_size,
            "num_attention_layers": self.num_attention_layers,
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "num_classes": self.num_classes,
            "condition_num_embeddings": self.condition_num_embeddings,
            "num_condition_blocks": self.num_condition_blocks,
            "dropout": self.dropout,
        }


def _codes_of(inputs):
    return inputs["codes"] if isinstance(inputs, dict) else inputs
