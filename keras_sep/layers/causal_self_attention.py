"""Self-attention of a grid's positions to those before them."""

import keras
from keras import ops

from keras_sep.layers.arguments import check_at_least_one


@keras.saving.register_keras_serializable(package="keras_sep")
class CausalSelfAttention(keras.layers.Layer):
    """Attention of each position of a grid to itself and to those before it in raster order.

    Queries and keys also see where they are: row and column, from -½ to ½, are two more channels.

    Args:
        num_heads: Heads.
        key_dim: Channels of a head's queries, keys and values.
        dropout: Fraction of the attended values set to 0 in training.

    Input: `(batch, rows, columns, channels)`. Output: the same.

    `step` is one position; it keeps the keys and values of all positions. Raises ValueError for
    arguments out of range.

    Source: Chen et al. 2018, "PixelSNAIL: An Improved Autoregressive Generative Model" (arXiv
    1712.09763), section 2.
    """

    def __init__(self, num_heads: int = 8, key_dim: int = 16, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        check_at_least_one(num_heads=num_heads, key_dim=key_dim)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.dropout = dropout

    def build(self, input_shape):
        channels, width = input_shape[-1], self.num_heads * self.key_dim
        policy = {"dtype": self.dtype_policy}
        self.query = keras.layers.Dense(width, name="query", **policy)
        self.key = keras.layers.Dense(width, name="key", **policy)
        self.value = keras.layers.Dense(width, name="value", **policy)
        self.out = keras.layers.Dense(channels, name="out", **policy)
        self.drop = keras.layers.Dropout(self.dropout, name="dropout", **policy)
        self.query.build((None, None, channels + 2))
        self.key.build((None, None, channels + 2))
        self.value.build((None, None, channels))
        self.out.build((None, None, width))

    def call(self, inputs, training=None):
        _, rows, columns, channels = ops.shape(inputs)
        length = rows * columns
        positions = ops.arange(length)
        x = ops.reshape(inputs, (-1, length, channels))
        placed = self._placed(x, positions, (rows, columns))
        causal = positions[:, None] >= positions
        y = self._attend(self.query(placed), self.key(placed), self.value(x), causal)
        return ops.reshape(self.out(self.drop(y, training=training)), ops.shape(inputs))

    def initial_state(self, shape: tuple[int, int], batch_size: int):
        """Keys and values, `(batch, rows · columns, num_heads · key_dim)`."""
        size = (batch_size, shape[0] * shape[1], self.num_heads * self.key_dim)
        return [ops.zeros(size, self.compute_dtype), ops.zeros(size, self.compute_dtype)]

    def step(self, inputs, position, shape: tuple[int, int], state):
        """One position of a grid of `shape`: `(batch, channels)` in and out, and the new state."""
        x = inputs[:, None]
        placed = self._placed(x, ops.reshape(position, (1,)), shape)
        positions = ops.arange(shape[0] * shape[1])
        here = ops.equal(positions, position)[:, None]
        keys, values = (
            ops.where(here, new, past)
            for past, new in zip(state, (self.key(placed), self.value(x)), strict=True)
        )
        causal = position >= positions[None]
        y = self._attend(self.query(placed), keys, values, causal)
        return self.out(y)[:, 0], [keys, values]

    def _placed(self, x, positions, shape):
        """`x`, `(batch, length, channels)`, with the row and column of each position."""
        place = ops.stack([positions // shape[1], positions % shape[1]], axis=-1)
        size = ops.cast(ops.stack([*shape]), "float32")
        place = ops.cast(ops.cast(place, "float32") / size - 0.5, self.compute_dtype)
        place = ops.broadcast_to(place[None], (ops.shape(x)[0], *ops.shape(place)))
        return ops.concatenate([x, place], axis=-1)

    def _attend(self, query, key, value, mask):
        query, key, value = map(self._heads, (query, key, value))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        scores = ops.cast(scores, "float32") / self.key_dim**0.5
        weights = ops.softmax(ops.where(mask, scores, -1e9))
        y = ops.transpose(ops.matmul(ops.cast(weights, value.dtype), value), (0, 2, 1, 3))
        return ops.reshape(y, (-1, ops.shape(y)[1], self.num_heads * self.key_dim))

    def _heads(self, x):
        """`(batch, num_heads, length, key_dim)`."""
        x = ops.reshape(x, (-1, ops.shape(x)[1], self.num_heads, self.key_dim))
        return ops.transpose(x, (0, 2, 1, 3))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "dropout": self.dropout,
        }
