"""Folders of sounds by class: splits and the pieces drawn from them."""

import re

import numpy as np
import pytest
import soundfile

from keras_sep.data import SoundPatches, split_sounds
from keras_sep.data.sound_patches import lowpass

RATE = 16000


def write(path, waveform, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate)
    return path


def tone(hz, seconds, rate=RATE):
    return 0.1 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes, low and high tones, long and short, one file of another rate."""
    folder = tmp_path_factory.mktemp("sounds")
    for n in range(20):
        write(folder / "low" / f"{n}.wav", tone(300, 0.05 if n % 2 else 0.5))
    for n in range(5):
        write(folder / "high" / "deep" / f"{n}.flac", tone(2000, 0.3, 44100), 44100)
    return folder


def test_a_folder_without_splits_is_split_by_file(folder):
    splits = split_sounds(folder)
    sizes = {split: [len(files) for files in splits[split].values()] for split in splits}
    assert sizes == {"train": [3, 16], "valid": [1, 2], "test": [1, 2]}
    assert list(splits["train"]) == ["high", "low"]
    files = [file for classes in splits.values() for part in classes.values() for file in part]
    assert len(files) == len(set(files)) == 25
    assert split_sounds(folder) == splits


def test_splits_that_are_there_are_taken(tmp_path):
    for split in ("train", "valid", "test", "unseen"):
        for name in "ab":
            write(tmp_path / split / name / f"{split}.wav", tone(300, 0.1))
    splits = split_sounds(tmp_path)
    assert splits["valid"]["b"] == [tmp_path / "valid" / "b" / "valid.wav"]
    (tmp_path / "valid" / "b" / "valid.wav").unlink()
    message = f"the splits of `folder` must have the same classes; {tmp_path / 'valid'}"
    with pytest.raises(ValueError, match=re.escape(message)):
        split_sounds(tmp_path)


def test_errors_name_the_folder(tmp_path):
    with pytest.raises(ValueError, match="`folder` must be an existing folder"):
        split_sounds(tmp_path / "no")
    with pytest.raises(ValueError, match="at least two folders with audio"):
        split_sounds(tmp_path)
    write(tmp_path / "a" / "1.wav", tone(300, 0.1))
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'a'} has 1")):
        split_sounds(tmp_path)


def loudest_hz(waveform):
    return np.abs(np.fft.rfft(waveform)).argmax() * RATE / len(waveform)


def test_pieces_have_their_classes_and_classes_are_balanced(folder):
    pieces = SoundPatches(split_sounds(folder)["train"], 1600, batch_size=64, num_batches=2)
    waveforms, labels = pieces[0]
    assert (waveforms.shape, labels.shape) == ((64, 1600), (64, 2))
    assert (waveforms.dtype, labels.dtype) == ("float32", "float32")
    for waveform, label in zip(waveforms, labels, strict=True):
        hz = loudest_hz(waveform)
        assert pieces.class_names[label.argmax()] == ("low" if hz < 1000 else "high")
        assert 10 ** (-30 / 20) - 1e-3 <= np.abs(waveform).max() <= 10 ** (-0.5 / 20) + 1e-3
    assert 20 <= labels[:, 0].sum() <= 44, "5 of 25 files, half of the pieces"


def test_batches_depend_on_seed_epoch_and_index(folder):
    def first(**arguments):
        epoch = arguments.pop("epoch", 0)
        pieces = SoundPatches(split_sounds(folder)["train"], 400, num_batches=2, **arguments)
        pieces.epoch = epoch
        return pieces[0][0]

    np.testing.assert_array_equal(first(), first())
    assert not np.array_equal(first(), first(seed=1))
    assert not np.array_equal(first(), first(epoch=1))
    np.testing.assert_array_equal(first(fixed=True), first(fixed=True, epoch=1))


def test_without_augmentation_levels_stay_and_mixup_mixes(folder):
    files = split_sounds(folder)["train"]
    waveforms, _ = SoundPatches(files, 1600, batch_size=8, augment=False)[0]
    np.testing.assert_allclose(np.abs(waveforms).max(axis=1), 0.1, atol=0.01)
    _, labels = SoundPatches(files, 1600, batch_size=32, mixup=1.0)[0]
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-5)
    assert np.any((labels > 0.1) & (labels < 0.9))


def test_lowpass():
    both = (tone(1000, 0.5) + tone(6000, 0.5)).astype("float32")
    np.testing.assert_allclose(lowpass(both, RATE, 4000.0), tone(1000, 0.5), atol=1e-3)


def test_errors_name_the_argument(folder):
    files = split_sounds(folder)["train"]
    for arguments, message in [
        ({"batch_size": 0}, "`batch_size` must be an integer >= 1, got 0."),
        ({"mixup": -1}, "`mixup` must be a number >= 0, got -1."),
        ({"files": {"a": []}}, "`files` must hold two classes or more with files"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            SoundPatches(**{"files": files, "samples": 400, **arguments})
    with pytest.raises(IndexError, match="`index` must be from 0 to 99, got 100"):
        SoundPatches(files, 400)[100]
