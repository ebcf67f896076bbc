"""The functions of `global_norm_forms`, which says what they compute, for PyTorch.

PyTorch's own gradients keep what five operations of a block give, and take several passes over
memory for each. These keep their inputs alone, and compute p again. By turns, training steps of the
small Conv-TasNet of `tests/benchmarks/conv_tasnet_speed.py` took 0.44 s before and 0.28 now, of the
paper's best 4.0 and 2.6 s (2 cores with AVX-512); the latter's with batches of 4 needs 2.3 GB, not
4.9. On an H200 they take the time of the plain ones, and less memory: with batches of 8, 4.7 GB,
not 11.7. All gradients are computed, also those of frozen weights. Forward mode and `torch.func`
refuse these operations. A gradient that is to be differentiated again is that of the plain ones.
"""

import torch
from keras import ops
from torch.nn import functional

from keras_sep.layers.convolutions_torch import convolution, meeting_frames
from keras_sep.layers.global_norm_forms import through_statistics


def normalized_depthwise(inputs, weights, dilation: int, epsilon: float):
    weights = map(ops.convert_to_tensor, weights)
    return _NormalizedDepthwise.apply(dilation, epsilon, inputs, *weights)


def normalized_product(inputs, weights, epsilon: float):
    weights = map(ops.convert_to_tensor, weights)
    return _NormalizedProduct.apply(epsilon, inputs, *weights)


class _NormalizedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(context, dilation, epsilon, inputs, slope, gamma, beta, kernel, bias):
        p = _prelu(inputs, slope)
        mean, scale = _statistics(p, epsilon)
        gain = gamma * scale
        normalized = torch.addcmul(beta - mean * gain, p, gain, out=p)
        context.numbers = dilation, epsilon
        context.save_for_backward(inputs, slope, gamma, beta, kernel, bias, mean, scale)
        return _depthwise(normalized, kernel, bias, dilation)

    @staticmethod
    def backward(context, gradient):
        dilation, epsilon = context.numbers
        *arguments, mean, scale = context.saved_tensors
        if torch.is_grad_enabled():

            def plain(inputs, slope, gamma, beta, kernel, bias):
                normalized = _normalized(_prelu(inputs, slope), gamma, beta, epsilon)
                return _depthwise(normalized, kernel, bias, dilation)

            return None, None, *_differentiable(plain, arguments, gradient)
        inputs, slope, gamma, beta, kernel, _ = arguments
        p, through_prelu = _prelu_again(inputs, slope)
        gain = gamma * scale
        by_normalized = _depthwise(gradient, kernel.flip(0), None, dilation)
        by_tap, alone = _sums_by_tap(p, gradient, len(kernel), dilation)
        of_taps = kernel[:, None, None]
        by_shift = (of_taps * alone).sum(0)
        centered = (of_taps * by_tap).sum(0) - mean * by_shift
        by_kernel = gain * by_tap + (beta - mean * gain) * alone
        constant, factor = through_statistics(
            p.shape[1] * p.shape[2],
            mean,
            scale,
            by_mean=-(gain * by_shift).sum(2, keepdim=True),
            by_scale=(gamma * centered).sum(2, keepdim=True),
        )
        by_p = torch.addcmul(constant, by_normalized, gain, out=by_normalized)
        by_inputs, by_slope = through_prelu(by_p.addcmul_(p, factor))
        by_gamma, by_beta = (scale * centered).sum((0, 1)), by_shift.sum((0, 1))
        by_bias = _sum_over_frames(gradient).sum((0, 1))
        return None, None, by_inputs, by_slope, by_gamma, by_beta, by_kernel.sum((1, 2)), by_bias


