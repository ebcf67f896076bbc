"""Separation of audio files: reading, writing, and never a half-written file."""

import os
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from keras_sep.data import audio
from keras_sep.inference.notice import SeparationNotice

# Bytes of a sample in the files that can be written.
SUBTYPES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}
CHANNELS = ("mix", "each")

# A WAV file counts its bytes in 32 bits; this leaves room for its headers.
_WAV_BYTES = 2**32 - 2**16


def output_paths(path: str | os.PathLike, out_folder: str | os.PathLike, num_sources: int):
    """The files that the sources of a file go to."""
    stem = Path(path).stem
    return [Path(out_folder) / f"{stem}_source{n + 1}.wav" for n in range(num_sources)]


def separate_file(separator, path, out_folder, channels, overwrite, subtype, progress):
    """`Separator.separate_file`; see there."""
    if channels not in CHANNELS:
        raise ValueError(f"channels must be one of {CHANNELS}, got {channels!r}")
    if subtype not in SUBTYPES:
        raise ValueError(f"subtype must be one of {tuple(SUBTYPES)}, got {subtype!r}")
    outputs = output_paths(path, out_folder, separator.num_sources)
    with audio.open_audio(path) as file:
        for output in outputs:
            if output.exists() and not overwrite:
                raise FileExistsError(f"{output} exists; overwrite it, or give another folder")
        Path(out_folder).mkdir(parents=True, exist_ok=True)
        for loss in _losses(file, separator.sample_rate, channels):
            warnings.warn(loss, SeparationNotice, stacklevel=3)
        # Hidden and beside, so that renaming moves no data and shows no half.
        with tempfile.TemporaryDirectory(prefix=".keras_sep-", dir=out_folder) as beside:
            written = [Path(beside) / output.name for output in outputs]
            over, peak = _write_sources(separator, file, written, channels, subtype, progress)
            for source, output in zip(written, outputs, strict=True):
                source.replace(output)
    if over:
        warnings.warn(
            f"{path}: {over} samples over full scale clipped, the highest by "
            f"{20 * np.log10(peak):.1f} dB; subtype FLOAT keeps them",
            SeparationNotice,
            stacklevel=3,
        )
    return outputs


def _write_sources(separator, file, paths, channels, subtype, progress):
    """Number of samples beyond full scale that were clipped, and the highest magnitude."""
    import soundfile

    num_channels = file.channels if channels == "each" else 1
    size = file.frames * num_channels * SUBTYPES[subtype]
    form = "WAV" if size < _WAV_BYTES else "RF64"
    done, over, peak = 0, 0, 0.0
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                soundfile.SoundFile(path, "w", file.samplerate, num_channels, subtype, None, form)
            )
            for path in paths
        ]
        blocks = _read_blocks(file, channels)
        for sources in separator.separate_channels(blocks, file.samplerate):
            for source, writer in enumerate(writers):
                writer.write(sources[:, source].T)
            if subtype != "FLOAT":
                over += np.count_nonzero(np.abs(sources) > 1.0)
                peak = max(peak, float(np.abs(sources).max(initial=0.0)))
            done += sources.shape[-1]
            if progress:
                progress(done, file.frames)
    if done == 0:
        raise audio.AudioError(f"{file.name} has no samples that can be decoded; replace it.")
    return over, peak


def _read_blocks(file, channels):
    """`(channels, samples)`, a second each."""
    while len(frames := audio.read_frames(file, file.samplerate)):
        if channels == "mix":
            frames = frames.mean(axis=1, keepdims=True)
        yield frames.T


def _losses(file, model_rate, channels):
    if file.samplerate != model_rate:
        yield (
            f"{file.name}: resampled {file.samplerate} → {model_rate} Hz and back, "
            f"so nothing above {min(model_rate, file.samplerate) // 2} Hz is left"
        )
    if channels == "mix" and file.channels > 1:
        yield (
            f"{file.name}: {file.channels} channels mixed down to one; channels "
            "'each' separates each on its own"
        )
