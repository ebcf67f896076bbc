"""Log-spectrograms of random segments of recordings, for `model.fit`."""

from __future__ import annotations

import os
import warnings

import numpy as np

from keras_sep.data import corpus
from keras_sep.data.arguments import check_folder, check_integer
from keras_sep.data.random_batches import RandomBatches


class SpectrogramCrops(RandomBatches):
    """Draws batches of log-spectrograms from a folder of recordings.

    Batch `[index]` is `(spectrograms,)`, float32 `(batch, num_frames, num_bins, 1)`: a random
    segment of a random file, files as likely as they are long, silent segments left out. A file
    shorter than the segment is followed by others. The values are levels, -1 at -100 dB and lower,
    1 at 0 dB, the level of a sine that fills the scale. A batch depends on `seed`, `epoch` and its
    index only; each epoch has new segments, unless `fixed` (for validation).

    To resume at an epoch, set `epoch` before `fit`, as of `ImageCrops`.

    Args:
        folder: Holds recordings (WAV, FLAC, OGG, MP3), at any depth. Several channels are averaged.
        num_frames: Frames of a spectrogram.
        num_bins: Frequencies: those of Hann windows of `2 · num_bins` samples, without the highest.
        hop: Samples from a frame to the next.
        sample_rate: In Hz.
        batch_size: Spectrograms in a batch.
        num_batches: Batches in an epoch.
        resample: Whether to use files of another rate, resampled, instead of skipping them.
        validation_split, subset, fixed, seed, **kwargs: As of `ImageCrops`.

    Raises:
        ValueError: An argument is out of range, or the folder has no usable recording.

    Warns:
        UserWarning: Once, naming the files that are skipped: unreadable, empty, of another rate.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        num_frames: int = 128,
        num_bins: int = 128,
        hop: int = 64,
        sample_rate: int = 8000,
        batch_size: int = 32,
        num_batches: int = 500,
        resample: bool = False,
        validation_split: float = 0.0,
        subset: str | None = None,
        fixed: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(batch_size, num_batches, validation_split, subset, fixed, seed, **kwargs)
        check_integer("num_frames", num_frames, 1)
        check_integer("num_bins", num_bins, 1)
        check_integer("hop", hop, 1)
        check_integer("sample_rate", sample_rate, 1)
        self.folder = folder
        self.num_frames = num_frames
        self.num_bins = num_bins
        self.hop = hop
        self.sample_rate = sample_rate
        self.resample = resample
        self._samples = (num_frames - 1) * hop + 2 * num_bins
        self._recordings = self._scan()

    def draw_batch(self, rng: np.random.Generator) -> tuple[np.ndarray]:
        segments = [self._recordings.draw(rng, self._samples) for _ in range(self.batch_size)]
        return (log_spectrograms(np.stack(segments), self.num_bins, self.hop)[..., None],)

    def _scan(self):
        folder = check_folder("folder", self.folder)
        paths = [p for p in corpus.find_audio(folder) if self._in_subset(p.relative_to(folder))]
        recordings, problems = corpus.scan(paths, self.sample_rate, self.resample)
        lines = corpus.describe_problems(problems)
        if not recordings:
            part = f" in its {self.subset} share" if self.subset else ""
            raise ValueError(f"`folder` must hold recordings; {folder} has none{part}." + lines)
        if problems:
            warnings.warn(f"Skipped {len(problems)} audio files:" + lines, stacklevel=3)
        usable = list(recordings.values())
        return corpus.Recordings(os.fspath(folder), usable, self.sample_rate)


def log_spectrograms(waveforms: np.ndarray, num_bins: int, hop: int) -> np.ndarray:
    """Levels of `(batch, samples)`, float32 `(batch, frames, num_bins)`: 1 at 0 dB, -1 at -100 dB.

    The frames are those that lie within the samples.
    """
    size = 2 * num_bins
    frames = np.lib.stride_tricks.sliding_window_view(waveforms, size, axis=-1)[:, ::hop]
    window = np.hanning(size + 1)[:-1].astype("float32")
    magnitudes = np.abs(np.fft.rfft(frames * window)[..., :-1]) * (2 / window.sum())
    levels = 20 * np.log10(np.maximum(magnitudes, 1e-5))
    return (levels / 50 + 1).astype("float32")
