"""`fold_for_inference` as graphs of TensorFlow that are not compiled.

Features, products and convolutions, and sums over the channels of a frame, have the model's dtype
of computation; weights, the sums over frames, and what is computed of them, are float32.
"""

import numpy as np
import tensorflow as tf

from keras_sep.export.folded_weights import FoldedBlock, FoldedProduct, mask_products, values
from keras_sep.layers.temporal_conv_net import activate_masks


def folded(model):
    """A function from mixture to sources, see `fold_for_inference`."""
    tcn = model.separator
    bottleneck = FoldedProduct(tcn.norm, tcn.bottleneck, _constant)
    blocks = [_Block(block) for block in tcn.blocks]
    masks = mask_products(tcn)
    (slope,) = values(tcn.prelu.alpha)

    def separate_one(features, samples):
        x = _normalized_product(features, bottleneck, *_statistics(features, bottleneck.epsilon))
        skips = None
        for block in blocks:
            x, skip = block(x)
            if skip is not None:
                skips = skip if skips is None else _sum(skips, skip)
        x = tf.nn.leaky_relu(x if skips is None else skips, slope.item())
        masked = tf.stack([_product(x, kernel, bias) for kernel, bias in masks])
        masked = activate_masks(masked[None], tcn.mask_activation) * features
        return model.decoder(masked, length=samples)[0]

    def separate(mixture):
        samples = tf.shape(mixture)[1]
        return tf.map_fn(
            lambda features: separate_one(features, samples),
            model.encoder(mixture),
            fn_output_signature=tf.TensorSpec((len(masks), None)),
        )

    return separate


class _Block:
    """A `TemporalBlock`: features `(frames, B)` to the next ones, or None, and the skip."""

    def __init__(self, block):
        self.weights = FoldedBlock(block, _constant)

    def __call__(self, inputs):
        weights, reach, dilation = self.weights, self.weights.reach, self.weights.dilation
        frames = tf.shape(inputs)[0]
        # Before the frames and after, and as many more as make whole rows: added where the
        # features are narrow.
        after = reach + (-frames) % dilation
        x = tf.pad(inputs, [(reach, after), (0, 0)])
        y = _product(x, weights.expand_kernel, weights.expand_bias)
        y = tf.nn.leaky_relu(y, weights.slope)
        mean, scale = _statistics(y, weights.epsilon, slice(reach, reach + frames))
        edges = tf.concat([tf.range(reach), tf.range(reach + frames, reach + frames + after)], 0)
        zero = tf.cast(weights.zero(mean, scale), y.dtype)
        edge_values = tf.tile(zero[None], (reach + after, 1))
        # In place, where `tf.tensor_scatter_nd_update` copies all rows: besides the statistics,
        # which these values wait for and which leave these rows out, nothing reads y.
        y = tf.raw_ops.InplaceUpdate(x=y, i=edges, v=edge_values)
        bias = tf.cast(weights.depthwise_bias(mean, scale), y.dtype)
        y = tf.nn.bias_add(self.depthwise(y), bias)
        y = tf.reshape(tf.nn.leaky_relu(y, weights.conv_slope), (-1, y.shape[-1]))[:frames]
        statistics = _statistics(y, weights.product.epsilon / tf.square(scale))
        # A product for each: slices of the outputs of one would be copies.
        parts = slice(weights.residual_dim), slice(weights.residual_dim, None)
        residual, skip = (_normalized_product(y, weights.product, *statistics, p) for p in parts)
        return (
            _sum(inputs, residual) if weights.residual_dim else None,
            skip if weights.has_skip else None,
        )

    def depthwise(self, y):
        """Frames in rows of `dilation`, filtered across the rows: `(1, rows, dilation, H)`."""
        rows = tf.reshape(y, (1, -1, self.weights.dilation, y.shape[-1]))
        kernel = tf.cast(self.weights.depthwise_kernel[:, None, :, None], y.dtype)
        return tf.nn.depthwise_conv2d(rows, kernel, strides=(1, 1, 1, 1), padding="VALID")


def _constant(array: np.ndarray) -> np.ndarray:
    """As an array it is a constant of the graph."""
    return array


def _normalized_product(x, product, mean, scale, outputs=slice(None)):
    """These outputs of `dense(norm(x))`, given the statistics of x."""
    return _product(x, scale * product.kernel[:, outputs], product.shift(mean, scale)[outputs])


def _product(x, kernel, bias):
    """x @ kernel + bias, in the dtype of x."""
    return tf.nn.bias_add(tf.matmul(x, tf.cast(kernel, x.dtype)), tf.cast(bias, x.dtype))


def _sum(x, product):
    """x + product, by the operation that TensorFlow's graph with oneDNN puts into the product."""
    return tf.add_n([x, product])


def _statistics(x, epsilon, frames=slice(None)):
    """Mean of these frames and reciprocal standard deviation, float32.

    From the sums over the channels of each frame, of the features and of their squares, which run
    on all cores; the norm of a frame writes no squares to memory.
    """
    sums = tf.cast(tf.reduce_sum(x, 1)[frames], "float32")
    norms = tf.cast(tf.math.reduce_euclidean_norm(x, 1)[frames], "float32")
    count = tf.cast(tf.size(sums), "float32") * x.shape[-1]
    mean = tf.reduce_sum(sums) / count
    variance = tf.maximum(tf.reduce_sum(tf.square(norms)) / count - tf.square(mean), 0.0)
    return mean, tf.math.rsqrt(variance + epsilon)
