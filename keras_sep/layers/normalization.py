"""The normalizations of Conv-TasNet by name."""

import keras

from keras_sep.layers.cumulative_layer_normalization import CumulativeLayerNormalization
from keras_sep.layers.global_layer_normalization import GlobalLayerNormalization

NORMALIZATIONS = ("global", "cumulative", "layer", "batch")


def check_normalization(normalization: str, causal: bool) -> None:
    """Raises ValueError for an unknown name, or one that would break causality."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {NORMALIZATIONS}, got {normalization!r}")
    if causal and normalization == "global":
        raise ValueError(
            'causal=True cannot use normalization="global": its statistics cover the whole input, '
            'future included; use "cumulative", "layer" or "batch"'
        )


def initial_norm_state(norm: keras.layers.Layer, batch_size) -> list:
    """State of a normalization before a stream; empty where each frame stands for itself."""
    return norm.initial_state(batch_size) if hasattr(norm, "initial_state") else []


def norm_step(norm: keras.layers.Layer, inputs, state: list) -> tuple:
    """The next frames of a stream normalized, and the state after them."""
    return norm.step(inputs, state) if state else (norm(inputs), state)


def normalization_layer(normalization: str, **kwargs) -> keras.layers.Layer:
    """A new layer: gLN, cLN, LN of each frame, or batch normalization as PyTorch has it."""
    if normalization == "global":
        return GlobalLayerNormalization(**kwargs)
    if normalization == "cumulative":
        return CumulativeLayerNormalization(**kwargs)
    if normalization == "layer":
        return keras.layers.LayerNormalization(epsilon=1e-8, **kwargs)
    return keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, **kwargs)


def normalized_dense(norm: keras.layers.Layer, dense: keras.layers.Dense, inputs):
    """`dense(norm(inputs))`, the two in one where the normalization can."""
    fused = getattr(norm, "then_dense", None)
    return fused(inputs, dense) if fused else dense(norm(inputs))
