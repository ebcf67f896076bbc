"""What `fold_for_inference` does to features, as PyTorch's operations, in place where they can.

Without gradients.
"""

import numpy as np
import torch
from keras import ops
from torch.nn import functional


def constant(array: np.ndarray) -> torch.Tensor:
    return ops.convert_to_tensor(array)


def depthwise_kernel(kernel: np.ndarray, dilation: int) -> torch.Tensor:
    """`(taps, channels)` as `depthwise` takes it."""
    return constant(np.tile(kernel, (1, dilation)).T[:, None, None].copy())


function = torch.no_grad()


def padded(x, before: int, after: int):
    """Zeros before the frames and after."""
    return functional.pad(x, (0, 0, before, after))


def scaled(x, scale, shift):
    """`x * scale + shift` in one pass."""
    return torch.addcmul(shift, x, scale)


def product(x, kernel, bias=None, slope: float | None = None):
    """Of two matrices; plus bias; leaky ReLU."""
    batch, frames, channels = x.shape
    flat = x.reshape(batch * frames, channels)
    outputs = flat @ kernel if bias is None else torch.addmm(bias, flat, kernel)
    if slope is not None:
        functional.leaky_relu_(outputs, slope)
    return outputs.reshape(batch, frames, -1)


def with_edges(y, value, before: int, after: int):
    """`value`, `(batch, 1, channels)`, in place of the first and the last frames."""
    y[:, :before] = value
    y[:, y.shape[1] - after :] = value
    return y


def depthwise(y, kernel, dilation: int, bias, slope: float):
    """`dilation` frames as one pixel of a row of pixels, filtered; plus bias; leaky ReLU."""
    batch, _, channels = y.shape
    pixels = y.reshape(batch, 1, -1, dilation * channels).permute(0, 3, 1, 2)
    outputs = functional.conv2d(pixels, kernel, groups=dilation * channels)
    frames = outputs.permute(0, 2, 3, 1).reshape(batch, -1, channels)
    return functional.leaky_relu_(frames.add_(bias), slope)


def sums(x):
    """Of the channels of each frame, and of their squares, `(batch, frames)` each."""
    return x.sum(2), torch.linalg.vector_norm(x, dim=2).square()
