"""The prior's script: trains, resumes and scores, on folders by class and on crops."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sep.models import VQVAE2

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
import train_prior  # noqa: E402

SMALL = ["--filters", "4", "--layers", "1", "--batch", "8", "--no-jit", "--epochs"]


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
    for levels in (1, 2):
        VQVAE2(8, 2, num_levels=levels, **sizes).save(folder / f"{levels}.keras")
    return folder


def arguments(folder, out, levels, *others):
    source = ["--pictures", str(folder), "--vq-vae", str(folder / f"{levels}.keras")]
    return train_prior.parse([str(out), *source, *others])


def test_by_class_and_resumed(folder, tmp_path):
    out = tmp_path / "run"
    train_prior.main(arguments(folder, out, 1, "--labels", *SMALL, "1"))
    scores = train_prior.main(arguments(folder, out, 1, "--labels", *SMALL, "2"))
    assert scores == json.loads((out / "test.json").read_text())
    assert scores["examples"] == 8
    assert 0 < scores["marginal_entropy"] <= 3
    assert len((out / "log.csv").read_text().splitlines()) == 3
    prior = keras.saving.load_model(out / "best.keras")
    assert (prior.num_embeddings, prior.num_classes) == (8, 2)


def test_a_level_given_the_one_above(folder, tmp_path, monkeypatch):
    options = arguments(
        folder, tmp_path / "run", 2, "--size", "16", "--level", "bottom", *SMALL, "1"
    )
    monkeypatch.setattr(
        train_prior,
        "pictures",
        lambda options, part, channels: [np.zeros((8, 16, 16, 1), "float32")],
    )
    train_prior.main(options)
    prior = keras.saving.load_model(tmp_path / "run" / "best.keras")
    assert prior.condition_num_embeddings == 8


def test_marginal_entropy():
    assert train_prior.marginal_entropy(np.array([[0, 1], [2, 3]])) == 2
    assert train_prior.marginal_entropy(np.array([0, 0, 0, 1])) == pytest.approx(0.8113, abs=1e-4)
