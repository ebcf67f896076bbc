"""Metrics of source separation."""

from keras_sep.metrics.si_snr_improvement import SISNRImprovement

__all__ = ["SISNRImprovement"]