class _NormalizedProduct(torch.autograd.Function):
    @staticmethod
    def forward(context, epsilon, inputs, slope, gamma, beta, kernel, bias):
        p = _prelu(inputs, slope)
        mean, scale = _statistics(p, epsilon)
        scaled = gamma[:, None] * kernel
        shift = beta @ kernel + bias - mean * scale * scaled.sum(0)
        context.epsilon = epsilon
        context.save_for_backward(inputs, slope, gamma, beta, kernel, bias, mean, scale)
        outputs = p @ scaled
        return torch.addcmul(shift, outputs, scale, out=outputs)

    @staticmethod
    def backward(context, gradient):
        *arguments, mean, scale = context.saved_tensors
        if torch.is_grad_enabled():

            def plain(inputs, slope, gamma, beta, kernel, bias):
                return (
                    _normalized(_prelu(inputs, slope), gamma, beta, context.epsilon) @ kernel + bias
                )

            return None, *_differentiable(plain, arguments, gradient)
        inputs, slope, gamma, beta, kernel, _ = arguments
        p, through_prelu = _prelu_again(inputs, slope)
        scaled = gamma[:, None] * kernel
        sums = _sum_over_frames(gradient)
        by_bias = sums.sum((0, 1))
        weighted = (scaled.sum(0) * sums).sum(2, keepdim=True)
        by_example = p.transpose(1, 2) @ gradient
        by_scaled = (scale * (by_example - mean * sums)).sum(0)
        constant, factor = through_statistics(
            p.shape[1] * p.shape[2],
            mean,
            scale,
            by_mean=-scale * weighted,
            by_scale=(by_example * scaled).sum((1, 2), keepdim=True) - mean * weighted,
        )
        by_product = gradient @ scaled.t()
        by_p = torch.addcmul(constant, by_product, scale, out=by_product)
        by_inputs, by_slope = through_prelu(by_p.addcmul_(p, factor))
        by_kernel = gamma[:, None] * by_scaled + beta[:, None] * by_bias
        by_gamma = (kernel * by_scaled).sum(1)
        return None, by_inputs, by_slope, by_gamma, kernel @ by_bias, by_kernel, by_bias


def _prelu(inputs, slope):
    return functional.prelu(inputs, slope.reshape(1))


def _prelu_again(inputs, slope):
    """p, and a function of the gradient by it that gives those by inputs and slope.

    PyTorch's own gradient of a PReLU writes a second output, to be summed, in a slow loop.
    """
    if inputs.is_cuda:  # To read the slope would be to wait for the GPU.

        def gradients(by_p):
            by_slope = (inputs.clamp(max=0) * by_p).sum().reshape(slope.shape)
            return torch.where(inputs > 0, by_p, slope * by_p), by_slope

        return _prelu(inputs, slope), gradients
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        p = functional.leaky_relu(leaf, slope.item())

    def gradients(by_p):
        by_slope = torch.dot(inputs.clamp(max=0).reshape(-1), by_p.reshape(-1))
        return *torch.autograd.grad(p, leaf, by_p), by_slope.reshape(slope.shape)

    return p.detach(), gradients


def _statistics(p, epsilon):
    """Mean of each example and reciprocal of its deviation, `(batch, 1, 1)` each."""
    size = p.shape[1] * p.shape[2]
    mean = p.sum((1, 2), keepdim=True) / size
    # The norm of a frame writes no squares to memory.
    squares = torch.linalg.vector_norm(p, dim=2, keepdim=True).square()
    variance = squares.sum(1, keepdim=True) / size - mean.square()
    return mean, torch.rsqrt(variance.clamp(min=0) + epsilon)


def _depthwise(inputs, kernel, bias, dilation):
    around = dilation * (len(kernel) // 2)
    return convolution(inputs, kernel, bias, 1, dilation, around, around)


def _sums_by_tap(p, gradient, taps, dilation):
    """For each tap, over the frames that it sees: sums of p times the gradient, and of that alone.

    Returns: two tensors `(taps, batch, 1, channels)`.
    """
    frames = p.shape[1]
    by_tap, alone, products = [], [], torch.empty_like(p)
    for inside, outside in meeting_frames(frames, frames, taps, dilation, dilation * (taps // 2)):
        product = torch.mul(p[:, inside], gradient[:, outside], out=products[:, outside])
        by_tap.append(_sum_over_frames(product))
        alone.append(_sum_over_frames(gradient[:, outside]))
    return torch.stack(by_tap), torch.stack(alone)


def _sum_over_frames(x):
    """`(batch, 1, channels)`; on a CPU a product with ones, which is faster than a sum."""
    return x.sum(1, keepdim=True) if x.is_cuda else x.new_ones(1, x.shape[1]) @ x


def _normalized(p, gamma, beta, epsilon):
    variance, mean = torch.var_mean(p, (1, 2), correction=0, keepdim=True)
    return (p - mean) * torch.rsqrt(variance + epsilon) * gamma + beta


def _differentiable(plain, arguments, gradient):
    """Gradients by those arguments that need one, which can be differentiated again."""
    # Views: one argument may come from another, whose gradient is only by itself.
    arguments = [x.view_as(x) for x in arguments]
    needed = [x for x in arguments if x.requires_grad]
    found = iter(torch.autograd.grad(plain(*arguments), needed, gradient, create_graph=True))
    return [next(found) if x.requires_grad else None for x in arguments]
