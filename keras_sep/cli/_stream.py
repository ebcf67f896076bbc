"""Raw samples from standard input, separated on standard output as they come."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from keras_sep.cli._backend import quiet_native_code
from keras_sep.cli._errors import UserError

_MOST_BYTES = 1 << 16
_CHUNK_SECONDS = 0.02
_SAMPLE = np.dtype("<i2")


def separate_stream(model: Path | None) -> None:
    """Separates 16-bit samples, little-endian, one channel, at the model's rate.

    Writes the same format with one channel a source, until the input ends or Ctrl-C.
    """
    if model is None:
        raise UserError("--stream needs a causal model, which the bundled one is not: give --model")
    with quiet_native_code():
        from keras_sep.inference import StreamingSeparator

        try:
            separator = StreamingSeparator(model, _CHUNK_SECONDS)
        except ValueError as error:
            raise UserError(f"{model}: {' '.join(str(error).split())}") from None
    print(
        f"keras-sep: ready for one channel of 16-bit samples at {separator.sample_rate} Hz; "
        f"{separator.num_sources} channels come out",
        file=sys.stderr,
    )
    clipped = 0
    try:
        for sources in _separated(separator, sys.stdin.buffer):
            samples = np.rint(sources.T * 32768)
            clipped += np.count_nonzero((samples < -32768) | (samples > 32767))
            sys.stdout.buffer.write(samples.clip(-32768, 32767).astype(_SAMPLE).tobytes())
            sys.stdout.buffer.flush()
    except ValueError as error:
        raise UserError(str(error)) from None
    except BrokenPipeError:
        # Who listened has gone, and flushing at exit would say so again.
        sys.stdout = None
    if clipped:
        print(f"keras-sep: {clipped} samples over full scale were clipped", file=sys.stderr)


def _separated(separator, source):
    """Sources of whole chunks, for which the model is compiled, then those of what is left."""
    size = max(round(_CHUNK_SECONDS * separator.sample_rate), 1) * _SAMPLE.itemsize
    rest = b""
    with _end_of_input_at_interrupt() as read:
        while data := read(source):
            rest += data
            while len(rest) >= size:
                yield separator.feed(_waveform(rest[:size]))
                rest = rest[size:]
        yield separator.flush(_waveform(rest[: len(rest) // _SAMPLE.itemsize * _SAMPLE.itemsize]))


def _waveform(data):
    return np.frombuffer(data, _SAMPLE) / np.float32(32768)


@contextmanager
def _end_of_input_at_interrupt() -> Iterator:
    """Yields a function that reads what is there; after Ctrl-C there is nothing more.

    A step that runs when Ctrl-C comes is finished first, or its samples would be missing.
    """
    interrupted = reading = False

    def interrupt(*_):
        nonlocal interrupted
        interrupted = True
        if reading:
            raise KeyboardInterrupt

    def read(source):
        nonlocal reading
        try:
            reading = True
            return b"" if interrupted else source.read1(_MOST_BYTES)
        except KeyboardInterrupt:
            return b""
        finally:
            reading = False

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield read
    finally:
        signal.signal(signal.SIGINT, before)
