"""Losses of source separation."""

from keras_sep.losses.fixed_order import FixedOrder
from keras_sep.losses.mixture_invariant import MixtureInvariant
from keras_sep.losses.multi_scale_spectral import MultiScaleSpectral
from keras_sep.losses.permutation_invariant import PermutationInvariant
from keras_sep.losses.si_snr import SISNR
from keras_sep.losses.threshold_snr import ThresholdSNR

__all__ = [
    "SISNR",
    "FixedOrder",
    "MixtureInvariant",
    "MultiScaleSpectral",
    "PermutationInvariant",
    "ThresholdSNR",
]
