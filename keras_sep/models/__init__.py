"""Complete models, written to read like their papers."""

from keras_sep.models.conv_tasnet import ConvTasNet

__all__ = ["ConvTasNet"]
