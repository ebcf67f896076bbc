"""Separators whose answer is known."""

import numpy as np


class HalfWaves:
    """Separates the positive from the negative half-waves, in any order, at any scale and sign.

    Both halves depend on one sample only, so chunks and their edges cannot make a difference.
    """

    num_sources = 2

    def __init__(self, sample_rate=100, seed=None):
        self.sample_rate = sample_rate
        self.lengths = []
        self._rng = None if seed is None else np.random.default_rng(seed)

    def __call__(self, mixture):
        assert mixture.dtype == np.float32
        self.lengths.append(mixture.shape[1])
        sources = np.stack([np.maximum(mixture, 0), np.minimum(mixture, 0)], axis=1)
        if self._rng is None:
            return sources
        scale = np.exp(self._rng.normal()) * self._rng.choice([-1.0, 1.0])
        return (scale * sources[:, self._rng.permutation(2)]).astype("float32")


def half_waves(waveform):
    return np.stack([np.maximum(waveform, 0), np.minimum(waveform, 0)])


def noise(*shape, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=shape)).astype("float32")
