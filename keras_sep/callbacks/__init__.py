"""Callbacks that keep a training run safe and visible."""

from keras_sep.callbacks.best_model import BestModel
from keras_sep.callbacks.codebook_histogram import CodebookHistogram
from keras_sep.callbacks.cooldown import Cooldown
from keras_sep.callbacks.reconstruction_images import ReconstructionImages
from keras_sep.callbacks.resumable_backup import ResumableBackup
from keras_sep.callbacks.training_curves import TrainingCurves

__all__ = [
    "BestModel",
    "CodebookHistogram",
    "Cooldown",
    "ReconstructionImages",
    "ResumableBackup",
    "TrainingCurves",
]
