"""Conv-TasNet as the paper's equations in NumPy, float64, with the weights of the layers."""

import keras
import numpy as np
from keras import ops


def randomize(layer, seed=0):
    """Gives every weight of a built layer another value; variances stay positive."""
    rng = np.random.default_rng(seed)
    layer.set_weights(
        [
            np.abs(weight) + rng.uniform(0.1, 0.3, weight.shape)
            if "variance" in variable.path
            else weight + rng.normal(0, 0.3, weight.shape)
            for variable, weight in zip(layer.weights, layer.get_weights(), strict=True)
        ]
    )
    return layer


def value(weight):
    return ops.convert_to_numpy(weight).astype("float64")


def dense(layer, x):
    return x @ value(layer.kernel) + value(layer.bias)


def prelu(layer, x):
    return np.where(x > 0, x, value(layer.alpha).item() * x)


def normalize(layer, x):
    gamma, beta = value(layer.gamma), value(layer.beta)
    if isinstance(layer, keras.layers.BatchNormalization):
        mean, variance = value(layer.moving_mean), value(layer.moving_variance)
    elif type(layer).__name__ == "GlobalLayerNormalization":
        mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    elif isinstance(layer, keras.layers.LayerNormalization):
        mean, variance = x.mean(2, keepdims=True), x.var(2, keepdims=True)
    else:
        heard = [x[:, : k + 1] for k in range(x.shape[1])]
        mean = np.stack([h.mean((1, 2)) for h in heard], 1)[..., None]
        variance = np.stack([h.var((1, 2)) for h in heard], 1)[..., None]
    return (x - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta


def depthwise(layer, x, dilation, causal):
    kernel = value(layer.kernel)[..., 0]
    reach = dilation * (len(kernel) - 1)
    before = reach if causal else reach // 2
    padded = np.pad(x, ((0, 0), (before, reach - before), (0, 0)))
    taps = [padded[:, k * dilation :][:, : x.shape[1]] * tap for k, tap in enumerate(kernel)]
    return sum(taps) + value(layer.bias)


def temporal_block(block, x):
    """The input plus the residual, and the skip; an absent one has no channels."""
    hidden = normalize(block.norm, prelu(block.prelu, dense(block.expand, x)))
    conv = block.separable_conv
    hidden = depthwise(conv.depthwise, hidden, block.dilation_rate, block.causal)
    hidden = normalize(conv.norm, prelu(conv.prelu, hidden))
    both = dense(conv.pointwise, hidden)
    size = x.shape[-1] if block.residual else 0
    residual, skip = both[..., :size], both[..., size:]
    return (x + residual if block.residual else residual), skip


def temporal_conv_net(tcn, features):
    x = dense(tcn.bottleneck, normalize(tcn.norm, features))
    skips = 0
    for block in tcn.blocks:
        x, skip = temporal_block(block, x)
        skips = skips + skip
    logits = dense(tcn.masks, prelu(tcn.prelu, x if tcn.skip_dim is None else skips))
    batch, frames, filters = features.shape
    logits = logits.reshape(batch, frames, tcn.num_sources, filters).transpose(0, 2, 1, 3)
    if tcn.mask_activation == "sigmoid":
        return 1 / (1 + np.exp(-logits))
    if tcn.mask_activation == "relu":
        return np.maximum(logits, 0)
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def conv_tasnet(model, mixture):
    """Equations 1 to 5, with the zeros at the edges written out."""
    size, hop = model.kernel_size, model.strides
    samples = mixture.shape[1]
    same = model.padding == "same"
    before = size - hop if same else 0
    frames = -(-(samples + before) // hop) if same else (samples - size) // hop + 1
    padded = np.zeros((len(mixture), max((frames - 1) * hop + size, before + samples)))
    padded[:, before : before + samples] = mixture
    framed = np.stack([padded[:, f * hop :][:, :size] for f in range(frames)], 1)
    features = framed @ value(model.encoder.kernel)[:, 0]
    if model.encoder_activation == "relu":
        features = np.maximum(features, 0)
    masked = temporal_conv_net(model.separator, features) * features[:, None]
    pieces = masked @ value(model.decoder.kernel)[:, 0].T
    sources = np.zeros((len(mixture), model.num_sources, padded.shape[1]))
    for f in range(frames):
        sources[..., f * hop : f * hop + size] += pieces[:, :, f]
    return sources[..., before : before + samples]
