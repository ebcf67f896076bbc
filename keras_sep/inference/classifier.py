"""What is heard in waveforms and files of any length."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from keras_sep.data import audio
from keras_sep.inference.blocks import resampled
from keras_sep.inference.loading import load_classifier
from keras_sep.inference.notice import ClassificationNotice

# One number of patches a call, so that backends that compile do so once.
_BATCH = 16


class Classifier:
    """Class probabilities of recordings of any length, in constant memory.

    Patches of a recording are classified by sixteens; the result is the one of the model's own
    call on the whole.

    Args:
        model: A `SoundClassifier` or another callable with `class_names`, `sample_rate`,
            `patch_samples` and `patch_hop_samples` that maps waveforms `(batch, samples)` to
            probabilities `(batch, num_classes)`; or the path of a `.keras` file, of a SavedModel
            `<name>/<version>`, or of `<name>` for its newest version; or None for the bundled
            model.

    Attributes:
        model: The model.
        class_names: Names of the classes.
        sample_rate: The model's, in Hz.

    Raises:
        ValueError: There is no such model; one line.
    """

    def __init__(self, model: Callable | str | os.PathLike | None = None):
        if model is None or isinstance(model, str | os.PathLike):
            model = load_classifier(None if model is None else Path(model))
        if not (hasattr(model, "class_names") and hasattr(model, "patch_samples")):
            raise ValueError(
                "model must be a sound classifier with class_names, or a path, "
                f"got {type(model).__name__}"
            )
        self.model = model
        self.class_names = list(model.class_names)
        self.sample_rate = model.sample_rate
        # Keras models compile it; others are functions of arrays already.
        self._predict = getattr(model, "predict_on_batch", model)

    def classify(self, waveform: np.ndarray, sample_rate: int | None = None) -> dict[str, float]:
        """Probabilities of the classes, the highest first.

        Args:
            waveform: `(samples,)`, at least one, between -1 and 1.
            sample_rate: Its rate in Hz, None for the model's; from another it is resampled.

        Raises:
            ValueError: `waveform` is empty, of another rank, or has NaN or infinite samples.
        """
        return self._by_class(self.classify_patches(waveform, sample_rate).mean(axis=0))

    def classify_patches(self, waveform: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
        """Probabilities of each patch, float32 `(patches, num_classes)`.

        Arguments and errors are those of `classify`.
        """
        waveform = np.asarray(waveform)
        if waveform.ndim != 1 or len(waveform) == 0 or waveform.dtype.kind not in "fiu":
            raise ValueError(
                "waveform must have one channel of at least one number, shape (samples,), "
                f"got {waveform.dtype} of shape {waveform.shape}"
            )
        waveform = waveform.astype("float32")
        if not np.isfinite(waveform).all():
            raise ValueError("waveform must be finite, got NaN or infinite samples")
        return np.concatenate(list(self._classify_blocks([waveform], sample_rate)))

    def classify_file(
        self,
        path: str | os.PathLike,
        progress: Callable[[int, int], object] | None = None,
    ) -> dict[str, float]:
        """Probabilities of the classes in a WAV, FLAC, OGG or MP3 file, the highest first.

        Args:
            path: The file.
            progress: Called with the frames that are done and those of the file.

        Raises:
            keras_sep.data.AudioError: `path` cannot be read, or has NaN or infinite samples.

        Warns:
            ClassificationNotice: The file was resampled or mixed down.
        """
        total, count = np.zeros(len(self.class_names)), 0
        with audio.open_audio(path) as file:
            for change in self._changes(file):
                warnings.warn(change, ClassificationNotice, stacklevel=2)
            for probabilities in self._classify_blocks(_blocks(file), file.samplerate):
                total += probabilities.sum(axis=0)
                count += len(probabilities)
                if progress:
                    progress(file.tell(), file.frames)
            if not count:
                raise audio.AudioError(
                    f"{file.name} has no samples that can be decoded; replace it."
                )
        return self._by_class(total / count)

    def _by_class(self, probabilities):
        order = np.argsort(-probabilities, kind="stable")
        return {self.class_names[k]: float(probabilities[k]) for k in order}

    def _changes(self, file):
        if file.samplerate != self.sample_rate:
            yield f"{file.name}: resampled {file.samplerate} → {self.sample_rate} Hz"
        if file.channels > 1:
            yield f"{file.name}: {file.channels} channels mixed down to one"

    def _classify_blocks(
        self, blocks: Iterable[np.ndarray], sample_rate: int | None
    ) -> Iterator[np.ndarray]:
        """Blocks `(samples,)` to probabilities `(patches, num_classes)`, some at a time."""
        rate = self.sample_rate if sample_rate is None else sample_rate
        if not 0 < rate < float("inf"):
            raise ValueError(f"sample_rate must be a positive number of Hz, got {sample_rate}")
        blocks = (block[None] for block in blocks)
        blocks = (block[0] for block in resampled(blocks, rate, self.sample_rate))
        for patches in _batches(blocks, self.model.patch_samples, self.model.patch_hop_samples):
            batch = np.zeros((_BATCH, self.model.patch_samples), "float32")
            batch[: len(patches)] = patches
            yield np.asarray(self._predict(batch))[: len(patches)]


def _blocks(file):
    """`(samples,)`, ten seconds each, the mean of the channels."""
    while len(frames := audio.read_frames(file, 10 * file.samplerate)):
        yield frames.mean(axis=1)


def _batches(blocks, size, hop):
    """Up to _BATCH patches each, `(patches, size)`; zeros complete the last one."""
    wanted = size + (_BATCH - 1) * hop
    held, any_patch = np.zeros(0, "float32"), False
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= wanted:
            yield _patches(held[:wanted], size, hop)
            held, any_patch = held[_BATCH * hop :], True
    # What is left beyond the patches before, if anything, or all of a short waveform.
    left = len(held) - (size - hop) if any_patch else len(held)
    if left > 0:
        num_patches = 1 + max(0, -(-(len(held) - size) // hop))
        held = np.pad(held, (0, size + (num_patches - 1) * hop - len(held)))
        yield _patches(held, size, hop)


def _patches(waveform, size, hop):
    return np.lib.stride_tricks.sliding_window_view(waveform, size)[::hop]
