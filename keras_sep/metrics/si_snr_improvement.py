"""Improvement of the scale-invariant signal-to-noise ratio."""

import keras
from keras import ops

from keras_sep.losses.permutation_invariant import assignment_means, pair_up
from keras_sep.losses.si_snr import si_snr


@keras.saving.register_keras_serializable(package="keras_sep")
class SISNRImprovement(keras.metrics.Metric):
    """Mean gain in SI-SNR over the unprocessed mixture (SI-SNRi), in dB.

    The estimates of each example are assigned to its references as is best for the example, or
    with `fixed_order` in their order. Averaged over the sources of an example, then over examples.
    SI-SNR is undefined for a silent reference (a constant), so that examples may have fewer
    speakers than the model has outputs: silent references and the estimates left to them weigh
    nothing. An example counts if two of its references sound, or the only one it has: a lone
    speaker is no mixture to improve.

    `update_state(y_true, y_pred, sample_weight=None, mixture=None)` takes sources
    `(batch, num_sources, samples)`, weights `(batch,)`, and mixtures `(batch, samples)`; without
    mixtures, as in `fit`, the sum of the references is the mixture. Where the mixtures have noise
    besides, `fit` thus logs less than the gain over the noisy mixture.

    Args:
        fixed_order: Whether the estimates come in the order of the references, as with the loss
            `FixedOrder`: swapped ones score low.

    Raises:
        ValueError: In `update_state`, shapes differ or are not of three axes.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), section III-C.
    """

    def __init__(self, name: str = "si_snr_improvement", fixed_order: bool = False, **kwargs):
        super().__init__(name=name, **kwargs)
        self.fixed_order = fixed_order
        self.total = self.add_variable((), initializer="zeros", name="total")
        self.count = self.add_variable((), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None, mixture=None):
        y_true = ops.convert_to_tensor(y_true, "float32")
        y_pred = ops.convert_to_tensor(y_pred, "float32")
        improvement = si_snr_improvement(y_true, y_pred, mixture, self.fixed_order)
        enough = ops.sum(_sounding(y_true), axis=-1) >= min(2, y_true.shape[1])
        weight = ops.cast(enough, "float32")
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "float32")
        self.total.assign_add(ops.sum(improvement * weight))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        return ops.divide_no_nan(self.total, self.count)

    def get_config(self):
        return {**super().get_config(), "fixed_order": self.fixed_order}


def si_snr_improvement(references, estimates, mixture=None, fixed_order=False):
    """SI-SNRi of each example under its best permutation, in dB.

    Args:
        references: `(batch, num_sources, samples)`, 1 to 6 sources. Silent ones (constants) and
            the estimates left to them weigh nothing; 0 dB where all are silent.
        estimates: As `references`.
        mixture: `(batch, samples)`, None for the sum of the references.
        fixed_order: Whether the estimates come in the order of the references, so that there is no
            permutation.

    Returns: `(batch,)`.

    Raises:
        ValueError: Shapes differ or are not of three axes, or there are more than 6 sources.
    """
    pairwise = si_snr(*pair_up(references, estimates))
    sounding = _sounding(references)
    means = assignment_means(pairwise * sounding[..., None])
    # The first assignment leaves the estimates where they are.
    separated = means[:, 0] if fixed_order else ops.max(means, axis=-1)
    if mixture is None:
        mixture = ops.sum(references, axis=1)
    unprocessed = ops.mean(si_snr(references, mixture[:, None]) * sounding, axis=-1)
    # Both are means over all references, with zeros for the silent ones.
    all_to_sounding = references.shape[1] / ops.maximum(ops.sum(sounding, axis=-1), 1.0)
    return all_to_sounding * (separated - unprocessed)


def _sounding(references):
    """1 for each reference that sounds, 0 for a constant: `(batch, num_sources)`."""
    return ops.cast(ops.max(references, axis=-1) > ops.min(references, axis=-1), "float32")
