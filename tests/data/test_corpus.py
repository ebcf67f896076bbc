"""Folders of recordings as `SpeechMixtures` finds and reads them."""

import os
import warnings

import numpy as np
import pytest
import soundfile
from synthetic_voices import RATE, mixtures, noise, tone, write

from keras_sep.data import audio


def test_reads_segments_of_long_files_by_seeking(tmp_path, monkeypatch):
    for speaker in "ab":
        for suffix in ("wav", "flac"):
            write(tmp_path / speaker / f"a.{suffix}", noise(120, 0))
    data = mixtures(tmp_path, batch_size=16)
    starts, counts = [], []

    def spy(path, start, frames):
        segment = read_segment(path, start, frames)
        starts.append(start)
        return segment

    def count(file, *args, **kwargs):
        samples = read(file, *args, **kwargs)
        counts.append(len(samples))
        return samples

    read_segment, read = audio.read_segment, soundfile.SoundFile.read
    monkeypatch.setattr(audio, "read_segment", spy)
    monkeypatch.setattr(soundfile.SoundFile, "read", count)
    data[0]
    assert counts == [4000] * 32
    assert min(starts) < 20 * RATE
    assert max(starts) > 100 * RATE


def test_short_utterances_fill_a_segment_densely(tmp_path):
    for speaker in "ab":
        for i in range(5):
            write(tmp_path / speaker / f"{i}.wav", noise(0.5, i))
    _, sources = mixtures(tmp_path, segment_seconds=4.0, batch_size=20)[0]
    silent = sources == 0
    # Pauses of 0 to 0.3 s after every 0.5 s.
    assert 0.1 < silent.mean() < 0.35
    # Sources do not all set in with a file's beginning.
    beginnings = sources[:, :, 0] / np.abs(sources).max(-1)
    assert len(np.unique(beginnings.round(4))) > 30


def test_channels_are_averaged(tmp_path):
    left, right = noise(1, 0), noise(1, 1)
    write(tmp_path / "a" / "a.wav", np.stack([left, right], axis=1))
    data = mixtures(tmp_path, num_sources=1, segment_seconds=1.0)
    source = data[0][1][0, 0]
    assert np.corrcoef(source, (left + right) / 2)[0, 1] > 0.999


def test_unusable_files_are_named_in_one_warning(voices, tmp_path):
    for speaker in "ab":
        write(tmp_path / speaker / "good.wav", noise(1, 0))
    write(tmp_path / "a" / "fast.wav", noise(1, 0, 16000), 16000)
    write(tmp_path / "a" / "none.wav", np.zeros(0))
    write(tmp_path / "stray.wav", noise(1, 0))
    (tmp_path / "b" / "empty.ogg").touch()
    (tmp_path / "b" / "text.FLAC").write_text("no audio")
    (tmp_path / "b" / ".hidden.wav").write_text("no audio")
    (tmp_path / "b" / "notes.txt").write_text("no audio")
    with pytest.warns(UserWarning, match="Skipped") as caught:
        data = mixtures(tmp_path)
    (warning,) = caught
    lines = str(warning.message).splitlines()
    assert lines[0] == "Skipped 5 audio files:"
    for name in ("fast.wav has 16000 Hz", "none.wav", "stray.wav", "empty.ogg", "text.FLAC"):
        assert sum(name in line for line in lines[1:]) == 1
    assert warning.filename == mixtures.__code__.co_filename, "blames the caller"
    data[0]


def test_the_warning_names_ten_files(tmp_path):
    for speaker in "ab":
        write(tmp_path / speaker / "good.wav", noise(1, 0))
    for i in range(23):
        (tmp_path / "a" / f"bad{i}.wav").touch()
    with pytest.warns(UserWarning, match=r"(?s)^Skipped 23 .*\n  and 13 more$") as caught:
        mixtures(tmp_path)
    assert str(caught[0].message).count("bad") == 10


@pytest.mark.parametrize("rate", [16000, 44100, 4000])
def test_other_rates_are_resampled_when_asked(tmp_path, rate):
    write(tmp_path / "a" / "long.wav", tone(10, 1000, rate), rate)
    write(tmp_path / "b" / "short.wav", tone(0.6, 1500, rate), rate)
    with pytest.raises(ValueError, match=rf"(?s)2 folders.*has 0 usable.*{rate} Hz"):
        mixtures(tmp_path)
    data = mixtures(tmp_path, resample=True)
    assert data.speakers == pytest.approx({"a": 10.0, "b": 0.6})
    for _, sources in data:
        peaks = np.abs(np.fft.rfft(sources)).argmax(-1)
        assert {int(p) for p in peaks.ravel()} <= {499, 500, 501, 749, 750, 751}


@pytest.mark.parametrize("damage", ["cut", "nan"])
def test_files_found_damaged_while_mixing_are_named_once(tmp_path, damage):
    for speaker in "ab":
        write(tmp_path / speaker / "good.wav", noise(1, 0))
    bad = tmp_path / "a" / "bad.flac"
    if damage == "cut":
        write(bad, noise(10, 0))
        bad.write_bytes(bad.read_bytes()[:5000])
    else:
        bad = bad.with_suffix(".wav")
        soundfile.write(bad, np.full(10 * RATE, np.nan, "float32"), RATE, "FLOAT")
    data = mixtures(tmp_path)
    with pytest.warns(UserWarning, match=bad.name) as caught:
        batches = list(data)
    assert len(caught) == 1
    assert np.isfinite([mixture for mixture, _ in batches]).all()


def test_a_split_shares_the_files_out(tmp_path):
    names = [f"{speaker}/{take}.wav" for speaker in "ab" for take in range(60)]
    for index, name in enumerate(names):
        write(tmp_path / name, noise(0.3 + index / 1000, index))

    def seconds(**arguments):
        return mixtures(tmp_path, **arguments).speakers

    parts = [seconds(validation_split=0.3, subset=subset) for subset in ("training", "validation")]
    for speaker, total in seconds().items():
        assert parts[0][speaker] + parts[1][speaker] == pytest.approx(total)
        assert 0.15 < parts[1][speaker] / total < 0.45
    write(tmp_path / "c" / "1.wav", noise(0.3, 0))
    again = seconds(validation_split=0.3, subset="validation")
    assert {name: again[name] for name in "ab"} == parts[1]


def test_links_to_speakers_are_followed(voices, tmp_path):
    for speaker in ("speaker0", "speaker1"):
        os.symlink(voices / speaker, tmp_path / speaker)
    assert set(mixtures(tmp_path).speakers) == {"speaker0", "speaker1"}


def test_folders_without_audio_are_an_error(voices, tmp_path):
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.raises(ValueError, match="`folder` must hold at least num_sources=2"):
        mixtures(tmp_path)
    with pytest.raises(ValueError, match="`noise_folder` must hold audio files"):
        mixtures(voices, noise_folder=tmp_path)


def test_splits_are_no_speakers(tmp_path):
    for split in ("train", "valid"):
        for speaker in "ab":
            write(tmp_path / split / speaker / "1.wav", noise(1, 0))
    assert set(mixtures(tmp_path / "train").speakers) == {"a", "b"}
    with pytest.raises(ValueError, match="holds splits of a corpus, train, valid: give one"):
        mixtures(tmp_path)


def test_files_beside_the_speakers_are_no_speakers(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.wav", noise(1, 0))
    with pytest.raises(ValueError, match=r"(?s)has 0 usable.*a\.wav is not in a speaker's folder"):
        mixtures(tmp_path)


def test_constructor_warns_of_nothing_on_a_clean_corpus(voices, noises):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixtures(voices, noise_folder=noises)
