"""Sound separation and quantization of signals with Keras 3."""

import importlib
import sys
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "callbacks",
    "data",
    "export",
    "inference",
    "layers",
    "losses",
    "metrics",
    "models",
]

if TYPE_CHECKING or "keras" in sys.modules:
    # Registered with Keras from here on, so that it can load our models.
    from keras_sep import callbacks, data, export, inference, layers, losses, metrics, models


def __getattr__(name):
    """Imports a subpackage at its first use.

    The command line checks its arguments, files and backend before the slow import of Keras.
    """
    if name in __all__:
        return importlib.import_module(f"keras_sep.{name}")
    raise AttributeError(f"module 'keras_sep' has no attribute {name!r}")
