"""Convolutions of images by other operations, for compilers whose own are slow.

4×4 convolutions of stride 2 are 2×2 convolutions of stride 1 once each 2×2 pixels are one pixel of
four times the channels. Each form equals the backend's own convolution with "same" padding.
"""

from keras import ops

BORDER = ((0, 0), (1, 1), (1, 1), (0, 0))


def pointwise(inputs, kernel):
    """1×1 convolution as one product of all pixels, faster than a convolution on every backend.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(channels, filters)`.
    """
    _, height, width, channels = ops.shape(inputs)
    outputs = ops.matmul(ops.reshape(inputs, (-1, channels)), kernel)
    return ops.reshape(outputs, (-1, height, width, kernel.shape[1]))


def product(inputs, kernel):
    """Convolution of stride 1 without padding, as one product of all patches.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(taps, taps, channels, filters)`.
    """
    taps, _, channels, filters = kernel.shape
    height, width = (size - taps + 1 for size in ops.shape(inputs)[1:3])
    patches = [inputs[:, i : i + height, j : j + width] for i in range(taps) for j in range(taps)]
    kernel = ops.reshape(kernel, (taps * taps * channels, filters))
    return pointwise(ops.concatenate(patches, axis=-1), kernel)


def native(inputs, kernel):
    """The backend's own, as `product`."""
    return ops.conv(inputs, kernel, 1, "valid", "channels_last")


def halving(inputs, kernel):
    """4×4 convolution of stride 2.

    Args:
        inputs: `(batch, height, width, channels)`, height and width even.
        kernel: `(4, 4, channels, filters)`.
    """
    channels, filters = kernel.shape[2:]
    kernel = ops.reshape(kernel, (2, 2, 2, 2, channels, filters))
    kernel = ops.reshape(ops.transpose(kernel, (0, 2, 1, 3, 4, 5)), (2, 2, 4 * channels, filters))
    return native(_space_to_depth(ops.pad(inputs, BORDER)), kernel)


def doubling(inputs, kernel, convolve=native):
    """Transposed 4×4 convolution of stride 2.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(4, 4, filters, channels)`.
        convolve: `native` or `product`, for the 2×2 convolution.
    """
    filters, channels = kernel.shape[2:]
    # Along an axis the output at 2i - 1 is w2·x[i-1] + w0·x[i], at 2i it is w3·x[i-1] + w1·x[i].
    kernel = ops.reshape(ops.flip(kernel, (0, 1)), (2, 2, 2, 2, filters, channels))
    kernel = ops.transpose(ops.flip(kernel, (1, 3)), (0, 2, 5, 1, 3, 4))
    kernel = ops.reshape(kernel, (2, 2, channels, 4 * filters))
    return _depth_to_space(convolve(ops.pad(inputs, BORDER), kernel))[:, 1:-1, 1:-1]


def _space_to_depth(inputs):
    _, height, width, channels = ops.shape(inputs)
    pixels = ops.reshape(inputs, (-1, height // 2, 2, width // 2, 2, channels))
    pixels = ops.transpose(pixels, (0, 1, 3, 2, 4, 5))
    return ops.reshape(pixels, (-1, height // 2, width // 2, 4 * channels))


def _depth_to_space(inputs):
    _, height, width, channels = ops.shape(inputs)
    pixels = ops.reshape(inputs, (-1, height, width, 2, 2, channels // 4))
    pixels = ops.transpose(pixels, (0, 1, 3, 2, 4, 5))
    return ops.reshape(pixels, (-1, 2 * height, 2 * width, channels // 4))
