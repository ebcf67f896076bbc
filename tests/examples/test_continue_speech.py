"""The script that continues speech, on recordings and models made up."""

import importlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from PIL import Image

from keras_sep.data.spectrogram_crops import log_spectrograms
from keras_sep.models import VQVAE2

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = "--bins 8 --frames 16 --batches 1 --epochs 1 --filters 4 --layers 1 --kernel-size 3"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import continue_speech

    monkeypatch.setattr(continue_speech, "BATCH", 2)
    monkeypatch.setattr(continue_speech, "VALIDATION_BATCHES", 1)
    monkeypatch.setattr(continue_speech, "GRIFFIN_LIM_ROUNDS", 2)
    return continue_speech


def test_waveforms_have_the_spectrum_they_are_made_of(script):
    """Two tones and a click, whose phases are not given."""
    time = np.arange(6400) / 8000
    waveform = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 1234 * time)
    waveform[3200] += 0.5
    levels = log_spectrograms(waveform[None], 128, 64)[0]
    magnitudes = 10 ** (50 * (levels - 1) / 20)
    rebuilt = script.to_waveform(levels)
    assert rebuilt.dtype == np.float32
    assert len(rebuilt) == (len(levels) - 1) * 64 + 256
    again = 10 ** (50 * (log_spectrograms(rebuilt[None], 128, 64)[0] - 1) / 20)
    error = np.linalg.norm(again - magnitudes) / np.linalg.norm(magnitudes)
    assert error < 0.1
    assert np.std(rebuilt) == pytest.approx(np.std(waveform), rel=0.05)


def test_continues_a_recording(script, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        (tmp_path / "corpus" / split).mkdir(parents=True)
        for index in range(2):
            path = tmp_path / "corpus" / split / f"{index}.wav"
            soundfile.write(path, 0.1 * rng.normal(size=4000), 8000)
    soundfile.write(tmp_path / "start.wav", 0.1 * rng.normal(size=(8000, 2)), 16000)
    sizes = {"embedding_dim": 4, "hidden_dim": 4, "residual_dim": 2, "num_residual_blocks": 1}
    model = VQVAE2(num_embeddings=8, num_levels=1, strides=2, channels=1, **sizes)
    model.save(tmp_path / "model.keras")

    def run(arguments):
        names = ("model.keras", "corpus", "start.wav", "out")
        command = [*(str(tmp_path / name) for name in names), *SMALL.split(), *arguments.split()]
        return script.main(script.parse(command))

    files = run("--seconds 0.2 --more 0.1 --number 2")
    # 24 whole frames of 8 ms lie in 0.2 s, and 0.1 s are 6 rows of two frames.
    assert [path.name for path in files] == ["continued_1.wav", "continued_2.wav"]
    assert "drawn from 0.19 s on" in capsys.readouterr().out
    for path in files:
        samples, sample_rate = soundfile.read(path)
        assert (len(samples), sample_rate) == (35 * 64 + 16, 8000)
        assert Image.open(path.with_suffix(".png")).size == (72, 16)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (scores["segments"], scores["uniform"]) == (2, 3.0)
    assert 0 <= scores["marginal_entropy"] <= 3
    prior = keras.saving.load_model(tmp_path / "out" / "prior.keras", compile=False)
    assert prior.filters == 4

    bundling = importlib.import_module("bundle_speech_prior")
    bundle = tmp_path / "bundle"
    start, vq_vae = tmp_path / "start.wav", tmp_path / "model.keras"
    bundling.main(tmp_path / "out", start, bundle, vq_vae, "Noise, by nobody")
    card = (bundle / "README.md").read_text()
    assert f"{scores['bits_per_code']:.2f} bits per code on 2 segments" in card
    assert "codes of equal length 3." in card.replace("\n", " ")
    assert "--kernel-size=3" in card
    assert "by nobody" in card
    # Half a second of a start of 0.5 s is all that there is, and the 1.5 s drawn.
    assert soundfile.info(bundle / "continued.wav").frames == pytest.approx(16000, abs=64)
    assert Image.open(bundle / "continued.png").height == 16

    before = (tmp_path / "out" / "prior.keras").stat().st_mtime_ns
    run("--seconds 0.3 --more 0.1 --number 1")
    assert (tmp_path / "out" / "prior.keras").stat().st_mtime_ns == before
    with pytest.raises(SystemExit, match=r"at least 0.01 s, its start has 0.00 s"):
        run("--seconds 0.001")
    with pytest.raises(SystemExit, match="divisible by the model's 2 strides"):
        run("--bins 7")
    with pytest.raises(SystemExit, match=r"other arguments \(layers=1\)"):
        run("--layers 2")

    start = rng.integers(0, 8, (3, 4)).astype("int32")
    options = script.parse(["a", "b", "c", "d", "--number", "2"])
    codes = keras.ops.convert_to_numpy(script.continue_codes(prior, start, 8, options))
    assert codes.shape == (2, 8, 4)
    np.testing.assert_array_equal(codes[:, :3], [start, start])
    assert not np.array_equal(codes[0, 3:], codes[1, 3:])


def test_other_models_are_refused(script, tmp_path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    paths = [str(tmp_path / "other.keras"), *map(str, [tmp_path] * 3)]
    with pytest.raises(SystemExit, match="must be a VQ-VAE of spectrograms with one grid of codes"):
        script.main(script.parse(paths))


def test_entropy_of_the_marginal_distribution(script):
    assert script.marginal_entropy(np.repeat(np.arange(4), 5)[None]) == pytest.approx(2)
    assert script.marginal_entropy(np.array([[0, 0, 0, 1]])) == pytest.approx(0.811278)
