"""Models as SavedModels, for TensorFlow Serving and TensorFlow itself."""

from keras_sep.export.compiled_step import compile_step
from keras_sep.export.loaded_separator import LoadedSeparator, load_saved_model
from keras_sep.export.saved_model import export_saved_model

__all__ = ["LoadedSeparator", "compile_step", "export_saved_model", "load_saved_model"]
