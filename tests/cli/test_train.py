"""`keras-sep train` on a corpus of synthetic voices."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from numerics import run as evaluate

from keras_sep import convert
from keras_sep.cli import main

FIXTURES = Path(__file__).parents[1] / "convert" / "fixtures"
BATCHES = [
    *("--segment-seconds", "0.25", "--batch-size", "2", "--steps", "3", "--valid-mixtures", "4"),
]
SMALL = [
    *("--filters", "16", "--kernel-size", "16", "--bottleneck-dim", "8", "--hidden-dim", "12"),
    *("--skip-dim", "8", "--num-blocks", "2", "--num-repeats", "1", *BATCHES),
]


def run(monkeypatch, *arguments):
    """Exit code of the command in this process."""
    monkeypatch.setattr(sys, "argv", ["keras-sep", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


def make_corpus(folder, speakers):
    rng = np.random.default_rng(0)
    for speaker in range(speakers):
        for take in range(20):
            path = folder / f"speaker{speaker}" / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.normal(size=4000), 8000)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), 3)


@pytest.fixture
def compiled(monkeypatch):
    """What models are compiled with; they run eagerly, as XLA takes half a minute for each.

    JAX would compile each operation then, which takes longer.
    """

    def compile_little(model, **kwargs):
        arguments.append(kwargs)
        eager = keras.backend.backend() != "jax"
        compile_model(model, **kwargs | {"jit_compile": not eager, "run_eagerly": eager})

    arguments, compile_model = [], keras.Model.compile
    monkeypatch.setattr(keras.Model, "compile", compile_little)
    return arguments


def test_trains_goes_on_and_starts_from_weights(corpus, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    assert run(monkeypatch, "train", corpus, "--out", out, *SMALL, "--epochs", 1, "--ema", 0.9) == 0
    assert {path.name for path in out.iterdir()} == {
        "backup",
        "best.json",
        "best.keras",
        "config.json",
        "curves.png",
        "log.csv",
    }
    assert run(monkeypatch, "train", corpus, "--out", out, *SMALL, "--epochs", 2, "--ema", 0.9) == 0
    with open(out / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    best = max(float(row["val_si_snr_improvement"]) for row in rows)
    score = json.loads((out / "best.json").read_text())["val_si_snr_improvement"]
    assert score == pytest.approx(best)

    model = keras.saving.load_model(out / "best.keras")
    assert (model.filters, model.sample_rate, model.num_sources) == (16, 8000, 2)

    capsys.readouterr()
    assert run(monkeypatch, "train", corpus, "--out", out, *SMALL, "--seed", 5) == 2
    message = capsys.readouterr().err
    assert "other arguments (ema=0.9, seed=0)" in message
    assert message.count("\n") == 1

    arguments = ["--init", out / "best.keras", "--learning-rate", 1e-12, "--epochs", 1]
    assert run(monkeypatch, "train", corpus, "--out", tmp_path / "next", *SMALL, *arguments) == 0
    # `fit` hardly moves them at this rate.
    after = keras.saving.load_model(tmp_path / "next" / "best.keras")
    for new, old in zip(after.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)


CONVERTED = {
    "asteroid_encoder_relu.pth": {
        "mask_activation": "linear",
        "padding": "valid",
        "encoder_activation": "relu",
        "sample_rate": 16000,
    },
    "torchaudio_relu.pt": {
        "mask_activation": "relu",
        "padding": "same",
        "encoder_activation": None,
        "num_sources": 3,
    },
}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The models as .keras files, by the names of the checkpoints."""
    files = {name: tmp_path_factory.mktemp("converted") / "model.keras" for name in CONVERTED}
    asteroid, torchaudio = CONVERTED
    convert.from_asteroid(FIXTURES / asteroid).save(files[asteroid])
    relu = {"num_blocks": 3, "mask_activation": "relu"}
    convert.from_torchaudio(FIXTURES / torchaudio, **relu).save(files[torchaudio])
    return files


