"""Mixtures of whole recordings."""

import os

import numpy as np

from keras_sep.data import audio, corpus
from keras_sep.evaluation.example import Example

# Width of the range of the sources' gains in dB, as `SpeechMixtures` has it.
_SNR_RANGE = 5.0
# Highest peak of mixture and sources, so that they can be listened to.
_PEAK = 0.9
_MAX_DRAWS = 100


class WholeFiles:
    """Seeded mixtures of whole files of a corpus by speaker, cut to the shortest ("min").

    Speakers are drawn as in `SpeechMixtures`; of each a file, with probability proportional to
    its length. Sources get the same active RMS, then a gain uniform within ±2.5 dB. No source is
    silent (RMS under -60 dBFS) where it is left. `[index]` is an `Example` that depends on the
    folder, `seed` and the index only.

    Args:
        folder: Holds `<speaker>/**/*.{wav,flac,ogg,mp3}`. Several channels are averaged.
        num_sources: Speakers in a mixture.
        sample_rate: In Hz.
        num_mixtures: How many.
        seed: Integer of at least 0.
        resample: Whether to use files of another rate, resampled, instead of skipping them.

    Raises:
        ValueError: As `SpeechMixtures`.

    Warns:
        UserWarning: As `SpeechMixtures`.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        num_sources: int,
        sample_rate: int,
        num_mixtures: int = 200,
        seed: int = 0,
        resample: bool = False,
    ):
        from keras_sep.data import SpeechMixtures

        self.folder = folder
        self.seed = seed
        self._num_mixtures = num_mixtures
        self._speakers = SpeechMixtures(
            folder, num_sources, sample_rate=sample_rate, resample=resample, seed=seed
        )

    def __len__(self) -> int:
        return self._num_mixtures

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        for _ in range(_MAX_DRAWS):
            drawn = [voice.draw_file(rng) for voice in self._speakers.draw_speakers(rng)]
            samples = min(len(waveform) for _, waveform in drawn)
            sources = np.stack([waveform[:samples] for _, waveform in drawn])
            if all(map(corpus.is_audible, sources)):
                names = [os.path.relpath(path, self.folder) for path, _ in drawn]
                return Example(" + ".join(names), *self._mix(rng, sources))
        raise audio.AudioError(
            f"{self.folder}: {_MAX_DRAWS} random mixtures had a silent voice (below -60 dBFS); "
            "remove silent recordings."
        )

    def _mix(self, rng, sources):
        rate = self._speakers.sample_rate
        levels = np.array([[corpus.active_rms(source, rate)] for source in sources])
        gains = 10 ** (rng.uniform(-_SNR_RANGE / 2, _SNR_RANGE / 2, levels.shape) / 20)
        sources = sources * gains / levels
        mixture = sources.sum(axis=0)
        scale = _PEAK / max(np.abs(mixture).max(), np.abs(sources).max())
        return (scale * mixture).astype("float32"), (scale * sources).astype("float32")
