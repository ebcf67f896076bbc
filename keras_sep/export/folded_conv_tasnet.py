"""Conv-TasNet in few passes over memory, for inference where nothing is compiled."""

from collections.abc import Callable

import keras
from keras import ops

from keras_sep.models import ConvTasNet


def fold_for_inference(model: ConvTasNet) -> Callable:
    """A function that gives what the model gives, with the weights that it has now.

    For a model with global normalization, on TensorFlow and PyTorch; on TensorFlow it is what
    `export_saved_model` writes. Without a compiler every operation's output is written to memory,
    so that the passes over the hidden features count. Here they are, in each block, the product
    with its bias; the PReLU; a sum and a sum of squares; the depthwise convolution; its bias; its
    PReLU; the two sums again; and the second product.

    - The slopes are constants, so the PReLU is a leaky ReLU: one operation, in place, or where
      TensorFlow uses oneDNN none beside the product.
    - No norm is applied to hidden features. With mean m, reciprocal deviation s, γ, β and the
      depthwise kernel k, of which K is the sum over the taps,

          k * (γ s (y - m) + β) + bias = s (kγ * y + (Kβ + bias) / s - m Kγ)

      and the PReLU and the next norm have nothing to do with a factor s > 0, but for ε, which
      becomes ε / s². That norm is applied to the outputs of the second product, as in
      `GlobalLayerNormalization.then_dense`.
    - A zero beside the normalized features is m - β / (γ s) beside y; the room for it comes from
      frames added before the first product, where the features are narrow.
    - d frames side by side are one row of an image, so that a convolution of dilation d is one
      without.

    Args:
        model: A built `ConvTasNet` in float32 with `normalization="global"`.

    Returns: a function from mixture `(batch, samples)` to sources `(batch, num_sources, samples)`,
        tensors. With TensorFlow it is to be called within a `tf.function`; with PyTorch it gives
        no gradients.

    Raises:
        ValueError: `model` is of another kind, or the backend compiles: JAX.
    """
    if not can_fold(model):
        raise ValueError(
            'model must be a ConvTasNet in float32 with normalization="global", on TensorFlow or '
            f"PyTorch, got {type(model).__name__} with dtype "
            f"{getattr(model, 'compute_dtype', None)} and normalization "
            f"{getattr(model, 'normalization', None)!r} on {keras.backend.backend()}"
        )
    operations = _operations()
    tcn = model.separator
    input_product = _NormalizedProduct(operations, tcn.norm, tcn.bottleneck)
    blocks = [_Block(operations, block) for block in tcn.blocks]
    mask_kernel, mask_bias, slope = _arrays(tcn.masks.kernel, tcn.masks.bias, tcn.prelu.alpha)
    # One product a source: the masks come out with the sources apart.
    masks = [
        (operations.constant(kernel), operations.constant(bias))
        for kernel, bias in zip(
            mask_kernel.reshape(len(mask_kernel), model.num_sources, -1).swapaxes(0, 1),
            mask_bias.reshape(model.num_sources, -1),
            strict=True,
        )
    ]

    def separate(mixture):
        features = model.encoder(mixture)
        frames = ops.shape(features)[1]
        sums = operations.sums(features)
        x = input_product(
            features, *_statistics(sums, frames, features.shape[-1], tcn.norm.epsilon)
        )
        skips = None
        for block in blocks:
            x, skip = block(x, frames)
            if skip is not None:
                skips = skip if skips is None else skips + skip
        x = ops.leaky_relu(x if skips is None else skips, slope.item())
        masked = ops.stack([operations.product(x, *mask) for mask in masks], axis=1)
        masked = tcn._activate(masked) * features[:, None]
        return model.decoder(masked, length=ops.shape(mixture)[1])

    return operations.function(separate)


def can_fold(model) -> bool:
    """Whether `fold_for_inference` takes the model."""
    return (
        keras.backend.backend() in ("tensorflow", "torch")
        and isinstance(model, ConvTasNet)
        and model.normalization == "global"
        and model.compute_dtype == "float32"
    )


