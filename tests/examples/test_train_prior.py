"""The prior's script: trains, resumes and scores, on folders by class and on crops."""

import importlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sep.models import VQVAE2

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ["--filters", "4", "--layers", "1", "--batch", "8", "--no-jit"]


@pytest.fixture
def train_prior(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("train_prior")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of two classes, and VQ-VAEs of one and two levels."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, number in (("train", 20), ("test", 4)):
        for name in ("a", "b"):
            (folder / part / name).mkdir(parents=True)
            for index in range(number):
                path = folder / part / name / f"{index:02}.png"
                keras.utils.save_img(path, rng.integers(0, 255, (16, 16, 1)), scale=False)
    sizes = {"hidden_dim": 2, "residual_dim": 2, "num_residual_blocks": 1, "channels": 1}
    noise = rng.uniform(-1, 1, (8, 16, 16, 1)).astype("float32")
    for levels in (1, 2):
        vq_vae = VQVAE2(8, 2, num_levels=levels, init="kmeans", **sizes)
        vq_vae.compile("sgd", "mse")
        vq_vae.fit(noise, verbose=0)  # for a codebook of which more than one code is in use
        vq_vae.save(folder / f"{levels}.keras")
    return folder


def arguments(folder, levels, out, *others):
    source = ["--pictures", str(folder), "--vq-vae", str(folder / f"{levels}.keras")]
    return [str(out), *source, *SMALL, *others]


def test_by_class_and_resumed(train_prior, folder, tmp_path):
    out = tmp_path / "run"
    train_prior.main(train_prior.parse(arguments(folder, 1, out, "--labels", "--epochs", "1")))
    scores = train_prior.main(
        train_prior.parse(arguments(folder, 1, out, "--labels", "--epochs", "2"))
    )
    assert scores == json.loads((out / "test.json").read_text())
    assert scores["examples"] == 8
    assert 0 < scores["marginal_entropy"] <= 3
    assert len((out / "log.csv").read_text().splitlines()) == 3
    prior = keras.saving.load_model(out / "best.keras")
    assert (prior.num_embeddings, prior.num_classes) == (8, 2)


def test_a_level_given_the_one_above(train_prior, folder, tmp_path, monkeypatch):
    given = arguments(folder, 2, tmp_path / "run", "--level", "bottom", "--epochs", "1")
    monkeypatch.setattr(
        train_prior,
        "pictures",
        lambda options, part, channels: [np.zeros((8, 16, 16, 1), "float32")],
    )
    train_prior.main(train_prior.parse(given))
    prior = keras.saving.load_model(tmp_path / "run" / "best.keras")
    assert prior.condition_num_embeddings == 8


def test_marginal_entropy(train_prior):
    assert train_prior.marginal_entropy(np.array([[0, 1], [2, 3]])) == 2
    assert train_prior.marginal_entropy(np.array([0, 0, 0, 1])) == pytest.approx(0.8113, abs=1e-4)
