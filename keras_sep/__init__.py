"""Sound separation and quantization of signals with Keras 3."""

from keras_sep import layers, losses, metrics, models

__version__ = "0.1.0"

__all__ = ["layers", "losses", "metrics", "models"]
