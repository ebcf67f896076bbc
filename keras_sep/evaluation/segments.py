"""Mixtures of one length."""

import os

from keras_sep.evaluation.example import Example

# Which mixtures a seed gives depends on it.
_BATCH_SIZE = 10


class Segments:
    """Seeded mixtures of random segments of a corpus by speaker, as `SpeechMixtures` makes them.

    `[index]` is an `Example`.

    Args:
        folder: Holds `<speaker>/**/*.{wav,flac,ogg,mp3}`. Several channels are averaged.
        num_sources: Speakers in a mixture.
        sample_rate: In Hz.
        seconds: Length of the mixtures.
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
        seconds: float = 4.0,
        num_mixtures: int = 200,
        seed: int = 0,
        resample: bool = False,
    ):
        from keras_sep.data import SpeechMixtures

        self._num_mixtures = num_mixtures
        self._mixtures = SpeechMixtures(
            folder,
            num_sources,
            seconds,
            sample_rate,
            batch_size=_BATCH_SIZE,
            num_batches=-(-num_mixtures // _BATCH_SIZE),
            resample=resample,
            fixed=True,
            seed=seed,
        )
        self._batch_index, self._batch = None, None

    def __len__(self) -> int:
        return self._num_mixtures

    def __getitem__(self, index: int) -> Example:
        batch_index, place = divmod(index, _BATCH_SIZE)
        if batch_index != self._batch_index:
            self._batch_index, self._batch = batch_index, self._mixtures[batch_index]
        mixture, sources = self._batch
        return Example(f"segments {index}", mixture[place], sources[place])
