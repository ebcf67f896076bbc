"""Conv-TasNet as a TensorFlow graph of few passes over memory, for inference."""

from collections.abc import Callable

from keras_sep.models import ConvTasNet


def fold_for_inference(model: ConvTasNet) -> Callable:
    """A function for TensorFlow that gives what the model gives, with the weights as constants.

    For a model with global normalization; it is what `export_saved_model` writes. A graph that is
    not compiled writes every operation's output to memory, so that the passes over the hidden
    features count. Here they are, in each block, the product with its bias; the PReLU; a sum and a
    sum of squares; the depthwise convolution; its bias; its PReLU; the two sums again; and the
    second product.

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
        model: A built `ConvTasNet` in float32 with `normalization="global"`, on the TensorFlow
            backend.

    Returns: a function from mixture `(batch, samples)` to sources `(batch, num_sources, samples)`,
        tensors, to be called within a `tf.function`.

    Raises:
        ValueError: `model` is of another kind.
    """
    if not can_fold(model):
        raise ValueError(
            'model must be a ConvTasNet in float32 with normalization="global", got '
            f"{type(model).__name__} with dtype {getattr(model, 'compute_dtype', None)} and "
            f"normalization {getattr(model, 'normalization', None)!r}"
        )
    tcn = model.separator
    input_product = _NormalizedProduct(tcn.norm, tcn.bottleneck)
    blocks = [_Block(block) for block in tcn.blocks]
    mask_kernel, mask_bias, slope = _constants(tcn.masks.kernel, tcn.masks.bias, tcn.prelu.alpha)

    def separate(mixture):
        import tensorflow as tf

        features = model.encoder(mixture)
        frames = tf.shape(features)[1]
        x = input_product(features, *_statistics(features, 0, frames, tcn.norm.epsilon))
        skips = None
        for block in blocks:
            x, skip = block(x, frames)
            if skip is not None:
                skips = skip if skips is None else skips + skip
        x = tf.nn.leaky_relu(x if skips is None else skips, slope.item())
        # One product a source: the masks come out with the sources apart.
        masks = [
            _product(x, kernel, bias)
            for kernel, bias in zip(
                mask_kernel.reshape(len(mask_kernel), model.num_sources, -1).swapaxes(0, 1),
                mask_bias.reshape(model.num_sources, -1),
                strict=True,
            )
        ]
        masked = tcn._activate(tf.stack(masks, axis=1)) * features[:, None]
        return model.decoder(masked, length=tf.shape(mixture)[1])

    return separate


def can_fold(model) -> bool:
    """Whether `fold_for_inference` takes the model."""
    return (
        isinstance(model, ConvTasNet)
        and model.normalization == "global"
        and model.compute_dtype == "float32"
    )


