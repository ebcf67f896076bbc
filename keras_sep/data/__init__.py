"""Audio files, sounds and pictures, batches of them made on the fly, and codes of them."""

import importlib
from typing import TYPE_CHECKING

from keras_sep.data.audio import AudioError
from keras_sep.data.sound_folders import split_sounds

if TYPE_CHECKING:
    from keras_sep.data.code_extraction import extract_codes
    from keras_sep.data.code_grids import CodeGrids
    from keras_sep.data.image_crops import ImageCrops
    from keras_sep.data.sound_patches import SoundPatches
    from keras_sep.data.spectrogram_crops import SpectrogramCrops
    from keras_sep.data.speech_mixtures import SpeechMixtures

__all__ = [
    "AudioError",
    "CodeGrids",
    "ImageCrops",
    "SoundPatches",
    "SpectrogramCrops",
    "SpeechMixtures",
    "extract_codes",
    "split_sounds",
]

_MODULES = {
    "CodeGrids": "code_grids",
    "ImageCrops": "image_crops",
    "SoundPatches": "sound_patches",
    "SpectrogramCrops": "spectrogram_crops",
    "SpeechMixtures": "speech_mixtures",
    "extract_codes": "code_extraction",
}


def __getattr__(name):
    """Imports what needs Keras at its first use: audio files do not."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"keras_sep.data.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'keras_sep.data' has no attribute {name!r}")
