"""Models as SavedModels, for TensorFlow Serving and TensorFlow itself, and in other fast forms."""

from keras_sep.export.array_function import array_function
from keras_sep.export.compiled_step import compile_step
from keras_sep.export.fold_batch_norm import fold_batch_norm
from keras_sep.export.fold_for_inference import fold_for_inference
from keras_sep.export.loaded_classifier import LoadedClassifier
from keras_sep.export.loaded_separator import LoadedSeparator, load_saved_model
from keras_sep.export.saved_model import export_saved_model

__all__ = [
    "LoadedClassifier",
    "LoadedSeparator",
    "array_function",
    "compile_step",
    "export_saved_model",
    "fold_batch_norm",
    "fold_for_inference",
    "load_saved_model",
]
