"""`keras-sep export` from files and run folders."""

import sys

import numpy as np
import pytest

from keras_sep.cli import main
from keras_sep.export import LoadedClassifier, load_saved_model
from keras_sep.models import ConvTasNet, SoundClassifier


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["keras-sep", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


def test_exports_a_run_once(tmp_path, monkeypatch, capsys):
    model = ConvTasNet(
        filters=8, bottleneck_dim=4, hidden_dim=4, skip_dim=4, num_blocks=1, num_repeats=1
    )
    model.build((None, None))
    model.save(tmp_path / "best.keras")
    saved_model = tmp_path / "saved" / "1"
    assert run(monkeypatch, tmp_path, saved_model) == 0
    assert capsys.readouterr().out.split()[-1] == str(saved_model)
    assert load_saved_model(saved_model)(np.ones((1, 20))).shape == (1, 2, 20)

    assert run(monkeypatch, tmp_path / "best.keras", saved_model) == 2
    assert "exists; give a new folder" in capsys.readouterr().err

    assert run(monkeypatch, saved_model, tmp_path / "again") == 2
    assert f"{saved_model} is a SavedModel; give a .keras file" in capsys.readouterr().err


def test_exports_a_sound_classifier(tmp_path, monkeypatch, capsys):
    model = SoundClassifier(["ja", "nein"], alpha=1 / 16)
    model.save(tmp_path / "best.keras")
    saved_model = tmp_path / "saved" / "1"
    assert run(monkeypatch, tmp_path, saved_model) == 0
    waveform = np.random.default_rng(0).normal(size=(1, 16000)).astype("float32")
    expected = model.predict_on_batch(waveform)
    np.testing.assert_allclose(LoadedClassifier(saved_model)(waveform), expected, atol=1e-4)


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04not a model"])
def test_no_model(content, tmp_path, monkeypatch, capsys):
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    assert run(monkeypatch, path, tmp_path / "saved" / "1") == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "saved").exists()
