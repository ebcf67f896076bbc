"""Classification of recordings: equal to the model on the whole, whatever the blocks and rates."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from keras_sep.data import AudioError
from keras_sep.inference import ClassificationNotice, Classifier


class Loudness:
    """Says of each patch how loud it is; several patches are averaged, as a classifier does."""

    class_names = ("quiet", "loud")
    sample_rate = 100
    patch_samples = 50
    patch_hop_samples = 20

    def __init__(self):
        self.batches = []

    def __call__(self, waveforms):
        self.batches.append(waveforms.shape)
        loud = np.abs(waveforms).mean(axis=1)
        return np.stack([1 - loud, loud], axis=1).astype("float32")


def expected(waveform):
    """The definition: zeros complete the last patch."""
    num_patches = 1 + max(0, -(-(len(waveform) - 50) // 20))
    padded = np.pad(waveform, (0, 50 + 20 * (num_patches - 1) - len(waveform)))
    loud = [np.abs(padded[20 * n : 20 * n + 50]).mean() for n in range(num_patches)]
    return np.array(loud)


@given(st.integers(1, 2000))
def test_patches_are_those_of_the_whole(samples):
    waveform = np.random.default_rng(samples).uniform(-1, 1, samples).astype("float32")
    model = Loudness()
    patches = Classifier(model).classify_patches(waveform)
    np.testing.assert_allclose(patches[:, 1], expected(waveform), atol=1e-6)
    assert set(model.batches) == {(16, 50)}, "one shape, compiled once"


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_blocks_make_no_difference(lengths):
    waveform = np.random.default_rng(0).uniform(-1, 1, sum(lengths)).astype("float32")
    blocks = np.split(waveform, np.cumsum(lengths)[:-1])
    patches = np.concatenate(list(Classifier(Loudness())._classify_blocks(blocks, None)))
    np.testing.assert_allclose(patches[:, 1], expected(waveform), atol=1e-6)


def test_the_most_probable_class_comes_first():
    classifier = Classifier(Loudness())
    result = classifier.classify(0.9 * np.ones(70))
    assert list(result) == ["loud", "quiet"]
    assert result["loud"] == pytest.approx(0.9)
    assert list(classifier.classify(np.zeros(70))) == ["quiet", "loud"]


def test_files_of_another_rate_and_several_channels(tmp_path):
    waveform = np.stack([np.full(4000, 0.8), np.full(4000, 0.4)], axis=1)
    soundfile.write(tmp_path / "a.wav", waveform, 400)
    done = []
    classifier = Classifier(Loudness())
    with pytest.warns(ClassificationNotice) as notices:
        result = classifier.classify_file(tmp_path / "a.wav", lambda *frames: done.append(frames))
    assert [str(notice.message).split(": ")[1] for notice in notices] == [
        "resampled 400 → 100 Hz",
        "2 channels mixed down to one",
    ]
    assert result["loud"] == pytest.approx(0.6, abs=0.02)
    assert done[-1] == (4000, 4000)


def test_a_long_file_in_constant_memory_is_its_whole(tmp_path):
    waveform = np.random.default_rng(0).uniform(-1, 1, 30 * 100 + 7).astype("float32")
    soundfile.write(tmp_path / "a.wav", waveform, 100, subtype="FLOAT")
    result = Classifier(Loudness()).classify_file(tmp_path / "a.wav")
    assert result["loud"] == pytest.approx(expected(waveform).mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0), "at least one number"),
        (np.zeros((2, 9)), "one channel"),
        (np.array([0.0, np.nan]), "finite"),
        (np.array(["a"]), "one channel"),
    ],
)
def test_errors_name_the_waveform(waveform, message):
    with pytest.raises(ValueError, match=f"waveform must .*{message}"):
        Classifier(Loudness()).classify(waveform)


def test_errors_name_file_and_model(tmp_path):
    with pytest.raises(AudioError, match=r"no\.wav does not exist"):
        Classifier(Loudness()).classify_file(tmp_path / "no.wav")
    with pytest.raises(ValueError, match="model must be a sound classifier with class_names"):
        Classifier(print)
    with pytest.raises(ValueError, match="does not exist; give a"):
        Classifier(tmp_path / "no.keras")
    with pytest.raises(ValueError, match="sample_rate must be a positive number of Hz, got 0"):
        Classifier(Loudness()).classify(np.zeros(9), 0)
