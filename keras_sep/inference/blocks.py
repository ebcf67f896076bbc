"""Generators that separate a stream in constant memory: in chunks, and at another rate."""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from keras_sep.inference.chunk_joiner import ChunkJoiner

Blocks = Iterable[np.ndarray]


def in_chunks(
    separate_chunk: Callable[[np.ndarray], np.ndarray], blocks: Blocks, chunk: int, overlap: int
) -> Iterator[np.ndarray]:
    """Separates a stream in overlapping chunks of one length.

    A stream of up to `chunk` samples is separated whole. In a longer one the last chunk ends with
    the stream, overlapping the one before as far as it must: zeros after the end would change the
    statistics of a global norm, and a shorter chunk would have to be compiled.

    Args:
        separate_chunk: Maps `(channels, samples)` to `(channels, num_sources, samples)`.
        blocks: float32 `(channels, samples)`, any number of samples each.
        chunk: Samples of a chunk.
        overlap: Samples of the cross-fades, at most half of `chunk`.

    Yields: `(channels, num_sources, samples)`, as many samples in all as the blocks have.
    """
    joiner = ChunkJoiner(chunk, overlap)
    held, samples = [], 0  # from the start of the last separated chunk on
    hop, separated = 0, False
    for block in blocks:
        held.append(np.array(block, "float32"))
        samples += block.shape[-1]
        if samples < hop + chunk:
            continue
        mixture = np.concatenate(held, axis=-1)
        while mixture.shape[-1] >= hop + chunk:
            mixture = mixture[:, hop:]
            yield joiner.add(separate_chunk(mixture[:, :chunk]), hop)
            hop, separated = joiner.next_hop(), True
        held, samples = [mixture], mixture.shape[-1]
    if samples == 0:
        return
    mixture = np.concatenate(held, axis=-1)
    if not separated:
        yield separate_chunk(mixture)
        return
    if samples > chunk:
        yield joiner.add(separate_chunk(mixture[:, -chunk:]), samples - chunk)
    yield joiner.rest()


def at_rate(
    separate: Callable[[Blocks], Iterator[np.ndarray]], blocks: Blocks, rate: int, model_rate: int
) -> Iterator[np.ndarray]:
    """Resamples a stream to the model's rate, separates it, and resamples the sources back.

    Args:
        separate: Maps blocks `(channels, samples)` to `(channels, num_sources, samples)`.
        blocks: float32 `(channels, samples)` at `rate`.
        rate: In Hz.
        model_rate: In Hz.

    Yields: `(channels, num_sources, samples)` at `rate`, as many samples in all as the blocks
        have.
    """
    if rate == model_rate:
        yield from separate(blocks)
        return
    left = 0

    def counted():
        nonlocal left
        for block in blocks:
            left += block.shape[-1]
            yield block

    resampler = None
    for sources in separate(resampled(counted(), rate, model_rate)):
        shape = sources.shape[:2]
        sources = sources.reshape(-1, sources.shape[-1])
        resampler = resampler or _resampler(model_rate, rate, len(sources))
        back = resampler.resample_chunk(np.ascontiguousarray(sources.T))[:left]
        left -= len(back)
        if len(back):
            yield back.T.reshape(*shape, -1)
    if resampler:
        back = resampler.resample_chunk(np.zeros((0, math.prod(shape)), "float32"), last=True)
        if left:
            yield back[:left].T.reshape(*shape, -1)


def resampled(blocks: Blocks, rate: int, new_rate: int) -> Iterator[np.ndarray]:
    """Resamples a stream of blocks `(channels, samples)`; gives them as they are at equal rates."""
    if rate == new_rate:
        yield from blocks
        return
    resampler = None
    for block in blocks:
        resampler = resampler or _resampler(rate, new_rate, len(block))
        yield resampler.resample_chunk(np.ascontiguousarray(block.T)).T
    if resampler:
        # One sample of the new rate more: rounding must not leave less than came in.
        end = np.zeros((math.ceil(rate / new_rate), len(block)), "float32")
        yield resampler.resample_chunk(end, last=True).T


def _resampler(from_rate, to_rate, channels):
    import soxr

    return soxr.ResampleStream(from_rate, to_rate, channels, "float32", quality="HQ")
