"""Separators loaded from SavedModels."""

import os

import numpy as np

from keras_sep.export.loaded_signature import LoadedSignature
from keras_sep.export.metadata import read_metadata


class LoadedSeparator:
    """A separator in TensorFlow's own runtime, whatever Keras's backend.

    Calling it with mixtures `(batch, samples)` gives sources `(batch, num_sources, samples)`,
    float32 NumPy arrays both.

    Args:
        path: A folder that `export_saved_model` wrote.

    Attributes:
        num_sources: Sources of a mixture.
        sample_rate: Samples per second the model is meant for.

    Raises:
        ValueError: The folder is not such a SavedModel.
    """

    def __init__(self, path: str | os.PathLike):
        metadata = read_metadata(path)
        self.num_sources = metadata["num_sources"]
        self.sample_rate = metadata["sample_rate"]
        self._separate = LoadedSignature(path)

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        return self._separate(mixture=np.asarray(mixture, "float32"))["sources"].numpy()


def load_saved_model(path: str | os.PathLike) -> LoadedSeparator:
    """Loads a SavedModel that `export_saved_model` wrote; see `LoadedSeparator`."""
    return LoadedSeparator(path)
