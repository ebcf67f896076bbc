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
        rows[:, line - 1] = 1  # by which the blocks' first products add their bias
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
        kernel = torch.cat([bias[None], weights.expand_kernel])
        y = hidden[reach : reach + frames]
        torch.mm(inputs[:, : 1 + dim], kernel.to(y.dtype), out=y)
        z, scale, added = self.between_products(hidden[: reach + frames + reach], outputs)
        columns = slice(0 if weights.residual_dim else dim, None)
        _add_product(sums[:, columns], z, weights.product.kernel, scale)
        shift[columns] += added

    def between_products(self, hidden, outputs):
        """What the second product takes, its scale, and what is added after it to all frames.

        Args:
            hidden: `(reach + frames + reach, H)`, frames as the first product gives them.
            outputs: As the block gets it.
        """
        weights, reach = self.weights, self.weights.reach
        y = hidden[reach : len(hidden) - reach]
        functional.leaky_relu_(y, weights.slope)
        mean, scale = _statistics(y, weights.epsilon)
        hidden[:reach] = hidden[reach + len(y) :] = weights.zero(mean, scale)
        z = self.depthwise(hidden, weights.depthwise_bias(mean, scale))
        functional.leaky_relu_(z, weights.conv_slope)
        return z, *_after(z, scale, weights.product)

    def depthwise(self, hidden, bias):
        """The frames are an image one pixel wide, channels last.

        Dilated as it is: as fast here as with frames side by side, which takes wider kernels.
        """
        channels = hidden.shape[1]
        outputs = functional.conv2d(
            hidden.reshape(1, -1, 1, channels).permute(0, 3, 1, 2),
            self.depthwise_kernel.to(hidden.dtype),
            bias.to(hidden.dtype),
            dilation=(self.weights.dilation, 1),
            groups=channels,
        )
        return outputs.permute(0, 2, 3, 1).reshape(-1, channels)


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
    before_convolution, convolution = compiler(_before_convolution), compiler(_convolution)

    class CompiledBlock(_Block):
        """Between the products a loop that reads the features, and one that writes the outputs.

        Numbers that differ from block to block are tensors, or each would be compiled for itself.
        """

        def __init__(self, block):
            self.weights = FoldedBlock(block, ops.convert_to_tensor)
            self.taps = ops.convert_to_tensor(self.weights.depthwise_kernel)
            slopes = np.array([self.weights.slope, self.weights.conv_slope], "float32")
            self.slopes = ops.convert_to_tensor(slopes)
            self.dilation = ops.convert_to_tensor(np.array(self.weights.dilation))

        def between_products(self, hidden, outputs):
            weights, reach = self.weights, self.weights.reach
            y = hidden[reach : len(hidden) - reach]
            statistics = before_convolution(y, weights, self.slopes)
            after = convolution(
                y, outputs, *statistics, weights, self.taps, self.dilation, self.slopes
            )
            return outputs, *after

    return CompiledBlock


def _before_convolution(y, weights, slopes):
    """What stands for zeros beside the frames, bias of the convolution, and its norm's scale."""
    mean, scale = _statistics(_prelu(y.float(), slopes[0]), weights.epsilon)
    return weights.zero(mean, scale), weights.depthwise_bias(mean, scale), scale


def _convolution(y, outputs, zero, bias, scale, weights, taps, dilation, slopes):
    """PReLU, depthwise convolution, PReLU and statistics, from y to outputs."""
    frames = len(y)
    z = bias
    for place, kernel in enumerate(taps, -(len(taps) // 2)):
        source = torch.arange(frames, device=y.device) + place * dilation
        inside = (source >= 0) & (source < frames)
        features = _prelu(y[source.clamp(0, frames - 1)].float(), slopes[0])
        z = z + torch.where(inside[:, None], features, zero) * kernel
    z = _prelu(z, slopes[1])
    outputs.copy_(z)
    return _after(z, scale, weights.product)


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
