"""Separation and classification of recordings of any length; streams; pictures drawn anew."""

from typing import TYPE_CHECKING

from keras_sep.inference.classifier import Classifier
from keras_sep.inference.generator import Generator
from keras_sep.inference.notice import ClassificationNotice, SeparationNotice
from keras_sep.inference.separator import Separator

if TYPE_CHECKING:
    from keras_sep.inference.streaming_separator import StreamingSeparator

__all__ = [
    "ClassificationNotice",
    "Classifier",
    "Generator",
    "SeparationNotice",
    "Separator",
    "StreamingSeparator",
]


def __getattr__(name):
    """Imports `StreamingSeparator` at its first use: it needs Keras, bad files do not."""
    if name == "StreamingSeparator":
        from keras_sep.inference.streaming_separator import StreamingSeparator

        return StreamingSeparator
    raise AttributeError(f"module 'keras_sep.inference' has no attribute {name!r}")
