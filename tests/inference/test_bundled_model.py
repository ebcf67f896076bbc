"""The bundled model on long mixtures: chunks cost next to nothing, and no source changes place."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keras_sep.inference import Separator

MIXTURES = Path(__file__).parents[2] / "examples" / "data" / "mixtures"
SECONDS = 60


def si_snr(reference, estimate):
    reference, estimate = reference - reference.mean(), estimate - estimate.mean()
    target = (estimate @ reference) / (reference @ reference) * reference
    return 10 * np.log10((target @ target) / np.square(estimate - target).sum())


def mean_si_snr(references, estimates):
    return np.mean([si_snr(*pair) for pair in zip(references, estimates, strict=True)])


def best_order(references, estimates):
    orders = list(permutations(range(len(references))))
    return max(orders, key=lambda order: mean_si_snr(references, estimates[list(order)]))


def lead(references, estimates):
    """How many dB two voices are better in their places than in each other's."""
    return mean_si_snr(references, estimates) - mean_si_snr(references, estimates[::-1])


@pytest.fixture(scope="module")
def separators():
    return Separator(), Separator(chunk_seconds=2 * SECONDS)


@pytest.mark.parametrize("folder", sorted(path.parent for path in MIXTURES.glob("*/mixture.wav")))
def test_chunks_against_the_whole(separators, folder):
    voices = [
        soundfile.read(path)[0] for path in (folder / "reference1.wav", folder / "reference2.wav")
    ]
    samples = SECONDS * 8000
    # Other lengths, so that the voices meet differently in each round.
    references = np.stack(
        [
            np.resize(voice[: len(voice) - cut], samples)
            for voice, cut in zip(voices, (0, 1777), strict=True)
        ]
    )
    mixture = references.sum(axis=0)
    chunked, whole = (separator.separate(mixture) for separator in separators)
    order = list(best_order(references, chunked))
    chunked, whole = chunked[order], whole[list(best_order(references, whole))]
    assert mean_si_snr(references, chunked) > mean_si_snr(references, whole) - 0.3
    clear = 0
    for start in range(0, samples, 5 * 8000):
        part = slice(start, start + 5 * 8000)
        # Where even the whole has the voices in their places only just, chance decides.
        if lead(references[:, part], whole[:, part]) > 1.0:
            clear += 1
            assert lead(references[:, part], chunked[:, part]) > 0.0
    assert clear >= 8, "of 12 parts: the model separates"
