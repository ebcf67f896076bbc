"""Audio files and mixtures made on the fly."""

from keras_sep.data.audio import AudioError
from keras_sep.data.speech_mixtures import SpeechMixtures

__all__ = ["AudioError", "SpeechMixtures"]
