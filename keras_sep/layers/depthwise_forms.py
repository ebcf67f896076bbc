"""Forms of the depthwise convolution, for runtimes that differ in what they do fast.

All compute

    output[b, t, c] = sum over k of kernel[k, c] · inputs[b, strides·t + dilation·k, c]

and likewise over the rows and columns of images. `backend_forms` chooses among them.
"""

from keras import ops

from keras_sep.layers.backend_programs import program
from keras_sep.layers.frame_sums import sum_over_frames
from keras_sep.layers.padding import named_padding, output_size, pad, zeros


def shifted(inputs, kernel, strides: int, dilation: int, bias=0):
    """Bias and shifted multiply-adds, one per tap, that a compiler fuses into one pass.

    With the bias last XLA would keep the sum without it, and add it wherever it is used.
    """
    taps = kernel.shape[0]
    frames = (ops.shape(inputs)[1] - dilation * (taps - 1) - 1) // strides + 1
    span = strides * (frames - 1) + 1
    products = (
        inputs[:, k * dilation : k * dilation + span : strides] * kernel[k] for k in range(taps)
    )
    return sum(products, start=bias)


def fused(inputs, kernel, strides: int, dilation: int):
    """`shifted` with a gradient that a compiler fuses as well.

    The gradient of a shifted slice is zeros around it, and XLA is slow at sums of those. By the
    inputs it is the convolution without strides, with the kernel reversed, of the outputs'
    gradient, `strides` frames apart in zeros.

    The gradient is one of reverse mode: JAX's forward mode, `jax.jvp`, refuses it.
    """
    taps = kernel.shape[0]
    reach = dilation * (taps - 1)

    @ops.custom_gradient
    def convolve(inputs, kernel):
        def gradients(gradient):
            _, frames, channels = ops.shape(gradient)
            span = strides * (frames - 1) + 1
            spread = gradient
            if strides > 1:
                spread = ops.pad(gradient[:, :, None], ((0, 0), (0, 0), (0, strides - 1), (0, 0)))
                spread = ops.reshape(spread, (-1, frames * strides, channels))[:, :span]
            after = ops.shape(inputs)[1] - span
            by_tap = [
                sum_over_frames(inputs[:, start : start + span : strides] * gradient)
                for start in range(0, reach + 1, dilation)
            ]
            by_kernel = ops.sum(ops.concatenate(by_tap, axis=1), axis=0)
            padded = ops.pad(spread, ((0, 0), (reach, after), (0, 0)))
            by_inputs = shifted(padded, kernel[::-1], 1, dilation)
            return by_inputs, ops.cast(by_kernel, kernel.dtype)

        return shifted(inputs, kernel, strides, dilation), gradients

    return convolve(inputs, kernel)


def shifted_2d(inputs, kernel, strides: int, dilation: int, padding: str):
    """Sum of shifted multiply-adds, one per tap, that a compiler fuses into one pass."""
    taps = kernel.shape[0]
    height, width = (
        output_size(n, taps, strides, dilation, padding) for n in ops.shape(inputs)[1:3]
    )
    rows, columns = strides * (height - 1) + 1, strides * (width - 1) + 1
    padded = pad(inputs, taps, strides, dilation, padding)
    return sum(
        padded[:, i : i + rows : strides, j : j + columns : strides]
        * kernel[i // dilation, j // dilation]
        for i in range(0, taps * dilation, dilation)
        for j in range(0, taps * dilation, dilation)
    )


def fused_2d(inputs, kernel, strides: int, dilation: int, padding: str):
    """`shifted_2d` with a gradient that a compiler fuses as well, see `fused`.

    Forward mode is refused here too.
    """
    reach = dilation * (kernel.shape[0] - 1)

    @ops.custom_gradient
    def convolve(inputs, kernel):
        def gradients(gradient):
            padded = pad(inputs, kernel.shape[0], strides, dilation, padding)
            by_kernel = program(_gradient_by_kernel, padded, gradient, kernel, strides, dilation)
            spread = _spread(gradient, strides)
            sizes, padded_sizes, covered = (ops.shape(x)[1:3] for x in (inputs, padded, spread))
            around = [(reach, size - n) for size, n in zip(padded_sizes, covered, strict=True)]
            spread = ops.pad(spread, ((0, 0), *around, (0, 0)))
            by_padded = shifted_2d(spread, kernel[::-1, ::-1], 1, dilation, "valid")
            rows, columns = (
                slice(before, before + size)
                for size in sizes
                for before, _ in [zeros(size, kernel.shape[0], strides, dilation, padding)]
            )
            return by_padded[:, rows, columns], by_kernel

        return shifted_2d(inputs, kernel, strides, dilation, padding), gradients

    return convolve(inputs, kernel)


def _gradient_by_kernel(padded, gradient, kernel, strides, dilation):
    """`(taps, taps, channels)`, in a loop over the taps, before which the arguments are written.

    Of padded inputs `(batch, rows, columns, channels)` and the gradient by the outputs; the kernel
    gives shape and dtype.

    XLA would compute what the gradient comes from again for every tap, and look for the padding's
    zeros at each pixel of each. It takes barriers away before it fuses: with these in place of the
    loop 7×7 taps took 5.9 s, and 0.1 by the loop.
    """
    batch, height, width, channels = ops.shape(gradient)
    size = (batch, strides * (height - 1) + 1, strides * (width - 1) + 1, channels)

    def by_tap(start):
        seen = ops.slice(padded, (0, start[0], start[1], 0), size)[:, ::strides, ::strides]
        return sum_over_frames(ops.reshape(seen * gradient, (1, -1, channels)))

    starts = range(0, dilation * kernel.shape[0], dilation)
    by_taps = ops.map(by_tap, ops.convert_to_tensor([(i, j) for i in starts for j in starts]))
    return ops.cast(ops.reshape(by_taps, kernel.shape), kernel.dtype)


def _spread(images, strides):
    """Images with zeros between the pixels, which are `strides` apart then."""
    if strides == 1:
        return images
    _, height, width, channels = ops.shape(images)
    between = ((0, 0), (0, 0), (0, strides - 1), (0, 0), (0, strides - 1), (0, 0))
    spread = ops.pad(images[:, :, None, :, None], between)
    spread = ops.reshape(spread, (-1, strides * height, strides * width, channels))
    return spread[:, : strides * (height - 1) + 1, : strides * (width - 1) + 1]


def native(inputs, kernel, strides: int, dilation: int, padding: str = "valid"):
    """The backend's own depthwise convolution, of frames or of images.

    "same" and "valid" need no padded copy.
    """
    padding = named_padding(kernel.shape[0], strides, dilation, padding)
    if padding not in ("same", "valid"):
        inputs = pad(inputs, kernel.shape[0], strides, dilation, padding)
        padding = "valid"
    return ops.depthwise_conv(
        inputs, kernel[..., None], strides, padding, "channels_last", dilation
    )
