"""Mixture-invariant training."""

import itertools

import keras
import numpy as np
from keras import ops

from keras_sep.losses.sources import check_waveforms
from keras_sep.losses.threshold_snr import energy, negative_threshold_snr, of_energies

MAX_ASSIGNMENTS = 4096


@keras.saving.register_keras_serializable(package="keras_sep")
class MixtureInvariant(keras.losses.Loss):
    """The loss of mixtures remixed from estimates, under the best assignment (MixIT).

    Trains without references of single sources: the model separates the sum of M mixtures into
    C estimates, each of which is then assigned to one mixture. The loss is the mean over mixtures
    of `ThresholdSNR` between a mixture and the sum of the estimates assigned to it.

    All M^C assignments are compared by means of inner products of the signals, and only the best
    remix is made; its value and gradient thus have no cancellation error.

    Args:
        max_snr: Threshold of the signal-to-noise ratio, in dB.

    Call arguments: mixtures `(batch, M, samples)`, M at least 2, and estimates
    `(batch, C, samples)`, C at least M, of the sum of the mixtures; M^C at most 4096. Before
    reduction the loss has the shape `(batch,)`. Computed in float32.

    Raises:
        ValueError: In a call, shapes that are not of three axes, lengths that differ, or numbers
            of mixtures and estimates out of range.

    Source: Wisdom et al. 2020, "Unsupervised Sound Separation Using Mixture Invariant Training"
    (arXiv 2006.12701).
    """

    def __init__(self, max_snr: float = 30.0, name: str = "mixture_invariant", **kwargs):
        super().__init__(name=name, **kwargs)
        self.max_snr = max_snr

    def call(self, y_true, y_pred):
        _check(y_true, y_pred)
        mixtures = ops.cast(y_true, "float32")
        estimates = ops.cast(y_pred, "float32")
        remixes = ops.matmul(best_assignment(mixtures, estimates, self.max_snr), estimates)
        return ops.mean(negative_threshold_snr(mixtures, remixes, self.max_snr), axis=-1)

    def get_config(self):
        return {**super().get_config(), "max_snr": self.max_snr}


def best_assignment(mixtures, estimates, max_snr):
    """Which estimates to add for each mixture: `(batch, M, C)`, zeros and ones, no gradient.

    A mixture's error is `‖x‖² − 2 Σ⟨x, ŝ⟩ + ΣΣ⟨ŝ, ŝ'⟩` over the estimates it gets: it depends on
    which subset of the estimates that is, so that M·2^C errors suffice for M^C assignments.
    """
    mixtures, estimates = ops.stop_gradient(mixtures), ops.stop_gradient(estimates)
    num_mixtures, num_estimates = mixtures.shape[1], estimates.shape[1]
    subsets = np.array(list(itertools.product((0, 1), repeat=num_estimates)), "float32")
    assignments = _assignments(num_mixtures, num_estimates)

    transposed = ops.transpose(estimates, (0, 2, 1))
    inner = ops.matmul(ops.matmul(mixtures, transposed), subsets.T)  # (batch, M, 2^C)
    gram = ops.matmul(subsets, ops.matmul(estimates, transposed))
    remixed = ops.sum(ops.multiply(gram, subsets), axis=-1)  # (batch, 2^C)
    energies = energy(mixtures)[:, :, None]
    # Rounding can leave nearly perfect remixes with an error below zero.
    errors = ops.maximum(energies - 2 * inner + remixed[:, None], 0.0)
    total = energy(ops.sum(mixtures, axis=1))[:, None, None]
    losses = of_energies(errors, energies, total, max_snr)

    # Read in binary, an assignment's row is the index of its subset.
    rows = assignments @ 2 ** np.arange(num_estimates)[::-1]
    means = sum(ops.take(losses[:, m], rows[:, m], axis=1) for m in range(num_mixtures))
    return ops.take(assignments.astype("float32"), ops.argmin(means, axis=-1), axis=0)


def _assignments(num_mixtures, num_estimates):
    """All ways to give each estimate to one mixture: `(M^C, M, C)`, zeros and ones."""
    owners = np.array(list(itertools.product(range(num_mixtures), repeat=num_estimates)))
    return (owners[:, None] == np.arange(num_mixtures)[:, None]).astype("int32")


def _check(mixtures, estimates):
    check_waveforms(mixtures, estimates)
    num_mixtures, num_estimates = mixtures.shape[1], estimates.shape[1]
    if num_mixtures < 2:
        raise ValueError(f"at least 2 mixtures are needed, got {num_mixtures}")
    if num_estimates < num_mixtures:
        raise ValueError(
            "at least as many estimates as mixtures are needed, got "
            f"{num_estimates} estimates for {num_mixtures} mixtures"
        )
    if num_mixtures**num_estimates > MAX_ASSIGNMENTS:
        raise ValueError(
            f"at most {MAX_ASSIGNMENTS} assignments can be compared, got {num_mixtures} mixtures "
            f"and {num_estimates} estimates, which have {num_mixtures**num_estimates}"
        )
