"""Sound separation and quantization of signals with Keras 3."""

from keras_sep import callbacks, data, export, layers, losses, metrics, models

__version__ = "0.1.0"

__all__ = ["callbacks", "data", "export", "layers", "losses", "metrics", "models"]
