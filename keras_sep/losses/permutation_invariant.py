"""Permutation-invariant training."""

import itertools

import keras
import numpy as np
from keras import ops

MAX_SOURCES = 6


@keras.saving.register_keras_serializable(package="keras_sep")
class PermutationInvariant(keras.losses.Loss):
    """The mean of a pairwise loss under the best assignment of estimates to references.

    All assignments are read off one matrix of pairwise losses, computed once.

    Args:
        loss: A Keras loss whose `call` reduces the last axis and broadcasts the others, as
            `SISNR` and `keras.losses.MeanSquaredError` do.

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
        super().__init__(name=name, **kwargs)
        if not isinstance(loss, keras.losses.Loss):
            raise ValueError(f"loss must be a keras.losses.Loss, got {loss!r}")
        self.loss = loss

    def call(self, y_true, y_pred):
        pairwise = self.loss.call(*pair_up(y_true, y_pred))
        return ops.min(assignment_means(pairwise), axis=-1)

    def get_config(self):
        return {**super().get_config(), "loss": keras.losses.serialize(self.loss)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.losses.deserialize(config["loss"])})


def pair_up(references, estimates):
    """Each reference against each estimate: `(batch, C, 1, samples)`, `(batch, 1, C, samples)`."""
    if len(references.shape) != 3 or len(estimates.shape) != 3:
        raise ValueError(
            "sources must have the shape (batch, num_sources, samples), got "
            f"{tuple(references.shape)} and {tuple(estimates.shape)}"
        )
    if references.shape[1] != estimates.shape[1]:
        raise ValueError(
            f"as many estimates as references are needed, got {estimates.shape[1]} estimates for "
            f"{references.shape[1]} references"
        )
    lengths = references.shape[2], estimates.shape[2]
    if None not in lengths and lengths[0] != lengths[1]:
        raise ValueError(
            f"estimates must be as long as references, got {lengths[1]} samples for {lengths[0]}"
        )
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
