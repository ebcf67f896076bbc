"""Folders of mixtures, and mixtures made of recordings by speaker."""

import itertools

import numpy as np
import pytest
import soundfile

from keras_sep.data import AudioError, SpeechMixtures, corpus
from keras_sep.evaluation import open_data

RATE = 8000


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=samples)).astype("float32")


def write(path, waveform, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate, "FLOAT")


@pytest.fixture
def mixed(tmp_path):
    """Two mixtures of two voices and noise, as WHAM has them."""
    for number, name in enumerate(("b.wav", "a.wav")):
        first, second, background = (noise(3000, 3 * number + voice) for voice in range(3))
        write(tmp_path / "s1" / name, first)
        write(tmp_path / "s2" / name, second)
        write(tmp_path / "mix_clean" / name, first + second)
        write(tmp_path / "mix_both" / name, first + second + background)
        write(tmp_path / "mix_single" / name, first + background)
    return tmp_path


def remove(folder):
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@pytest.mark.parametrize("mix", ["mix_clean", "mix_both"])
def test_mixtures_that_are_files(mixed, mix):
    data = open_data(mixed / mix, 2, RATE)
    assert [data[index].name for index in range(len(data))] == ["a.wav", "b.wav"]
    example = data[1]
    np.testing.assert_allclose(example.sources, [noise(3000, 0), noise(3000, 1)], atol=1e-7)
    background = example.mixture - example.sources.sum(axis=0)
    expected = noise(3000, 2) if mix == "mix_both" else 0
    np.testing.assert_allclose(background, expected, atol=1e-6)


def test_a_set_with_one_mix_folder(mixed):
    with pytest.raises(ValueError, match="has mix_both, mix_clean, mix_single; give the one"):
        open_data(mixed, 2, RATE)
    remove(mixed / "mix_both")
    remove(mixed / "mix_single")
    (mixed / "mix_clean").rename(mixed / "mix")
    for folder in (mixed, mixed / "mix"):
        assert open_data(folder, 2, RATE)[0].sources.shape == (2, 3000)


def test_a_voice_and_noise(mixed):
    data = open_data(mixed / "mix_single", 1, RATE)
    np.testing.assert_allclose(data[1].sources, [noise(3000, 0)], atol=1e-7)
    with pytest.raises(ValueError, match=r"gives 2 sources, .*mix_single is of 1 \(s1\)"):
        open_data(mixed / "mix_single", 2, RATE)


def test_files_of_another_rate(mixed):
    with pytest.raises(ValueError, match=r"a\.wav has 8000 Hz instead of 16000 Hz.*--resample"):
        open_data(mixed / "mix_both", 2, 16000)
    example = open_data(mixed / "mix_both", 2, 16000, resample=True)[0]
    assert example.mixture.shape == (6000,)
    assert example.sources.shape == (2, 6000)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "s2" / "a.wav").unlink(), "a.wav does not exist"),
        (lambda folder: (folder / "s2" / "a.wav").write_text("x"), "a.wav is not audio"),
        (lambda folder: write(folder / "s2" / "a.wav", noise(2999)), "a.wav has 2999 samples"),
        (lambda folder: write(folder / "s2" / "a.wav", noise((3000, 2))), "has 2 channels"),
        (lambda folder: remove(folder / "s1"), "must have its sources beside it"),
        (lambda folder: remove(folder / "s2"), r"is of 1 \(s1\)"),
        (lambda folder: (folder / "s2").rename(folder / "s3"), r"is of 1 \(s1\)"),
        (lambda folder: write(folder / "s3" / "a.wav", noise(9)), r"is of 3 \(s1, s2, s3\)"),
        (lambda folder: [p.unlink() for p in folder.glob("mix_both/*")], "has no audio files"),
    ],
)
def test_a_set_that_cannot_be_used(mixed, spoil, message):
    spoil(mixed)
    with pytest.raises(ValueError, match=message):
        open_data(mixed / "mix_both", 2, RATE)


