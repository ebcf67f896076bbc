"""What `fold_for_inference` does to features, as graphs of TensorFlow that are not compiled."""

import numpy as np
import tensorflow as tf


def constant(array: np.ndarray) -> np.ndarray:
    """As an array it is a constant of the graph, which TensorFlow prepares once."""
    return array


def depthwise_kernel(kernel: np.ndarray, dilation: int) -> np.ndarray:
    """`(taps, channels)` as `depthwise` takes it."""
    return kernel[:, None, :, None]


def function(separate):
    return separate


def padded(x, before: int, after):
    """Zeros before the frames and after."""
    return tf.pad(x, [(0, 0), (before, after), (0, 0)])


def scaled(x, scale, shift):
    return x * scale + shift


def product(x, kernel, bias=None, slope: float | None = None):
    """Of two matrices, which TensorFlow fuses with what follows at once: bias and leaky ReLU."""
    batch, frames, channels = tf.unstack(tf.shape(x))
    outputs = tf.matmul(tf.reshape(x, (batch * frames, x.shape[-1] or channels)), kernel)
    if bias is not None:
        outputs = tf.nn.bias_add(outputs, bias)
    if slope is not None:
        outputs = tf.nn.leaky_relu(outputs, slope)
    return tf.reshape(outputs, (batch, frames, kernel.shape[1]))


def with_edges(y, value, before, after):
    """`value`, `(batch, 1, channels)`, in place of the first and the last frames."""
    batch, frames, channels = tf.unstack(tf.shape(y))
    edges = tf.concat([tf.range(before), tf.range(frames - after, frames)], 0)
    rows = tf.reshape(tf.range(batch)[:, None] * frames + edges, (-1, 1))
    values = tf.reshape(tf.repeat(value, tf.size(edges), axis=1), (-1, y.shape[-1]))
    flat = tf.reshape(y, (batch * frames, y.shape[-1]))
    return tf.reshape(tf.tensor_scatter_nd_update(flat, rows, values), (batch, frames, channels))


def depthwise(y, kernel, dilation: int, bias, slope: float):
    """Frames in rows of `dilation`, filtered across the rows; plus bias; leaky ReLU."""
    batch, _, channels = tf.unstack(tf.shape(y))
    channels = y.shape[-1] or channels
    rows = tf.reshape(y, (batch, -1, dilation, channels))
    rows = tf.nn.depthwise_conv2d(rows, kernel, strides=(1, 1, 1, 1), padding="VALID")
    return tf.nn.leaky_relu(tf.reshape(rows, (batch, -1, channels)) + bias, slope)


def sums(x):
    """Of the channels of each frame, and of their squares, `(batch, frames)` each.

    Frame by frame, which runs on all cores; the norm of a frame writes no squares to memory.
    """
    return tf.reduce_sum(x, 2), tf.square(tf.math.reduce_euclidean_norm(x, 2))
