"""Separators loaded from SavedModels."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sep.export.loaded_signature import LoadedSignature
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
        self.num_sources = metadata["num_sources"]
        self.sample_rate = metadata["sample_rate"]
        self._separate = LoadedSignature(path)

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        return self._separate(mixture=np.asarray(mixture, "float32"))["sources"].numpy()


def read_metadata(
    path: str | os.PathLike,
    kind: str = "separator",
    numbers: Sequence[str] = ("num_sources", "sample_rate"),
) -> dict:
    """What `export_saved_model` notes of the model: class, configuration and `numbers`.

    Raises:
        ValueError: The folder is not such a SavedModel.
    """
    path = Path(path)
    if not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} is not a SavedModel: it holds no saved_model.pb")
    try:
        metadata = json.loads((path / METADATA).read_text())
        metadata["config"].keys()
        for name in numbers:
            metadata[name] = int(metadata[name])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path} is not a SavedModel of a {kind}: {METADATA} is missing or damaged; "
            "write one with keras_sep.export.export_saved_model"
        ) from None
    return metadata


def load_saved_model(path: str | os.PathLike) -> LoadedSeparator:
    """Loads a SavedModel that `export_saved_model` wrote; see `LoadedSeparator`."""
    return LoadedSeparator(path)
