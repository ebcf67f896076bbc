"""Weights of Conv-TasNet in the form in which `fold_for_inference` applies them."""

import numpy as np
from keras import ops


class FoldedProduct:
    """Weights of `dense(norm(x))` as `x @ (scale · kernel) + shift(mean, scale)`.

    With the mean of x, and as scale the reciprocal of its standard deviation.

    Args:
        norm: A `GlobalLayerNormalization`.
        dense: A `PointwiseDense`.
        constant: Makes a constant of the backend of a NumPy array.
    """

    def __init__(self, norm, dense, constant):
        gamma, beta, kernel, bias = values(norm.gamma, norm.beta, dense.kernel, dense.bias)
        self.epsilon = norm.epsilon
        self.kernel = constant(gamma[:, None] * kernel)
        self._kernel_sum = constant((gamma[:, None] * kernel).sum(0))
        self._bias = constant(beta @ kernel + bias)

    def shift(self, mean, scale):
        return self._bias - mean * scale * self._kernel_sum


class FoldedBlock:
    """Weights of a `TemporalBlock`; the letters are those of `fold_for_inference`.

    Args:
        block: The block.
        constant: Makes a constant of the backend of a NumPy array.

    Attributes:
        dilation: Frames from tap to tap.
        reach: Frames that the outer taps see beside an output, on either side.
        residual_dim: Outputs of `product` that go to the features, the first ones; 0 for none.
        has_skip: Whether the others go to the skips.
        epsilon: Of the first norm.
        expand_kernel, expand_bias: Of the first product.
        slope, conv_slope: Of the PReLUs, numbers.
        depthwise_kernel: kγ, `(taps, hidden_dim)`, a NumPy array.
        product: The `FoldedProduct` after the depthwise convolution.
    """

    def __init__(self, block, constant):
        conv = block.separable_conv
        self.dilation = block.dilation_rate
        self.reach = block.dilation_rate * (block.conv_kernel_size - 1) // 2
        self.residual_dim = block._residual_dim
        self.has_skip = block.skip_dim is not None
        self.epsilon = block.norm.epsilon
        self.expand_kernel, self.expand_bias = map(
            constant, values(block.expand.kernel, block.expand.bias)
        )
        self.slope, self.conv_slope = (
            alpha.item() for alpha in values(block.prelu.alpha, conv.prelu.alpha)
        )
        gamma, beta, kernel, bias = values(
            block.norm.gamma, block.norm.beta, conv.depthwise.kernel, conv.depthwise.bias
        )
        # m - β / (γ s) takes a γ that is not 0; so small a one changes nothing else.
        gamma = gamma + (abs(gamma) < 1e-12) * gamma.dtype.type(1e-12)
        kernel = kernel[..., 0]
        self.depthwise_kernel = kernel * gamma
        self._zero = constant(beta / gamma)
        self._kernel_sum = constant((kernel * gamma).sum(0))
        self._bias = constant(kernel.sum(0) * beta + bias)
        self.product = FoldedProduct(conv.norm, conv.pointwise, constant)

    def zero(self, mean, scale):
        """What stands for zeros beside the normalized features: m - β / (γ s)."""
        return mean - self._zero / scale

    def depthwise_bias(self, mean, scale):
        """(Kβ + bias) / s - m Kγ"""
        return self._bias / scale - mean * self._kernel_sum


def mask_products(tcn) -> list[tuple]:
    """Kernel and bias of each source's masks, NumPy arrays: so the sources come out apart."""
    kernel, bias = values(tcn.masks.kernel, tcn.masks.bias)
    kernels, biases = np.split(kernel, tcn.num_sources, axis=1), np.split(bias, tcn.num_sources)
    return list(zip(kernels, biases, strict=True))


def values(*variables):
    """What the variables hold, as NumPy arrays."""
    return [ops.convert_to_numpy(variable) for variable in variables]