def _operations():
    """The module of the running backend's operations."""
    if keras.backend.backend() == "torch":
        from keras_sep.export import folded_torch

        return folded_torch
    from keras_sep.export import folded_tensorflow

    return folded_tensorflow


class _Block:
    """A `TemporalBlock`: features `(batch, frames, B)` to the next ones, or None, and the skip."""

    def __init__(self, operations, block):
        conv = block.separable_conv
        self.operations = operations
        self.dilation = block.dilation_rate
        self.reach = block.dilation_rate * (block.conv_kernel_size - 1) // 2
        self.hidden_dim = block.hidden_dim
        self.residual_dim = block._residual_dim
        self.has_skip = block.skip_dim is not None
        self.epsilon = block.norm.epsilon
        self.expand = [
            operations.constant(x) for x in _arrays(block.expand.kernel, block.expand.bias)
        ]
        self.slope, self.conv_slope = (
            alpha.item() for alpha in _arrays(block.prelu.alpha, conv.prelu.alpha)
        )
        gamma, beta, kernel, bias = _arrays(
            block.norm.gamma, block.norm.beta, conv.depthwise.kernel, conv.depthwise.bias
        )
        # m - β / (γ s) takes a γ that is not 0; so small a one changes nothing else.
        gamma = gamma + (abs(gamma) < 1e-12) * gamma.dtype.type(1e-12)
        kernel = kernel[..., 0]
        self.zero = operations.constant(beta / gamma)
        self.kernel = operations.depthwise_kernel(kernel * gamma, self.dilation)
        self.kernel_sum = operations.constant((kernel * gamma).sum(0))
        self.bias = operations.constant(kernel.sum(0) * beta + bias)
        self.product = _NormalizedProduct(operations, conv.norm, conv.pointwise)

    def __call__(self, inputs, frames):
        operations, reach = self.operations, self.reach
        # Before the frames and after, and as many more as make whole rows.
        after = reach + (-frames) % self.dilation
        x = operations.padded(inputs, reach, after)
        y = operations.product(x, *self.expand, slope=self.slope)
        inner = [sums[:, reach : reach + frames] for sums in operations.sums(y)]
        mean, scale = _statistics(inner, frames, self.hidden_dim, self.epsilon)
        y = operations.with_edges(y, mean - self.zero / scale, reach, after)
        bias = self.bias / scale - mean * self.kernel_sum
        y = operations.depthwise(y, self.kernel, self.dilation, bias, self.conv_slope)
        sums = [sums[:, :frames] for sums in operations.sums(y)]
        epsilon = self.product.epsilon / ops.square(scale)
        outputs = self.product(y, *_statistics(sums, frames, self.hidden_dim, epsilon))
        x = inputs + outputs[:, :frames, : self.residual_dim] if self.residual_dim else None
        return x, outputs[:, :frames, self.residual_dim :] if self.has_skip else None


class _NormalizedProduct:
    """`dense(norm(x))`, given the statistics of x."""

    def __init__(self, operations, norm, dense):
        gamma, beta, kernel, bias = _arrays(norm.gamma, norm.beta, dense.kernel, dense.bias)
        self.operations = operations
        self.epsilon = norm.epsilon
        self.kernel = operations.constant(gamma[:, None] * kernel)
        self.kernel_sum = operations.constant((gamma[:, None] * kernel).sum(0))
        self.bias = operations.constant(beta @ kernel + bias)

    def __call__(self, x, mean, scale):
        shift = self.bias - mean * scale * self.kernel_sum
        return self.operations.scaled(self.operations.product(x, self.kernel), scale, shift)


def _arrays(*variables):
    """Their values."""
    return [ops.convert_to_numpy(variable) for variable in variables]


def _statistics(sums, frames, channels, epsilon):
    """Mean of each example and reciprocal deviation, `(batch, 1, 1)`.

    From the sums over the channels of each of its frames, of the features and of their squares.
    """
    count = ops.cast(frames * channels, "float32")
    mean, mean_square = (ops.sum(x, 1)[:, None, None] / count for x in sums)
    variance = ops.maximum(mean_square - ops.square(mean), 0.0)
    return mean, ops.rsqrt(variance + epsilon)
