"""Separation of waveforms and files of any length."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from keras_sep.inference.blocks import at_rate, in_chunks
from keras_sep.inference.files import separate_file
from keras_sep.inference.gains import fit_gains
from keras_sep.inference.loading import load_separator

# What the model hears a chunk's peak at, amid the levels that it was trained on.
_PEAK = 0.25


class Separator:
    """Separates recordings of any length, in constant memory.

    - Long input is separated in overlapping chunks, cross-faded; the sources keep their places
      by their likeness in the overlaps (see `ChunkJoiner`). Where all sources but one rest for
      longer than half a chunk, nothing tells who comes back, and the model's own order stands.
      Input of up to one chunk is separated whole. A chunk should be several times as long as what
      the architecture sees (Conv-TasNet: 0.5 to 3 s), or its edges and, in a global
      normalization, its statistics cost quality.
    - The level of the input does not matter, nor do scale and sign of the model's outputs: each
      chunk is brought to one level, and its sources get the gains with which they sum to about
      the mixture (see `fit_gains`). Silence gives silence.

    Args:
        model: A `ConvTasNet` or another callable with `num_sources` and `sample_rate` that maps
            mixtures `(batch, samples)` to sources `(batch, num_sources, samples)`; or the path of
            a `.keras` file, of a SavedModel `<name>/<version>`, or of `<name>` for its newest
            version; or None for the bundled model: two speakers, 8 kHz.
        chunk_seconds: Length of the chunks.
        overlap_seconds: Least overlap of chunks, and length of the cross-fades, at most half of
            `chunk_seconds`; None for 2 s, or an eighth of chunks under 16 s.
        dtype: With `model` None or a `.keras` file, what it computes in, "float32" or "bfloat16"
            (weights and decoder stay float32); None for what the file says. bfloat16 is for
            processors that multiply it, and slower on others.
        jit_compile: With PyTorch and `model` None or a `.keras` file, compile it: see
            `fold_for_inference`. It takes seconds at the first recording, and again at the next of
            another length that is separated whole. JAX always compiles.

    Attributes:
        model: The model.
        num_sources: Sources that come out (C).
        sample_rate: The model's, in Hz.

    Raises:
        ValueError: There is no such model, or an argument is out of range; one line.
    """

    def __init__(
        self,
        model: Callable | str | os.PathLike | None = None,
        chunk_seconds: float = 32.0,
        overlap_seconds: float | None = None,
        dtype: str | None = None,
        jit_compile: bool = False,
    ):
        if overlap_seconds is None:
            overlap_seconds = min(2.0, chunk_seconds / 8)
        if not 0 < chunk_seconds < float("inf"):
            raise ValueError(f"chunk_seconds must be a positive number, got {chunk_seconds}")
        if not 0 < overlap_seconds <= chunk_seconds / 2:
            raise ValueError(
                "overlap_seconds must be above 0 and at most half of "
                f"chunk_seconds={chunk_seconds}, got {overlap_seconds}"
            )
        from_file = model is None or isinstance(model, str | os.PathLike)
        if from_file:
            model = load_separator(None if model is None else Path(model), dtype)
        elif dtype is not None:
            raise ValueError("dtype goes with the path of a .keras file; a model has its own")
        if jit_compile and (not from_file or not hasattr(model, "predict_on_batch")):
            raise ValueError("jit_compile goes with the path of a .keras file, and with PyTorch")
        if not (hasattr(model, "num_sources") and hasattr(model, "sample_rate")):
            raise ValueError(
                "model must be a separator with num_sources and sample_rate, or a path, "
                f"got {type(model).__name__}"
            )
        self.model = model
        self.num_sources = model.num_sources
        self.sample_rate = model.sample_rate
        self.chunk_seconds = chunk_seconds
        self.overlap_seconds = overlap_seconds
        self._overlap = max(round(overlap_seconds * self.sample_rate), 1)
        self._chunk = max(round(chunk_seconds * self.sample_rate), 2 * self._overlap)
        # Keras models compile it; others are functions of arrays already.
        self._predict = getattr(model, "predict_on_batch", model)
        if from_file and self._predict is not model:
            from keras_sep.export import array_function

            # The weights of a model from a file stay as they are.
            self._predict = array_function(model, jit_compile)

    def separate(self, waveform: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
        """Separates one channel.

        Args:
            waveform: `(samples,)`, at least one, of any scale.
            sample_rate: Its rate in Hz, None for the model's. From another rate it is resampled
                to the model's and back, so that the sources have nothing above half the model's.

        Returns:
            float32 `(num_sources, samples)`, as long as `waveform`, on its scale.

        Raises:
            ValueError: `waveform` is empty, of another rank, or has NaN or infinite samples.
        """
        blocks = list(self.separate_blocks([waveform], sample_rate))
        if not blocks:
            raise ValueError("waveform must have at least one sample, got none")
        return np.concatenate(blocks, axis=-1)

    def separate_blocks(
        self, blocks: Iterable[np.ndarray], sample_rate: int | None = None
    ) -> Iterator[np.ndarray]:
        """Separates one channel that comes in blocks, in constant memory.

        How the samples are divided into blocks makes no difference. Sources come out as soon as
        their chunks are complete.

        Args:
            blocks: `(samples,)` each, any number of samples.
            sample_rate: As for `separate`.

        Yields: float32 `(num_sources, samples)`, as many samples in all as the blocks have.

        Raises:
            ValueError: As `separate`, but no samples give no blocks.
        """
        channels = (_checked(block)[None] for block in blocks)
        for sources in self.separate_channels(channels, sample_rate):
            yield sources[0]

    def separate_channels(
        self, blocks: Iterable[np.ndarray], sample_rate: int | None = None
    ) -> Iterator[np.ndarray]:
        """Separates several channels, each on its own, that come in blocks.

        The sources have the same order in all channels, by their likeness to the first one's.

        Args:
            blocks: Finite float32 `(channels, samples)` each.
            sample_rate: As for `separate`.

        Yields: float32 `(channels, num_sources, samples)`.
        """
        rate = self.sample_rate if sample_rate is None else sample_rate
        if not 0 < rate < float("inf"):
            raise ValueError(f"sample_rate must be a positive number of Hz, got {sample_rate}")
        separate = partial(
            in_chunks, self._separate_chunk, chunk=self._chunk, overlap=self._overlap
        )
        yield from at_rate(separate, blocks, rate, self.sample_rate)

    def separate_file(
        self,
        path: str | os.PathLike,
        out_folder: str | os.PathLike = "separated",
        channels: str = "mix",
        overwrite: bool = False,
        subtype: str = "PCM_16",
        progress: Callable[[int, int], object] | None = None,
    ) -> list[Path]:
        """Separates a WAV, FLAC, OGG or MP3 file into one WAV file a source.

        The files are `<stem>_source1.wav` and so on, at the input's rate and as long. They appear
        when they are complete; an error or Ctrl-C leaves nothing behind. Beyond 4 GB they are
        RF64, which WAV cannot be.

        Args:
            path: The file.
            out_folder: Where the sources go; made if missing.
            channels: "mix" averages several channels into one; "each" separates each on its own,
                and the files have as many channels as the input.
            overwrite: Whether files that exist are replaced.
            subtype: Sample format: "PCM_16", "PCM_24" or "FLOAT".
            progress: Called with the frames that are done and those of the file.

        Returns:
            The paths of the written files.

        Raises:
            keras_sep.data.AudioError: `path` cannot be read, or has NaN or infinite samples.
            FileExistsError: An output exists, and `overwrite` is False. Nothing was computed.
            OSError: `out_folder` cannot be written.
            ValueError: An argument is out of range.

        Warns:
            SeparationNotice: The file was resampled or mixed down; samples over full scale were
                clipped, which "FLOAT" does not do.
        """
        return separate_file(self, path, out_folder, channels, overwrite, subtype, progress)

    def _separate_chunk(self, channels):
        """`(channels, samples)` to `(channels, num_sources, samples)`."""
        # One after the other, so that memory does not grow with them.
        return np.stack([self._separate_mixture(mixture) for mixture in channels])

    def _separate_mixture(self, mixture):
        peak = np.abs(mixture).max()
        if peak == 0:
            return np.zeros((self.num_sources, len(mixture)), "float32")
        # In float64, where the reciprocal of the least float32 is still finite.
        leveled = mixture * (_PEAK / np.float64(peak))
        sources = np.asarray(self._predict(leveled.astype("float32")[None]))[0]
        gains = fit_gains(mixture, sources)
        return (gains[:, None] * sources).astype("float32")


def _checked(block):
    block = np.asarray(block)
    if block.ndim != 1 or block.dtype.kind not in "fiu":
        raise ValueError(
            "waveform must have one channel of numbers, shape (samples,), "
            f"got {block.dtype} of shape {block.shape}"
        )
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and said to be so
        block = block.astype("float32")
    if not np.isfinite(block).all():
        raise ValueError("waveform must be finite, got NaN or infinite samples")
    return block
