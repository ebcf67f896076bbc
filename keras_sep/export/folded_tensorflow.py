"""`fold_for_inference` as graphs of TensorFlow that are not compiled."""

import numpy as np
import tensorflow as tf

from keras_sep.export.folded_weights import FoldedBlock, FoldedProduct, mask_products, values


def folded(model):
    """A function from mixture to sources, see `fold_for_inference`."""
    tcn = model.separator
    bottleneck = FoldedProduct(tcn.norm, tcn.bottleneck, _constant)
    blocks = [_Block(block) for block in tcn.blocks]
    masks = mask_products(tcn)
    (slope,) = values(tcn.prelu.alpha)

    def separate(mixture):
        features = model.encoder(mixture)
        frames = tf.shape(features)[1]
        statistics = _statistics(_sums(features), frames, features.shape[-1], bottleneck.epsilon)
        x = _normalized_product(features, bottleneck, *statistics)
        skips = None
        for block in blocks:
            x, skip = block(x, frames)
            if skip is not None:
                skips = skip if skips is None else skips + skip
        x = tf.nn.leaky_relu(x if skips is None else skips, slope.item())
        masked = tf.stack([_product(x, *mask) for mask in masks], axis=1)
        masked = tcn._activate(masked) * features[:, None]
        return model.decoder(masked, length=tf.shape(mixture)[1])

    return separate


class _Block:
    """A `TemporalBlock`: features `(batch, frames, B)` to the next ones, or None, and the skip."""

    def __init__(self, block):
        self.weights = FoldedBlock(block, _constant)

    def __call__(self, inputs, frames):
        weights, reach, dilation = self.weights, self.weights.reach, self.weights.dilation
        # Before the frames and after, and as many more as make whole rows: added where the
        # features are narrow.
        after = reach + (-frames) % dilation
        x = tf.pad(inputs, [(0, 0), (reach, after), (0, 0)])
        y = _product(x, weights.expand_kernel, weights.expand_bias, weights.slope)
        hidden_dim = y.shape[-1]
        inner = [sums[:, reach : reach + frames] for sums in _sums(y)]
        mean, scale = _statistics(inner, frames, hidden_dim, weights.epsilon)
        y = _with_edges(y, weights.zero(mean, scale), reach, after)
        y = self.depthwise(y) + weights.depthwise_bias(mean, scale)
        y = tf.nn.leaky_relu(y, weights.conv_slope)
        sums = [sums[:, :frames] for sums in _sums(y)]
        epsilon = weights.product.epsilon / tf.square(scale)
        statistics = _statistics(sums, frames, hidden_dim, epsilon)
        outputs = _normalized_product(y, weights.product, *statistics)
        residual_dim = weights.residual_dim
        x = inputs + outputs[:, :frames, :residual_dim] if residual_dim else None
        return x, outputs[:, :frames, residual_dim:] if weights.has_skip else None

    def depthwise(self, y):
        """Frames in rows of `dilation`, filtered across the rows."""
        batch, channels = tf.shape(y)[0], y.shape[-1]
        rows = tf.reshape(y, (batch, -1, self.weights.dilation, channels))
        kernel = self.weights.depthwise_kernel[:, None, :, None]
        rows = tf.nn.depthwise_conv2d(rows, kernel, strides=(1, 1, 1, 1), padding="VALID")
        return tf.reshape(rows, (batch, -1, channels))


def _constant(array: np.ndarray) -> np.ndarray:
    """As an array it is a constant of the graph, which TensorFlow prepares once."""
    return array


def _product(x, kernel, bias=None, slope: float | None = None):
    """Of two matrices, which TensorFlow fuses with what follows at once: bias and leaky ReLU."""
    batch, frames, channels = tf.unstack(tf.shape(x))
    outputs = tf.matmul(tf.reshape(x, (batch * frames, x.shape[-1] or channels)), kernel)
    if bias is not None:
        outputs = tf.nn.bias_add(outputs, bias)
    if slope is not None:
        outputs = tf.nn.leaky_relu(outputs, slope)
    return tf.reshape(outputs, (batch, frames, kernel.shape[1]))


def _normalized_product(x, product, mean, scale):
    """`dense(norm(x))`, given the statistics of x."""
    return _product(x, product.kernel) * scale + product.shift(mean, scale)


def _with_edges(y, value, before, after):
    """`value`, `(batch, 1, channels)`, in place of the first and the last frames."""
    batch, frames, channels = tf.unstack(tf.shape(y))
    edges = tf.concat([tf.range(before), tf.range(frames - after, frames)], 0)
    rows = tf.reshape(tf.range(batch)[:, None] * frames + edges, (-1, 1))
    new = tf.reshape(tf.repeat(value, tf.size(edges), axis=1), (-1, y.shape[-1]))
    flat = tf.reshape(y, (batch * frames, y.shape[-1]))
    return tf.reshape(tf.tensor_scatter_nd_update(flat, rows, new), (batch, frames, channels))


def _sums(x):
    """Of the channels of each frame, and of their squares, `(batch, frames)` each.

    Frame by frame, which runs on all cores; the norm of a frame writes no squares to memory.
    """
    return tf.reduce_sum(x, 2), tf.square(tf.math.reduce_euclidean_norm(x, 2))


def _statistics(sums, frames, channels, epsilon):
    """Mean of each example and reciprocal standard deviation, `(batch, 1, 1)`.

    From the sums over the channels of each of its frames, of the features and of their squares.
    """
    count = tf.cast(frames * channels, "float32")
    mean, mean_square = (tf.reduce_sum(x, 1)[:, None, None] / count for x in sums)
    variance = tf.maximum(mean_square - tf.square(mean), 0.0)
    return mean, tf.math.rsqrt(variance + epsilon)
