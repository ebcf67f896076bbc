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

# After a seek, MP3 decodes wrongly until the bits that it takes from earlier packets (up to 511
# bytes, 7 packets at 8 kbit/s) are its own: so start 8 packets of 1152 frames before.
_MP3_LEAD = 8 * 1152


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
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        # TypeError: soundfile takes the suffix .raw for headerless audio and asks for its rate.
        raise AudioError(_why_unreadable(path, error)) from error
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

    Blocks read one after the other are the file without gaps or glitches, in every format;
    `SoundFile.read` and `SoundFile.blocks` do not give that for MP3.

    Returns:
        float32 `(frames, channels)`.

    Raises:
        AudioError: The file cannot be decoded here, or has NaN or infinite samples.
    """
    import soundfile

    left = file.frames - file.tell()
    frames = left if frames < 0 else min(frames, left)
    # After every read of a seekable file soundfile seeks to where it is already, which costs
    # time in FLAC and OGG and puts a glitch between the blocks of an MP3: hide that it is one.
    file.seekable = lambda: False
    try:
        samples = file.read(frames, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, AssertionError) as error:
        raise AudioError(
            f"{file.name} is damaged ({_one_line(error)}); replace or remove it."
        ) from error
    finally:
        del file.seekable
    # One non-finite sample makes the sum of squares non-finite, at a fraction of isfinite's cost;
    # the second look tells it from an overflow of large but finite samples.
    flat = samples.ravel()
    with np.errstate(all="ignore"):
        energy = np.dot(flat, flat)
    if not np.isfinite(energy) and not np.isfinite(flat).all():
        raise AudioError(f"{file.name} has NaN or infinite samples; replace or remove it.")
    return samples


def read_segment(path: str | os.PathLike, start: int, frames: int) -> np.ndarray:
    """Reads `frames` frames from frame `start` on by seeking, whatever the file's length.

    Exact in WAV, FLAC and MP3; in OGG libsndfile may land a Vorbis block beside `start`, some
    25 ms (its issue 885), which does for a random segment.

    Returns:
        float32 `(frames, channels)`, shorter where the file ends.

    Raises:
        AudioError: As `open_audio` and `read_frames`, or `start` is not in the file.
        ValueError: `frames` is negative.
    """
    if frames < 0:
        raise ValueError(f"`frames` must be at least 0, got {frames}.")
    with open_audio(path) as file:
        if not 0 <= start < file.frames:
            raise AudioError(f"{file.name} has {file.frames} frames; `start` {start} is outside.")
        lead = min(start, _MP3_LEAD) if file.format == "MP3" else 0
        _seek(file, start - lead)
        return read_frames(file, lead + frames)[lead:]


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


def _seek(file, frame):
    import soundfile

    try:
        if frame:
            file.seek(frame)
    except soundfile.SoundFileError as error:
        raise AudioError(
            f"{file.name} cannot be read from frame {frame} on ({_one_line(error)}); "
            "replace or remove it."
        ) from error


def _why_unreadable(path: str, error: Exception) -> str:
    if os.path.isdir(path):
        return f"{path} is a folder; give an audio file inside it."
    if not os.path.exists(path):
        return f"{path} does not exist; check the path."
    if not os.access(path, os.R_OK):
        return f"{path} may not be read; change its permissions."
    if os.path.getsize(path) == 0:
        return f"{path} is empty (0 bytes); give a file with samples."
    return (
        f"{path} is not audio that libsndfile reads ({_one_line(error)}); "
        "convert it to WAV or FLAC."
    )


def _one_line(error: Exception) -> str:
    """The reason alone: soundfile's messages repeat the file's name before it."""
    reason = getattr(error, "error_string", None) or str(error) or type(error).__name__
    return " ".join(reason.split()).rstrip(".")
