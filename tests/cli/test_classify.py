"""`keras-sep classify`: a table or JSON on stdout, one clear line on stderr, exit codes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keras_sep.cli import main
from keras_sep.models import ConvTasNet, SoundClassifier


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.keras"
    SoundClassifier(["ja", "nein"], alpha=1 / 16).save(path)
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process: exit code, stdout, lines on stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["keras-sep", "classify", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err.splitlines()

    return run


def write(path, seconds=0.5, rate=16000, channels=1):
    waveform = 0.1 * np.random.default_rng(0).normal(size=(round(seconds * rate), channels))
    soundfile.write(path, waveform, rate)
    return path


def test_a_table(run, model, tmp_path):
    paths = [write(tmp_path / "a.wav"), write(tmp_path / "b.flac", 0.001)]
    code, out, err = run(*paths, "--model", model, "--top", 1)
    assert (code, err) == (0, [])
    assert "most probable" in out
    assert "then" not in out
    assert out.count("%") == 2


def test_json_and_what_was_done_to_a_file(run, model, tmp_path):
    path = write(tmp_path / "a.wav", 1.0, 44100, 2)
    code, out, err = run(path, "--model", model, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["file"] == str(path)
    assert sorted(result["probabilities"]) == ["ja", "nein"]
    assert sum(result["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert err == [
        f"keras-sep: {path}: resampled 44100 → 16000 Hz",
        f"keras-sep: {path}: 2 channels mixed down to one",
    ]


def test_a_bad_file_does_not_keep_the_others_from_it(run, model, tmp_path):
    good, bad = write(tmp_path / "a.wav"), tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    code, out, err = run(good, bad, tmp_path / "no.wav", "--model", model, "--json")
    assert code == 2
    assert json.loads(out)["file"] == str(good)
    assert len(err) == 2
    assert f"{bad} is not audio" in err[0]
    assert "no.wav does not exist; check the path" in err[1]


def test_a_wrong_model_is_one_line(run, tmp_path):
    path = write(tmp_path / "a.wav")
    sizes = {"bottleneck_dim": 4, "hidden_dim": 4, "skip_dim": 4, "num_blocks": 1}
    separator = ConvTasNet(filters=8, num_repeats=1, **sizes)
    separator.build((None, None))
    separator.save(tmp_path / "separator.keras")
    for model, message in [
        ("no.keras", "does not exist; give a .keras file or a SavedModel folder"),
        (tmp_path / "separator.keras", "is a keras_sep>ConvTasNet, not a sound classifier"),
    ]:
        code, out, err = run(path, "--model", model)
        assert (code, out, len(err)) == (2, "", 1)
        assert message in err[0]


def test_the_bundled_model_hears_a_voice(run):
    mixtures = Path(__file__).parents[2] / "examples" / "data" / "mixtures"
    voices = sorted(mixtures.glob("*/reference*.wav"))
    assert len(voices) == 6
    code, out, _ = run(*voices, "--json")
    assert code == 0
    heard = [next(iter(json.loads(line)["probabilities"])) for line in out.splitlines()]
    assert heard == 6 * ["speech"]
