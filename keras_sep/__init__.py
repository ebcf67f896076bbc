"""Sound separation and quantization of signals with Keras 3."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "callbacks",
    "codec",
    "convert",
    "data",
    "evaluation",
    "export",
    "inference",
    "layers",
    "losses",
    "metrics",
    "models",
]

# The command checks its arguments and files before the slow import of Keras. Everybody else gets
# all at once, registered with Keras, so that it can load our models.
if TYPE_CHECKING or not sys.argv[:1] or Path(sys.argv[0]).name != "keras-sep":
    from keras_sep import (
        callbacks,
        codec,
        convert,
        data,
        evaluation,
        export,
        inference,
        layers,
        losses,
        metrics,
        models,
    )


def __getattr__(name):
    """Imports a subpackage at its first use by the command."""
    if name in __all__:
        return importlib.import_module(f"keras_sep.{name}")
    raise AttributeError(f"module 'keras_sep' has no attribute {name!r}")
