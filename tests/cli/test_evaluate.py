"""`keras-sep evaluate`: the table, the report, and one clear line on stderr."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_separators import HalfWaves, noise

from keras_sep.cli import main
from keras_sep.inference import Separator
from keras_sep.models import ConvTasNet

MIXTURES = Path(__file__).parents[2] / "examples" / "data" / "mixtures"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process: exit code, stdout, lines on stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["keras-sep", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err.splitlines()

    return run


@pytest.fixture
def half_waves(monkeypatch):
    """Stands for the bundled model."""
    monkeypatch.setattr("keras_sep.inference.Separator", lambda _: Separator(HalfWaves(8000)))


@pytest.fixture
def mixed(tmp_path):
    """Half-waves, which the fake separator gives back, and one mixture of which one is silent."""
    folder = tmp_path / "set"
    for name, waveform in {
        "a": noise(4000),
        "b": noise(4000, seed=1),
        "c": abs(noise(4000)),
    }.items():
        sources = np.maximum(waveform, 0), np.minimum(waveform, 0)
        for place, samples in zip(("mix", "s1", "s2"), (waveform, *sources), strict=True):
            (folder / place).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / place / f"{name}.wav", samples, 8000)
    return folder


def test_the_bundled_model_on_bundled_mixtures(run, tmp_path):
    """Two data folders, all metrics, from files to JSON; 16 kHz for the second."""
    folders = tmp_path / "first", tmp_path / "second"
    for mixture in MIXTURES.glob("*/mixture.wav"):
        for name, place in {"mixture": "mix", "reference1": "s1", "reference2": "s2"}.items():
            target = folders[0] / place / f"{mixture.parent.name}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(mixture.parent / f"{name}.wav", target)
    report = tmp_path / "report.json"
    shutil.copytree(folders[0], folders[1])
    metrics = "si-snr,si-snri,sdr,sdri,stoi,pesq"
    code, out, err = run(*folders, "--metrics", metrics, "--json", report)
    assert (code, err) == (0, [])
    assert "bundled model" in out
    assert "PESQ: narrow band at 8000 Hz" in out
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.json"]
    report = json.loads(report.read_text())
    assert report["model"] == "bundled"
    assert report["versions"]["pesq"]
    first, second = report["data"]
    assert first["folder"] == str(folders[0])
    assert {**first, "folder": ""} == {**second, "folder": ""}
    summary = first["summary"]
    assert list(summary) == metrics.split(",")
    assert {row["mixtures"] for row in summary.values()} == {3}
    assert min(mixture["si-snri"] for mixture in first["mixtures"]) > 3, "the model separates"
    assert summary["sdr"]["mean"] > summary["si-snr"]["mean"]
    assert 0.6 < summary["stoi"]["mean"] < 1
    assert f"{summary['si-snri']['mean']:.2f}" in out


def test_the_folder_of_a_run(run, mixed, tmp_path):
    model = ConvTasNet(
        filters=8, bottleneck_dim=4, hidden_dim=4, skip_dim=4, num_blocks=1, num_repeats=1
    )
    model.build((None, None))
    model.save(tmp_path / "best.keras")
    code, out, _ = run(tmp_path, mixed, "--metrics", "si-snri")
    assert code == 0
    assert "SI-SNRi" in out
    assert "SDR" not in out


def test_what_is_missing_is_said(run, half_waves, mixed, tmp_path):
    report, worst = tmp_path / "report.json", tmp_path / "worst"
    options = ["--metrics", " si-snri, stoi", "--json", report, "--save", worst]
    code, out, err = run(mixed, *options)
    assert code == 0
    assert err == [
        f"keras-sep: {mixed}: no {m} of 1 of 3 mixtures: silent reference"
        for m in ("si-snri", "stoi")
    ]
    listed = [line.split() for line in out.splitlines() if line.endswith(".wav")]
    assert sorted(line[1:] for line in listed) == [["0", "a.wav"], ["1", "b.wav"]]
    mixtures = json.loads(report.read_text())["data"][0]["mixtures"]
    assert mixtures[2]["si-snri"] is None
    assert mixtures[0]["si-snri"] > 40, "the half-waves come back"
    assert sorted(path.name for path in (worst / "1_set").iterdir()) == ["0", "1"]


def test_recordings_by_speaker(run, half_waves, tmp_path):
    for speaker in "abc":
        (tmp_path / "voices" / speaker).mkdir(parents=True)
        soundfile.write(tmp_path / "voices" / speaker / "1.wav", noise(9000), 8000)
    soundfile.write(tmp_path / "voices" / "a" / "2.wav", noise(9000), 16000)
    options = ["--metrics", "si-snri", "--mixtures", 4, "--seed", 1]
    code, out, err = run(tmp_path / "voices", *options)
    assert code == 0
    assert out.count("a/1.wav") + out.count("b/1.wav") + out.count("c/1.wav") == 8
    assert len(err) == 1
    assert "2.wav has 16000 Hz instead of 8000 Hz; resample=True (--resample)" in err[0]
    code, out, err = run(tmp_path / "voices", *options, "--seconds", 0.5, "--resample")
    assert (code, err) == (0, [])
    assert out.count("segments ") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/missing"], "missing is not a folder"),
        (["{}/missing.keras", "{}/set"], "missing.keras does not exist"),
        (["{}/set/mix/a.wav", "{}/set"], "a.wav is not a .keras file"),
        (["{}/model.keras"], "give a folder of mixtures or of speakers besides the model"),
        (["{}/set", "--metrics", "si-snr,sir"], "--metrics: metrics must be of si-snr"),
        (["{}/set", "--metrics", ""], "--metrics: metrics must be of si-snr"),
        (["{}/set", "--json", "{}"], "is a folder; give a file"),
        (["{}/set", "--json", "{}/missing/a.json"], "there is no folder"),
        (["{}/set", "--save", "{}/set"], "exists; give a new folder"),
        (["{}/set", "--seconds", "4"], "has mixtures already"),
    ],
)
def test_one_line_on_stderr(run, mixed, tmp_path, arguments, message):
    code, out, err = run(*[argument.format(tmp_path) for argument in arguments])
    assert (code, out, len(err)) == (2, "", 1), err
    assert err[0].startswith("keras-sep: ")
    assert message in err[0]


def test_without_the_extra(run, half_waves, mixed, monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    code, _, err = run(mixed)
    assert code == 2
    assert err == [
        "keras-sep: --metrics: pesq needs pesq, which is not installed: pip install "
        "'keras-sep[eval]', or choose metrics without it; si-snr and si-snri need nothing"
    ]
    assert run(mixed, "--metrics", "si-snri")[0] == 0


def test_a_full_disk(run, half_waves, mixed, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    report = tmp_path / "report.json"
    code, _, err = run(mixed, "--metrics", "stoi", "--json", report)
    assert code == 2
    assert "No space left" in err[-1]
    assert not list(tmp_path.glob("*report*"))
