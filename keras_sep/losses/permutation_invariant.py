"""Permutation-invariant training."""

import itertools

import keras
import numpy as np
from keras import ops

from keras_sep.losses.sources import LossOfSources, check_sources

MAX_SOURCES = 6


@keras.saving.register_keras_serializable(package="keras_sep")
class PermutationInvariant(LossOfSources):
    """The mean of a pairwise loss under the best assignment of estimates to references.

    All assignments are read off one matrix of pairwise losses, computed once.

    Args:
        loss: A Keras loss whose `call` reduces the last axis and broadcasts the others, as
            `SISNR`, `ThresholdSNR`, `MultiScaleSpectral` and `keras.losses.MeanSquaredError` do.

    Call arguments: sources `(batch, num_sources, samples)`, 1 to 6 sources. Before reduction the
    loss has the shape `(batch,)`.

    Raises:
        ValueError: `loss` is no Keras loss; in a call, shapes differ, are not of three axes, or
            there are more than 6 sources.

    Source: Yu et al. 2017, "Permutation Invariant Training of Deep Models for
    Speaker-Independent Multi-talker Speech Separation" (arXiv 1607.00325), section 3; utterance
    level as in Kolbaek et al. 2017 (arXiv 1703.06284).
    """

    def __init__(self, loss: keras.losses.Loss, name: str = "permutation_invariant", **kwargs):
        super().__init__(loss, name=name, **kwargs)

    def call(self, y_true, y_pred):
        pairwise = self.loss.call(*pair_up(y_true, y_pred))
        return ops.min(assignment_means(pairwise), axis=-1)


def pair_up(references, estimates):
    """Each reference against each estimate: `(batch, C, 1, samples)`, `(batch, 1, C, samples)`."""
    check_sources(references, estimates)
    return references[:, :, None], estimates[:, None]


def assignment_means(pairwise):
    """Means of a pairwise matrix over each assignment.

    Args:
        pairwise: `(batch, C, C)`, reference by estimate.

    Returns: `(batch, C!)`, in the order of `assignments(C)`.
    """
    chosen = np.eye(pairwise.shape[-1], dtype="float32")[assignments(pairwise.shape[-1])]
    return ops.mean(ops.sum(ops.multiply(pairwise[:, None], chosen), axis=-1), axis=-1)


def assignments(num_sources: int) -> np.ndarray:
    """All orders of the estimates, `(C!, C)`: entry [p, c] is the estimate of reference c."""
    if num_sources > MAX_SOURCES:
        raise ValueError(f"at most {MAX_SOURCES} sources can be permuted, got {num_sources}")
    return np.array(list(itertools.permutations(range(num_sources))))
