"""Weights of Conv-TasNet from and to asteroid and torchaudio."""

from keras_sep.convert.asteroid import from_asteroid, to_asteroid
from keras_sep.convert.files import read_checkpoint
from keras_sep.convert.torchaudio import from_torchaudio, to_torchaudio

__all__ = ["from_asteroid", "from_torchaudio", "read_checkpoint", "to_asteroid", "to_torchaudio"]
