"""Convolutions as PyTorch runs them fastest.

Those of frames on a CPU; on a GPU `global_norm_torch` alone takes these.
"""

import itertools

import torch
from torch.nn import functional

from keras_sep.layers.depthwise_forms import shifted
from keras_sep.layers.padding import pad, zeros


def columns(inputs, kernel, strides: int, dilation: int, padding: str = "valid"):
    """Depthwise: PyTorch's own convolution, on images one pixel wide in channels-last memory.

    The gradient by the inputs is the same convolution of the outputs' gradient, with the kernel
    reversed; the one by the kernel is a sum of products for each tap. PyTorch's own are slower,
    with dilation by far.

    Args:
        inputs: `(batch, frames, channels)`.
        kernel: `(taps, channels)`.
        strides: Frames from one output to the next.
        dilation: Frames from one tap to the next.
        padding: As `keras_sep.layers.padding` names it.

    Returns: `(batch, new_frames, channels)`.
    """
    around = zeros(inputs.shape[1], len(kernel), strides, dilation, padding)
    if not torch.is_grad_enabled():
        return convolution(inputs, kernel, None, strides, dilation, *around)
    if strides == 1:
        return _Columns.apply(inputs, kernel, dilation, *around)
    # PyTorch's gradient is slow of zeros that the convolution puts there, and with dilation.
    padded = pad(inputs, len(kernel), strides, dilation, padding)
    if dilation > 1:
        return shifted(padded, kernel, strides, dilation)
    return convolution(padded, kernel, None, strides, dilation, 0, 0)


def convolution(inputs, kernel, bias, strides: int, dilation: int, before: int, after: int):
    """`columns` with a bias `(channels,)` or None, zeros around the frames, PyTorch's gradients."""
    channels = inputs.shape[2]
    if before != after:  # The convolution puts as many on both sides, without a copy.
        inputs, before = functional.pad(inputs, (0, 0, before, after)), 0
    outputs = functional.conv2d(
        inputs[:, :, None].permute(0, 3, 1, 2),
        kernel.t()[:, None, :, None].contiguous(),
        bias,
        stride=(strides, 1),
        padding=(before, 0),
        dilation=(dilation, 1),
        groups=channels,
    )
    return outputs[..., 0].transpose(1, 2)


class _ConvolutionFunction(torch.autograd.Function):
    """Of inputs, a kernel, and arguments that have no gradients."""

    @staticmethod
    def setup_context(context, arguments, outputs):
        inputs, kernel, *context.arguments = arguments
        context.save_for_backward(inputs, kernel)


class _Columns(_ConvolutionFunction):
    @staticmethod
    def forward(inputs, kernel, dilation, before, after):
        return convolution(inputs, kernel, None, 1, dilation, before, after)

    @staticmethod
    def backward(context, gradient):
        inputs, kernel = context.saved_tensors
        dilation, before, after = context.arguments
        by_inputs = by_kernel = None
        if context.needs_input_grad[0]:
            reach = dilation * (len(kernel) - 1)
            by_inputs = _Columns.apply(
                gradient, kernel.flip(0), dilation, reach - before, reach - after
            )
        if context.needs_input_grad[1]:
            by_taps = [
                (inputs[:, inside] * gradient[:, outside]).sum((0, 1))
                for inside, outside in meeting_frames(
                    inputs.shape[1], gradient.shape[1], len(kernel), dilation, before
                )
            ]
            by_kernel = torch.stack(by_taps)
        return by_inputs, by_kernel, None, None, None


def convolution_2d(inputs, kernel, strides: int, dilation: int, padding: str):
    """PyTorch's own, in channels-last memory, without the copies of the inputs that Keras makes.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(taps, taps, channels / groups, filters)`.
        strides: Pixels from one output to the next.
        dilation: Pixels from one tap to the next.
        padding: As `keras_sep.layers.padding` names it.

    Returns: `(batch, new_height, new_width, filters)`.
    """
    rows, columns = (
        zeros(size, len(kernel), strides, dilation, padding) for size in inputs.shape[1:3]
    )
    around = rows[0], columns[0]
    # PyTorch puts as many on both sides, and on a CPU is slow of zeros around dilated taps.
    slow = inputs.is_cpu and dilation > 1 and around != (0, 0)
    if slow or rows[0] != rows[1] or columns[0] != columns[1]:
        inputs, around = functional.pad(inputs, (0, 0, *columns, *rows)), (0, 0)
    outputs = functional.conv2d(
        inputs.contiguous().permute(0, 3, 1, 2),
        kernel.permute(3, 2, 0, 1).contiguous(),
        stride=strides,
        padding=around,
        dilation=dilation,
        groups=inputs.shape[3] // kernel.shape[2],
    )
    return outputs.permute(0, 2, 3, 1)


def doubling_conv(inputs, kernel):
    """Transposed 4×4 convolution of stride 2 with "same" padding, likewise.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(4, 4, filters, channels)`.

    Returns: `(batch, 2 · height, 2 · width, filters)`.
    """
    outputs = functional.conv_transpose2d(
        inputs.contiguous().permute(0, 3, 1, 2),
        kernel.permute(3, 2, 0, 1).contiguous(),
        stride=2,
        padding=1,
    )
    return outputs.permute(0, 2, 3, 1)