def test_damage_shows_when_it_is_read(mixed):
    broken = noise(3000)
    broken[7] = np.nan
    write(mixed / "s2" / "a.wav", broken)
    data = open_data(mixed / "mix_both", 2, RATE)
    with pytest.raises(AudioError, match=r"a\.wav has NaN"):
        data[0]


@pytest.fixture
def speakers(tmp_path):
    """Three speakers with two files each, of several levels; the first one's begin with silence."""
    for speaker, take in itertools.product(range(3), range(2)):
        waveform = 2.0**-speaker * noise(4000 + 500 * speaker + 100 * take, 2 * speaker + take)
        waveform[: 3000 * (speaker == 0)] = 0
        write(tmp_path / f"speaker{speaker}" / "deep" / f"{take}.wav", waveform)
    return tmp_path


def test_mixtures_of_whole_files(speakers):
    data = open_data(speakers, 2, RATE, num_mixtures=30, seed=3)
    assert len(data) == 30
    names = set()
    for index in range(30):
        example = data[index]
        names.add(example.name)
        paths = example.name.split(" + ")
        assert len({path.split("/")[0] for path in paths}) == 2
        files = [soundfile.read(speakers / path, dtype="float32")[0] for path in paths]
        samples = min(map(len, files))
        assert example.mixture.shape == (samples,)
        for source, file in zip(example.sources, files, strict=True):
            gain = source @ file[:samples] / (file[:samples] @ file[:samples])
            np.testing.assert_allclose(source, gain * file[:samples], atol=1e-5)
        np.testing.assert_allclose(example.mixture, example.sources.sum(axis=0), atol=1e-6)
        levels = [20 * np.log10(corpus.active_rms(source, RATE)) for source in example.sources]
        assert np.ptp(levels) <= 5 + 1e-3
        assert max(np.abs(example.mixture).max(), np.abs(example.sources).max()) <= 0.9 + 1e-6
    assert len(names) > 10
    again, other = (open_data(speakers, 2, RATE, num_mixtures=30, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(again[7].sources, data[7].sources)
    assert any(other[index].name != data[index].name for index in range(30))


def test_a_voice_that_is_silent_where_it_is_left(tmp_path):
    silence = noise(4000)
    silence[:3000] = 0
    write(tmp_path / "a" / "1.wav", silence)
    write(tmp_path / "b" / "1.wav", noise(3000))
    with pytest.raises(AudioError, match="100 random mixtures had a silent voice"):
        open_data(tmp_path, 2, RATE)[0]
    write(tmp_path / "b" / "2.wav", noise(8000))
    data = open_data(tmp_path, 2, RATE, num_mixtures=10)
    assert {len(data[index].mixture) for index in range(10)} == {4000}


def test_segments_are_those_of_speech_mixtures(speakers):
    data = open_data(speakers, 2, RATE, num_mixtures=13, seconds=0.5, seed=5)
    assert len(data) == 13
    mixtures = SpeechMixtures(
        speakers, 2, 0.5, RATE, batch_size=10, num_batches=2, fixed=True, seed=5
    )
    for index in (12, 0, 9, 10):
        mixture, sources = (array[index % 10] for array in mixtures[index // 10])
        np.testing.assert_array_equal(data[index].mixture, mixture)
        np.testing.assert_array_equal(data[index].sources, sources)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folder": "missing"}, "missing is not a folder"),
        ({"folder": "mix_both", "seconds": 4.0}, "has mixtures already"),
        ({"folder": ".", "num_mixtures": 0}, "num_mixtures must be at least 1, got 0"),
        ({"folder": "voices"}, "at least num_sources=2 folders"),
        ({"folder": "voices", "seconds": 0.0}, "segment_seconds"),
        ({"folder": "voices", "seed": -1}, "seed"),
    ],
)
def test_arguments_out_of_range(mixed, arguments, message):
    write(mixed / "voices" / "a" / "1.wav", noise(100))
    arguments = {**arguments, "folder": mixed / arguments["folder"]}
    with pytest.raises(ValueError, match=message):
        open_data(**arguments, num_sources=2, sample_rate=RATE)
