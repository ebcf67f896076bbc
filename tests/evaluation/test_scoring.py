"""Whole evaluations, of separators whose answer is known."""

import numpy as np
import pytest
import soundfile

from keras_sep.data import AudioError
from keras_sep.evaluation import Example, evaluate
from keras_sep.evaluation.saving import save_examples
from keras_sep.inference import Separator

RATE = 8000
RATIOS = ("si-snr", "si-snri", "sdr", "sdri")


class Known:
    """Gives the sources of the mixtures it knows, changed, as a `Separator` would."""

    num_sources, sample_rate = 2, RATE

    def __init__(self, data, change):
        self.data, self.change = data, change

    def separate(self, mixture):
        (example,) = [e for e in self.data if isinstance(e, Example) and e.mixture is mixture]
        return self.change(example)


class Damaged(list):
    """Examples, some of which cannot be read."""

    def __getitem__(self, index):
        example = super().__getitem__(index)
        if isinstance(example, Exception):
            raise example
        return example


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    examples = []
    for index in range(6):
        *sources, background = rng.normal(size=(3, 4000 + 100 * index)).astype("float32")
        mixture = np.sum(sources, axis=0) + 0.5 * background
        examples.append(Example(f"{index}.wav", mixture, np.stack(sources)))
    return examples


def test_the_unprocessed_mixture_gains_nothing(data):
    separator = Known(data, lambda example: np.stack([example.mixture] * 2))
    evaluation = evaluate(separator, data, RATIOS)
    for metric in ("si-snri", "sdri"):
        np.testing.assert_allclose(evaluation.values(metric), np.zeros(6), atol=1e-9)


def test_gains_are_over_the_mixture_with_its_noise(data):
    separator = Known(data, lambda example: example.sources[::-1] + 0.5 * example.sources)
    seen = []
    evaluation = evaluate(separator, data, RATIOS, lambda *counts: seen.append(counts))
    assert seen == [(done, 6) for done in range(1, 7)]
    assert [mixture.name for mixture in evaluation.mixtures] == [f"{n}.wav" for n in range(6)]
    assert [mixture.seconds for mixture in evaluation.mixtures] == [
        (4000 + 100 * n) / RATE for n in range(6)
    ]
    assert {tuple(mixture.order) for mixture in evaluation.mixtures} == {(1, 0)}
    # The other voice at -6 dB remains, of one at 0 dB and noise at -6 dB.
    np.testing.assert_allclose(evaluation.values("si-snr"), 10 * np.log10(4), atol=0.3)
    np.testing.assert_allclose(evaluation.values("si-snri"), 10 * np.log10(4 * 1.25), atol=0.3)


def test_an_evaluation_goes_on(data):
    silent = Example("silent", data[1].mixture, data[1].sources * [[1], [0]])
    data = Damaged([data[0], AudioError("a.wav is damaged"), silent, data[2], data[3]])

    def change(example):
        if example is data[3]:
            raise ValueError("the model gave NaN or infinite samples")
        return example.sources + 0.1 * example.mixture

    evaluation = evaluate(Known(data, change), data, ("si-snri",))
    assert evaluation.problems() == {
        ("si-snri", "a.wav is damaged"): 1,
        ("si-snri", "silent reference"): 1,
        ("si-snri", "the model gave NaN or infinite samples"): 1,
    }
    assert len(evaluation.mixtures) == 5
    assert evaluation.summary()["si-snri"]["mixtures"] == 2


def test_a_real_separator_and_nan(data):
    class Model:
        num_sources, sample_rate = 2, RATE

        def __call__(self, mixture):
            return np.stack([mixture, np.full_like(mixture, np.nan)], axis=1)

    evaluation = evaluate(Separator(Model()), data[:1], ("si-snr",))
    assert "NaN" in evaluation.mixtures[0].problems["si-snr"]


def test_another_number_of_sources(data):
    three = Example("three", data[0].mixture, np.stack([data[0].mixture] * 3))
    separator = Known([three], lambda example: example.sources[:2])
    with pytest.raises(ValueError, match=r"\(3, 4000\), \(2, 4000\)"):
        evaluate(separator, [three], ("si-snr",))


def test_examples_to_listen_to(data, tmp_path):
    separator = Known(data, lambda example: 3 * example.sources[::-1])
    evaluation = evaluate(separator, data, ("si-snr",))
    save_examples(separator, data, evaluation, [4, 1], tmp_path / "new" / "worst")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["worst"]
    assert sorted(path.name for path in (tmp_path / "new" / "worst").iterdir()) == ["1", "4"]
    for index in (1, 4):
        sounds = {
            path.stem: soundfile.read(path, dtype="float32")
            for path in (tmp_path / "new" / "worst" / str(index)).iterdir()
        }
        assert {rate for _, rate in sounds.values()} == {RATE}
        np.testing.assert_array_equal(sounds["mixture"][0], data[index].mixture)
        for number in (1, 2):
            source = data[index].sources[number - 1]
            np.testing.assert_array_equal(sounds[f"reference{number}"][0], source)
            np.testing.assert_array_equal(sounds[f"estimate{number}"][0], 3 * source)
