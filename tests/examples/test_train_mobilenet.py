"""Training a MobileNet on folders of pictures and on TensorFlow Datasets, from start to test."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

SMALL = {
    "version": "v1",
    "alpha": 0.05,
    "size": 32,
    "output_stride": 8,
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "warm_up": 1,
    "label_smoothing": 0.1,
    "flip": False,
    "mixed_precision": False,
    "jit": keras.backend.backend() == "jax",
    "seed": 0,
}


def picture(rng, bright):
    return rng.integers(128 if bright else 0, 256 if bright else 128, (20, 24), "uint8")


@pytest.fixture
def train_mobilenet(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    import train_mobilenet

    yield train_mobilenet
    for name in ("train_mobilenet", "classifier_training"):
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Bright and dark noise, ten pictures each, of two kinds of files."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("bright", "dark"):
        (folder / name).mkdir()
        for n in range(10):
            path = folder / name / f"{n}.{'png' if n % 2 else 'jpg'}"
            Image.fromarray(picture(rng, name == "bright")).save(path)
    return folder


def test_folder_from_training_to_test(train_mobilenet, pictures, tmp_path):
    out = tmp_path / "run"
    accuracy = train_mobilenet.main(pictures, None, out, **SMALL)
    scores = json.loads((out / "test.json").read_text())
    assert scores["classes"] == ["bright", "dark"]
    assert scores["examples"] == np.sum(scores["confusion"]) == 2
    assert scores["accuracy"] == accuracy
    assert (out / "confusion.png").stat().st_size
    assert keras.saving.load_model(out / "best.keras").num_classes == 2
    log = (out / "log.csv").read_text()
    assert len(log.splitlines()) == 3
    # Finished: a second start scores only.
    assert train_mobilenet.main(pictures, None, out, **SMALL) == accuracy
    assert (out / "log.csv").read_text() == log
    with pytest.raises(SystemExit, match="other arguments"):
        train_mobilenet.main(pictures, None, out, **{**SMALL, "alpha": 0.1})


def test_parts_share_no_picture(train_mobilenet, pictures):
    parts = train_mobilenet.from_folder(pictures, seed=0)
    shown = [
        {image.tobytes() for image, _ in part.as_numpy_iterator()}
        for part in (parts.training, parts.validation, parts.test)
    ]
    assert [len(part) for part in shown] == [16, 2, 2]
    assert len(set.union(*shown)) == 20


def test_tensorflow_datasets(train_mobilenet, monkeypatch):
    monkeypatch.setattr(
        tfds.core.DatasetBuilder, "download_and_prepare", lambda *_, **__: None, raising=True
    )
    with tfds.testing.mock_data(num_examples=20):
        images = train_mobilenet.from_tfds("cifar10")
        augmentation = train_mobilenet.augmentation_of(True, 0)
        batch = next(iter(train_mobilenet.batches(images, 32, 4, augmentation, 0)))
        inputs, labels = next(batch.as_numpy_iterator())
    assert inputs.shape == (4, 32, 32, 3)
    assert inputs.min() >= 0
    assert inputs.max() > 1
    assert labels.shape == (4, 10)
    np.testing.assert_array_equal(labels.sum(-1), 1)


def test_one_line_errors(train_mobilenet, pictures, tmp_path):
    with pytest.raises(SystemExit, match=r"--warm-up must be from 0 to 1"):
        train_mobilenet.main(pictures, None, tmp_path / "a", **{**SMALL, "warm_up": 2})
    with pytest.raises(SystemExit, match="two or more classes"):
        train_mobilenet.from_folder(tmp_path, 0)
    with pytest.raises(SystemExit, match="got no_such_set"):
        train_mobilenet.from_tfds("no_such_set")
    for name in ("one", "two"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        for n in range(3):
            (tmp_path / "broken" / name / f"{n}.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match=r"broken/one/\d.png is no image"):
        train_mobilenet.from_folder(tmp_path / "broken", 0)
