"""Sums over frames, and operations that have such as gradients, as XLA vectorizes them on a CPU.

XLA sums frames by windows of 32, a channel at a time. Of a product of 2 times 3,999 frames of 512
channels (2 cores, AVX2, ms): its own sum 7.7 to 8.6, `sum_over_frames` 2.0 to 2.5.
"""

import keras
from keras import ops

from keras_sep.layers.backend_programs import barrier, on_cpu

_PARTS = 8


def sum_over_frames(*inputs, function=lambda x: x):
    """Sum over frames, in float32 at least: that of eighths of the frames, which are added first.

    Then they are behind a barrier, or XLA would make one sum of both. JAX leaves sums to a library,
    YNNPACK: the gradients of three taps took 97 ms. Additions of eighths and a product with ones
    instead, 5 ms. The ones are a row for each example, or XLA would make it a product of one row,
    with a transposed copy of the rest: a training step of the paper's best took 3.1 s so and takes
    2.5 (2 times 4 s, 2 cores with AVX-512).

    Args:
        inputs: `(batch, frames, channels)`, one or more.
        function: Of the inputs, frame by frame; its values are summed. Applied to slices, so that
            the inputs are read from memory. XLA computes a sum of expressions from all that they
            come from, which is better where that is little.

    Returns: `(batch, 1, channels)`. For gradients: its own is not fused.
    """
    if not on_cpu():  # Where it was not measured.
        return ops.sum(_exact(function(*inputs)), 1, keepdims=True)
    size = ops.shape(inputs[0])[1] // _PARTS
    whole = [x[:, : size * _PARTS] for x in inputs]
    rest = [x[:, size * _PARTS :] for x in inputs]
    if keras.backend.backend() == "jax":
        parts = zip(*(ops.split(x, _PARTS, axis=1) for x in whole), strict=True)
        parts = sum(_exact(function(*part)) for part in parts)
        total = ops.matmul(barrier(ops.ones((parts.shape[0], 1, size), parts.dtype)), parts)
    else:
        values = _exact(function(*whole))
        batch, _, channels = ops.shape(values)
        parts = ops.sum(ops.reshape(values, (batch, _PARTS, size, channels)), 1)
        total = ops.sum(barrier(parts), 1, keepdims=True)
    return total + ops.sum(_exact(function(*rest)), 1, keepdims=True)


def _exact(x):
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def channel_products(inputs, others):
    """Sums over frames of all products of a channel of the inputs and one of the others.

    XLA's products with a transposed left argument are fastest where that is the smaller one. Of 2
    times 4,001 frames of 512 and 256 channels (2 cores, AVX-512, ms): as it is 15 to 16, this way
    12 to 14. The barrier keeps XLA from undoing it.

    Args:
        inputs: `(batch, frames, channels)`.
        others: `(batch, frames, other_channels)`.

    Returns: `(batch, channels, other_channels)`.
    """
    if inputs.shape[2] > others.shape[2]:
        return ops.transpose(barrier(channel_products(others, inputs)), (0, 2, 1))
    return ops.matmul(ops.transpose(inputs, (0, 2, 1)), others)


def biased(inputs, bias):
    """`(batch, frames, channels)` plus `(channels,)`.

    The gradient by the bias is a product with ones: it reads the other gradient where that has been
    written for the product before, and a sum would compute it again. It adds one by one, which of
    4 times 64,000 frames is 1e-5 off.
    """

    @ops.custom_gradient
    def add(inputs, bias):
        def gradients(gradient):
            rows = ops.reshape(ops.cast(gradient, "float32"), (-1, gradient.shape[-1]))
            by_bias = ops.matmul(ops.ones((1, ops.shape(rows)[0])), rows)
            return gradient, ops.cast(by_bias[0], bias.dtype)

        return inputs + bias, gradients

    return add(inputs, bias)


def prelu(inputs, slope):
    """max(0, x) + slope · min(0, x) of `(batch, frames, channels)`, for a slope of one value."""

    @ops.custom_gradient
    def apply(inputs, slope):
        def gradients(gradient):
            by_slope = ops.sum(sum_over_frames(ops.minimum(inputs, 0) * gradient))
            by_inputs = ops.where(inputs < 0, slope * gradient, gradient)
            return by_inputs, ops.cast(ops.reshape(by_slope, slope.shape), slope.dtype)

        return inputs + (slope - 1) * ops.minimum(inputs, 0), gradients

    return apply(inputs, slope)


def affine(inputs, scale, shift):
    """inputs · scale + shift, float32.

    Args:
        inputs: `(batch, frames, channels)`.
        scale: `(batch, 1, channels)`.
        shift: `(batch, 1, channels)`.
    """

    @ops.custom_gradient
    def apply(inputs, scale, shift):
        def gradients(gradient):
            by_scale = sum_over_frames(gradient * inputs)
            return gradient * scale, by_scale, sum_over_frames(gradient)

        return inputs * scale + shift, gradients

    return apply(inputs, scale, shift)


def moments(inputs):
    """Mean and mean square of each example, float32.

    Args:
        inputs: float32 `(batch, frames, channels)`.

    Returns: `(batch, 1, 2)`.
    """

    @ops.custom_gradient
    def means(inputs):
        def gradients(gradient):
            size = ops.cast(ops.shape(inputs)[1] * ops.shape(inputs)[2], "float32")
            by_mean, by_square = ops.split(gradient, 2, axis=-1)
            return (by_mean + 2 * by_square * inputs) / size

        # Frames first, channels after, in sums that vectorize.
        of_channels = [ops.mean(x, 1, keepdims=True) for x in (inputs, ops.square(inputs))]
        return ops.stack([ops.mean(x, 2) for x in of_channels], axis=2), gradients

    return means(inputs)
