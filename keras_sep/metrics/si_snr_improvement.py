"""Improvement of the scale-invariant signal-to-noise ratio."""

import keras
from keras import ops

from keras_sep.losses.permutation_invariant import assignment_means, pair_up
from keras_sep.losses.si_snr import si_snr


@keras.saving.register_keras_serializable(package="keras_sep")
class SISNRImprovement(keras.metrics.Metric):
    """Mean gain in SI-SNR over the unprocessed mixture (SI-SNRi), in dB.

    The estimates of each example are assigned to its references as is best for the example.
    Averaged over the sources of an example, then over examples. SI-SNR is undefined for a silent
    reference: an example that has one does not count.

    `update_state(y_true, y_pred, sample_weight=None, mixture=None)` takes sources
    `(batch, num_sources, samples)`, weights `(batch,)`, and mixtures `(batch, samples)`; without
    mixtures, as in `fit`, the sum of the references is the mixture. Where the mixtures have noise
    besides, `fit` thus logs less than the gain over the noisy mixture.

    Raises:
        ValueError: In `update_state`, shapes differ or are not of three axes.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), section III-C.
    """

    def __init__(self, name: str = "si_snr_improvement", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), initializer="zeros", name="total")
        self.count = self.add_variable((), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None, mixture=None):
        y_true = ops.convert_to_tensor(y_true, "float32")
        y_pred = ops.convert_to_tensor(y_pred, "float32")
        improvement = si_snr_improvement(y_true, y_pred, mixture)
        # Silent once its mean is removed: a constant.
        sounds = ops.max(y_true, axis=-1) > ops.min(y_true, axis=-1)
        weight = ops.cast(ops.all(sounds, axis=-1), "float32")
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "float32")
        self.total.assign_add(ops.sum(improvement * weight))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        return ops.divide_no_nan(self.total, self.count)


def si_snr_improvement(references, estimates, mixture=None):
    """SI-SNRi of each example under its best permutation, in dB.

    Args:
        references: `(batch, num_sources, samples)`, 1 to 6 sources. With a silent one among them
            the value is finite and without meaning.
        estimates: As `references`.
        mixture: `(batch, samples)`, None for the sum of the references.

    Returns: `(batch,)`.

    Raises:
        ValueError: Shapes differ or are not of three axes, or there are more than 6 sources.
    """
    separated = assignment_means(si_snr(*pair_up(references, estimates)))
    if mixture is None:
        mixture = ops.sum(references, axis=1)
    unprocessed = si_snr(references, mixture[:, None])
    return ops.max(separated, axis=-1) - ops.mean(unprocessed, axis=-1)
