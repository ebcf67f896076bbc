"""Audio files: opening with clear errors, reading segments by seeking, resampling.

Thin over soundfile (libsndfile) and soxr, which are imported at first use so that
`import keras_sep` stays cheap. Waveforms here are float32 arrays `(frames, channels)`,
full scale ±1, as soundfile reads them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import soundfile

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")

# Frame counts beyond this (2 years at 48 kHz) are headers of streams with unknown length.
_MAX_FRAMES = 2**41


class AudioError(ValueError):
    """An audio file cannot be used; one line that names the file and the remedy."""


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file's header says.

    Attributes:
        path: The file.
        sample_rate: In Hz.
        frames: Samples per channel.
        channels: Number of channels.
    """

    path: str
    sample_rate: int
    frames: int
    channels: int

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate


def open_audio(path: str | os.PathLike) -> soundfile.SoundFile:
    """Opens an audio file for reading. Close it, or use it in a `with` statement.

    Raises:
        AudioError: The file is missing, a folder, not audio, or without samples.
    """
    import soundfile

    path = os.fspath(path)
    if os.path.isdir(path):
        raise AudioError(f"{path} is a folder; give an audio file inside it.")
    if not os.path.exists(path):
        raise AudioError(f"{path} does not exist; check the path.")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path} may not be read; change its permissions.")
    if os.path.getsize(path) == 0:
        raise AudioError(f"{path} is empty (0 bytes); give a file with samples.")
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        # TypeError: soundfile takes the suffix .raw for headerless audio and asks for its rate.
        raise AudioError(
            f"{path} is not audio that libsndfile reads ({_one_line(error)}); "
            "convert it to WAV or FLAC."
        ) from error
    if not 0 < file.frames < _MAX_FRAMES:
        file.close()
        raise AudioError(f"{path} has no samples; give a file with at least one.")
    return file


def inspect(path: str | os.PathLike) -> AudioInfo:
    """Reads only the header of an audio file. Raises `AudioError` as `open_audio` does."""
    with open_audio(path) as file:
        return AudioInfo(os.fspath(path), file.samplerate, file.frames, file.channels)


def read_frames(file: soundfile.SoundFile, frames: int = -1) -> np.ndarray:
    """Reads the next frames of an opened file, fewer at its end, all of them for -1.

    Returns:
        float32 `(frames, channels)`.

    Raises:
        AudioError: The file cannot be decoded here, or has NaN or infinite samples.
    """
    import soundfile

    try:
        samples = file.read(frames, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, AssertionError) as error:
        raise AudioError(
            f"{file.name} is damaged ({_one_line(error)}); replace or remove it."
        ) from error
    # One non-finite sample makes the sum of squares non-finite, at a fraction of isfinite's cost;
    # the second look tells it from an overflow of large but finite samples.
    flat = samples.ravel()
    if not np.isfinite(np.dot(flat, flat)) and not np.isfinite(flat).all():
        raise AudioError(f"{file.name} has NaN or infinite samples; replace or remove it.")
    return samples


def read_segment(path: str | os.PathLike, start: int, frames: int) -> np.ndarray:
    """Reads `frames` frames from frame `start` on by seeking, whatever the file's length.

    Returns:
        float32 `(frames, channels)`, shorter where the file ends.

    Raises:
        AudioError: As `open_audio` and `read_frames`, or `start` is not in the file.
    """
    import soundfile

    with open_audio(path) as file:
        if not 0 <= start < file.frames:
            raise AudioError(f"{file.name} has {file.frames} frames; `start` {start} is outside.")
        if start:
            try:
                file.seek(start)
            except soundfile.SoundFileError as error:
                raise AudioError(
                    f"{file.name} cannot be read from frame {start} on ({_one_line(error)}); "
                    "replace or remove it."
                ) from error
        return read_frames(file, frames)


def resample(waveform: np.ndarray, from_rate: float, to_rate: float) -> np.ndarray:
    """Resamples along axis 0 with soxr's high quality (HQ); the same array for equal rates.

    Args:
        waveform: `(frames,)` or `(frames, channels)`.
        from_rate: Rate of `waveform` in Hz.
        to_rate: Rate of the result in Hz.

    Raises:
        ValueError: A rate is not positive.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise ValueError(f"Rates must be positive, got {from_rate=}, {to_rate=}.")
    if from_rate == to_rate:
        return waveform
    import soxr

    return soxr.resample(waveform, from_rate, to_rate, quality="HQ")


def _one_line(error: Exception) -> str:
    """The reason alone: soundfile's messages repeat the file's name before it."""
    reason = getattr(error, "error_string", None) or str(error) or type(error).__name__
    return " ".join(reason.split()).rstrip(".")
