"""Metrics of source separation."""

from keras_sep.metrics.si_snr_improvement import SISNRImprovement, si_snr_improvement

__all__ = ["SISNRImprovement", "si_snr_improvement"]
