"""A signature of a SavedModel, for arrays."""

import os

import numpy as np


class LoadedSignature:
    """The signature `serving_default`, called with arrays by name, giving tensors by name.

    Args:
        path: A SavedModel.

    Raises:
        ValueError: TensorFlow cannot load it.
    """

    def __init__(self, path: str | os.PathLike):
        import tensorflow as tf

        try:
            self._saved_model = tf.saved_model.load(os.fspath(path))
            self._function = self._saved_model.signatures["serving_default"]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path} cannot be loaded as a SavedModel: {reason}") from None
        self._tensor = tf.constant

    def __call__(self, **arrays: np.ndarray) -> dict:
        return self._function(**{name: self._tensor(array) for name, array in arrays.items()})
