"""Audio files, mixtures and pieces of sounds made on the fly."""

import importlib
from typing import TYPE_CHECKING

from keras_sep.data.audio import AudioError
from keras_sep.data.sound_folders import split_sounds

if TYPE_CHECKING:
    from keras_sep.data.sound_patches import SoundPatches
    from keras_sep.data.speech_mixtures import SpeechMixtures

__all__ = ["AudioError", "SoundPatches", "SpeechMixtures", "split_sounds"]

_NEED_KERAS = {"SoundPatches": "sound_patches", "SpeechMixtures": "speech_mixtures"}


def __getattr__(name):
    """Imports what needs Keras at its first use: audio files do not."""
    if name in _NEED_KERAS:
        return getattr(importlib.import_module(f"keras_sep.data.{_NEED_KERAS[name]}"), name)
    raise AttributeError(f"module 'keras_sep.data' has no attribute {name!r}")
