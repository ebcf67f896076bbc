"""Separation of a stream while it arrives."""

import os
from functools import partial
from pathlib import Path

import numpy as np
from keras import ops

from keras_sep.export import LiteStream, compile_step
from keras_sep.inference.loading import load_separator
from keras_sep.models import ConvTasNet

# Hops go through the model in such numbers, so that few shapes are compiled; and in no greater
# ones than this, as what LiteRT needs grows with their square.
_SIZES = {1, 4, 16, 64}
_MOST_HOPS = 256


class StreamingSeparator:
    """Separates one channel with a causal model, a few samples at a time.

    What comes out of `feed` and `flush`, put together, equals what the model makes of the whole
    recording. A sample is known when the encoder's last window over it is complete: sources lag
    behind the mixture by less than `latency` samples. The scale is the model's own, and silence
    or a change of level does not reset what its normalizations have heard.

    On TensorFlow and a CPU LiteRT runs the model, with the weights that it has when the separator
    is made and two copies of them for each number of hops that comes, see `LiteStream`; elsewhere
    what `compile_step` makes runs it.

    Args:
        model: A `ConvTasNet` with `causal=True`, or the path of its `.keras` file.
        chunk_seconds: Duration of the pieces that usually come, None if they differ. The model is
            compiled for them here, and for others in parts when such first come, which takes
            seconds.

    Attributes:
        model: The model.
        num_sources: Sources that come out (C).
        sample_rate: The model's, in Hz.
        latency: Samples that a sample may wait for its sources: `kernel_size`.

    Raises:
        ValueError: The model is of another kind, or not causal; `chunk_seconds` is 0 or below.
    """

    def __init__(self, model: ConvTasNet | str | os.PathLike, chunk_seconds: float | None = None):
        if chunk_seconds is not None and chunk_seconds <= 0:
            raise ValueError(f"chunk_seconds must be above 0, got {chunk_seconds}")
        if isinstance(model, str | os.PathLike):
            model = load_separator(Path(model))
        if not isinstance(model, ConvTasNet):
            raise ValueError(
                f"model must be a ConvTasNet or its .keras file, got {type(model).__name__}"
            )
        if not model.built:
            model.build((None, None))
        self.model = model
        self.num_sources = model.num_sources
        self.sample_rate = model.sample_rate
        self.latency = model.kernel_size
        self._lag = model.kernel_size - model.strides
        if LiteStream.takes(model):
            self._step = LiteStream(model)
            self._initial_state = self._step.initial_state
        else:
            self._step = compile_step(model)
            self._initial_state = partial(model.initial_state, 1)
        self._start()
        self._prepared = set()
        if chunk_seconds is not None:
            self._prepare(round(chunk_seconds * model.sample_rate))

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Takes the next samples of the mixture.

        Args:
            samples: `(n,)`, any number, finite.

        Returns:
            float32 `(num_sources, m)`: the samples whose sources are known now, in order.

        Raises:
            ValueError: `samples` is of another rank, or has NaN or infinite samples; the stream
                is as before.
        """
        samples = _checked(samples)
        waiting = np.concatenate([self._waiting, samples])
        if self._missing and len(waiting) >= self._lag:
            # Without padding the first frame begins with the first samples.
            self._state[0] = ops.convert_to_tensor(waiting[None, : self._lag])
            waiting = waiting[self._lag :]
            self._missing = False
        hops = 0 if self._missing else len(waiting) // self.model.strides
        sources = self._separate(waiting[: hops * self.model.strides])
        self._waiting = waiting[hops * self.model.strides :]
        self._fed += len(samples)
        return sources

    def flush(self, samples: np.ndarray | tuple = ()) -> np.ndarray:
        """Ends the stream; a new one may follow.

        Args:
            samples: The last samples of the mixture, as of `feed`. Where `chunk_seconds` was given
                and the model has padding they need no compilation, unlike the same in `feed`.

        Returns:
            float32 `(num_sources, m)`: the last samples.

        Raises:
            ValueError: `samples` is as `feed` refuses it, and the stream as before; or the model
                has no padding and the stream was shorter than its kernel, and is at its start.
        """
        first = np.zeros((self.num_sources, 0), "float32")
        if self.model.padding == "same":
            samples, strides = _checked(samples), self.model.strides
            rest = self._fed + len(samples) - self._given
            # Zeros, as the padding of the whole recording has them, until the lag is made up; and
            # more, for a number of hops that the model has been compiled for.
            end = np.concatenate([self._waiting, samples])
            size = max(self._prepared, default=1)
            pieces = -(-(len(end) + self._lag) // (size * strides))
            end = np.pad(end, (0, pieces * size * strides - len(end)))
            last = self._separate(end, size if self._prepared else None)
        else:
            first = self.feed(samples)
            rest = self._fed - self._given
            if 0 < self._fed < self.model.kernel_size:
                short = self._fed
                self._start()
                raise ValueError(
                    f"the stream must have at least kernel_size={self.model.kernel_size} samples "
                    f'with padding="valid", got {short}'
                )
            # What the last frames reach, and zeros where there was no frame.
            overlap = ops.convert_to_numpy(self._state[-1])[0]
            last = np.pad(overlap[:, : self._lag], ((0, 0), (0, rest)))
        self._start()
        return np.concatenate([first, last[:, :rest]], axis=-1)

    def _prepare(self, chunk):
        """Compiles for the one or two numbers of hops that chunks of this many samples bring."""
        for hops in {chunk // self.model.strides, -(-chunk // self.model.strides)}:
            self._prepared |= {min(hops, _MOST_HOPS), hops % _MOST_HOPS} - {0}
        for size in self._prepared:
            self._separate(np.zeros(size * self.model.strides, "float32"), size)
        self._start()

    def _start(self):
        self._state = self._initial_state()
        self._waiting = np.zeros(0, "float32")
        self._fed = self._given = 0
        self._missing = self.model.padding == "valid"
        self._early = 0 if self._missing else self._lag

    def _separate(self, mixture, size=None):
        """Whole hops of mixture to sources, without those that lie before the first sample.

        By `size` hops at a time, or by as many as there is a size for.
        """
        pieces, strides = [np.zeros((self.num_sources, 0), "float32")], self.model.strides
        hops = len(mixture) // strides
        while hops:
            now = size or max(size for size in _SIZES | self._prepared if size <= hops)
            chunk, mixture = np.split(mixture, [now * strides])
            sources, self._state = self._step(chunk[None], self._state)
            pieces.append(ops.convert_to_numpy(sources)[0])
            hops -= now
        sources = np.concatenate(pieces, axis=-1)
        early = min(self._early, sources.shape[-1])
        self._early -= early
        self._given += sources.shape[-1] - early
        return sources[:, early:]


def _checked(samples):
    """Samples as float32 of rank 1, all finite."""
    samples = np.asarray(samples, "float32")
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(
            f"samples must be finite and of shape (n,), got shape {samples.shape}"
            + ("" if samples.ndim != 1 else " with NaN or infinite samples")
        )
    return samples
