"""Separation of recordings of any length in constant memory."""

from keras_sep.inference.notice import SeparationNotice
from keras_sep.inference.separator import Separator

__all__ = ["SeparationNotice", "Separator"]
