"""`fold_for_inference` as PyTorch's operations, in place where they can, or in compiled loops.

Features, products and convolutions, and sums over the channels of a frame, have the model's dtype
of computation; weights, the sums over frames, and what is computed of them, are float32.
"""

import functools
import inspect
import os
import shutil

import numpy as np
import torch
from keras import ops
from torch.nn import functional

from keras_sep.export.folded_weights import FoldedBlock, FoldedProduct, mask_products, values
from keras_sep.export.replayed_torch import Replayed
from keras_sep.layers.temporal_conv_net import activate_masks

# Bytes of a cache line: features begin at the second, so that products write whole ones; the
# column of ones, which products only read, ends the first.
_LINE = 64


def folded(model, jit_compile):
    """A function from mixture to sources, see `fold_for_inference`."""
    tcn = model.separator
    bottleneck = FoldedProduct(tcn.norm, tcn.bottleneck, ops.convert_to_tensor)
    device = bottleneck.kernel.device
    dtype = getattr(torch, tcn.compute_dtype)
    line = _LINE // dtype.itemsize
    block_class, apply_masks = _Block, _apply_masks
    if jit_compile:
        compiler = _compiler(device)
        block_class, apply_masks = _compiled_block_class(compiler), compiler(_apply_masks)
    blocks = [block_class(block) for block in tcn.blocks]
    most_edges = max(2 * block.weights.reach for block in blocks)
    # Columns: features between the blocks, then skips.
    features_columns = slice(tcn.bottleneck_dim)
    head_columns = features_columns if tcn.skip_dim is None else slice(tcn.bottleneck_dim, None)
    num_columns = tcn.bottleneck_dim + (tcn.skip_dim or 0)
    (slope,) = values(tcn.prelu.alpha)
    masks = [
        [ops.convert_to_tensor(array.copy()).to(dtype) for array in kernel_and_bias]
        for kernel_and_bias in mask_products(tcn)
    ]

    def separate_one(features, samples):
        frames, filters = features.shape
        rows = features.new_zeros(frames, line + -(-num_columns // line) * line)
        rows[:, line - 1] = 1  # by which first products add their bias, if not compiled
        inputs, sums = rows[:, line - 1 :], rows[:, line : line + num_columns]
        mean, scale = _statistics(features, bottleneck.epsilon)
        _add_product(sums[:, features_columns], features, bottleneck.kernel, scale)
        shift = features.new_zeros(num_columns, dtype=torch.float32)
        shift[features_columns] = bottleneck.shift(mean, scale)
        hidden = features.new_empty(frames + most_edges, tcn.hidden_dim)
        outputs = features.new_empty(frames, tcn.hidden_dim) if jit_compile else None
        for block in blocks:
            block(inputs, sums, shift, hidden, outputs)
        x = functional.leaky_relu_(sums[:, head_columns] + shift[head_columns], slope.item())
        masked = features.new_empty(1, len(masks), frames, filters)
        for source, (kernel, bias) in enumerate(masks):
            torch.addmm(bias, x.to(dtype), kernel, out=masked[0, source])
        return model.decoder(apply_masks(masked, features, tcn.mask_activation), length=samples)

    @torch.no_grad()
    def separate(mixture):
        samples = mixture.shape[1]
        return torch.cat([separate_one(x, samples) for x in model.encoder(mixture)])

    return Replayed(separate, device) if jit_compile and device.type == "cuda" else separate


class _Block:
    """A `TemporalBlock`, which adds its outputs to what the blocks before gave.

    Call arguments:
        inputs: `(frames, 1 + B or more)`, ones before the columns of `sums`, in the same memory.
        sums: `(frames, B + Sc)`. Features and skips are `sums + shift`. Written.
        shift: `(B + Sc,)`, what norms added to all frames, without a pass over them. Written.
        hidden: Room for `(frames + 2 · reach, H)` features, or more. Written.
        outputs: Room for `(frames, H)` features where the block is compiled. Written.
    """

    def __init__(self, block):
        self.weights = FoldedBlock(block, ops.convert_to_tensor)
        kernel = self.weights.depthwise_kernel.T[:, None, :, None]
        self.depthwise_kernel = ops.convert_to_tensor(kernel.copy())

    def __call__(self, inputs, sums, shift, hidden, outputs):
        weights, reach = self.weights, self.weights.reach
        frames, dim = len(inputs), len(weights.expand_kernel)
        bias = torch.addmv(weights.expand_bias, weights.expand_kernel.t(), shift[:dim])
        y = hidden[reach : reach + frames]
        zero, bias, scale = self.expand(inputs[:, : 1 + dim], bias, y)
        hidden[:reach] = hidden[reach + frames : reach + frames + reach] = zero
        z, scale, added = self.convolve(hidden[: reach + frames + reach], bias, scale, outputs)
        columns = slice(0 if weights.residual_dim else dim, None)
        _add_product(sums[:, columns], z, weights.product.kernel, scale)
        shift[columns] += added

    def expand(self, inputs, bias, y):
        """Product, bias and PReLU, written to `y`.

        Returns: what stands for zeros beside the frames, bias of the convolution, and scale of the
            norm between.
        """
        weights = self.weights
        kernel = torch.cat([bias[None], weights.expand_kernel])
        torch.mm(inputs, kernel.to(y.dtype), out=y)
        return _between(functional.leaky_relu_(y, weights.slope), weights)

    def convolve(self, hidden, bias, scale, outputs):
        """What the second product takes, its scale, and what is added after it to all frames.

        The frames are an image one pixel wide, channels last. Dilated as it is: as fast here as
        with frames side by side, which takes wider kernels.
        """
        weights, channels = self.weights, hidden.shape[1]
        z = functional.conv2d(
            hidden.reshape(1, -1, 1, channels).permute(0, 3, 1, 2),
            self.depthwise_kernel.to(hidden.dtype),
            bias.to(hidden.dtype),
            dilation=(weights.dilation, 1),
            groups=channels,
        )
        z = z.permute(0, 2, 3, 1).reshape(-1, channels)
        return z, *_after(functional.leaky_relu_(z, weights.conv_slope), scale, weights.product)


def _compiler(device):
    """`torch.compile` for one model.

    Raises:
        ValueError: There is no C++ compiler, and the device is a CPU.
    """
    if device.type == "cpu":
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise ValueError(
                f"jit_compile needs a C++ compiler, and there is no {compiler}: install g++, or "
                "name another by the environment variable CXX"
            )
    # PyTorch compiles a function at most eight times; where it can, each model has its own eight.
    arguments = inspect.signature(torch.compile).parameters
    options = {"isolate_recompiles": True} if "isolate_recompiles" in arguments else {}
    return functools.partial(torch.compile, fullgraph=True, **options)


def _compiled_block_class(compiler):
    """Blocks of one model, whose two compiled functions they share."""
    activated, convolved = compiler(_activated), compiler(_convolved)

    class CompiledBlock(_Block):
        """After the first product a loop in place, and one that writes the outputs.

        The former adds the bias, too, where a column of ones makes the product slower. Numbers that
        differ from block to block are tensors, or each would be compiled for itself.
        """

        def __init__(self, block):
            self.weights = FoldedBlock(block, ops.convert_to_tensor)
            self.taps = ops.convert_to_tensor(self.weights.depthwise_kernel)
            slopes = np.array([self.weights.slope, self.weights.conv_slope], "float32")
            self.slope, self.conv_slope = ops.convert_to_tensor(slopes)

        def expand(self, inputs, bias, y):
            torch.mm(inputs[:, 1:], self.weights.expand_kernel.to(y.dtype), out=y)
            return activated(y, bias, self.slope, self.weights)

        def convolve(self, hidden, bias, scale, outputs):
            starts = (place * self.weights.dilation for place in range(len(self.taps)))
            seen = [hidden[start : start + len(outputs)] for start in starts]
            weights = self.weights
            return outputs, *convolved(
                seen, self.taps, bias, self.conv_slope, scale, weights.product, outputs
            )

    return CompiledBlock


def _activated(y, bias, slope, weights):
    """Bias and PReLU in place; gives what `expand` returns."""
    x = _prelu(y.float() + bias, slope)
    y.copy_(x)
    return _between(x, weights)


def _convolved(seen, taps, bias, slope, scale, product, outputs):
    """Convolution and PReLU, of what each tap sees; gives what `convolve` returns."""
    z = bias
    for x, kernel in zip(seen, taps, strict=True):
        z = z + x.float() * kernel
    z = _prelu(z, slope)
    outputs.copy_(z)
    return _after(z, scale, product)


def _between(y, weights):
    """What `expand` returns, of the features before the norm."""
    mean, scale = _statistics(y, weights.epsilon)
    return weights.zero(mean, scale), weights.depthwise_bias(mean, scale), scale


def _after(z, scale, product):
    """Scale and shift of the second product, given the scale of the norm before."""
    mean, scale = _statistics(z, product.epsilon / scale**2)
    return scale, product.shift(mean, scale)


def _apply_masks(masks, features, activation):
    return activate_masks(masks, activation).mul_(features)


def _prelu(x, slope):
    return torch.where(x > 0, x, slope * x)


def _add_product(sums, x, kernel, scale):
    """Adds `x @ (scale * kernel)`."""
    if _can_be_read(x):
        sums.addmm_(x, kernel.to(x.dtype), alpha=float(scale))
    else:
        sums.addmm_(x, (scale * kernel).to(x.dtype))


def _statistics(x, epsilon):
    """Mean and reciprocal standard deviation, by norms of frames, which write no squares to memory.

    Numbers where they can be, as small operations cost more. Not of features that overflow, and not
    of constant ones, whose variance may be rounded below zero: numbers raise there.
    """
    total = x.sum(1).sum(dtype=torch.float32)
    norms = torch.linalg.vector_norm(x, dim=1).float()
    squares = norms @ norms
    if _can_be_read(x):
        mean = total.item() / x.numel()
        variance = squares.item() / x.numel() - mean**2
        if 0 < variance < float("inf"):
            return mean, (variance + epsilon) ** -0.5
    mean = total / x.numel()
    variance = (squares / x.numel() - mean.square()).clamp(min=0)
    return mean, torch.rsqrt(variance + epsilon)


def _can_be_read(x):
    """Whether what `x` holds is there when it is asked for: on a CPU, and not while recording."""
    recording = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return x.is_cpu and not recording
