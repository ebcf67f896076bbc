"""What the vector quantizers share: their outputs, their loss, the rotation of gradients."""

from typing import NamedTuple

import keras
from keras import ops


class Quantization(NamedTuple):
    """What `VectorQuantizer.quantization` returns.

    Attributes:
        vectors: As the inputs, quantized.
        indices: int32 `(...)`; -1 at padding.
        codebook_loss: float32 `(...)`: pulls the codes to the inputs. 0 at padding, and where no
            gradient trains the codebook.
        commitment_loss: float32 `(...)`: holds the inputs near their codes. 0 at padding.
    """

    vectors: keras.KerasTensor
    indices: keras.KerasTensor
    codebook_loss: keras.KerasTensor
    commitment_loss: keras.KerasTensor


def mean_loss(losses, indices):
    """Mean of the losses of vectors that have a code, of `indices` from 0 on."""
    valid = ops.sum(ops.cast(indices >= 0, "float32"))
    return ops.sum(losses) / ops.maximum(valid, 1.0)


def rotated(vectors, nearest):
    """`vectors` rotated and scaled onto `nearest`, by maps that count as constants."""
    norms = ops.norm(ops.stop_gradient(vectors), axis=-1, keepdims=True)
    scales = ops.divide_no_nan(ops.norm(nearest, axis=-1, keepdims=True), norms)
    start = ops.normalize(ops.stop_gradient(vectors), axis=-1)
    end = ops.normalize(nearest, axis=-1)
    middle = ops.normalize(start + end, axis=-1)

    def along(direction):
        return ops.sum(direction * vectors, axis=-1, keepdims=True)

    return scales * (vectors - 2 * middle * along(middle) + 2 * end * along(start))


def check_codebook(commitment_cost, ema_decay, epsilon, init, restart_threshold):
    """Raises ValueError, naming the argument, for the first one out of range."""
    if commitment_cost < 0:
        raise ValueError(f"commitment_cost must be at least 0, got {commitment_cost}")
    if ema_decay is not None and not 0 < ema_decay < 1:
        raise ValueError(f"ema_decay must lie between 0 and 1, or be None, got {ema_decay}")
    if epsilon <= 0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")
    if init not in ("uniform", "kmeans"):
        raise ValueError(f'init must be "uniform" or "kmeans", got {init!r}')
    if restart_threshold is not None and restart_threshold <= 0:
        raise ValueError(f"restart_threshold must be positive or None, got {restart_threshold}")
    if ema_decay is None and (init == "kmeans" or restart_threshold is not None):
        raise ValueError(
            'init="kmeans" and restart_threshold set codes in training, which needs ema_decay; '
            "got ema_decay=None"
        )
