"""Metrics of source separation and of distributions over codes."""

from keras_sep.metrics.bits_per_dimension import BitsPerDimension
from keras_sep.metrics.si_snr_improvement import SISNRImprovement, si_snr_improvement

__all__ = ["BitsPerDimension", "SISNRImprovement", "si_snr_improvement"]
