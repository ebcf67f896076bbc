"""Convolutions as PyTorch runs them fastest.

Those of frames on a CPU; on a GPU `global_norm_torch` alone takes these.
"""

import itertools

import torch
from torch.nn import functional

from keras_sep.layers.depthwise_forms import shifted
from keras_sep.layers.padding import output_size, pad, zeros


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


class _Columns(torch.autograd.Function):
    @staticmethod
    def forward(context, inputs, kernel, dilation, before, after):
        context.save_for_backward(inputs, kernel)
        context.numbers = dilation, before, after
        return convolution(inputs, kernel, None, 1, dilation, before, after)

    @staticmethod
    def backward(context, gradient):
        inputs, kernel = context.saved_tensors
        dilation, before, after = context.numbers
        reach = dilation * (len(kernel) - 1)
        by_inputs = _Columns.apply(
            gradient, kernel.flip(0), dilation, reach - before, reach - after
        )
        by_tap = [
            (inputs[:, inside] * gradient[:, outside]).sum((0, 1))
            for inside, outside in meeting_frames(
                inputs.shape[1], gradient.shape[1], len(kernel), dilation, before
            )
        ]
        return by_inputs, torch.stack(by_tap), None, None, None


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
    """Depthwise: PyTorch's own convolution, whose gradients on a CPU are slow of taps far apart.

    There from an eighth of an image on, each tap adds what it sees to the outputs.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(taps, taps, channels)`.
        strides: Pixels from one output to the next.
        dilation: Pixels from one tap to the next.
        padding: As `keras_sep.layers.padding` names it.

    Returns: `(batch, new_height, new_width, channels)`.
    """
    sizes = inputs.shape[1:3]
    far_apart = dilation > 1 and 8 * dilation >= min(sizes)
    arguments = (len(kernel), strides, dilation, padding)
    is_empty = min(output_size(size, *arguments) for size in sizes) < 1  # which PyTorch refuses
    # Sums of a few bits would be rounded for each tap.
    if not far_apart or is_empty or not inputs.is_cpu or inputs.dtype.itemsize < 4:
        return convolution_2d(inputs, kernel[:, :, None], strides, dilation, padding)
    if torch.is_grad_enabled():
        return _Taps.apply(inputs, kernel, *arguments)
    return _sum_of_taps(inputs, kernel, *arguments)


def _sum_of_taps(inputs, kernel, *arguments):
    batch, *sizes, channels = inputs.shape
    outputs = inputs.new_zeros(batch, *(output_size(size, *arguments) for size in sizes), channels)
    places = _meeting_pixels(inputs.shape, *arguments)
    for (inside, outside), tap in zip(places, kernel.flatten(0, 1), strict=True):
        outputs[outside].addcmul_(inputs[inside], tap)
    return outputs


def _meeting_pixels(shape, taps, strides, dilation, padding) -> list:
    """For each tap, the images' part that it sees and the outputs' part that sees it."""
    arguments = (taps, strides, dilation, padding)
    by_axis = [
        meeting_frames(
            size, output_size(size, *arguments), taps, dilation, zeros(size, *arguments)[0], strides
        )
        for size in shape[1:3]
    ]
    return [
        ((slice(None), rows, columns), (slice(None), new_rows, new_columns))
        for (rows, new_rows), (columns, new_columns) in itertools.product(*by_axis)
    ]


class _Taps(torch.autograd.Function):
    @staticmethod
    def forward(inputs, kernel, *arguments):
        return _sum_of_taps(inputs, kernel, *arguments)

    @staticmethod
    def setup_context(context, arguments, outputs):
        inputs, kernel, *context.arguments = arguments
        context.save_for_backward(inputs, kernel)

    @staticmethod
    def backward(context, gradient):
        inputs, kernel = context.saved_tensors
        by_inputs = by_kernel = None
        places = _meeting_pixels(inputs.shape, *context.arguments)
        if context.needs_input_grad[0]:
            by_inputs = torch.zeros_like(inputs)
            for (inside, outside), tap in zip(places, kernel.flatten(0, 1), strict=True):
                by_inputs[inside].addcmul_(gradient[outside], tap)
        if context.needs_input_grad[1]:
            by_taps = [
                torch.linalg.vecdot(inputs[inside], gradient[outside], dim=1).sum((0, 1))
                for inside, outside in places
            ]
            by_kernel = torch.stack(by_taps).reshape(kernel.shape)
        return by_inputs, by_kernel, None, None, None, None


def meeting_frames(
    frames: int, new_frames: int, taps: int, dilation: int, before: int, strides: int = 1
) -> list:
    """For each tap, slices of the inputs that it sees and of the outputs that see them."""
    slices = []
    for shift in range(-before, dilation * taps - before, dilation):
        # Output t sees input strides · t + shift.
        start = max(0, -(shift // strides))
        end = max(min(new_frames, -((shift - frames) // strides)), start)
        first = strides * start + shift
        slices.append((slice(first, first + strides * (end - start), strides), slice(start, end)))
    return slices
