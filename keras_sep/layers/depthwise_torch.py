"""Depthwise convolutions of frames as PyTorch runs them fastest on a CPU.

On a GPU `global_norm_torch` alone takes them.
"""

import torch
from torch.nn import functional

from keras_sep.layers.depthwise_forms import shifted
from keras_sep.layers.padding import pad, zeros


def columns(inputs, kernel, strides: int, dilation: int, padding: str = "valid"):
    """PyTorch's own convolution, on images one pixel wide in channels-last memory.

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


def meeting_frames(frames: int, new_frames: int, taps: int, dilation: int, before: int) -> list:
    """For each tap, slices of the inputs that it sees and of the outputs that see them."""
    slices = []
    for shift in range(-before, dilation * taps - before, dilation):
        # An output sees the input so many frames later.
        start = max(0, -shift)
        end = max(min(new_frames, frames - shift), start)
        slices.append((slice(start + shift, end + shift), slice(start, end)))
    return slices