@pytest.mark.parametrize("checkpoint", CONVERTED)
def test_goes_on_from_a_converted_model(
    checkpoint, converted, corpus, tmp_path, monkeypatch, capsys, compiled
):
    init, out = tmp_path / "init.keras", tmp_path / "run"
    shutil.copy(converted[checkpoint], init)
    model = keras.saving.load_model(init)
    command = ["train", corpus, "--out", out, *BATCHES, "--resample", "--init", init]
    command += ["--learning-rate", 1e-12, "--epochs"]
    assert run(monkeypatch, *command, 1) == 0
    trained = keras.saving.load_model(out / "best.keras")
    config = trained.get_config()
    assert CONVERTED[checkpoint].items() <= config.items()
    assert config == model.get_config()
    # The same function of the same weights, which hardly moved at this rate.
    mixture = np.random.default_rng(0).normal(size=(1, 100)).astype("float32")
    np.testing.assert_allclose(evaluate(trained, mixture), evaluate(model, mixture), atol=1e-4)

    # It goes on from the second epoch, and says what has changed if the file is another one.
    assert run(monkeypatch, *command, 2) == 0
    with open(out / "log.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    (other,) = CONVERTED.keys() - {checkpoint}
    shutil.copy(converted[other], init)
    capsys.readouterr()
    assert run(monkeypatch, *command, 2) == 2
    error = capsys.readouterr().err
    assert "other arguments (encoder_activation=" in error
    assert f"padding={config['padding']}" in error


@pytest.mark.parametrize(
    ("checkpoint", "arguments", "message"),
    [
        ("asteroid_encoder_relu.pth", ["--filters", 512], "--filters is 512, but 12 in the model"),
        (
            "asteroid_encoder_relu.pth",
            ["--mask-activation", "sigmoid"],
            "--mask-activation is sigmoid, but linear",
        ),
        ("asteroid_encoder_relu.pth", ["--causal"], "--causal is True, but False"),
        ("asteroid_encoder_relu.pth", ["--sample-rate", 8000], "--sample-rate is 8000, but 16000"),
        ("asteroid_encoder_relu.pth", ["--mixit"], "give an --init of 3 to 6 sources"),
        ("torchaudio_relu.pt", ["--num-sources", 2], "--num-sources is 2, but 3 in the model"),
        ("torchaudio_relu.pt", ["--skip-dim", 0], "--skip-dim is 0, but 6 in the model"),
        ("torchaudio_relu.pt", ["--enhance", "--noise", "x"], "give an --init of two sources"),
    ],
    ids=str,
)
def test_options_that_contradict_the_first_model(
    checkpoint, arguments, message, converted, corpus, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "run"
    command = ["train", corpus, "--out", out, *BATCHES, "--init", converted[checkpoint]]
    assert run(monkeypatch, *command, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_noise_at_the_given_snr(corpus, tmp_path, monkeypatch):
    def fit(model, training, validation_data, **kwargs):
        data.extend([training, validation_data])

    data = []
    monkeypatch.setattr(keras.Model, "fit", fit)
    arguments = ["--noise", corpus / "speaker0", "--noise-snr", -6, -6]
    assert run(monkeypatch, "train", corpus, "--out", tmp_path, *SMALL, *arguments) == 0
    for batches in data:
        mixture, sources = batches[0]
        speech = sources.sum(1)
        ratio = np.square(speech).sum(-1) / np.square(mixture - speech).sum(-1)
        np.testing.assert_allclose(10 * np.log10(ratio), -6, atol=0.01)
    assert len(data) == 2


def test_mixed_precision_and_muon(corpus, tmp_path, monkeypatch):
    arguments = ["--epochs", 1, "--mixed-precision", "--optimizer", "muon"]
    assert run(monkeypatch, "train", corpus, "--out", tmp_path, *SMALL, *arguments) == 0
    model = keras.saving.load_model(tmp_path / "best.keras")
    assert model.dtype_policy.name == "mixed_bfloat16"
    assert model.predict_on_batch(np.ones((1, 100), "float32")).dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "loss", "monitor", "sources"),
    [
        (["--num-sources", 3], "PermutationInvariant(SISNR)", "val_si_snr_improvement", 3),
        (
            ["--num-sources", 3, "--min-sources", 2, "--reverberation", 0.1, 0.2],
            "PermutationInvariant(ThresholdSNR)",
            "val_si_snr_improvement",
            3,
        ),
        (["--enhance", "--noise", "NOISE"], "FixedOrder(SISNR)", "val_si_snr_improvement", 2),
        (["--mixit", "--num-sources", 4], "MixtureInvariant", "val_loss", 4),
    ],
)
def test_every_task_trains_and_separates(
    corpus, tmp_path, monkeypatch, compiled, arguments, loss, monitor, sources
):
    arguments = [corpus / "speaker0" if a == "NOISE" else a for a in arguments]
    out = tmp_path / "run"
    assert run(monkeypatch, "train", corpus, "--out", out, *SMALL, *arguments, "--epochs", 1) == 0
    with open(out / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert np.isfinite([float(value) for value in row.values()]).all()
    score = json.loads((out / "best.json").read_text())
    assert score == {"epoch": 1, monitor: pytest.approx(float(row[monitor]))}
    (trained,) = (kwargs["loss"] for kwargs in compiled)
    inner = f"({type(trained.loss).__name__})" if hasattr(trained, "loss") else ""
    assert type(trained).__name__ + inner == loss
    # What decides which epoch is best knows the order that the loss teaches.
    for metric in compiled[0]["metrics"]:
        assert metric.fixed_order == (loss == "FixedOrder(SISNR)")

    recording = corpus / "speaker1" / "0.wav"
    separated = ["separate", recording, "-o", tmp_path, "--model", out / "best.keras"]
    assert run(monkeypatch, *separated) == 0
    names = {f"0_source{number + 1}.wav" for number in range(sources)}
    assert {path.name for path in tmp_path.glob("*.wav")} == names


def test_killed_at_any_moment_it_goes_on(corpus, tmp_path):
    """Killed without warning after its first epoch, then finished by the same command."""
    command = [sys.executable, "-c", "from keras_sep.cli import main; main()", "train", corpus]
    command += ["--out", tmp_path, *SMALL, "--steps", "40", "--epochs", "4"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "log.csv").exists() or not (tmp_path / "log.csv").read_text():
        assert first.poll() is None, "ended before its first epoch"
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert "Epoch 1/4" not in second.stdout
    assert "Epoch 4/4" in second.stdout
    keras.saving.load_model(tmp_path / "best.keras")


@pytest.mark.parametrize(
    ("speakers", "arguments", "message"),
    [
        (0, [], "has 0 usable"),
        (1, [], "at least num_sources=2"),
        (2, ["--normalization", "instance"], "normalization must be one of"),
        (2, ["--causal"], 'causal=True cannot use normalization="global"'),
        (2, ["--init", "missing.keras"], "missing.keras"),
        (2, ["--segment-seconds", "0"], "--segment-seconds must give"),
        (2, ["--num-sources", "7"], "--num-sources must be from 1 to 6, got 7"),
        (2, ["--valid-mixtures", "0"], "--valid-mixtures must be at least 1, got 0"),
        (2, ["--seed", "-1"], "--seed must be from 0"),
        (2, ["--ema", "1.5"], "--ema must be from 0.0 to 1"),
        (2, ["--learning-rate", "nan"], "--learning-rate must be from 0.0 to 1, got nan"),
        (2, ["--optimizer", "sgd"], "--optimizer must be adam or muon, got sgd"),
        (2, ["--min-sources", "3"], "--min-sources must be from 1 to 2, got 3"),
        (2, ["--reverberation", "0", "0.5"], "--reverberation must be (low, high) above 0"),
        (2, ["--speed-change", "2", "1"], "--speed-change must be (low, high)"),
        (2, ["--noise", "missing"], "--noise must be an existing folder"),
        (2, ["--noise-snr", "0", "9"], "--noise-snr needs noise: give its folder with --noise"),
        (2, ["--noise", "x", "--noise-snr", "5", "-5"], "--noise-snr must be (low, high)"),
        (2, ["--enhance"], "--enhance needs noise: give its folder with --noise"),
        (2, ["--enhance", "--mixit", "--noise", "x"], "choose one"),
        (2, ["--enhance", "--noise", "x", "--num-sources", "3"], "leave --num-sources out"),
        (2, ["--enhance", "--noise", "x", "--min-sources", "1"], "leave --min-sources out"),
        (2, ["--mixit", "--num-sources", "4", "--min-sources", "1"], "leave --min-sources out"),
        (2, ["--mixit"], "--mixit needs outputs for all speakers of two mixtures"),
        (1, ["--mixit", "--num-sources", "4"], "at least num_sources=2 folders"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    speakers, arguments, message, tmp_path, monkeypatch, capsys
):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    make_corpus(corpus, speakers)
    out = tmp_path / "run"
    assert run(monkeypatch, "train", corpus, "--out", out, *SMALL, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_an_unwritable_run_folder(corpus, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    assert run(monkeypatch, "train", corpus, "--out", tmp_path / "file" / "run", *SMALL) == 2
    assert "cannot write to" in capsys.readouterr().err


def test_a_silent_speaker(tmp_path, monkeypatch, capsys):
    corpus = make_corpus(tmp_path / "corpus", 2)
    for take in range(20):
        path = corpus / "mute" / f"{take}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.zeros(4000), 8000)
    assert run(monkeypatch, "train", corpus, "--out", tmp_path / "run", *SMALL) == 2
    error = capsys.readouterr().err
    assert "mute: 100 random segments were silent" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_damaged_or_older_config(corpus, tmp_path, monkeypatch, capsys):
    arguments = ["train", corpus, "--out", tmp_path, *SMALL, "--epochs", 1]
    (tmp_path / "config.json").write_text("{")
    assert run(monkeypatch, *arguments) == 2
    assert "config.json is damaged; remove it" in capsys.readouterr().err
    # Of a version without these options: they had their defaults.
    assert run(monkeypatch, *[*arguments, "--out", tmp_path / "run"]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    del config["optimizer"], config["speed_change"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    again = [*arguments, "--out", tmp_path / "run", "--epochs", 2]
    assert run(monkeypatch, *again, "--optimizer", "muon") == 2
    assert "other arguments (optimizer=adam)" in capsys.readouterr().err
    assert run(monkeypatch, *again) == 0


def test_a_missing_corpus(tmp_path, monkeypatch, capsys):
    arguments = ["--out", tmp_path / "run", *SMALL]
    assert run(monkeypatch, "train", tmp_path / "nowhere", *arguments) == 2
    assert "nowhere" in capsys.readouterr().err
