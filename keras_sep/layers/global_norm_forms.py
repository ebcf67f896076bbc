"""PReLU and global normalization with the convolution after them, as XLA runs them on a CPU.

What XLA derives as gradients of a `TemporalBlock` reads its features eleven times for sums over
frames, and computes all that leads to a summand again for each. With these forms it is eight times,
of features in memory. By turns, training steps of the small Conv-TasNet of
`tests/benchmarks/conv_tasnet_speed.py` and of the paper's best took 0.23 and 3.4 s before, now 0.17
and 2.2 (TensorFlow, memory kept, 2 cores with AVX-512).

From the forward pass a block keeps what its first product and its depthwise convolution give, and p
of the latter, which the second product reads: its gradient has p anew, and XLA finds that it is the
same. So p is not used in other gradients: XLA would keep it, and recompute the convolution from it.

Each is a program of its own, which blocks share, see `program`. The first `train_on_batch` of the
small Conv-TasNet took 28 to 40 s before, with sums over frames of more operations too, and 16 to 24
since, of the paper's best 58 to 63 and 37 to 38 (TensorFlow, 2 cores with AVX-512).

In both, p is `prelu(inputs)` and s the reciprocal of the deviation of p from its mean m, over all
frames and channels of an example; normalized is γ s (p - m) + β. Their gradients are of reverse
mode, which `jax.jvp` refuses, and on TensorFlow of functions that XLA compiles.
"""

from keras import ops

from keras_sep.layers.backend_forms import product
from keras_sep.layers.backend_programs import barrier, program
from keras_sep.layers.depthwise_forms import shifted
from keras_sep.layers.frame_sums import channel_products, sum_over_frames


def normalized_depthwise(inputs, weights, dilation: int, epsilon: float):
    """PReLU, normalization and a depthwise convolution.

    The gradient by the kernel needs, for each tap, the sum of p times the outputs' gradient and the
    sum of that gradient. Weighted by the kernel they are also those that s, γ and β need.

    Args:
        inputs: float32 `(batch, frames, channels)`.
        weights: float32 slope `(1, 1)`; γ and β, `(channels,)`; kernel `(taps, channels)`, of odd
            taps, and bias `(channels,)`.
        dilation: Frames from one tap to the next; there are zeros around the normalized frames.
        epsilon: Added to the variance.

    Returns: `(batch, frames, channels)`.
    """

    @ops.custom_gradient
    def convolve(*arguments):
        outputs, mean, scale = program(_convolve, *arguments, epsilon, dilation)

        def gradients(gradient):
            return program(_through_convolution, gradient, mean, scale, *arguments, dilation)

        return outputs, gradients

    return convolve(inputs, *map(ops.convert_to_tensor, weights))


def _convolve(inputs, slope, gamma, beta, kernel, bias, epsilon, dilation):
    p = _prelu(inputs, slope)
    mean, scale = _statistics(p, epsilon)
    gain = gamma * scale
    normalized = ops.pad(p * gain + beta - mean * gain, _around(kernel, dilation))
    return shifted(normalized, kernel, 1, dilation, bias), mean, scale


