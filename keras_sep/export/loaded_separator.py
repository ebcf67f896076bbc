"""Separators loaded from SavedModels."""

import json
import os
from pathlib import Path

import numpy as np

from keras_sep.export.saved_model import METADATA


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
        try:
            self.num_sources = int(metadata["num_sources"])
            self.sample_rate = int(metadata["sample_rate"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path} is a SavedModel of a {metadata['class_name']}, not of a separator"
            ) from None
        import tensorflow as tf

        try:
            self._saved_model = tf.saved_model.load(os.fspath(path))
            self._separate = self._saved_model.signatures["serving_default"]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path} cannot be loaded as a SavedModel: {reason}") from None
        self._tensor = tf.constant

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        mixture = self._tensor(np.asarray(mixture, "float32"))
        return self._separate(mixture=mixture)["sources"].numpy()


def read_metadata(path: str | os.PathLike) -> dict:
    """What `export_saved_model` notes of the model: class, configuration and more.

    Raises:
        ValueError: The folder is not such a SavedModel.
    """
    path = Path(path)
    if not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} is not a SavedModel: it holds no saved_model.pb")
    try:
        metadata = json.loads((path / METADATA).read_text())
        metadata["config"].keys()
        metadata["class_name"].isidentifier()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path} is not a SavedModel of keras_sep: {METADATA} is missing or damaged; "
            "write one with keras_sep.export.export_saved_model"
        ) from None
    return metadata


def load_saved_model(path: str | os.PathLike) -> LoadedSeparator:
    """Loads a SavedModel that `export_saved_model` wrote; see `LoadedSeparator`."""
    return LoadedSeparator(path)
