"""Weights of other implementations: Conv-TasNet from and to them, MobileNet from them."""

from keras_sep.convert.asteroid import from_asteroid, to_asteroid
from keras_sep.convert.files import read_checkpoint
from keras_sep.convert.keras_applications import load_keras_applications
from keras_sep.convert.torch_mobilenets import from_timm, from_torchvision
from keras_sep.convert.torchaudio import from_torchaudio, to_torchaudio

__all__ = [
    "from_asteroid",
    "from_timm",
    "from_torchaudio",
    "from_torchvision",
    "load_keras_applications",
    "read_checkpoint",
    "to_asteroid",
    "to_torchaudio",
]