def _through_convolution(gradient, mean, scale, inputs, slope, gamma, beta, kernel, _, dilation):
    taps, frames = kernel.shape[0], ops.shape(inputs)[1]
    reach = dilation * (taps // 2)
    gain = gamma * scale
    shift = beta - mean * gain
    # Without a barrier XLA slices first, and computes the gradient for each slice.
    padded = barrier(ops.pad(gradient, _around(kernel, dilation)))
    # What each tap's frames went to, and zeros for those that went nowhere.
    seen = [padded[:, k * dilation : k * dilation + frames] for k in range(taps)][::-1]
    by_tap = [
        sum_over_frames(inputs, g, function=lambda x, g: x * _prelu_gradient(x, slope, g))
        for g in seen
    ]
    every = sum_over_frames(padded)
    alone = [every - _missed(padded, k * dilation, reach) for k in range(taps)]
    by_gain = sum(kernel[k] * by_tap[k] for k in range(taps))
    by_shift = sum(kernel[k] * alone[k] for k in range(taps))
    by_kernel = [ops.sum(gain * by_tap[k] + shift * alone[k], 0) for k in range(taps)]
    centered = by_gain - mean * by_shift
    constant, factor = through_statistics(
        _size(inputs),
        mean,
        scale,
        by_mean=-ops.sum(gain * by_shift, -1, keepdims=True),
        by_scale=ops.sum(gamma * centered, -1, keepdims=True),
    )

    def by_p(inputs, *seen):
        by_normalized = sum(kernel[k] * seen[k] for k in range(taps))
        return gain * by_normalized + constant + _prelu_gradient(inputs, slope, factor) * inputs

    return (
        _prelu_gradient(inputs, slope, by_p(inputs, *seen)),
        _slope_gradient(slope, by_p, inputs, *seen),
        ops.sum(scale * centered, (0, 1)),
        ops.sum(by_shift, (0, 1)),
        ops.concatenate(by_kernel),
        ops.sum(every, (0, 1)),
    )


def normalized_product(inputs, weights, epsilon: float):
    """PReLU, normalization and a matrix product.

    With K = γ · kernel it is (p K) s - m s Σ K + β kernel + bias, as in
    `GlobalLayerNormalization.then_dense`. The gradient by K, taken for each example, has those by
    s, γ and β in it.

    Args:
        inputs: float32 `(batch, frames, channels)`.
        weights: float32 slope `(1, 1)`; γ and β, `(channels,)`; kernel `(channels, filters)` and
            bias `(filters,)`.
        epsilon: Added to the variance.

    Returns: `(batch, frames, filters)`.
    """

    @ops.custom_gradient
    def multiply(*arguments):
        outputs, mean, scale = program(_multiply, *arguments, epsilon)

        def gradients(gradient):
            return program(_through_product, gradient, mean, scale, *arguments)

        return outputs, gradients

    return multiply(inputs, *map(ops.convert_to_tensor, weights))


def _multiply(inputs, slope, gamma, beta, kernel, bias, epsilon):
    p = _prelu(inputs, slope)
    mean, scale = _statistics(p, epsilon)
    scaled = gamma[:, None] * kernel
    shift = ops.matmul(beta, kernel) + bias - mean * scale * ops.sum(scaled, axis=0)
    return product(p, scaled) * scale + shift, mean, scale


def _through_product(gradient, mean, scale, inputs, slope, gamma, beta, kernel, _):
    scaled = gamma[:, None] * kernel
    sums = sum_over_frames(gradient)
    by_bias = ops.sum(sums, (0, 1))
    weighted = ops.sum(ops.sum(scaled, axis=0) * sums, -1, keepdims=True)
    by_example = channel_products(_prelu(inputs, slope), gradient)
    by_scaled = ops.sum(scale * (by_example - mean * sums), 0)
    constant, factor = through_statistics(
        _size(inputs),
        mean,
        scale,
        by_mean=-scale * weighted,
        by_scale=ops.sum(by_example * scaled, (1, 2), keepdims=True) - mean * weighted,
    )

    def by_p(inputs, by_product):
        return scale * by_product + constant + _prelu_gradient(inputs, slope, factor) * inputs

    by_product = product(gradient, ops.transpose(scaled))
    return (
        _prelu_gradient(inputs, slope, by_p(inputs, by_product)),
        _slope_gradient(slope, by_p, inputs, by_product),
        ops.sum(kernel * by_scaled, 1),
        ops.sum(kernel * by_bias, 1),
        gamma[:, None] * by_scaled + beta[:, None] * by_bias,
        by_bias,
    )


def _prelu(inputs, slope):
    return ops.where(inputs < 0, slope * inputs, inputs)


def _prelu_gradient(inputs, slope, gradient):
    return ops.where(inputs < 0, slope * gradient, gradient)


def _slope_gradient(slope, by_p, inputs, *others):
    """By the slope of p, with the gradient by p as a function of inputs and others."""

    def by_slope(inputs, *others):
        return ops.minimum(inputs, 0) * by_p(inputs, *others)

    return ops.reshape(ops.sum(sum_over_frames(inputs, *others, function=by_slope)), slope.shape)


def _statistics(inputs, epsilon):
    """Mean of each example and reciprocal of its deviation, `(batch, 1, 1)` each."""
    size = _size(inputs)
    mean, mean_square = (
        ops.sum(sum_over_frames(x), 2, keepdims=True) / size for x in (inputs, ops.square(inputs))
    )
    variance = ops.maximum(mean_square - ops.square(mean), 0.0)
    return mean, ops.rsqrt(variance + epsilon)


def through_statistics(size, mean, scale, by_mean, by_scale):
    """Constant and factor of the gradient constant + factor · p, which p has by mean and scale."""
    by_variance = -0.5 * scale**3 * by_scale
    return (by_mean - 2 * mean * by_variance) / size, 2 * by_variance / size


def _size(inputs):
    return ops.cast(ops.shape(inputs)[1] * ops.shape(inputs)[2], "float32")


def _around(kernel, dilation):
    """Zeros before and after the frames."""
    reach = dilation * (kernel.shape[0] // 2)
    return ((0, 0), (reach, reach), (0, 0))


def _missed(padded, start, reach):
    """Sum of the frames of a padded gradient that the tap `start` frames in has no inputs for."""
    frames = ops.shape(padded)[1] - 2 * reach
    if start < reach:
        missed = padded[:, reach : 2 * reach - start]
    else:
        missed = padded[:, frames + 2 * reach - start : frames + reach]
    return ops.sum(missed, 1, keepdims=True)
