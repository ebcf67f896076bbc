"""Models as SavedModels, for TensorFlow Serving and TensorFlow itself, and in other fast forms."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_sep.export.compiled_step import compile_step
    from keras_sep.export.folded_batch_norm import fold_batch_norm
    from keras_sep.export.folded_conv_tasnet import fold_for_inference
    from keras_sep.export.function_of_arrays import array_function
    from keras_sep.export.lite_stream import LiteStream
    from keras_sep.export.loaded_classifier import LoadedClassifier
    from keras_sep.export.loaded_separator import LoadedSeparator, load_saved_model
    from keras_sep.export.saved_model import export_saved_model

__all__ = [
    "LiteStream",
    "LoadedClassifier",
    "LoadedSeparator",
    "array_function",
    "compile_step",
    "export_saved_model",
    "fold_batch_norm",
    "fold_for_inference",
    "load_saved_model",
]

# Modules are not named as what they hold: the import of one would put it in the name's place.
_MODULES = {
    "LiteStream": "lite_stream",
    "LoadedClassifier": "loaded_classifier",
    "LoadedSeparator": "loaded_separator",
    "array_function": "function_of_arrays",
    "compile_step": "compiled_step",
    "export_saved_model": "saved_model",
    "fold_batch_norm": "folded_batch_norm",
    "fold_for_inference": "folded_conv_tasnet",
    "load_saved_model": "loaded_separator",
}


def __getattr__(name):
    """Imports a name at its first use: who loads a SavedModel needs no Keras."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"keras_sep.export.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'keras_sep.export' has no attribute {name!r}")
