"""The bundle of a generator: what the package loads, and its card."""

import importlib
import json
from pathlib import Path

import pytest

from keras_sep.inference.generator import Generator
from keras_sep.models import VQVAE, MobileNet, PixelCNN

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    module = importlib.import_module("bundle_digits_generator")
    monkeypatch.setattr(module, "SAMPLES", 20)
    return module


def test_bundle(script, tmp_path):
    run, vq_vae = tmp_path / "run", tmp_path / "models" / "vq_vae" / "vq_vae.keras"
    run.mkdir()
    vq_vae.parent.mkdir(parents=True)
    sizes = {"hidden_dim": 2, "residual_dim": 2, "num_residual_blocks": 1, "channels": 1}
    VQVAE(8, 2, **sizes).save(vq_vae)
    PixelCNN(8, filters=2, num_layers=1, kernel_size=3, num_classes=10).save(run / "best.keras")
    MobileNet("v1", 1 / 16, (32, 32, 3), num_classes=10).save(tmp_path / "classifier.keras")
    (run / "config.json").write_text(json.dumps({"batch": 8, "learning_rate": 0.001}))
    scores = {"examples": 9, "bits_per_code": 2.5, "marginal_entropy": 3.0}
    (run / "test.json").write_text(json.dumps(scores))
    (run / "log.csv").write_text("epoch,cpu_seconds\n0,60\n1,60\n")

    bundle = tmp_path / "models" / "generator"
    classifier = tmp_path / "classifier.keras"
    (tmp_path / "test.json").write_text(json.dumps({"accuracy": 0.98765}))
    script.main(run, classifier, bundle, vq_vae, classifier, 0.9)
    card = (bundle / "README.md").read_text()
    assert "2.50 bits per code on the 9 test digits" in card
    assert "top-p 0.9" in card
    assert "| another MobileNet | 98.77% |" in card
    assert "2 epochs;\n2 minutes of CPU time" in card
    recognized = json.loads((bundle / "scores.json").read_text())["recognized"]
    assert {0 <= share <= 1 for row in recognized.values() for share in row.values()} == {True}
    assert (bundle / "samples.png").exists()
    assert Generator(bundle).generate(2, "7", seed=0).shape == (2, 28, 28, 1)
