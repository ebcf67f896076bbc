"""Folders of data, whichever kind they are."""

import os
from collections.abc import Sequence
from pathlib import Path

from keras_sep.evaluation.example import Example
from keras_sep.evaluation.mixed_folder import MixedFolder, is_mixed
from keras_sep.evaluation.segments import Segments
from keras_sep.evaluation.whole_files import WholeFiles


def open_data(
    folder: str | os.PathLike,
    num_sources: int,
    sample_rate: int,
    num_mixtures: int = 200,
    seconds: float | None = None,
    seed: int = 0,
    resample: bool = False,
) -> Sequence[Example]:
    """Opens a folder to evaluate a separator on.

    Args:
        folder: Mixtures with their sources (see `MixedFolder`), or a corpus by speaker, of which
            mixtures are made: of whole files (see `WholeFiles`), or of segments (see `Segments`).
        num_sources: Sources that the separator gives.
        sample_rate: Its rate in Hz.
        num_mixtures: Mixtures to make of a corpus by speaker.
        seconds: Length of the segments; None for whole files.
        seed: Of the mixtures made.
        resample: Whether files of another rate are resampled.

    Raises:
        ValueError: An argument is out of range, or the folder cannot be used; see the classes.

    Warns:
        UserWarning: Recordings are skipped.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give one of mixtures or of speakers")
    if num_mixtures < 1:
        raise ValueError(f"num_mixtures must be at least 1, got {num_mixtures}")
    if is_mixed(folder):
        if seconds is not None:
            raise ValueError(f"{folder} has mixtures already, which `seconds` does not cut")
        return MixedFolder(folder, num_sources, sample_rate, resample)
    if seconds is None:
        return WholeFiles(folder, num_sources, sample_rate, num_mixtures, seed, resample)
    return Segments(folder, num_sources, sample_rate, seconds, num_mixtures, seed, resample)
