"""Sound classifiers loaded from SavedModels."""

import os

import numpy as np

from keras_sep.export.loaded_signature import LoadedSignature
from keras_sep.export.metadata import read_metadata


class LoadedClassifier:
    """A sound classifier in TensorFlow's own runtime, whatever Keras's backend.

    Calling it with waveforms `(batch, samples)` gives probabilities `(batch, num_classes)`,
    float32 NumPy arrays both.

    Args:
        path: A folder that `export_saved_model` wrote of a `SoundClassifier`.

    Attributes:
        class_names: Names of the classes.
        sample_rate: Samples per second the model is meant for.
        patch_samples: Samples that one patch is computed from.
        patch_hop_samples: Samples from one patch to the next.

    Raises:
        ValueError: The folder is not such a SavedModel.
    """

    def __init__(self, path: str | os.PathLike):
        metadata = read_metadata(
            path, "sound classifier", ("sample_rate", "patch_samples", "patch_hop_samples")
        )
        self.class_names = list(metadata["config"].get("class_names", []))
        self.sample_rate = metadata["sample_rate"]
        self.patch_samples = metadata["patch_samples"]
        self.patch_hop_samples = metadata["patch_hop_samples"]
        self._classify = LoadedSignature(path)

    def __call__(self, waveforms: np.ndarray) -> np.ndarray:
        outputs = self._classify(waveform=np.asarray(waveforms, "float32"))
        return outputs["probabilities"].numpy()
