"""Training a MobileNet on folders of pictures and on TensorFlow Datasets, from start to test."""

import csv
import json
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import keras_sep

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
    "jit": False,
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


def test_killed_and_started_again(train_mobilenet, pictures, tmp_path):
    """In mixed precision, which PyTorch lacks on many a CPU, and on TensorFlow with XLA."""
    is_mixed = keras.backend.backend() != "torch"
    options = {**SMALL, "mixed_precision": is_mixed, "jit": True}
    killed = mock.patch.object(
        keras_sep.callbacks.TrainingCurves, "on_epoch_end", side_effect=KeyboardInterrupt
    )
    with killed, pytest.raises(KeyboardInterrupt):
        train_mobilenet.main(pictures, None, tmp_path, **options)
    assert epochs_of(tmp_path) == ["0"]
    assert not (tmp_path / "test.json").exists()
    train_mobilenet.main(pictures, None, tmp_path, **options)
    assert epochs_of(tmp_path) == ["0", "1"]
    best = keras.saving.load_model(tmp_path / "best.keras")
    assert best.dtype_policy.name == ("mixed_bfloat16" if is_mixed else "float32")
    assert json.loads((tmp_path / "test.json").read_text())["examples"] == 2


def epochs_of(run):
    with open(run / "log.csv", newline="") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("jit", [False, True])
def test_what_xla_compiles(train_mobilenet, jit):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    train_mobilenet.compile_classifier(model, 1, 2, 1e-3, 1, 0.0, jit)
    expected = {"tensorflow": jit, "jax": True, "torch": False}
    assert model.jit_compile == expected[keras.backend.backend()]


@pytest.mark.parametrize(("size", "jit"), [(32, True), (96, False)])
def test_large_images_train_without_xla(train_mobilenet, pictures, tmp_path, size, jit):
    """By default: on a CPU, XLA is the slower one there."""
    stop = mock.Mock(side_effect=KeyboardInterrupt)
    with (
        mock.patch.object(train_mobilenet, "compile_classifier", stop),
        pytest.raises(KeyboardInterrupt),
    ):
        train_mobilenet.main(pictures, None, tmp_path, **{**SMALL, "size": size, "jit": None})
    assert stop.call_args.args[-1] is jit


def test_parts_share_no_picture(train_mobilenet, pictures):
    parts = train_mobilenet.from_folder(pictures, seed=0)
    shown = [
        {image.tobytes() for image, _ in part.as_numpy_iterator()}
        for part in (parts.training, parts.validation, parts.test)
    ]
    assert [len(part) for part in shown] == [16, 2, 2]
    assert len(set.union(*shown)) == 20


@pytest.mark.parametrize(
    ("name", "splits", "parts", "classes"),
    [
        ("cifar10", ["train", "test"], ["train[10%:]", "train[:10%]", "test"], 10),
        ("tf_flowers", ["train"], ["train[20%:]", "train[:10%]", "train[10%:20%]"], 5),
        (
            "imagenet2012",
            ["train", "validation", "test"],
            ["train[10%:]", "train[:10%]", "validation"],
            1000,
        ),
    ],
)
def test_tensorflow_datasets(train_mobilenet, monkeypatch, name, splits, parts, classes):
    """Images of random sizes, but for cifar10."""
    infos = [tfds.core.SplitInfo(name=split, shard_lengths=[6], num_bytes=0) for split in splits]
    builder = tfds.core.DatasetBuilder
    monkeypatch.setattr(tfds.core.DatasetInfo, "splits", tfds.core.splits.SplitDict(infos))
    with (
        tfds.testing.mock_data(num_examples=6),
        mock.patch.object(
            builder, "as_dataset", autospec=True, side_effect=builder.as_dataset
        ) as asked,
    ):
        images = train_mobilenet.from_tfds(name)
        augmentation = train_mobilenet.augmentation_of(True, 0)
        batch = next(iter(train_mobilenet.batches(images, 32, 4, augmentation, 0)))
        inputs, labels = next(batch.as_numpy_iterator())
    assert asked.call_args.kwargs["split"] == parts
    assert len(images.class_names) == classes
    assert inputs.shape == (4, 32, 32, 3)
    assert inputs.min() >= 0
    assert inputs.max() > 1
    assert labels.shape == (4, classes)
    np.testing.assert_array_equal(labels.sum(-1), 1)


def test_archives_that_are_downloaded_by_hand(train_mobilenet, tmp_path, monkeypatch):
    def download_and_prepare(self):
        """What TFDS does for ImageNet without its archives."""
        manager = tfds.download.DownloadManager(
            download_dir=tmp_path,
            manual_dir=tmp_path / "manual",
            manual_dir_instructions=self.MANUAL_DOWNLOAD_INSTRUCTIONS,
        )
        return manager.manual_dir

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download_and_prepare)
    with pytest.raises(SystemExit) as stopped:
        train_mobilenet.from_tfds("imagenet2012")
    message = str(stopped.value)
    assert message.startswith(f"imagenet2012: Manual directory {tmp_path / 'manual'} does not")
    assert "ILSVRC2012_img_train.tar" in message
    assert "\n" not in message


def a_folder(root, **counts):
    """`root` with so many pictures by folder, whose names may hold a slash."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for n in range(count):
            Image.new("L", (8, 8)).save(root / name / f"{n}.png")
    return root


def test_folders_for_training_and_test_hold_the_same_classes(train_mobilenet, tmp_path):
    train = {"train/a": 4, "train/b": 3}
    good = a_folder(tmp_path / "good", **train, **{"test/a": 1, "test/b": 1})
    assert len(train_mobilenet.from_folder(good, 0).test) == 2
    for name, tests, message in (
        ("more", {"test/a": 1, "test/b": 1, "test/c": 1}, "only one of them has c"),
        ("fewer", {"test/a": 1}, "only one of them has b"),
        ("none", {"test": 0}, "only one of them has a, b"),
        ("empty", {"test/a": 1, "test/b": 0}, "test/b must hold 1 or more images, got 0"),
    ):
        folder = a_folder(tmp_path / name, **train, **tests)
        with pytest.raises(SystemExit, match=message):
            train_mobilenet.from_folder(folder, 0)


def test_a_root_named_test_is_as_any_other(train_mobilenet, tmp_path):
    folder = a_folder(tmp_path / "test", a=3, b=2)
    with pytest.raises(SystemExit, match="test/b must hold 3 or more images, got 2"):
        train_mobilenet.from_folder(folder, 0)


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
