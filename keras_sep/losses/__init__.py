"""Losses of source separation."""

from keras_sep.losses.permutation_invariant import PermutationInvariant
from keras_sep.losses.si_snr import SISNR

__all__ = ["SISNR", "PermutationInvariant"]
