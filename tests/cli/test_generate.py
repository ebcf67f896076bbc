"""`keras-sep generate`: a PNG, its path on stdout, one clear line on stderr, exit codes."""

import json
import sys

import keras
import numpy as np
import pytest

from keras_sep.cli import main
from keras_sep.inference.generator import draw_grid
from keras_sep.models import VQVAE, MobileNet, PixelCNN


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator")
    VQVAE(8, 2, hidden_dim=2, residual_dim=2, num_residual_blocks=1, channels=1).save(
        folder / "vq_vae.keras"
    )
    PixelCNN(8, filters=2, num_layers=1, kernel_size=3, num_classes=2).save(folder / "prior.keras")
    MobileNet("v1", 1 / 16, (32, 32, 3), num_classes=2).save(folder / "classifier.keras")
    description = {
        "vq_vae": "vq_vae.keras",
        "priors": ["prior.keras"],
        "classifier": "classifier.keras",
        "size": [8, 12],
        "class_names": ["cat", "dog"],
        "settings": {},
    }
    (folder / "generator.json").write_text(json.dumps(description))
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process: exit code, stdout, lines on stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["keras-sep", "generate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err.splitlines()

    return run


def test_a_grid(run, generator, tmp_path):
    path = tmp_path / "grid.png"
    code, out, err = run(generator, "--label", "dog", "-n", 6, "-o", path, "--seed", 1)
    assert (code, out, err) == (0, f"{path}\n", [])
    picture = keras.utils.img_to_array(keras.utils.load_img(path))
    assert picture.shape == (2 * 10, 3 * 14, 3)  # A border of one pixel around each.
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "model must be digits or the folder of a generator, got nothing"),
        (["{}", "--label", "cow"], "label must be one of cat, dog, got cow"),
        (["{}", "-o", "grid.gif"], "--output must end in .png, got grid.gif"),
        (["{}", "-o", "no/grid.png"], "there is no folder no; make it first"),
    ],
)
def test_errors(run, generator, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*[argument.format(generator) for argument in arguments])
    assert (code, out, len(err)) == (2, "", 1)
    assert message in err[0]
    assert not list(tmp_path.iterdir())


def test_draw_grid(tmp_path):
    images = np.linspace(-1, 1, 3)[:, None, None, None] * np.ones((1, 2, 2, 1))
    draw_grid(images, tmp_path / "grid.png", columns=2)
    picture = keras.utils.img_to_array(keras.utils.load_img(tmp_path / "grid.png"))
    assert picture.shape == (8, 8, 3)
    assert [picture[2, 2, 0], picture[2, 6, 0], picture[6, 2, 0], picture[6, 6, 0]] == [
        0,
        127,
        255,
        0,
    ]
