"""Pieces of sounds and their classes, for `model.fit`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_sep.data import audio
from keras_sep.data.arguments import check_integer, is_finite

# Peak of a piece in dB of full scale.
_PEAK_RANGE = (-30.0, -0.5)
# Pieces are played at a speed in this range, which moves pitch and tempo together.
_SPEED_RANGE = (0.8, 1.25)
# Every second piece is cut off at a frequency in this range: few recordings have the whole band,
# and those that have it must not be known by that.
_LOWPASS_HZ = (3400.0, 8000.0)
_LOWPASS_SHARE = 0.5
_SILENCE_PEAK = 1e-3
_MAX_DRAWS = 10


class SoundPatches(keras.utils.PyDataset):
    """Draws batches of pieces of recordings and their classes.

    Batch `[index]` is `(waveforms, labels)`, float32 of shapes `(batch, samples)` and
    `(batch, num_classes)`, one-hot unless there is mixup. Only the pieces are read, by seeking.

    - Balance: all classes equally often, in a class all files, whatever their number and length.
    - Place: a random one, once more where it is silent; a file shorter than a piece lies at a
      random place in zeros.
    - Augmentation, unless `augment` is False: the peak is uniform within -30 to -0.5 dB of full
      scale, the speed log-uniform within 0.8 to 1.25, and half of the pieces lose what is above a
      frequency between 3.4 and 8 kHz.

    A batch depends on `seed`, `epoch` and its index only. Each epoch has new pieces, unless
    `fixed` (for validation). Set `epoch` at its begin, as for `SpeechMixtures`.

    Args:
        files: Files by class, as `split_sounds(folder)["train"]`. Several channels are averaged,
            other rates resampled.
        samples: Samples of a piece.
        sample_rate: In Hz.
        batch_size: Pieces in a batch.
        num_batches: Batches in an epoch.
        augment: Whether to vary level, speed and bandwidth.
        mixup: α of mixup: pieces and labels are mixed with another of the batch, with weights
            from a Beta(α, α) distribution. 0 for none.
        fixed: Whether every epoch has the same pieces.
        seed: Integer of at least 0.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Attributes:
        class_names: The classes, in the order of the labels.
        epoch: The epoch whose pieces are drawn, from 0.

    Raises:
        ValueError: An argument is out of range.
        AudioError: A file cannot be read.

    Source of mixup: Zhang et al. 2018 (arXiv 1710.09412).
    """

    def __init__(
        self,
        files: Mapping[str, Sequence[Path]],
        samples: int,
        sample_rate: int = 16000,
        batch_size: int = 64,
        num_batches: int = 100,
        augment: bool = True,
        mixup: float = 0.0,
        fixed: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in [
            ("samples", samples),
            ("sample_rate", sample_rate),
            ("batch_size", batch_size),
            ("num_batches", num_batches),
        ]:
            check_integer(name, value, 1)
        check_integer("seed", seed, 0)
        if not is_finite(mixup) or mixup < 0:
            raise ValueError(f"`mixup` must be a number >= 0, got {mixup!r}.")
        if len(files) < 2 or not all(files.values()):
            raise ValueError(f"`files` must hold two classes or more with files, got {files!r}.")
        self.files = files
        self.class_names = list(files)
        self.samples = samples
        self.sample_rate = sample_rate
        self.batch_size = batch_size
        self._num_batches = num_batches
        self.augment = augment
        self.mixup = mixup
        self.fixed = fixed
        self.seed = seed
        self.epoch = 0

    @property
    def num_batches(self) -> int:
        return self._num_batches

    def __len__(self) -> int:
        return self._num_batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= index < self.num_batches:
            raise IndexError(f"`index` must be from 0 to {self.num_batches - 1}, got {index}.")
        rng = np.random.default_rng([self.seed, 0 if self.fixed else self.epoch, index])
        classes = rng.integers(len(self.class_names), size=self.batch_size)
        labels = np.eye(len(self.class_names), dtype="float32")[classes]
        waveforms = np.stack([self._draw(rng, self.class_names[k]) for k in classes])
        if self.mixup:
            weights = rng.beta(self.mixup, self.mixup, (self.batch_size, 1)).astype("float32")
            waveforms = weights * waveforms + (1 - weights) * np.roll(waveforms, 1, axis=0)
            labels = weights * labels + (1 - weights) * np.roll(labels, 1, axis=0)
        return waveforms, labels

    def _draw(self, rng, class_name):
        files = self.files[class_name]
        speed = 1.0
        if self.augment:
            # In steps: soxr is slower for ratios that are not of small integers.
            speed = round(math.exp(rng.uniform(*np.log(_SPEED_RANGE))), 2)
        piece = self._read(rng, audio.inspect(files[rng.integers(len(files))]), speed)
        if not self.augment:
            return piece
        if rng.random() < _LOWPASS_SHARE:
            piece = lowpass(piece, self.sample_rate, rng.uniform(*_LOWPASS_HZ))
        peak = np.abs(piece).max()
        level = 10.0 ** (rng.uniform(*_PEAK_RANGE) / 20.0)
        return piece * np.float32(level / peak) if peak else piece

    def _read(self, rng, info, speed):
        """A piece that is not silent, if some draws find one."""
        rate = info.sample_rate * speed
        frames = math.ceil(self.samples * rate / self.sample_rate)
        for _ in range(_MAX_DRAWS):
            start = int(rng.integers(max(info.frames - frames, 0) + 1))
            piece = audio.read_segment(info.path, start, frames).mean(axis=1)
            piece = audio.resample(piece, rate, self.sample_rate)[: self.samples]
            if np.abs(piece).max(initial=0.0) > _SILENCE_PEAK:
                break
        room = self.samples - len(piece)
        before = int(rng.integers(room + 1))
        return np.pad(piece, (before, room - before))


def lowpass(waveform: np.ndarray, sample_rate: int, frequency: float) -> np.ndarray:
    """Takes out what is above a frequency, over the whole of `(samples,)`."""
    spectrum = np.fft.rfft(waveform)
    spectrum[math.ceil(frequency * len(waveform) / sample_rate) :] = 0
    return np.fft.irfft(spectrum, len(waveform)).astype("float32")