class _Block:
    """A `TemporalBlock`: features `(batch, frames, B)` to the next ones, or None, and the skip."""

    def __init__(self, block):
        conv = block.separable_conv
        self.dilation = block.dilation_rate
        self.taps = block.conv_kernel_size
        self.residual_dim = block._residual_dim
        self.has_skip = block.skip_dim is not None
        self.epsilon = block.norm.epsilon
        self.expand = _constants(block.expand.kernel, block.expand.bias)
        self.slope, self.conv_slope = (
            alpha.item() for alpha in _constants(block.prelu.alpha, conv.prelu.alpha)
        )
        gamma, self.beta, kernel, self.bias = _constants(
            block.norm.gamma, block.norm.beta, conv.depthwise.kernel, conv.depthwise.bias
        )
        # m - β / (γ s) takes a γ that is not 0; so small a one changes nothing else.
        self.gamma = gamma + (abs(gamma) < 1e-12) * gamma.dtype.type(1e-12)
        self.kernel = kernel[..., 0] * self.gamma
        self.kernel_beta = kernel[..., 0].sum(0) * self.beta
        self.product = _NormalizedProduct(conv.norm, conv.pointwise)

    def __call__(self, inputs, frames):
        import tensorflow as tf

        reach = self.dilation * (self.taps - 1) // 2
        # Before the frames and after, and as many more as make whole rows.
        after = reach + (-frames) % self.dilation
        x = tf.pad(inputs, [(0, 0), (reach, after), (0, 0)])
        y = _product(x, *self.expand, slope=self.slope)
        mean, scale = _statistics(y, reach, frames, self.epsilon)
        y = _with_edges(y, mean - self.beta / (self.gamma * scale), reach, after)
        y = self._depthwise(y)
        bias = (self.kernel_beta + self.bias) / scale - mean * self.kernel.sum(0)
        y = tf.nn.leaky_relu(y + bias, self.conv_slope)
        epsilon = self.product.epsilon / tf.square(scale)
        outputs = self.product(y, *_statistics(y, 0, frames, epsilon))
        x = inputs + outputs[:, :frames, : self.residual_dim] if self.residual_dim else None
        return x, outputs[:, :frames, self.residual_dim :] if self.has_skip else None

    def _depthwise(self, y):
        """Frames in rows of `dilation`, filtered across the rows."""
        import tensorflow as tf

        batch, _, channels = tf.unstack(tf.shape(y))
        channels = y.shape[-1] or channels
        rows = tf.reshape(y, (batch, -1, self.dilation, channels))
        rows = tf.nn.depthwise_conv2d(
            rows, self.kernel[:, None, :, None], strides=(1, 1, 1, 1), padding="VALID"
        )
        return tf.reshape(rows, (batch, -1, channels))


class _NormalizedProduct:
    """`dense(norm(x))`, given the statistics of x."""

    def __init__(self, norm, dense):
        gamma, beta, kernel, bias = _constants(norm.gamma, norm.beta, dense.kernel, dense.bias)
        self.epsilon = norm.epsilon
        self.kernel = gamma[:, None] * kernel
        self.bias = beta @ kernel + bias

    def __call__(self, x, mean, scale):
        shift = self.bias - mean * scale * self.kernel.sum(0)
        return _product(x, self.kernel) * scale + shift


def _constants(*variables):
    """Their values, arrays."""
    import keras

    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _product(x, kernel, bias=None, slope=None):
    """Of two matrices, which TensorFlow fuses with what follows at once: bias and leaky ReLU."""
    import tensorflow as tf

    batch, frames, channels = tf.unstack(tf.shape(x))
    outputs = tf.matmul(tf.reshape(x, (batch * frames, x.shape[-1] or channels)), kernel)
    if bias is not None:
        outputs = tf.nn.bias_add(outputs, bias)
    if slope is not None:
        outputs = tf.nn.leaky_relu(outputs, slope)
    return tf.reshape(outputs, (batch, frames, kernel.shape[1]))


def _with_edges(y, value, before, after):
    """`value`, `(batch, 1, channels)`, in place of the first and the last frames."""
    import tensorflow as tf

    batch, frames, channels = tf.unstack(tf.shape(y))
    edges = tf.concat([tf.range(before), tf.range(frames - after, frames)], 0)
    rows = tf.reshape(tf.range(batch)[:, None] * frames + edges, (-1, 1))
    values = tf.reshape(tf.repeat(value, tf.size(edges), axis=1), (-1, y.shape[-1]))
    flat = tf.reshape(y, (batch * frames, y.shape[-1]))
    return tf.reshape(tf.tensor_scatter_nd_update(flat, rows, values), (batch, frames, channels))


def _statistics(x, start, frames, epsilon):
    """Mean of each example over `frames` from `start`, and reciprocal deviation, `(batch, 1, 1)`.

    Frame by frame first, which runs on all cores; the norm of a frame writes no squares to memory.
    """
    import tensorflow as tf

    sums = tf.reduce_sum(x, 2)
    squares = tf.square(tf.math.reduce_euclidean_norm(x, 2))
    count = tf.cast(frames * x.shape[-1], "float32")
    mean, mean_square = (
        tf.reduce_sum(y[:, start : start + frames], 1)[:, None, None] / count
        for y in (sums, squares)
    )
    variance = tf.maximum(mean_square - tf.square(mean), 0.0)
    return mean, tf.math.rsqrt(variance + epsilon)