def images(inputs, kernel, strides: int, dilation: int, padding: str = "valid"):
    """Depthwise: PyTorch's own convolution, with gradients of our own for dilated taps on a CPU.

    The gradient by the inputs is the same convolution of the outputs' gradient, with the kernel
    reversed; the one by the kernel is a sum of products for each tap, where these are far apart.
    PyTorch's own are slower.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(taps, taps, channels)`.
        strides: Pixels from one output to the next.
        dilation: Pixels from one tap to the next.
        padding: As `keras_sep.layers.padding` names it.

    Returns: `(batch, new_height, new_width, channels)`.
    """
    # Sums of a few bits would be rounded for each tap.
    is_ours = inputs.is_cpu and inputs.dtype.itemsize >= 4
    if strides > 1 or dilation == 1 or not is_ours:
        return convolution_2d(inputs, kernel[:, :, None], strides, dilation, padding)
    around = [zeros(size, len(kernel), 1, dilation, padding) for size in inputs.shape[1:3]]
    form = _Dilated.apply if torch.is_grad_enabled() else _dilated
    return form(inputs, kernel, dilation, *around)


class _Dilated(_ConvolutionFunction):
    @staticmethod
    def forward(inputs, kernel, dilation, rows, columns):
        return _dilated(inputs, kernel, dilation, rows, columns)

    @staticmethod
    def backward(context, gradient):
        inputs, kernel = context.saved_tensors
        dilation, *around = context.arguments
        by_inputs = by_kernel = None
        if context.needs_input_grad[0]:
            reach = dilation * (len(kernel) - 1)
            reversed_around = [(reach - before, reach - after) for before, after in around]
            by_inputs = _Dilated.apply(gradient, kernel.flip(0, 1), dilation, *reversed_around)
        if context.needs_input_grad[1] and _far_apart(dilation, inputs):
            by_taps = [
                torch.linalg.vecdot(inputs[inside], gradient[outside], dim=1).sum((0, 1))
                for inside, outside in _meeting_pixels(inputs, gradient, kernel, dilation, around)
            ]
            by_kernel = torch.stack(by_taps).reshape(kernel.shape)
        elif context.needs_input_grad[1]:
            (top, bottom), (left, right) = around
            if top != bottom or left != right:
                inputs = functional.pad(inputs, (0, 0, left, right, top, bottom))
                top = left = 0
            channels = kernel.shape[2]
            by_kernel = torch.nn.grad.conv2d_weight(
                inputs.contiguous().permute(0, 3, 1, 2),
                (channels, 1, *kernel.shape[:2]),
                gradient.contiguous().permute(0, 3, 1, 2),
                padding=(top, left),
                dilation=dilation,
                groups=channels,
            )
            by_kernel = by_kernel[:, 0].permute(1, 2, 0)
        return by_inputs, by_kernel, None, None, None


def _far_apart(dilation, images):
    """Whether taps are an eighth of an image apart."""
    return 8 * dilation >= min(images.shape[1:3])


def _dilated(inputs, kernel, dilation, rows, columns):
    """With zeros before and after the rows and the columns.

    By a convolution; where taps are far apart, each adds what it sees.
    """
    batch, height, width, channels = inputs.shape
    reach = dilation * (len(kernel) - 1)
    new_sizes = height + sum(rows) - reach, width + sum(columns) - reach
    if not _far_apart(dilation, inputs):
        padded = functional.pad(inputs, (0, 0, *columns, *rows))
        return convolution_2d(padded, kernel[:, :, None], 1, dilation, "valid")
    outputs = inputs.new_zeros(batch, *new_sizes, channels)
    places = _meeting_pixels(inputs, outputs, kernel, dilation, (rows, columns))
    for (inside, outside), tap in zip(places, kernel.flatten(0, 1), strict=True):
        outputs[outside].addcmul_(inputs[inside], tap)
    return outputs


def _meeting_pixels(inputs, outputs, kernel, dilation, around) -> list:
    """For each tap, the inputs' part that it sees and the outputs' part that sees it."""
    by_axis = [
        meeting_frames(size, new_size, len(kernel), dilation, before)
        for size, new_size, (before, _) in zip(
            inputs.shape[1:3], outputs.shape[1:3], around, strict=True
        )
    ]
    return [
        ((slice(None), rows, columns), (slice(None), new_rows, new_columns))
        for (rows, new_rows), (columns, new_columns) in itertools.product(*by_axis)
    ]


def meeting_frames(frames: int, new_frames: int, taps: int, dilation: int, before: int) -> list:
    """For each tap, slices of the inputs that it sees and of the outputs that see them."""
    slices = []
    for shift in range(-before, dilation * taps - before, dilation):
        # An output sees the input so many frames later.
        start = max(0, -shift)
        end = max(min(new_frames, frames - shift), start)
        slices.append((slice(start + shift, end + shift), slice(start, end)))
    return slices
