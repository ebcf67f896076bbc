"""The parts of examples/data/fetch_sounds.py that need no network."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

DATA = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture(scope="module")
def fetch():
    sys.path.insert(0, str(DATA))
    try:
        import fetch_sounds
    finally:
        sys.path.pop(0)
    return fetch_sounds


def tone(seconds, frequency=440.0, rate=44100):
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(root, path, waveform, rate=44100):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(root / path, waveform, rate)


@pytest.fixture
def unpacked(tmp_path):
    """Packages with a few files of some classes, and files of none."""
    root = tmp_path / "unpacked"
    samples = "sonic-pi-samples/usr/share/sonic-pi/samples"
    for n in range(10):
        write(root, f"{samples}/drum_{n}.flac", tone(0.1, 300 + n))
        write(root, f"{samples}/tabla_{n}.flac", tone(0.1, 600 + n))
    write(root, f"{samples}/guit_1.flac", tone(0.1))
    write(root, "gunroar-data/usr/share/sounds/musics/gr0.ogg", tone(31, rate=8000), 8000)
    write(root, "gunroar-data/usr/share/sounds/chunks/shot.ogg", tone(0.2, rate=8000), 8000)
    for n in range(45):
        path = f"asterisk-prompt-es-co/usr/share/asterisk/sounds/es/{n}.wav"
        write(root, path, tone(0.5, 200 + n, 8000), 8000)
    return root


def test_classes_and_splits(fetch, unpacked):
    planned = fetch.plan(unpacked)
    assert sorted(planned) == ["drums", "music", "speech", "tabla"]
    drums = [split for split, _, _ in planned["drums"]]
    assert [drums.count(split) for split in fetch.SPLITS] == [6, 2, 2]
    assert len(planned["speech"]) == fetch.MAX_OF_A_VOICE
    assert {name.split("-")[0] for _, name, _ in planned["speech"]} == {"july_jimenez"}
    assert planned == fetch.plan(unpacked)


def test_conversion_is_complete_or_absent(fetch, unpacked, tmp_path):
    files, out = fetch.plan(unpacked)["drums"], tmp_path / "sounds"
    calls = iter(range(100))

    def interrupt():
        if next(calls) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.convert_class(out, "drums", files, interrupt)
    assert not fetch.finished(out, "drums")
    # The last file again, under another name: heard once.
    fetch.convert_class(out, "drums", [*files, ("test", "again", files[0][2])])
    assert fetch.finished(out, "drums")
    written = {split: list((out / split / "drums").glob("*")) for split in fetch.SPLITS}
    assert {split: len(paths) for split, paths in written.items()} == {
        "train": 6,
        "valid": 2,
        "test": 2,
    }
    assert not (out / "drums.partial").exists()
    info = soundfile.info(written["test"][0])
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")


def test_effects_of_games_are_no_music(fetch, unpacked, tmp_path):
    fetch.convert_class(tmp_path, "music", fetch.plan(unpacked)["music"])
    (path,) = tmp_path.glob("*/music/*.flac")
    assert path.name.startswith("gr0-")
    assert soundfile.info(path).duration == pytest.approx(31, abs=0.1)


def test_unseen_voices_are_in_the_test(fetch):
    recordings = [("tux_el", f"{n}", Path(f"{n}")) for n in range(30)]
    splits = fetch.split_voices(recordings)
    assert {split: len(files) for split, files in splits.items()} == {
        "train": 0,
        "valid": 0,
        "test": 30,
    }


def test_silence_is_left_out(fetch):
    assert fetch.prepare(np.zeros(16000, "float32"), "drums") is None
    assert fetch.prepare(np.zeros(0, "float32"), "drums") is None
    assert fetch.prepare(tone(0.2, rate=16000), "speech") is None
    assert len(fetch.prepare(tone(0.2, rate=16000), "drums")) == 3200


def test_a_missing_tool_is_named(fetch, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(fetch.shutil, "which", lambda tool: None)
    assert fetch.main(["--out", str(tmp_path / "sounds")]) == 2
    error = capsys.readouterr().err
    assert "apt-get" in error
    assert "any folder of sounds" in error
    assert error.count("\n") == 1
