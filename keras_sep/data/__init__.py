"""Audio files and mixtures made on the fly."""

from typing import TYPE_CHECKING

from keras_sep.data.audio import AudioError

if TYPE_CHECKING:
    from keras_sep.data.speech_mixtures import SpeechMixtures

__all__ = ["AudioError", "SpeechMixtures"]


def __getattr__(name):
    """Imports `SpeechMixtures` at its first use: it needs Keras, audio files do not."""
    if name == "SpeechMixtures":
        from keras_sep.data.speech_mixtures import SpeechMixtures

        return SpeechMixtures
    raise AttributeError(f"module 'keras_sep.data' has no attribute {name!r}")
