"""Forms of the depthwise convolution, for runtimes that differ in what they do fast.

All compute

    output[b, t, c] = sum over k of kernel[k, c] · inputs[b, strides·t + dilation·k, c]

and likewise over the rows and columns of images. `backend_forms` chooses among them.
"""

from keras import ops

from keras_sep.layers.frame_sums import sum_over_frames
from keras_sep.layers.padding import named_padding, output_size, pad


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

    In the gradient by the kernel no pixel meets the padding's zeros: a compiler would look for
    them at each pixel of each tap. With strides, or with more zeros on one side, it is
    `shifted_2d`. Forward mode is refused here too.
    """
    reach = dilation * (kernel.shape[0] - 1)
    before = 0 if padding == "valid" else reach // 2
    if strides > 1 or (padding != "valid" and reach % 2):
        return shifted_2d(inputs, kernel, strides, dilation, padding)

    @ops.custom_gradient
    def convolve(inputs, kernel):
        def gradients(gradient):
            around = (reach - before, reach - before)
            padded = ops.pad(gradient, ((0, 0), around, around, (0, 0)))
            by_inputs = shifted_2d(padded, kernel[::-1, ::-1], 1, dilation, "valid")
            shifts = range(-before, reach - before + 1, dilation)
            by_tap = [by_shift(gradient, i, j) for i in shifts for j in shifts]
            return by_inputs, ops.reshape(ops.stack(by_tap), kernel.shape)

        def by_shift(gradient, i, j):
            """Sum of the gradient times the inputs `i` rows and `j` columns further."""
            height, width = ops.shape(gradient)[1:3]
            if padding == "valid":
                parts = inputs[:, i : i + height, j : j + width], gradient
            else:
                (rows, new_rows), (columns, new_columns) = _meeting(i), _meeting(j)
                parts = inputs[:, rows, columns], gradient[:, new_rows, new_columns]
            return ops.sum(parts[0] * parts[1], (0, 1, 2))

        return shifted_2d(inputs, kernel, 1, dilation, padding), gradients

    return convolve(inputs, kernel)


def _meeting(shift: int) -> tuple[slice, slice]:
    """Slices of two axes of one length, of which the first is read `shift` positions further."""
    if shift >= 0:
        return slice(shift, None), slice(None, -shift or None)
    return slice(None, shift), slice(-shift, None)


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
