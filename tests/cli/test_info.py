"""`keras-sep info` on names, files and folders."""

import shutil
import sys

import pytest

from keras_sep.cli import main
from keras_sep.export import export_saved_model
from keras_sep.inference.bundled import bundled_folder
from keras_sep.models import ConvTasNet, MobileNet, SoundClassifier


def run(monkeypatch, capsys, *arguments):
    """Exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["keras-sep", "info", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    return stopped.value.code or 0, said.out, said.err


def test_the_papers_best_configuration(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "paper_best")
    assert code == 0
    assert "4,984,881" in out
    assert "1531 frames, 12256 samples, 1.532 s" in out
    assert "whole recording" in out
    # A block by hand: residual and skip; 1 + 2 (2^8 - 1) frames; 1×1, depthwise and 1×1
    # convolutions with biases, two norms and two slopes; the products of a frame, 1,000 a second.
    parameters = 129 * 512 + 4 * 512 + 513 * 256 + 2 * (2 * 512 + 1)
    products = 128 * 512 + 3 * 512 + 512 * 256
    (row,) = [line for line in out.splitlines() if "block 7 " in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "block 7",
        "256",
        "128",
        f"{(510 * 8 + 16) / 8000:.3f} s",
        f"{parameters:,}",
        f"{products / 1000:.1f} M",
    ]
    code, out, _ = run(monkeypatch, capsys, "paper_causal")
    assert "2 ms (16 samples)" in out


def test_costs_add_up():
    model = ConvTasNet()
    model.build((None, None))
    rows = model.costs()
    assert sum(row.parameters for row in rows) == 4_984_881
    assert rows[-1].receptive_field == model.receptive_field == 12_256
    # By hand, per frame: encoder, bottleneck, blocks (the last without residual), masks, decoder.
    block = 128 * 512 + 3 * 512 + 512 * 256
    products = 16 * 512 + 512 * 128 + 24 * block - 512 * 128 + 128 * 1024 + 1024 * 17
    assert sum(row.multiply_adds for row in rows) == products * 1000


def test_mobilenet_of_the_papers_table(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "mobilenet_v1", "--alpha", "0.5", "--resolution", "160")
    assert code == 0
    assert "1,342,536" in out
    assert "76.5 M per image" in out


def test_files_and_folders(tmp_path, monkeypatch, capsys):
    model = ConvTasNet(filters=8, bottleneck_dim=4, hidden_dim=4, num_blocks=2, num_repeats=1)
    model.build((None, None))
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    model.save(run_folder / "best.keras")
    export_saved_model(model, tmp_path / "name" / "3")
    shutil.copy(run_folder / "best.keras", tmp_path / "copy.keras")
    parameters = f"{model.count_params():,}"
    for path in (run_folder, tmp_path / "copy.keras", tmp_path / "name", tmp_path / "name" / "3"):
        code, out, _ = run(monkeypatch, capsys, path)
        assert code == 0
        assert parameters in out


def test_files_of_mobilenets(tmp_path, monkeypatch, capsys):
    model = MobileNet("v1", 0.1, input_shape=(32, 48, 1), num_classes=3)
    model.save(tmp_path / "best.keras")
    export_saved_model(model, tmp_path / "name" / "1")
    for path in (tmp_path, tmp_path / "best.keras", tmp_path / "name"):
        code, out, _ = run(monkeypatch, capsys, path)
        assert code == 0
        assert f"{model.count_params():,}" in out
        assert "32 x 48" in out
    _, out, _ = run(monkeypatch, capsys, tmp_path / "best.keras", "--resolution", "64")
    assert "64 x 64" in out
    code, _, error = run(monkeypatch, capsys, tmp_path / "best.keras", "--alpha", "0.1")
    assert code == 2
    assert "--alpha" in error
    assert "best.keras" in error


def test_sound_classifiers(tmp_path, monkeypatch, capsys):
    model = SoundClassifier(["ja", "nein"], alpha=1 / 16)
    model.save(tmp_path / "small.keras")
    parameters = f"{model.count_params():,}"
    for path, shown in (
        (tmp_path / "small.keras", (parameters, "ja, nein")),
        (bundled_folder("sound_classifier_16k"), ("219,685", "drums, electronic")),
    ):
        code, out, _ = run(monkeypatch, capsys, path)
        assert code == 0
        for text in (*shown, "M per patch of 0.975 s, one every 0.48 s"):
            assert text in out
    code, _, error = run(monkeypatch, capsys, tmp_path / "small.keras", "--resolution", "64")
    assert code == 2
    assert "--resolution" in error


@pytest.mark.parametrize("option", ["--alpha", "--resolution"])
def test_options_of_mobilenets_are_refused_elsewhere(option, monkeypatch, capsys):
    code, _, error = run(monkeypatch, capsys, "paper_best", option, "1")
    assert code == 2
    assert option in error
    assert "paper_best" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenet_v4", "version must be one of"),
        ("papers_best", "preset must be one of"),
        ("no/such.keras", "does not exist"),
        (".", "holds"),
    ],
)
def test_what_is_no_model(name, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(monkeypatch, capsys, name)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
