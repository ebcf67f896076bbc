"""Convolutional encoder and decoder of the VAE and the VQ-VAEs."""

import keras

from keras_sep.layers.residual_stack import (
    ResidualStack,
    convolution,
    transposed_convolution,
)


def check_strides(**arguments: int) -> None:
    """Raises ValueError, naming the argument, for one that is not a power of two from 2 on."""
    for name, value in arguments.items():
        if value < 2 or value & (value - 1):
            raise ValueError(f"{name} must be a power of two from 2 on, got {value}")


def check_lengths(inputs, strides: int) -> None:
    """Raises ValueError for inputs with a known length, not divisible by `strides`."""
    lengths = inputs.shape[1:-1]
    if any(isinstance(length, int) and length % strides for length in lengths):
        raise ValueError(
            f"the inputs' lengths must be divisible by {strides}, got {tuple(lengths)}; crop or pad"
        )


def check_inputs(inputs, strides: int, channels: int, rank: int) -> None:
    """Raises ValueError for inputs of another rank or other channels, and as `check_lengths`."""
    shape = tuple(inputs.shape)
    if len(shape) != rank + 2 or shape[-1] not in (None, channels):
        axes = "height, width" if rank == 2 else "length"
        raise ValueError(f"the inputs must be (batch, {axes}, {channels}), got shape {shape}")
    check_lengths(inputs, strides)


def encoder(
    hidden_dim: int,
    strides: int,
    num_residual_blocks: int,
    residual_dim: int,
    rank: int,
    name: str,
    dtype,
) -> keras.Sequential:
    """Shrinks each axis `strides` times: `hidden_dim` channels, rectified.

    Convolutions of 4×4 and stride 2, half as wide in the first, with ReLU; a convolution of 3×3;
    residual blocks.
    """
    conv = convolution(rank)
    half = max(hidden_dim // 2, 1)
    layers = [
        conv(width, 4, 2, "same", activation="relu", dtype=dtype)
        for width in [half] + [hidden_dim] * (strides.bit_length() - 2)
    ]
    layers.append(conv(hidden_dim, 3, padding="same", dtype=dtype))
    layers.append(ResidualStack(num_residual_blocks, residual_dim, rank, dtype=dtype))
    return keras.Sequential(layers, name=name)


def decoder(
    channels: int,
    hidden_dim: int,
    strides: int,
    num_residual_blocks: int,
    residual_dim: int,
    rank: int,
    name: str,
    dtype,
) -> keras.Sequential:
    """Grows each axis `strides` times, to `channels` channels: the `encoder` backwards."""
    conv, transposed = convolution(rank), transposed_convolution(rank)
    half = max(hidden_dim // 2, 1)
    widths = [hidden_dim] * (strides.bit_length() - 3) + [half] * (strides > 2)
    return keras.Sequential(
        [
            conv(hidden_dim, 3, padding="same", dtype=dtype),
            ResidualStack(num_residual_blocks, residual_dim, rank, dtype=dtype),
            *[transposed(n, 4, 2, "same", activation="relu", dtype=dtype) for n in widths],
            transposed(channels, 4, 2, "same", dtype=dtype),
        ],
        name=name,
    )
