"""MobileNets without batch normalizations."""

import keras

from keras_sep.layers.normalized_conv_2d import NormalizedConv2D
from keras_sep.models import MobileNet, SoundClassifier


def fold_batch_norm(model: MobileNet | SoundClassifier) -> MobileNet | SoundClassifier:
    """A new model that gives the same outputs, its normalizations folded into the kernels.

    The model itself scales its kernels in every call; the new one has them scaled, and biases in
    place of normalizations (`normalization=None`). It is to be used, not to be trained on.

    Raises:
        ValueError: `model` is neither a `MobileNet` nor a `SoundClassifier`.
    """
    if not isinstance(model, MobileNet | SoundClassifier):
        raise ValueError(
            f"model must be a MobileNet or SoundClassifier, got {type(model).__name__}"
        )
    folded = type(model).from_config({**model.get_config(), "normalization": None})
    for old, new in zip(_weighted_layers(model), _weighted_layers(folded), strict=True):
        if isinstance(old, NormalizedConv2D):
            kernel, bias = old.folded()
            new.kernel.assign(kernel)
            new.bias.assign(bias)
        else:
            new.set_weights(old.get_weights())
    return folded


def _weighted_layers(model):
    kinds = (NormalizedConv2D, keras.layers.Dense)
    return [layer for layer in model._flatten_layers() if isinstance(layer, kinds)]
