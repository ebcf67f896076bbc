"""Scale-invariant signal-to-noise ratio."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_sep")
class SISNR(keras.losses.Loss):
    """Negative scale-invariant signal-to-noise ratio of each source, in dB.

    For a silent reference the loss is `10·log10` of the estimate's energy over `epsilon`: finite,
    with a gradient that silences the estimate.

    Args:
        epsilon: Added to the energies.

    Call arguments: reference and estimate `(batch, …, samples)`. Before reduction the loss has
    the shape `(batch, …)`. Computed in float32.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), equation 15; Le Roux et al. 2019, "SDR:
    half-baked or well done?" (arXiv 1811.02508), equation 3, of zero-mean signals.
    """

    def __init__(self, epsilon: float = 1e-8, name: str = "si_snr", **kwargs):
        super().__init__(name=name, **kwargs)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        return -si_snr(y_true, y_pred, self.epsilon)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def si_snr(reference, estimate, epsilon: float = 1e-8):
    """Scale-invariant signal-to-noise ratio in dB over the last axis, in float32.

    The shapes of `reference` and `estimate` may broadcast.
    """
    reference = _zero_mean(reference)
    estimate = _zero_mean(estimate)
    scale = ops.sum(estimate * reference, -1, keepdims=True) / (
        ops.sum(ops.square(reference), -1, keepdims=True) + epsilon
    )
    target = scale * reference
    signal = ops.sum(ops.square(target), -1) + epsilon
    noise = ops.sum(ops.square(estimate - target), -1) + epsilon
    return 10 / math.log(10) * (ops.log(signal) - ops.log(noise))


def _zero_mean(x):
    x = ops.cast(x, "float32")
    return x - ops.mean(x, axis=-1, keepdims=True)
