"""Spectrograms of sines, whose levels are known."""

import numpy as np
import pytest
import soundfile

from keras_sep.data import SpectrogramCrops
from keras_sep.data.spectrogram_crops import log_spectrograms


@pytest.mark.parametrize(
    ("amplitude", "level"), [(1.0, 1.0), (0.1, 0.6), (1e-3, -0.2), (0.0, -1.0)]
)
def test_levels_of_a_sine(amplitude, level):
    bins, hop, k = 32, 20, 7
    wave = amplitude * np.sin(np.pi * k / bins * np.arange(200) + 0.3)
    spectrogram = log_spectrograms(wave[None].astype("float32"), bins, hop)
    assert spectrogram.shape == (1, 1 + (200 - 64) // hop, bins)
    np.testing.assert_allclose(spectrogram[..., k], level, atol=1e-3)
    assert np.all(spectrogram[..., k + 3 :] < max(level - 0.9, -0.9))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    rng = np.random.default_rng(0)
    for index in range(12):
        path = folder / f"speaker{index % 3}" / f"{index}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.1 * rng.normal(size=1500 + 400 * index), 8000)
    return folder


def test_batches(folder):
    arguments = {"num_frames": 12, "num_bins": 16, "hop": 8, "batch_size": 5, "num_batches": 2}
    first, second = (SpectrogramCrops(folder, seed=4, **arguments) for _ in range(2))
    batches = [first[index][0] for index in range(2)]
    assert batches[0].shape == (5, 12, 16, 1)
    assert batches[0].dtype == np.float32
    assert -1 <= min(b.min() for b in batches) < 0.2 < max(b.max() for b in batches) < 1
    np.testing.assert_array_equal(second[1][0], batches[1])
    first.epoch = 1
    assert not np.array_equal(first[1][0], batches[1])


def test_bad_folders(folder, tmp_path):
    with pytest.raises(ValueError, match="`folder` must hold recordings"):
        SpectrogramCrops(tmp_path)
    with pytest.raises(ValueError, match="16000"):
        SpectrogramCrops(folder, sample_rate=16000)
    SpectrogramCrops(folder, sample_rate=16000, resample=True, num_frames=4)[0]
