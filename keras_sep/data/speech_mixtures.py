"""Mixtures of speakers made on the fly, for `model.fit`."""

from __future__ import annotations

import itertools
import math
import os
import warnings
from pathlib import Path

import numpy as np

from keras_sep.data import audio, corpus
from keras_sep.data.arguments import check_folder, check_integer, check_range, is_finite
from keras_sep.data.random_batches import RandomBatches
from keras_sep.data.rooms import Rooms, reverberate

# Peak of a mixture or of its loudest source, in dB of full scale.
_PEAK_RANGE = (-24.0, -0.5)


class SpeechMixtures(RandomBatches):
    """Draws batches of mixtures and their sources from a folder of recordings by speaker.

    Batch `[index]` is `(mixture, sources)`, float32 of shapes `(batch, samples)` and
    `(batch, num_sources, samples)`; the mixture is the sum of the sources, plus noise where there
    is a `noise_folder`, unless the noise is a source too (`noise_target`). Nothing is written to
    disk, and only the segments are read, by seeking.

    - Sources: different speakers, drawn with probability proportional to the square root of their
      total duration, so that a voice of half an hour does not drown one of a minute. A segment is
      a random part of a random file; files shorter than it follow each other, with pauses of 0 to
      0.3 s, until it is full. No speaker is silent (RMS under -60 dBFS). With `min_sources` the
      number of speakers varies; the sources left over are zeros, and last.
    - Rooms: with a `reverberation_range` the speakers of a mixture are at different places of a
      simulated room, one of 500, before one microphone. The sources are what it hears of them,
      reverberation included, so that they still sum to the mixture; the noise stays as it is.
    - Gains: sources are brought to the same active RMS (over the 20 ms frames within 30 dB of the
      loudest one), then each gets a gain uniform within ±`snr_range` / 2 dB.
    - Noise: its segments are made like those of a speaker, without pauses; the ratio of the power
      of all sources to the noise's is uniform within `noise_snr_range`, in dB.
    - Level: mixture and sources are scaled by one factor, so that their highest peak is uniform
      within -24 to -0.5 dB of full scale.

    A batch depends on `seed`, `epoch` and its index only. Each epoch has new mixtures, unless
    `fixed` (for validation). A file found damaged while mixing is named in a warning, once, and
    another drawn in its place.

    To resume at an epoch, set `epoch` before `fit`, or let Keras say which one it is, as with
    `BackupAndRestore` (it calls this before it asks for the epoch's first batch):

    ```python
    keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(mixtures, "epoch", epoch)
    )
    ```

    Keep to one worker (the default): it mixes far faster than a network trains. With more, Keras
    carries batches that it had prefetched over to the next epoch, so that an epoch's mixtures
    depend on timing.

    Args:
        folder: Holds `<speaker>/**/*.{wav,flac,ogg,mp3}`. Several channels are averaged.
        num_sources: Speakers in a mixture (C).
        segment_seconds: Length of a mixture in seconds.
        sample_rate: In Hz.
        batch_size: Mixtures in a batch.
        num_batches: Batches in an epoch.
        snr_range: Width in dB of the range that each source's gain is drawn from.
        noise_folder: Holds noises, at any depth; None for no noise.
        noise_snr_range: Lowest and highest ratio of speech to noise in dB.
        noise_target: Whether the noise is one more source, the last, of shape
            `(batch, num_sources + 1, samples)` then.
        min_sources: Fewest speakers in a mixture, whose number is then uniform from this to
            `num_sources`; None for always `num_sources`.
        speed_range: Lowest and highest factor of a speed change that moves pitch and tempo
            together, drawn log-uniformly for each source, in steps of 0.01, as voice augmentation;
            None for none.
        reverberation_range: Lowest and highest RT60 of the rooms in seconds, above 0 and up to 1;
            None for no rooms. Needs pyroomacoustics.
        resample: Whether to use files of another rate, resampled, instead of skipping them.
        validation_split: Share of the files kept for validation, 0 to 1, by a hash of their names
            within `folder`, so that it stays the same when files are added.
        subset: "training" or "validation" part of a split; None without a split.
        fixed: Whether every epoch has the same mixtures.
        seed: Integer of at least 0.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Attributes:
        epoch: The epoch whose mixtures are drawn, from 0. Counted up at the end of every epoch.
        speakers: Seconds of speech by speaker.

    Raises:
        ImportError: There is a `reverberation_range`, but no pyroomacoustics.
        ValueError: An argument is out of range, a folder is missing or holds no usable audio, or
            there are fewer speakers than `num_sources`.

    Warns:
        UserWarning: Once, naming the files that are skipped, up to ten of them: unreadable, empty,
            of another rate, or beside the speakers' folders.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        num_sources: int = 2,
        segment_seconds: float = 4.0,
        sample_rate: int = 8000,
        batch_size: int = 8,
        num_batches: int = 1000,
        snr_range: float = 5.0,
        noise_folder: str | os.PathLike | None = None,
        noise_snr_range: tuple[float, float] = (0.0, 15.0),
        noise_target: bool = False,
        min_sources: int | None = None,
        speed_range: tuple[float, float] | None = None,
        reverberation_range: tuple[float, float] | None = None,
        resample: bool = False,
        validation_split: float = 0.0,
        subset: str | None = None,
        fixed: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(batch_size, num_batches, validation_split, subset, fixed, seed, **kwargs)
        check_integer("num_sources", num_sources, 1)
        check_integer("sample_rate", sample_rate, 1)
        if min_sources is not None:
            check_integer("min_sources", min_sources, 1, num_sources)
        if not is_finite(segment_seconds) or round(segment_seconds * sample_rate) < 1:
            raise ValueError(
                f"`segment_seconds` must give at least one sample, got {segment_seconds!r}."
            )
        if not is_finite(snr_range) or snr_range < 0:
            raise ValueError(f"`snr_range` must be a number of dB >= 0, got {snr_range!r}.")
        if noise_target and noise_folder is None:
            raise ValueError("`noise_target` needs a `noise_folder`, got noise_folder=None.")
        self.folder = folder
        self.num_sources = num_sources
        self.min_sources = min_sources
        self.segment_seconds = segment_seconds
        self.sample_rate = sample_rate
        self.snr_range = snr_range
        self.noise_folder = noise_folder
        self.noise_snr_range = check_range("noise_snr_range", noise_snr_range)
        self.noise_target = noise_target
        self.speed_range = None
        if speed_range is not None:
            self.speed_range = check_range("speed_range", speed_range, above=0.0)
        self.reverberation_range = self._rooms = None
        if reverberation_range is not None:
            self._rooms = Rooms(reverberation_range, num_sources, sample_rate, seed)
            self.reverberation_range = self._rooms.reverberation_range
        self.resample = resample
        self._samples = round(segment_seconds * sample_rate)
        self._scan()

    def draw_batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        mixture = np.empty((self.batch_size, self._samples), "float32")
        num_sources = self.num_sources + self.noise_target
        sources = np.zeros((self.batch_size, num_sources, self._samples), "float32")
        for example in range(self.batch_size):
            self._mix(rng, mixture[example], sources[example])
        return mixture, sources

    def draw_speakers(self, rng: np.random.Generator) -> list[corpus.Recordings]:
        """Draws different speakers, as many as a mixture may have."""
        num_speakers = self.num_sources
        if self.min_sources is not None:
            num_speakers = rng.integers(self.min_sources, num_speakers, endpoint=True)
        voices = rng.choice(len(self._voices), num_speakers, replace=False, p=self._probabilities)
        return [self._voices[voice] for voice in voices]

    def check_speakers(self) -> None:
        """Reads a segment of every speaker, and of the noise.

        Raises:
            AudioError: One of them has no sound, which otherwise shows only when it is drawn.
        """
        rng = np.random.default_rng(self.seed)
        for voice in [*self._voices, *([self._noise] if self._noise else [])]:
            voice.draw(rng, self._samples)

    def _mix(self, rng, mixture, sources):
        """Fills `mixture` `(samples,)` and `sources`, zeros of `(num_sources, samples)`."""
        voices = self.draw_speakers(rng)
        responses = self._rooms.draw(rng) if self._rooms else itertools.repeat(None)
        for source, voice, response in zip(sources, voices, responses, strict=False):
            source[:] = self._draw_source(rng, voice, response)
        np.sum(sources, axis=0, out=mixture)
        noise = self._draw_noise(rng, mixture)
        if self.noise_target:
            sources[-1] = noise
        peak = max(np.abs(mixture + noise).max(), np.abs(sources).max())
        scale = np.float32(_decibels(rng.uniform(*_PEAK_RANGE)) / peak)
        sources *= scale
        np.sum(sources, axis=0, out=mixture)
        if not self.noise_target:
            mixture += noise * scale

    def _draw_source(self, rng, voice, response):
        gain = _decibels(rng.uniform(-self.snr_range / 2, self.snr_range / 2))
        if self.speed_range is None:
            source = voice.draw(rng, self._samples)
        else:
            # soxr is four times slower for ratios that are not of small integers.
            low, high = self.speed_range
            speed = round(math.exp(rng.uniform(math.log(low), math.log(high))), 2)
            speed = min(max(speed, low), high)
            # Played `speed` times faster: read that much more, as if it had a higher rate.
            source = voice.draw(rng, math.ceil(self._samples * speed) + 1)
            source = audio.resample(source, speed, 1.0)[: self._samples]
        if response is not None:
            source = reverberate(source, response)
        return source * np.float32(gain / corpus.active_rms(source, self.sample_rate))

    def _draw_noise(self, rng, speech):
        if self._noise is None:
            return np.float32(0.0)
        noise = self._noise.draw(rng, self._samples)
        snr = _decibels(rng.uniform(*self.noise_snr_range))
        return noise * np.float32(corpus.rms(speech) / (corpus.rms(noise) * snr))

    def _scan(self):
        """Finds the recordings: headers only."""
        self._voices, problems = corpus.find_speakers(
            check_folder("folder", self.folder),
            self.num_sources,
            self.sample_rate,
            self.resample,
            self._in_subset,
            f" with files in the {self.subset} share" if self.subset else "",
        )
        self._noise = None
        if self.noise_folder is not None:
            noise_folder = check_folder("noise_folder", self.noise_folder)
            self._noise, unusable = corpus.find_noises(
                noise_folder, self.sample_rate, self.resample
            )
            problems += unusable
        if problems:
            warnings.warn(
                f"Skipped {len(problems)} audio files:" + corpus.describe_problems(problems),
                stacklevel=3,
            )
        self.speakers = {Path(voice.name).name: voice.seconds for voice in self._voices}
        weights = np.sqrt(list(self.speakers.values()))
        self._probabilities = weights / weights.sum()


def _decibels(value):
    """Amplitude ratio of a level in dB."""
    return 10.0 ** (value / 20.0)
