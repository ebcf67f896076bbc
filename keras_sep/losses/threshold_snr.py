"""Signal-to-noise ratio with a soft threshold."""

import math

import keras
from keras import ops

EPSILON = 1e-8  # Added to the energies, as in the FUSS recipe.


@keras.saving.register_keras_serializable(package="keras_sep")
class ThresholdSNR(keras.losses.Loss):
    """Negative signal-to-noise ratio of each source with a soft threshold, in dB.

    With the reference y, the estimate ŷ and the mixture x, which is the sum of the references:

    - `10·log10((‖y − ŷ‖² + τ‖y‖²) / ‖y‖²)` where y sounds, τ = `10^(-max_snr / 10)`. It ends at
      `-max_snr`, and sources that are nearly perfect leave the gradient to the others.
    - `10·log10(‖ŷ‖² + τ₀‖x‖²)` where y is silent (all zero), τ₀ = `10^(-max_snr_silent / 10)`:
      the loss for mixtures with fewer sources than the model has outputs. It silences the estimate
      until that is `max_snr_silent` below the mixture; its value depends on the level.

    Unlike `SISNR` it makes the estimates as loud as the references.

    Args:
        max_snr: Threshold of sounding references, in dB.
        max_snr_silent: Threshold of silent references, in dB below the mixture.

    Call arguments: references `(batch, num_sources, …, samples)` and estimates that broadcast with
    them; all references of an example must be on axis 1. Before reduction the loss has the shape
    `(batch, num_sources, …)`. Computed in float32; finite, also where all is silent.

    Raises:
        ValueError: In a call, references of fewer than three axes.

    Source: Wisdom et al. 2020, "Unsupervised Sound Separation Using Mixture Invariant Training"
    (arXiv 2006.12701); silent references as in Wisdom et al. 2021, "What's All the
    FUSS About Free Universal Sound Separation Data?" (arXiv 2011.00803), and its recipe.
    """

    def __init__(
        self,
        max_snr: float = 30.0,
        max_snr_silent: float = 20.0,
        name: str = "threshold_snr",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.max_snr = max_snr
        self.max_snr_silent = max_snr_silent

    def call(self, y_true, y_pred):
        return negative_threshold_snr(y_true, y_pred, self.max_snr, self.max_snr_silent)

    def get_config(self):
        config = {"max_snr": self.max_snr, "max_snr_silent": self.max_snr_silent}
        return {**super().get_config(), **config}


def negative_threshold_snr(references, estimates, max_snr=30.0, max_snr_silent=20.0):
    """The loss of `ThresholdSNR` as a function."""
    if len(references.shape) < 3:
        raise ValueError(
            "references must have the shape (batch, num_sources, …, samples), got "
            f"{tuple(references.shape)}"
        )
    references = ops.cast(references, "float32")
    error = energy(references - ops.cast(estimates, "float32"))
    mixture = energy(ops.sum(references, axis=1, keepdims=True))
    return of_energies(error, energy(references), mixture, max_snr, max_snr_silent)


def of_energies(error, reference, mixture, max_snr=30.0, max_snr_silent=20.0):
    """The loss from the energies `‖y − ŷ‖²`, `‖y‖²` and `‖x‖²`, whose shapes may broadcast."""
    sounds = reference > 0
    threshold = ops.where(
        sounds, 10 ** (-max_snr / 10) * reference, 10 ** (-max_snr_silent / 10) * mixture
    )
    level = ops.where(sounds, reference + EPSILON, 1.0)
    return 10 / math.log(10) * (ops.log(error + threshold + EPSILON) - ops.log(level))


def energy(waveforms):
    """Over the last axis."""
    return ops.sum(ops.square(waveforms), axis=-1)
