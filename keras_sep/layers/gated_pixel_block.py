"""The block that the PixelCNN repeats."""

import keras
from keras import ops


class GatedPixelBlock(keras.layers.Layer):
    """One layer of a gated PixelCNN: two stacks of convolutions, gates, a residual connection.

    The vertical stack convolves the rows from above down to its own, over `kernel_size` columns;
    the horizontal one the columns of its row from the left up to its own, and takes in the vertical
    one through a 1×1 convolution. The convolutions have only the taps that the paper's masks leave,
    and zeros are padded above and to the left: there is nothing to mask.

    The first block has its own row and column masked too ("mask A"). It gets both stacks' inputs
    moved down by a row and right by a column, so that its last tap is the row above, the column to
    the left, and it has no residual connection.

    Args:
        filters: Channels of the two stacks (p).
        kernel_size: Odd; rows and columns of the masked kernel (n).
        is_first: Whether it is the first block.
        dropout: Fraction of the gated values set to 0 in training.
        context_dim: Channels of the context, None where there is none.

    Inputs: `vertical` and `horizontal`, `(batch, rows, columns, channels)`; `context`,
    `(batch, rows or 1, columns or 1, channels)` to condition on, or None. Output: the two stacks,
    with `filters` channels.

    A row that is drawn from left to right starts with `start_row`; `step` is then one of its
    columns.

    Source: van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders" (arXiv
    1606.05328), figure 2 and equations 2 to 5.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        is_first: bool = False,
        dropout: float = 0.0,
        context_dim: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.is_first = is_first
        self.context_dim = context_dim
        # Rows from above, and columns from the left, with the last one.
        self.taps = kernel_size // 2 + (not is_first)
        policy = {"dtype": self.dtype_policy}
        self.vertical = keras.layers.Conv2D(
            2 * filters, (self.taps, kernel_size), name="vertical", **policy
        )
        self.horizontal = keras.layers.Conv2D(
            2 * filters, (1, self.taps), name="horizontal", **policy
        )
        self.link = keras.layers.Dense(2 * filters, name="link", **policy)
        self.narrow = keras.layers.Dense(filters, name="narrow", **policy)
        self.context = None
        if context_dim is not None:
            self.context = keras.layers.Dense(4 * filters, use_bias=False, name="context", **policy)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)

    def build(self, vertical_shape, horizontal_shape=None, context_shape=None):
        lead = (None, None, None)
        self.vertical.build(vertical_shape)
        self.horizontal.build(vertical_shape)
        self.link.build((*lead, 2 * self.filters))
        self.narrow.build((*lead, self.filters))
        if self.context is not None:
            self.context.build((*lead, self.context_dim))

    def call(self, vertical, horizontal, context=None, training=None):
        above, beside = self.taps - 1, self.kernel_size // 2
        v = self.vertical(ops.pad(vertical, ((0, 0), (above, 0), (beside, beside), (0, 0))))
        h = self.horizontal(ops.pad(horizontal, ((0, 0), (0, 0), (above, 0), (0, 0))))
        v, link = self._join(v, context)
        return gate(v), self._leave(gate(h + link), horizontal, training)

    def initial_state(self, columns: int, batch_size: int, channels: int):
        """Three tensors: rows above, what the row's vertical stack gives, columns to the left."""
        past, dtype = self.taps - 1, self.compute_dtype
        return [
            ops.zeros((batch_size, past, columns, channels), dtype),
            ops.zeros((batch_size, columns, 2 * self.filters), dtype),
            ops.zeros((batch_size, past, channels), dtype),
        ]

    def start_row(self, vertical, past, context=None):
        """The vertical stack of one row.

        Args:
            vertical: `(batch, 1, columns, channels)`, the row.
            past: `(batch, taps - 1, columns, channels)`, those above.
            context: `(batch, 1, columns or 1, channels)` or None.

        Returns: the output's row, the new past, and the link to the horizontal stack,
        `(batch, columns, 2 · filters)`.
        """
        beside = self.kernel_size // 2
        window = ops.concatenate([past, vertical], axis=1)
        v = self.vertical(ops.pad(window, ((0, 0), (0, 0), (beside, beside), (0, 0))))
        v, link = self._join(v, context)
        return gate(v), window[:, 1:], link[:, 0]

    def step(self, horizontal, past, link):
        """The horizontal stack of one column.

        Args:
            horizontal: `(batch, channels)`.
            past: `(batch, taps - 1, channels)`, the columns to the left.
            link: `(batch, 2 · filters)`, of this column.

        Returns: the output `(batch, filters)` and the new past.
        """
        window = ops.concatenate([past, horizontal[:, None]], axis=1)
        # A convolution with one output is a product.
        columns = ops.reshape(window, (-1, self.taps * window.shape[-1]))
        kernel = ops.reshape(self.horizontal.kernel, (columns.shape[-1], 2 * self.filters))
        h = ops.matmul(columns, ops.cast(kernel, self.compute_dtype))
        h = h + ops.cast(self.horizontal.bias, self.compute_dtype)
        return self._leave(gate(h + link), horizontal), window[:, 1:]

    def _join(self, v, context):
        """The vertical stack before its gate, and its share in the horizontal one."""
        link = self.link(v)
        if self.context is None:
            return v, link
        to_v, to_h = ops.split(self.context(context), 2, axis=-1)
        return v + to_v, link + to_h

    def _leave(self, gated, horizontal, training=None):
        out = self.narrow(self.dropout(gated, training=training))
        return out if self.is_first else out + horizontal


def gate(x):
    """tanh(one half of the channels) · sigmoid(the other)."""
    one, other = ops.split(x, 2, axis=-1)
    return ops.tanh(one) * ops.sigmoid(other)
