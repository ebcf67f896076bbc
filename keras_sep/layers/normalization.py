"""The normalizations of Conv-TasNet by name."""

import keras

from keras_sep.layers.cumulative_layer_normalization import CumulativeLayerNormalization
from keras_sep.layers.global_layer_normalization import GlobalLayerNormalization

NORMALIZATIONS = ("global", "cumulative", "batch")


def check_normalization(normalization: str, causal: bool) -> None:
    """Raises ValueError for an unknown name, or one that would break causality."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {NORMALIZATIONS}, got {normalization!r}")
    if causal and normalization == "global":
        raise ValueError(
            'causal=True cannot use normalization="global": its statistics cover the whole input, '
            'future included; use "cumulative" or "batch"'
        )


def normalization_layer(normalization: str, **kwargs) -> keras.layers.Layer:
    """A new layer: gLN, cLN, or batch normalization with PyTorch's epsilon and momentum."""
    if normalization == "global":
        return GlobalLayerNormalization(**kwargs)
    if normalization == "cumulative":
        return CumulativeLayerNormalization(**kwargs)
    return keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, **kwargs)
